"""Deployments follow the source files."""

from __future__ import annotations

from pathlib import Path

import yaml

from flows.deployments import prefect_yaml
from pipelines.config.project import load_project
from tests.shop import ROOT


def test_the_committed_prefect_yaml_is_what_the_source_files_say() -> None:
    sources = load_project({}, root=ROOT, profile="live").sources

    text = prefect_yaml(sources, profile="live")

    assert (ROOT / "prefect.yaml").read_text() == text, "run `python -m flows.deployments --write-only`"


def test_a_deployment_has_the_schedule_of_its_source_and_runs_once_at_a_time(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    for name, schedule in (("a", 'cron: "15 * * * *", timezone: Europe/Madrid'), ("b", "interval: 6h")):
        (tmp_path / f"config/{name}.yaml").write_text(
            f"base_url: https://a.example\nschedule: {{{schedule}}}\nresources: {{r: {{path: /x}}}}\n"
        )

    document = yaml.safe_load(prefect_yaml(load_project({}, root=tmp_path).sources, profile="live"))

    first, second = document["deployments"]
    assert first["schedules"] == [{"cron": "15 * * * *", "timezone": "Europe/Madrid"}]
    assert second["schedules"] == [{"interval": 21600.0, "timezone": "UTC"}]
    assert {one["concurrency_limit"]["limit"] for one in (first, second)} == {1}
    assert first["parameters"] == {"source": "a", "profile": "live"}


def test_a_source_without_schedule_is_deployed_to_be_run_by_hand(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config/a.yaml").write_text("base_url: https://a.example\nresources: {r: {path: /x}}\n")

    document = yaml.safe_load(prefect_yaml(load_project({}, root=tmp_path).sources, profile="live"))

    assert document["deployments"][0]["schedules"] == []
