"""What commands must know of secrets: their values, to ask an API; to look at what is there, only their names."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pipelines.cli import app
from pipelines.load.lake import Lake
from tests.fake_api import FakeApi
from tests.shop import DATASETS, Shop, expected, seen

VARIABLE, BLOCK = "${SHOP_TOKEN}", "prefect-secret:shop-token"
OFFLINE = (
    "status",
    "plan",
    "plan shop",
    "state show shop",
    "backfill shop --from 2024-01-01 --to 2024-01-03 --dry-run",
    "backfill shop --from 2024-01-01 --to 2024-01-03 --every day --dry-run",
    "catalog",
    "state set shop.events 2024-01-02",
    "state reset shop.events",
)
ASKING = (
    "run shop",
    "preview shop.events",
    "check shop --online",
    "plan shop --probe",
    "backfill shop --from 2024-01-01 --to 2024-01-03",
    "backfill shop --from 2024-01-01 --to 2024-01-03 --every day",
)


@pytest.fixture
def ran(api: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A project after one run with a token, which only that run was given."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SHOP_TOKEN", raising=False)
    shop = Shop(api, tmp_path)
    shop.edit("shop.yaml", "limits:", f'auth: {{bearer: "{VARIABLE}"}}\nlimits:')
    ended = shop.run(SHOP_TOKEN="sesame-open-7341")
    assert ended.code == 0, ended
    return shop


def threadmill(line: str) -> Result:
    return CliRunner(env={"COLUMNS": "80"}).invoke(app, line.split())


@pytest.mark.parametrize("secret", [VARIABLE, BLOCK], ids=["variable-not-set", "block-of-prefect"])
def test_what_asks_no_api_needs_no_secret(secret: str, ran: Shop) -> None:
    """Commits by hand are of the same configuration as those of runs: a secret counts by its name."""
    ran.edit("shop.yaml", VARIABLE, secret)
    before = len(ran.api.asked)

    ended = {line: threadmill(line) for line in OFFLINE}

    log = Lake(ran.folder / "data", "shop").log
    hashes = [log.read(number).config_hash for number in log.numbers()]
    assert {line: one.output for line, one in ended.items() if one.exit_code} == {}
    assert len(ran.api.asked) == before
    assert hashes[1] == hashes[2]
    assert (hashes[0] == hashes[1]) == (secret == VARIABLE)


@pytest.mark.parametrize(
    ("secret", "told"),
    [
        pytest.param(VARIABLE, "${SHOP_TOKEN} is not set", id="variable-not-set"),
        pytest.param(BLOCK, f"{BLOCK} can be read in a Prefect flow only", id="block-of-prefect"),
    ],
)
def test_what_asks_an_api_says_which_secret_it_lacks_before_it_asks(secret: str, told: str, ran: Shop) -> None:
    ran.edit("shop.yaml", VARIABLE, secret)
    before = len(ran.api.asked)

    ended = {line: threadmill(line) for line in ASKING}

    assert {line: one.output for line, one in ended.items() if one.exit_code != 2 or told not in one.stderr} == {}
    assert len(ran.api.asked) == before


def test_check_tells_of_a_variable_that_is_not_set_and_takes_a_block_by_its_name(ran: Shop) -> None:
    """A name of three letters is no secret that is too short to be hidden."""
    unset = threadmill("check")
    ran.edit("shop.yaml", VARIABLE, "prefect-secret:key")
    named = threadmill("check")

    assert (unset.exit_code, named.exit_code) == (2, 0), named.output
    assert "auth.bearer: ${SHOP_TOKEN} is not set" in unset.stderr
    assert "no problem found" in named.stdout
    assert named.stderr == ""


def test_rows_are_made_anew_from_kept_pages_without_the_secret_of_a_block(ran: Shop) -> None:
    ran.edit("shop.yaml", VARIABLE, BLOCK)
    before = len(ran.api.asked)

    ended = threadmill("replay shop")

    data = ran.folder / "data"
    assert ended.exit_code == 0, ended.output
    assert len(ran.api.asked) == before
    assert {name: seen(data, name) for name in DATASETS} == {name: expected(name, 1) for name in DATASETS}
