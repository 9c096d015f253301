"""The bundled APIs: real snapshots behind real HTTP."""
