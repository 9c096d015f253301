"""What no command prints, whatever it prints: the secrets of the configuration, wherever in it they stand."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from tests.commands.calls import threadmill
from tests.fake_api import FakeApi, say
from tests.shop import Ended, Shop, start

KEY, TOKEN, NUMBER = "81:c4nary-of-the-base", "c4nary-of-the-path", "2000"
PATH = f"/bot{KEY}/{TOKEN}/accounts"
ASKING = ("check bank --online", "preview bank.accounts", "plan bank --probe", "run bank")
OTHERS = ("check", "plan", "status", "runs", "explain", "log bank", "replay bank", "state show bank", "catalog")


@pytest.fixture
def bank(api: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A project in whose folder commands are called; its source `bank` has secrets in its address, and a number."""
    monkeypatch.chdir(tmp_path)
    for name, value in {"BANK_KEY": KEY, "PATH_TOKEN": TOKEN, "NUMBER_KEY": NUMBER}.items():
        monkeypatch.setenv(name, value)
    shop = Shop(api, tmp_path)
    shop.edit("bank.yaml", "/bank\n", '/bot${BANK_KEY}\nheaders: {X-Number: "${NUMBER_KEY}"}\n')
    shop.edit("bank.yaml", "path: /accounts", 'path: "/${PATH_TOKEN}/accounts"')
    shop.edit("bank.yaml", "retry:", "limits: {daily: 2000}\nretry:")
    api.route(PATH, api.routed("/bank/accounts"))
    return shop


@pytest.mark.parametrize("form", [(), ("--json",), ("--log-format", "json")], ids=["text", "json", "log"])
@pytest.mark.parametrize("code", [0, 1], ids=["rows", "error"])
def test_s05_no_command_prints_a_secret_of_a_url(bank: Shop, code: int, form: tuple[str, ...]) -> None:
    """Neither what it asks, nor the error in which the API repeats it."""
    if code:
        bank.api.answer(PATH, say({"error": f"{KEY} does not know {TOKEN}"}, status=404))

    told = {line: threadmill(*line.split(), *form) for line in (*ASKING, *OTHERS)}

    assert {line for line, one in told.items() if "c4nary" in one.stdout + one.stderr} == set()
    assert {line: told[line].exit_code for line in ASKING} == dict.fromkeys(ASKING, code)
    assert bank.api.calls[PATH] >= len(ASKING)


def test_s05_standard_output_that_is_no_utf_8_hides_a_secret_too(bank: Shop) -> None:
    told = Ended.of(start(bank.folder, "check", "bank", PYTHONIOENCODING="ascii"))

    assert (told.code, told.err) == (0, "")
    assert f"{bank.api.url}/bot***\n" in told.out
    assert " /***/accounts\n" in told.out


def test_s05_no_piece_of_a_secret_is_left_where_a_value_is_cut(bank: Shop) -> None:
    """A preview shows 31 characters of a value: those before the secret, and the first ones of that."""
    row = {"id": 1, "updated": "2024-01-05T00:00:00Z", "link": f"{'x' * 22}{TOKEN}"}
    bank.api.answer(PATH, say({"data": [row]}))

    told = threadmill("preview", "bank.accounts").stdout

    assert f"{'x' * 22}***" in told
    assert "c4nary" not in told


def test_what_programs_read_is_json_although_a_secret_is_a_number(bank: Shop) -> None:
    """2000 is a key, the limit of requests a day, and how many rows there are."""
    rows = [{"id": number, "updated": "2024-01-05T00:00:00Z"} for number in range(2000)]
    bank.api.answer(PATH, say({"data": rows}))

    planned = orjson.loads(threadmill("plan", "bank", "--json").stdout)
    ran = threadmill("run", "bank", "--json")

    lines = [orjson.loads(line) for line in ran.stderr.splitlines()]
    assert planned["bank"]["daily"] == 2000
    assert orjson.loads(ran.stdout)["sources"][0]["resources"][0]["new"] == 2000
    assert [one["fields"]["rows_written"] for one in lines if one["event"] == "resource settled"] == [2000]
