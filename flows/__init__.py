"""The Prefect layer: flows, tasks, deployments and artifacts.

It is thin: a flow runs the library's own engine once, and its tasks tell Prefect
how far each stage of each resource is. Importing it tells Prefect to keep quiet,
unless the environment says otherwise, and Python to look for garbage rarely, which
takes a seventh of what importing Prefect takes; both must happen before Prefect is imported.
"""

import os

import pipelines.rare_garbage  # noqa: F401

HEARTBEAT_S = 30
"""How often a flow run says that it lives: the shortest that Prefect takes."""

for _name, _value in {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_S),
}.items():
    os.environ.setdefault(_name, _value)
