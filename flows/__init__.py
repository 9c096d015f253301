"""The Prefect layer: flows, tasks, deployments and artifacts."""
