"""A lake to be read by tools of other people. `make test-readers` runs these tests; nothing else collects them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipelines.config.project import load_project
from pipelines.run import run

ROOT = Path(__file__).parents[2]
collect_ignore_glob = [] if os.environ.get("SPARK_PYTHON") else ["test_*.py"]


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a run of all bundled sources, its name one that has to be quoted."""
    folder = tmp_path_factory.mktemp("readers") / 'it\'s "data"'
    assert run(load_project({}, root=ROOT, data=folder)).exit_code == 0
    return folder
