"""Deployments follow the source files."""

from __future__ import annotations

from pathlib import Path

import yaml

from flows.deployments import deployments, prefect_yaml
from tests.shop import ROOT


def test_the_committed_prefect_yaml_is_what_the_source_files_say() -> None:
    text = prefect_yaml(deployments({}, root=ROOT, profile="live"), pool="threadmill")

    assert (ROOT / "prefect.yaml").read_text() == text, "run `threadmill deploy --write-only`"


def test_a_deployment_has_the_schedule_of_its_source_and_runs_once_at_a_time(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config/settings.toml").write_text("[profiles.live]\n")
    for name, schedule in (("a", 'cron: "15 * * * *", timezone: Europe/Madrid'), ("b", "interval: 6h")):
        (tmp_path / f"config/{name}.yaml").write_text(
            f"base_url: https://a.example\nschedule: {{{schedule}}}\nresources: {{r: {{path: /x}}}}\n"
        )

    document = yaml.safe_load(prefect_yaml(deployments({}, root=tmp_path, profile="live"), pool="p"))

    first, second = document["deployments"]
    assert first["schedules"] == [{"cron": "15 * * * *", "timezone": "Europe/Madrid"}]
    assert second["schedules"] == [{"interval": 21600.0, "anchor_date": "2024-01-01T00:00:00+00:00", "timezone": "UTC"}]
    assert {one["concurrency_limit"]["limit"] for one in (first, second)} == {1}
    assert first["parameters"] == {"source": "a", "profile": "live"}


def test_a_source_without_schedule_is_deployed_to_be_run_by_hand(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config/settings.toml").write_text("[profiles.live]\n")
    (tmp_path / "config/a.yaml").write_text("base_url: https://a.example\nresources: {r: {path: /x}}\n")

    document = yaml.safe_load(prefect_yaml(deployments({}, root=tmp_path, profile="live"), pool="p"))

    assert document["deployments"][0]["schedules"] == []


def test_a_source_whose_secrets_are_blocks_is_deployed_without_them(tmp_path: Path) -> None:
    """The name of one is shorter than a salt may be."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config/a.yaml").write_text(
        "base_url: https://a.example\nauth: {bearer: 'prefect-secret:key'}\n"
        "resources: {r: {path: /x, mask: {mail: {sha256: 'prefect-secret:salt'}}}}\n"
    )

    (deployed,) = deployments({}, root=tmp_path, profile="live")

    assert deployed.parameters == {"source": "a", "profile": "live"}
