"""Which Prefect server a run uses: one that was chosen, or an embedded one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from flows.embedded import names_server
from tests.shop import Ended, start

_PROFILES = """\
active = "ours"
[profiles.ours]
PREFECT_API_URL = "http://127.0.0.1:4200/api"
[profiles.bare]
"""


@pytest.mark.parametrize(
    ("environ", "profiles", "expected"),
    [
        pytest.param({}, "", False, id="nothing-chosen"),
        pytest.param({"PREFECT_API_URL": "http://127.0.0.1:1/api"}, "", True, id="environment"),
        pytest.param({"PREFECT_API_URL": ""}, "", False, id="empty-environment"),
        pytest.param({}, _PROFILES, True, id="active-profile"),
        pytest.param({"PREFECT_PROFILE": "bare"}, _PROFILES, False, id="another-profile"),
    ],
)
def test_a_server_that_was_chosen_is_used(
    environ: dict[str, str], profiles: str, expected: bool, tmp_path: Path
) -> None:
    if profiles:
        (tmp_path / "profiles.toml").write_text(profiles)

    chosen = names_server({**environ, "PREFECT_HOME": str(tmp_path)})

    assert chosen is expected


def test_the_command_is_found_by_the_name_of_its_flow(tmp_path: Path) -> None:
    ended = Ended.of(start(tmp_path, "--help", program=[sys.executable, "-m", "flows.sync"]))

    assert ended.code == 0, ended
    assert "--source NAME" in ended.out
