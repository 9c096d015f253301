"""The command line as its user meets it: help, tables of 80 columns, JSON, exit codes, Ctrl-C."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.cli import app
from pipelines.load.lake import Lake
from tests.fake_api import FakeApi, say
from tests.processes import children, ended, eventually
from tests.shop import Ended, Shop, expected, seen, start, wrong_after

HEAVY = ("pyarrow", "pandas", "polars", "requests", "prefect", "pydantic", "rich")
THREADMILL = (str(Path(sys.executable).parent / "threadmill"),)


@pytest.fixture
def shop(api: FakeApi, tmp_path: Path) -> Shop:
    """A project of two sources."""
    return Shop(api, tmp_path)


def call(folder: Path, *arguments: str, **env: str) -> Ended:
    return Ended.of(start(folder, *arguments, **env))


def test_help_lists_the_commands_and_the_exit_codes(tmp_path: Path) -> None:
    told = call(tmp_path, "--help")

    assert (told.code, told.err) == (0, "")
    assert max(map(len, told.out.splitlines())) <= 80
    assert "Exit codes: 0 nothing is known to be missing, 1 failed" in told.out
    assert [one for one in app.commands if f"  {one} " not in told.out] == []


def test_help_answers_without_loading_what_only_a_run_needs(tmp_path: Path) -> None:
    code = "import sys, pipelines.cli as cli\ntry: cli.app(['--help'])\nexcept SystemExit: pass\nprint(*sys.modules)"
    done = Ended.of(start(tmp_path, "-c", code, program=[sys.executable]))

    loaded = {name.partition(".")[0] for name in done.out.splitlines()[-1].split()}

    assert "click" in loaded
    assert loaded & set(HEAVY) == set()


def test_check_loads_no_engine(shop: Shop) -> None:
    """Only what reading the configuration needs: an editor may call it on every save."""
    code = "import sys, pipelines.cli as cli\ntry: cli.app(['check'])\nexcept SystemExit: pass\nprint(*sys.modules)"
    done = Ended.of(start(shop.folder, "-c", code, program=[sys.executable]))

    loaded = {name.partition(".")[0] for name in done.out.splitlines()[-1].split()}

    assert loaded & {"pandas", "polars", "requests", "prefect", "duckdb"} == set()


def test_a_lost_file_is_left_behind_by_a_rollback_and_its_rows_are_read_again(shop: Shop) -> None:
    """Verify and repair advise it; until then no run goes on from a commit that is not whole."""
    for shop.day in (1, 2):
        assert shop.run("shop").code == 0
    data = shop.folder / "data"
    lake = Lake(data, "shop")
    lost = next(file for file in lake.log.read(2).datasets["events"].files if file.commit == 2)
    for path in (lake.store / lost.path, data / "parquet/shop/events" / lost.view_path):
        path.unlink()

    lines = ("verify shop", "repair shop", "run shop", "rollback shop 1", "run shop", "verify shop")
    done = [call(shop.folder, *line.split()) for line in lines]

    assert [one.code for one in done] == [1, 1, 1, 0, 0, 0], done
    assert f"lost: {lost.path}" in done[1].out
    assert "`threadmill rollback shop COMMIT`" in done[1].out
    datasets = [f"shop/{name}" for name in lake.snapshot()]
    assert [seen(data, name) for name in datasets] == [expected(name, 2) for name in datasets]


def test_python_m_pipelines_is_threadmill(shop: Shop) -> None:
    for arguments in (["check"], ["--version"]):
        module = call(shop.folder, *arguments)
        script = Ended.of(start(shop.folder, *arguments, program=THREADMILL))

        assert (module.code, module.out, module.err) == (script.code, script.out, script.err)


def test_a_run_shows_a_table_of_80_columns_and_status_before_and_after_it_agrees(shop: Shop) -> None:
    before = call(shop.folder, "status", "--json")
    ran = shop.run()
    after = call(shop.folder, "status", "--json")
    for_people = call(shop.folder, "status")

    rows = {one["dataset"]: (one["rows"], one["files"] > 0, one["commit"]) for one in json.loads(after.out)}
    assert {one["dataset"] for one in json.loads(before.out)} == rows.keys()
    assert {(one["rows"], one["commit"]) for one in json.loads(before.out)} == {(0, None)}
    assert rows == {
        "bank.accounts": (3, True, 1),
        "shop.customers": (4, True, 1),
        "shop.events": (7, True, 1),
        "shop.orders": (12, True, 1),
    }
    assert (ran.code, after.code, for_people.code) == (0, 0, 0)
    lines = [*ran.out.splitlines(), *for_people.out.splitlines()]
    to_copy = ("Report:  ", "Parquet: ", "  pandas  ", "  DuckDB  ", "  Polars  ")
    assert max(len(line) for line in lines if not line.startswith(to_copy)) <= 80
    assert sum(line.startswith(to_copy) for line in lines) == 5
    assert re.search(r"^shop\.events +3 +7 +7 +7 +- +\d+\.\d  complete", ran.out, re.M)
    assert re.search(r"^26 rows written in \d+\.\d s \(run \d{8}T\d{6}-\w{6}\)$", ran.out, re.M)
    assert re.search(r"^shop\.events +7 +1 +\d\.\d\d +1  2024-01-01 09:00:00", for_people.out, re.M)
    assert {json.loads(line)["level"] for line in ran.err.splitlines()} == {"INFO"}


LOUD = """\
import subprocess

def loud(frame):
    print("printed by a transform", flush=True)
    subprocess.run(["echo", "said by another program"])
    return frame
