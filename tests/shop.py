"""A small project of two sources behind a fake API, whose rows are known in advance.

At *day* number n the API has exactly the rows that `expected` computes, too
simply to be wrong. `customers` are replaced, `orders` are their children and
upserted, `events` appended (two share each instant, so a day can end between
them), `accounts` of another source upserted with a lag.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq

from pipelines.load.lake import Lake
from tests.fake_api import Answer, Asked, FakeApi, say
from tests.processes import in_session, kill

ROOT = Path(__file__).parents[1]
DATASETS = ("shop/customers", "shop/orders", "shop/events", "bank/accounts")
Row = dict[str, Any]
Rows = list[tuple[Any, ...]]

_START = datetime(2024, 1, 1, tzinfo=UTC)
_SETTINGS = 'workers = 2\nkept_commits = 2\ngrace = "1s"\n'
_SHOP = """\
base_url: {url}/shop
limits: {{in_flight: 4}}
retry: {{attempts: 3, wait: 10ms}}
resources:
  customers:
    path: /customers
    records: data
    paginate: {{next_url: next}}
    key: id
    write: replace
  orders:
    for_each: {{resource: customers}}
    path: /customers/{{customers.id}}/orders
    carry: {{customer: id}}
    records: data
    paginate: none
    key: [customer, id]
    version: version
    write: upsert
    partition_by: customer
  events:
    path: /events
    records: data
    paginate: {{page_number: {{total: total}}}}
    incremental: {{cursor: at, since_param: since, start: 2024-01-01}}
    key: id
    write: append
    partition_by: day(at)
    columns: {{at: timestamp}}
"""
_BANK = """\
base_url: {url}/bank
retry: {{attempts: 3, wait: 10ms}}
resources:
  accounts:
    path: /accounts
    records: data
    paginate: {{next_url: next}}
    incremental: {{cursor: updated, since_param: since, start: 2024-01-01, lag: 2d}}
    key: id
    write: upsert
    columns: {{updated: timestamp}}
"""


class Shop:
    """The project in *folder* and the API behind it; `day` says how much the API has."""

    def __init__(self, api: FakeApi, folder: Path) -> None:
        self.api, self.folder, self.day = api, folder, 1
        self.is_holding = False
        self._held = ("", 0)
        self.write("settings.toml", _SETTINGS)
        self.write("shop.yaml", _SHOP.format(url=api.url))
        self.write("bank.yaml", _BANK.format(url=api.url))
        api.route("/shop/customers", lambda asked: self._pages(asked, customers(self.day), size=2))
        for customer in range(6):
            api.route(f"/shop/customers/{customer}/orders", self._orders(customer))
        api.route("/shop/events", lambda asked: self._pages(asked, _since(asked, events(self.day), "at"), size=3))
        api.route(
            "/bank/accounts", lambda asked: self._pages(asked, _since(asked, accounts(self.day), "updated"), size=4)
        )

    def write(self, name: str, text: str) -> Path:
        """Write a file of `config/`."""
        path = self.folder / "config" / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text)
        return path

    def edit(self, name: str, old: str, new: str) -> None:
        """Change a file of `config/`."""
        path = self.folder / "config" / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def hold(self, path: str, *, page: int) -> None:
        """Let requests for this page wait for a minute; `is_holding` tells when one does."""
        self._held, self.is_holding = (path, page), False

    def start(self, *arguments: str, data: Path | None = None, **env: str) -> subprocess.Popen[bytes]:
        """`python -m pipelines run`, as a process of its own session."""
        return start(self.folder, "run", "--data", str(data or self.folder / "data"), *arguments, **env)

    def run(self, *arguments: str, data: Path | None = None, **env: str) -> Ended:
        """The same, to its end."""
        return Ended.of(self.start(*arguments, data=data, **env))

    def _orders(self, customer: int) -> Any:
        return lambda asked: self._pages(asked, orders(self.day, customer), size=1000)

    def _pages(self, asked: Asked, rows: Sequence[Row], *, size: int) -> Answer:
        number = int(asked.params.get("page", 1))
        if self._held == (asked.path, number):
            self.is_holding = True
            return say({"data": [], "next": None}, delay_s=60)
        part = rows[(number - 1) * size : number * size]
        more = "&".join(f"{key}={value}" for key, value in asked.params.items() if key != "page")
        following = f"{self.api.url}{asked.path}?page={number + 1}&{more}"
        link = following if number * size < len(rows) else None
        return say({"data": [_written(row) for row in part], "total": len(rows), "next": link})


class Ended:
    """A run that has ended: its exit code and what it said."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    def __repr__(self) -> str:
        return f"exit code {self.code}\n{self.out}\n{self.err}"

    @classmethod
    def of(cls, process: subprocess.Popen[bytes], timeout_s: float = 60) -> Ended:
        """Wait for *process*; one that does not end in time is killed with all of its session, and shown."""
        try:
            out, err = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            kill([process.pid, *in_session(process.pid)])
            out, err = process.communicate(timeout=30)
            told = cls(process.returncode, out.decode(), err.decode())
            raise AssertionError(f"killed, as it had not ended after {timeout_s} s: {told}") from None
        return cls(process.returncode, out.decode(), err.decode())

    @property
    def report(self) -> dict[str, Any]:
        """What `--json` printed."""
        return dict(orjson.loads(self.out))

    def resource(self, name: str) -> dict[str, Any]:
        """The report of one resource, `source.resource`."""
        found = {f"{one['source']}.{one['resource']}": one for s in self.report["sources"] for one in s["resources"]}
        return dict(found[name])


