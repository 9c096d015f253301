"""Looking before a run: what it would ask, what its rows would be; and looking at what is committed."""

from __future__ import annotations

import re
import traceback
from pathlib import Path
from urllib.parse import parse_qs

import pytest

import pipelines
from tests.commands.calls import answer, threadmill
from tests.fake_api import Answer, Asked, FakeApi, say
from tests.shop import Shop

DAY_ONE = {"shop.customers": 4, "shop.orders": 12, "shop.events": 7, "bank.accounts": 3}


@pytest.fixture
def shop(api: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A project of two sources, in whose folder commands are called."""
    monkeypatch.chdir(tmp_path)
    return Shop(api, tmp_path)


@pytest.fixture
def ran(shop: Shop) -> Shop:
    """The same after one run."""
    assert shop.run().code == 0
    return shop


def test_a_plan_asks_no_api_and_knows_after_a_run_what_comes(ran: Shop) -> None:
    """As many chains as there are questions, as many pages as the last run needed; one for each customer's orders."""
    before = sum(ran.api.calls.values())

    planned = {one["name"]: one for source in answer("plan").values() for one in source["resources"]}

    assert sum(ran.api.calls.values()) == before
    assert {name: (one["chains"], one["requests"]) for name, one in planned.items()} == {
        "shop.customers": (1, 2),
        "shop.orders": (4, 4),
        "shop.events": (1, 3),
        "bank.accounts": (1, 1),
    }
    assert planned["shop.events"]["since"].startswith("2024-01-01T09:00")
    assert planned["shop.customers"]["size_bytes"] > 50
    assert planned["shop.orders"]["basis"].startswith("run ")


def test_before_the_first_run_a_probe_of_two_pages_tells_how_many_there_are(shop: Shop) -> None:
    """Seven events, three a page; who paginates by links does not tell."""
    without = {one["name"]: one["requests"] for one in answer("plan", "shop")["shop"]["resources"]}

    probed = {one["name"]: one for one in answer("plan", "shop", "--probe")["shop"]["resources"]}

    assert without == {"shop.customers": None, "shop.orders": None, "shop.events": None}
    assert (probed["shop.events"]["requests"], probed["shop.events"]["basis"]) == (3, "probe, all are known")
    assert not (shop.folder / "data").exists()


def test_a_plan_tells_which_folders_a_run_would_rewrite_and_which_columns_would_change(ran: Shop) -> None:
    """Before a second commit two pages tell; afterwards the last commit does, and nobody is asked."""
    before = {one["name"]: one["impact"] for one in answer("plan", "shop")["shop"]["resources"]}
    ran.api.route("/shop/customers", lambda asked: say({"data": [{"id": 9, "visits": 1.5, "tier": "gold"}]}))
    ran.api.route("/customers/9/orders", lambda asked: say({"data": []}))
    ran.api.route("/shop/customers/9/orders", lambda asked: say({"data": []}))
    probed = {one["name"]: one["impact"] for one in answer("plan", "shop", "--probe")["shop"]["resources"]}
    told = threadmill("plan", "shop", "--probe").stdout
    ran.day = 2
    ran.api.route("/shop/customers", lambda asked: say({"data": [{"id": 1, "visits": 2}]}))
    assert ran.run().code == 0
    after = {one["name"]: one["impact"] for one in answer("plan", "shop")["shop"]["resources"]}

    assert (before["shop.orders"]["partitions"], before["shop.orders"]["rewritten"]) == (4, None)
    assert (before["shop.events"]["rewritten"], before["shop.events"]["basis"]) == (0, "write: append")
    assert (before["shop.customers"]["rewritten"], before["shop.customers"]["basis"]) == (1, "write: replace")
    changes = ["column tier is new: string", "column visits was int64, is double"]
    assert probed["shop.customers"]["schema_changes"] == changes
    assert "shop.customers: column tier is new: string" in told
    assert max(map(len, told.splitlines())) <= 80
    assert after["shop.orders"]["named"] == ["by_customer=1"]
    assert (after["shop.orders"]["rewritten"], after["shop.orders"]["basis"]) == (1, "commit 2")


def test_a_plan_tells_what_share_of_its_budgets_a_run_takes(ran: Shop) -> None:
    ran.edit("bank.yaml", "retry:", "limits: {rate: 20/h, daily: 1000}\nretry:")

    assert answer("plan", "bank")["bank"]["budget"] == {"20 an hour": 0.05, "1,000 a day": 0.001}
    assert "5.0% of 20 an hour, 0.1% of 1,000 a day" in " ".join(threadmill("plan", "bank").stdout.split())


def test_a_preview_shows_typed_transformed_and_checked_rows_and_writes_nothing(shop: Shop) -> None:
    shop.write("../transforms/double.py", "def double(frame):\n    return frame.assign(twice=frame['visits'] * 2)\n")
    shop.write("settings.toml", f'transforms = "{shop.folder}/transforms"\n')
    checks = "[{between: {visits: [0, 10]}, severity: quarantine}]"
    found = "    key: id\n    write: replace\n"
    shop.edit("shop.yaml", found, f"{found}    transform: double:double\n    expect: {checks}\n")

    seen = answer("preview", "shop.customers")

    assert seen["columns"] == {"id": "int64", "visits": "int64", "twice": "int64"}
    assert seen["sample"] == [{"id": 0, "visits": 10, "twice": 20}]
    assert seen["aside"] == 1
    assert len(seen["broken"]) == 1
    assert not (shop.folder / "data").exists()


def test_a_preview_of_a_child_asks_for_the_first_record_of_its_parent(shop: Shop) -> None:
    seen = answer("preview", "shop.orders", "--rows", "1")

    assert (seen["rows"], seen["sample"][0]["customer"]) == (3, 0)
    assert seen["request"].endswith("/shop/customers/0/orders")


def test_a_preview_carries_the_field_of_a_record_as_a_run_does(shop: Shop) -> None:
    """The orders of `eu` have a field `region` of their own."""
    shop.api.answer("/eu/orders", say([{"id": 1, "region": "EMEA"}]))
    shop.api.answer("/eu/orders/1/lines", say([{"line": 7}]))
    (shop.folder / "config/trade.yaml").write_text(f"""\
base_url: {shop.api.url}
resources:
  orders: {{path: "/{{region}}/orders", for_each: {{values: {{region: [eu]}}}}}}
  lines:
    path: /{{region}}/orders/{{orders.id}}/lines
    for_each: {{resource: orders}}
    carry: {{of: region}}
""")

    assert answer("preview", "trade.lines")["sample"] == [{"line": 7, "of": "EMEA"}]


def test_a_preview_tells_what_is_wrong_with_an_answer(shop: Shop) -> None:
    shop.api.route("/bank/accounts", lambda asked: say({"error": "gone"}, status=404))

    told = threadmill("preview", "bank.accounts")
    unknown = threadmill("preview", "shop.customer")

    assert told.exit_code == 1
    assert "404" in told.stderr
    assert unknown.exit_code == 2
    assert "did you mean customers?" in unknown.stderr


def test_s22_a_preview_prints_no_secret_that_no_header_can_hold(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable was read from a file that ends with a line break."""
    monkeypatch.setenv("BANK_TOKEN", "c4nary-s3cret\n")
    shop.edit("bank.yaml", "retry:", 'auth: {bearer: "${BANK_TOKEN}"}\nretry:')

    told = threadmill("preview", "bank.accounts")

    assert (told.exit_code, "config/bank.yaml:2: auth.bearer: holds a control" in told.stderr) == (2, True)
    assert "c4nary" not in told.output + "".join(traceback.format_exception(told.exception))


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(("preview", "bank.accounts"), id="preview"),
        pytest.param(("check", "bank", "--online"), id="check"),
        pytest.param(("plan", "bank", "--probe"), id="plan"),
    ],
)
def test_a_look_keeps_the_refresh_token_that_it_got_for_the_next_run(shop: Shop, command: tuple[str, ...]) -> None:
    """Each is good for one use."""
    good = ["refresh-number-0"]

    def renew(asked: Asked) -> Answer:
        if parse_qs(asked.body.decode())["refresh_token"] != good:
            return say({"error": "invalid_grant"}, status=400)
        good[0] = f"refresh-number-{shop.api.calls['/token']}"
        return say({"access_token": "access", "refresh_token": good[0]})

    shop.api.route("/token", renew)
    auth = f"{{token_url: {shop.api.url}/token, client_id: c, refresh_token: refresh-number-0}}"
    shop.edit("bank.yaml", "retry:", f"auth: {{oauth2_refresh_token: {auth}}}\nretry:")

    codes = [threadmill(*command).exit_code for _ in range(2)] + [threadmill("run", "bank").exit_code]

    assert codes == [0, 0, 0]
    assert good == ["refresh-number-3"]


@pytest.mark.usefixtures("ran")
def test_show_tells_rows_columns_and_a_sample_of_every_dataset() -> None:
    for name, rows in DAY_ONE.items():
        shown = answer("show", name, "--rows", "2")

        assert (shown["rows"], len(shown["sample"])) == (rows, 2)
    assert [one["name"] for one in shown["columns"]] == ["updated", "id", "changes"]
    assert "bank.accounts: 3 rows, 3 columns" in threadmill("show", "bank.accounts").stdout
    assert "it has: accounts" in threadmill("show", "bank.account").stderr


def test_show_tells_what_columns_mean_and_their_unit(shop: Shop) -> None:
    shop.edit(
        "shop.yaml", "write: replace", "write: replace\n    columns: {visits: {description: paid ones, unit: a day}}"
    )
    assert shop.run("shop").code == 0

    shown = answer("show", "customers")

    assert {one["name"]: one["meaning"] for one in shown["columns"]} == {"id": "", "visits": "paid ones (a day)"}


@pytest.mark.usefixtures("ran")
def test_sql_answers_over_all_datasets_and_tells_what_is_wrong_with_a_query() -> None:
    found = answer(
        "sql", "select count(*) as n, max(o.total) as top from shop.orders o join bank.accounts a using (id)"
    )
    wrong = threadmill("sql", "select nothing from shop.nobody")

    assert found == [{"n": 12, "top": 201}]
    assert (wrong.exit_code, wrong.stdout) == (2, "")
    assert "nobody" in wrong.stderr
    assert "Traceback" not in wrong.stderr


@pytest.mark.usefixtures("shop")
def test_sql_tells_columns_of_one_name_apart() -> None:
    """As DuckDB does it for a DataFrame; where the table is too wide, each row is a list, which has them as well."""
    query = "select 1 as a, 2 as a, 3 as a_1, 4 as a"

    found = answer("sql", query)
    table = threadmill("sql", query).stdout
    wide = threadmill("sql", "select " + ", ".join(["repeat('x', 40) as b"] * 3)).stdout

    assert found == [{"a": 1, "a_1": 2, "a_1_1": 3, "a_2": 4}]
    assert list(found[0]) == pipelines.sql(query).df().columns.tolist()
    assert [line.split() for line in table.splitlines()] == [["a", "a_1", "a_1_1", "a_2"], ["1", "2", "3", "4"]]
    assert [line.split()[0] for line in wide.splitlines() if line] == ["b", "b_1", "b_2"]


@pytest.mark.usefixtures("shop")
def test_sql_prints_no_rows_where_there_are_none() -> None:
    assert answer("sql", "/* nothing */") == []
    assert answer("sql", "create table t (a int)") == []
    assert answer("sql", "select 1 as a where false") == []
    assert threadmill("sql", "/* nothing */").output == ""


@pytest.mark.usefixtures("shop")
def test_doctor_finds_this_machine_fit_and_leaves_nothing_behind(tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))

    found = {one["what"]: one for one in answer("doctor")}

    assert found.keys() >= {
        "threadmill",
        "packages",
        "Prefect",
        "charts",
        "processors",
        "memory",
        "disk",
        "file system",
        "clock",
    }
    assert {one["state"] for one in found.values()} <= {"ok", "warning"}
    assert sorted(tmp_path.rglob("*")) == before


def test_doctor_notices_a_commit_from_the_future(ran: Shop) -> None:
    log = ran.folder / "data" / "lake" / "shop" / "log"
    (document,) = log.glob("*.json")
    document.chmod(0o644)
    document.write_text(re.sub(r'"created_at": "\d{4}', '"created_at": "2999', document.read_text()))

    told = threadmill("doctor")

    assert told.exit_code == 1
    assert "the newest commit is from the future: set the clock" in told.stdout


def test_a_new_transform_can_be_used_at_once_and_never_replaces_one(shop: Shop) -> None:
    shop.write("settings.toml", f'transforms = "{shop.folder}/transforms"\n')
    made = answer("new", "transform", "clean_orders")
    shop.edit("bank.yaml", "key: id", f"key: id\n    transform: {made['transform']}")

    again = threadmill("new", "transform", "clean_orders")
    bad = threadmill("new", "transform", "Clean-Orders")

    assert answer("preview", "bank.accounts")["rows"] == 3
    assert (again.exit_code, bad.exit_code) == (2, 2)
    assert "is there already" in again.stderr
