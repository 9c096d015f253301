"""Secrets that Prefect keeps: `prefect-secret:NAME` in a source file names a Secret block."""

from __future__ import annotations

from prefect.blocks.system import Secret


def prefect_secret(name: str) -> str:
    """The text of the Secret block *name*; it goes nowhere but into the connection.

    Raises:
        ValueError: There is no such block.
    """
    block = Secret.load(name)
    if not isinstance(block, Secret):  # load may be awaited elsewhere; in a flow that is not async it is not
        raise ValueError(name)
    return str(block.get())