def start(
    folder: Path, *arguments: str, program: Sequence[str] = (sys.executable, "-m", "pipelines"), **env: str
) -> subprocess.Popen[bytes]:
    """The command line in *folder*, in a session of its own, without the caller's settings."""
    command = [*program, *arguments]
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environment(**env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def environment(**env: str) -> Mapping[str, str]:
    """The caller's environment without settings of ours, as a terminal of 80 columns has it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("THREADMILL_")}
    return {**kept, "PYTHONPATH": str(ROOT), "COLUMNS": "80", **env}


def customers(day: int) -> list[Row]:
    """All customers; how often each was there changes every day."""
    return [{"id": number, "visits": day * 10 + number} for number in range(3 + day % 3)]


def orders(day: int, customer: int) -> list[Row]:
    """The orders of one customer; a third of them gets a new version each day."""
    rows = []
    for number in range(day + 2):
        version = max((when for when in range(day + 1) if (when + number) % 3 == 0), default=0)
        rows.append({"id": number, "version": version, "total": number * 100 + version})
    return rows


def events(day: int) -> list[Row]:
    """Seven events a day, two at each instant."""
    return [{"id": number, "at": _START + timedelta(hours=3 * (number // 2))} for number in range(7 * day)]


def accounts(day: int) -> list[Row]:
    """Three accounts a day; each is changed once, the day after it was made."""
    made = [(number, 1 + number // 3) for number in range(3 * day)]
    return [
        {"id": number, "updated": _START + timedelta(days=min(first + 1, day)), "changes": min(day - first, 1)}
        for number, first in made
    ]


def expected(dataset: str, day: int) -> Rows:
    """All rows of *dataset* once a run has read day number *day*."""
    if dataset == "shop/orders":
        # customers who left keep their orders: an upsert takes nothing away
        rows = [
            {**row, "customer": customer}
            for customer, last in _last_seen(day).items()
            for row in orders(last, customer)
        ]
    else:
        rows = {"shop/customers": customers, "shop/events": events, "bank/accounts": accounts}[dataset](day)
    return _sorted(rows)


def seen(data: Path, dataset: str) -> Rows:
    """All rows that a plain reader of the folder sees."""
    folder = data / "parquet" / dataset
    return as_rows(pq.read_table(folder, partitioning=None).to_pylist()) if folder.exists() else []


def as_rows(rows: list[Row]) -> Rows:
    """*rows* in the form and order that `expected` gives."""
    return _sorted(rows)


def wrong_now(data: Path, day: int) -> list[str]:
    """What readers see that they must not, while a run of *day* is or was at work: one line each."""
    problems = []
    for dataset in DATASETS:
        whole = [expected(dataset, day), expected(dataset, day - 1) if day > 1 else []]
        if seen(data, dataset) not in whole:
            problems.append(f"{dataset} shows no whole commit")
    for source, dataset, cursor in (("shop", "events", "at"), ("bank", "accounts", "updated")):
        lake = Lake(data, source)
        head = lake.head()
        state = head.datasets[dataset].state if head else None
        tables = [pq.ParquetFile(path).read([cursor]) for path in lake.snapshot().get(dataset, [])]
        newest = max((when for table in tables for when in table[cursor].to_pylist()), default=None)
        if state and (newest is None or datetime.fromisoformat(state["watermark"]["value"]) > newest):
            problems.append(f"the watermark of {dataset} is ahead of its rows")
    return problems


def wrong_after(data: Path, day: int) -> list[str]:
    """What is not as after an undisturbed run of *day*: one line each."""
    problems = [f"{name} has other rows" for name in DATASETS if seen(data, name) != expected(name, day)]
    for source in ("shop", "bank"):
        lake = Lake(data, source)
        named = {lake.store / path for number in lake.log.numbers() for path in lake.log.read(number).paths}
        stored = {path for path in lake.store.rglob("*") if path.is_file()}
        problems += [f"left over or lost: {path}" for path in named ^ stored]
        problems += [f"left over: {path}" for path in lake.tmp.iterdir()]
    spooled = data / "spool"
    left = [path for path in (spooled.rglob("*") if spooled.is_dir() else ()) if path.is_file()]
    problems += [f"left over: {path}" for path in left if "kept" not in path.parts]
    return problems


def _last_seen(day: int) -> dict[int, int]:
    return {row["id"]: when for when in range(1, day + 1) for row in customers(when)}


def _since(asked: Asked, rows: list[Row], cursor: str) -> list[Row]:
    since = datetime.fromisoformat(asked.params["since"])
    return [row for row in rows if row[cursor] >= since]


def _written(row: Row) -> Row:
    return {key: value.isoformat() if isinstance(value, datetime) else value for key, value in row.items()}


def _sorted(rows: list[Row]) -> Rows:
    return sorted(tuple(sorted((key, _plain(value)) for key, value in row.items())) for row in rows)


def _plain(value: Any) -> Any:
    return value.astimezone(UTC).replace(tzinfo=None).isoformat() if isinstance(value, datetime) else value