"""


def test_what_a_transform_prints_is_not_in_what_a_command_answers(shop: Shop) -> None:
    """In a worker process, what the programs that it calls say, too; in a preview, what it prints itself."""
    (shop.folder / "loud.py").write_text(LOUD)
    shop.edit("bank.yaml", "    key: id\n", "    key: id\n    transform: loud:loud\n")
    folder = str(shop.folder)

    ran = shop.run("bank", "--json", THREADMILL_TRANSFORMS=folder)
    (shop.folder / "loud.py").write_text(LOUD.replace("subprocess.run", "len"))
    looked = call(shop.folder, "preview", "bank.accounts", "--json", THREADMILL_TRANSFORMS=folder)

    assert ran.resource("bank.accounts")["new"] == 3
    assert json.loads(looked.out)["rows"] == 3
    assert "said by another program" in ran.err
    assert ["printed by a transform" in one.err for one in (ran, looked)] == [True, True]


def test_k04_sigterm_ends_a_run_soon_and_keeps_what_was_fetched(shop: Shop) -> None:
    """While `bank` waits for its second page: the first is kept, `shop` is committed, the next run has all rows."""
    shop.day = 2
    shop.hold("/bank/accounts", page=2)
    data = shop.folder / "data"
    run = shop.start("--json")
    eventually(lambda: shop.is_holding)
    workers = children(run.pid)

    stopped = stop(run, signal.SIGTERM)

    assert stopped.code == 130, stopped
    assert "stopping; what was fetched is kept for the next run" in stopped.err
    assert "Traceback" not in stopped.err
    assert stopped.resource("bank.accounts")["problem"]["kind"] == "Interrupted"
    assert ended(workers, within_s=2)
    assert (data / "spool" / "bank" / "accounts.pages").stat().st_size > 0
    shop.hold("", page=0)
    again = shop.run("--json")
    assert (again.code, again.resource("bank.accounts")["resumed"]) == (0, 1)
    assert wrong_after(data, 2) == []


def test_k04_ctrl_c_ends_a_run_although_a_transform_never_returns(shop: Shop) -> None:
    """Its worker has two seconds to finish, then it is ended."""
    shop.write("../transforms/endless.py", ENDLESS.format(sign=str(shop.folder / "sign")))
    shop.edit("bank.yaml", "key: id", "key: id\n    transform: endless:wait")
    shop.write("settings.toml", f'workers = 2\ntransforms = "{shop.folder}/transforms"\n')
    run = shop.start("--json")
    eventually((shop.folder / "sign").exists)
    workers = children(run.pid)

    stopped = stop(run, signal.SIGINT)

    assert stopped.code == 130, stopped
    problem = stopped.resource("bank.accounts")["problem"]
    assert problem["kind"] == "Interrupted", problem
    assert ended(workers, within_s=2)


ENDLESS = """\
import threading
from pathlib import Path


def wait(frame):
    Path({sign!r}).touch()
    threading.Event().wait()
"""


def stop(run: subprocess.Popen[bytes], number: int) -> Ended:
    """Send the signal and wait: 5 s on a machine that has nothing else to do, here three times that."""
    run.send_signal(number)
    return Ended.of(run, timeout_s=15)


def test_the_exit_code_of_an_incomplete_run_is_3(api: FakeApi, tmp_path: Path) -> None:
    """The API tells of five records and gives three."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "few.yaml").write_text(
        f"base_url: {api.url}\nresources: {{rows: {{path: /rows, records: data, write: replace,"
        " paginate: {page_number: {total: total}}}}\n"
    )
    api.route("/rows", lambda asked: say({"data": [{"id": 1}] * 3 if asked.params["page"] == "1" else [], "total": 5}))

    ran = call(tmp_path, "run", "--json")

    assert (ran.code, ran.report["exit_code"]) == (3, 3)
    assert ran.resource("few.rows")["verdict"] == "incomplete"


def test_json_of_check_names_what_is_configured(shop: Shop) -> None:
    told = json.loads(call(shop.folder, "check", "--json").out)

    assert told["sources"] == {"bank": ["accounts"], "shop": ["customers", "orders", "events"]}
    assert (told["marts"], told["warnings"]) == ([], [])


def test_settings_tell_where_each_value_came_from(shop: Shop) -> None:
    told = call(shop.folder, "settings", THREADMILL_GRACE="5min").out

    assert re.search(r"^grace +5min +THREADMILL_GRACE *$", told, re.M)
    assert re.search(r"^workers +2 +config/settings.toml *$", told, re.M)
    assert re.search(r"^data +data +default *$", told, re.M)
    assert max(map(len, told.splitlines())) <= 80


def test_settings_show_brackets_those_of_a_profile_and_those_of_a_value(shop: Shop) -> None:
    shop.write("settings.toml", "[profiles.bundled]\nworkers = 2\n")

    told = call(shop.folder, "settings", "--profile", "bundled", THREADMILL_ENGINE_ADDRESS="a[/x]").out

    assert re.search(r"^workers +2 +config/settings.toml \[profiles.bundled\] *$", told, re.M)
    assert re.search(r"^engine_address +a\[/x\] +THREADMILL_ENGINE_ADDRESS *$", told, re.M)


def test_an_unknown_command_or_option_is_a_usage_error(tmp_path: Path) -> None:
    for arguments in ("rnu", "run --dta x"):
        told = call(tmp_path, *shlex.split(arguments))

        assert (told.code, told.out) == (2, "")
        assert "Error: No such" in told.err
