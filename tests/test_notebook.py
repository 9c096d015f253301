"""What notebooks call: `pipelines.run` and `pipelines.load_source`, as the page about Python says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import pipelines
from pipelines.errors import ConfigError
from tests.fake_api import FakeApi
from tests.shop import Shop, environment, wrong_after


@pytest.fixture
def shop(api: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A project of two sources, in the current folder."""
    monkeypatch.chdir(tmp_path)
    return Shop(api, tmp_path)


def test_a_run_by_names_commits_them_and_tells_what_came(shop: Shop) -> None:
    report = pipelines.run("shop", "bank", data="data", workers=1)

    assert {one.name: one.verdict for one in report.resources} == {
        "shop.customers": "unproved",
        "shop.orders": "unproved",
        "shop.events": "complete",
        "bank.accounts": "unproved",
    }
    assert wrong_after(shop.folder / "data", 1) == []


def test_a_loaded_source_runs_alone(shop: Shop) -> None:
    source = pipelines.load_source("config/bank.yaml")

    report = pipelines.run(source, data=shop.folder / "elsewhere", workers=1)

    assert (source.name, list(source.resources)) == ("bank", ["accounts"])
    assert [one.name for one in report.resources] == ["bank.accounts"]
    assert len(pipelines.read("bank.accounts", data=shop.folder / "elsewhere")) == report.rows == 3


def test_names_and_loaded_sources_do_not_mix(shop: Shop) -> None:
    with pytest.raises(ConfigError, match="names and loaded sources"):
        pipelines.run("shop", pipelines.load_source("config/bank.yaml"))


def test_what_is_not_there_is_an_error_that_says_what_is(shop: Shop) -> None:
    with pytest.raises(ConfigError, match="did you mean shop"):
        pipelines.run("shopp")
    with pytest.raises(ConfigError, match="no such file"):
        pipelines.load_source("config/shopp.yaml")


def test_a_script_without_a_main_guard_runs_once_and_calls_the_function_after_the_module_is_imported(
    shop: Shop,
) -> None:
    """Workers do not run the caller's script again, and `pipelines.run` is not hidden by the module of that name."""
    (shop.folder / "script.py").write_text(
        "import pipelines, pipelines.run\n"
        "from pipelines.run import run as spine\n"
        "report = pipelines.run('bank')\n"
        "print('ran', report.rows, spine is not pipelines.run)\n"
    )

    done = subprocess.run(
        [sys.executable, "script.py"], cwd=shop.folder, env=environment(), capture_output=True, text=True, check=False
    )

    assert (done.stdout, done.stderr) == ("ran 3 True\n", "")


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import pipelines, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert set(done.stdout.split()) & {"pandas", "pyarrow", "duckdb", "requests", "pydantic", "pipelines.run"} == set()
