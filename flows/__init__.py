"""The Prefect layer: flows, tasks, deployments and artifacts.

It is thin: a flow runs the library's own engine once, and its tasks tell Prefect
how far each stage of each resource is. Importing it tells Prefect to keep quiet,
unless the environment says otherwise; that must happen before Prefect is imported.
"""

import os

for _name, _value in {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
}.items():
    os.environ.setdefault(_name, _value)
