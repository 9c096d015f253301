"""A project whose API holds rows that a test changes between runs, asked by time; runs are made in this process."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pipelines.config.project import load_project
from pipelines.load.lake import Lake
from pipelines.report.result import ResourceReport, SourceReport
from pipelines.report.spans import Span
from pipelines.source_run import Shared, run_source
from tests.engines import Here
from tests.fake_api import Answer, Asked, FakeApi, say

IsDue = Callable[[dict[str, Any], str], bool]
"""Whether the API gives a row when it is asked from a lower bound on."""

NOW = datetime(2024, 6, 1, 12, tzinfo=UTC)
SOURCE = """\
base_url: {url}
limits: {{in_flight: 2}}
retry: {{attempts: 2, wait: 10ms}}
resources:
  rows:
    path: /rows
    records: data
    paginate: {{page_number: {{total: total}}}}
    incremental: {{cursor: at, since_param: since, until_param: until, start: 2024-01-01{incremental}}}
    key: id
    write: {write}
{more}"""


class LedgerApi:
    """The API, the project that reads it, and its runs; `rows` is what the API has now."""

    def __init__(self, api: FakeApi, folder: Path) -> None:
        self.api, self.folder, self.data = api, folder, folder / "data"
        self.rows: list[dict[str, Any]] = []
        self.headers: dict[str, str] = {}
        self.page_size = 3
        self.is_half_open = False
        api.route("/rows", self._page)

    def configure(
        self, *, write: str = "upsert", incremental: str = "", more: str = "    columns: {at: timestamp}\n"
    ) -> None:
        """Write the source file; `incremental` and `more` are added to the resource."""
        (self.folder / "config").mkdir(exist_ok=True)
        text = SOURCE.format(url=self.api.url, write=write, incremental=incremental, more=more)
        (self.folder / "config" / "ledger.yaml").write_text(text)

    def run(self, *, now: datetime = NOW, span: Span | None = None) -> SourceReport:
        """One run, or a backfill of *span*."""
        project = load_project({}, root=self.folder, data=self.data)
        return run_source(project.sources["ledger"], Shared("r", now, project.settings, Here()), span)

    def read(self, **how: Any) -> ResourceReport:
        """The same; what became of the one resource, which must not have failed."""
        (report,) = self.run(**how).resources
        assert report.problem is None, report.problem
        return report

    def stored(self, *names: str) -> list[Any]:
        """What a plain reader sees, sorted: the values of one column, or tuples of several."""
        folder = self.data / "parquet" / "ledger" / "rows"
        if not folder.exists():
            return []
        rows = pq.read_table(folder, partitioning=None).to_pylist()
        return sorted(row[names[0]] if len(names) == 1 else tuple(row[name] for name in names) for row in rows)

    def state(self) -> Any:
        """Where the next run goes on, as the last commit has it; None before the first."""
        head = Lake(self.data, "ledger").head()
        return head.datasets["rows"].state if head else None

    def notes(self) -> list[str]:
        """What each commit says of itself."""
        lake = Lake(self.data, "ledger")
        return [lake.log.read(number).note for number in lake.log.numbers()]

    def serve(self, is_due: IsDue) -> None:
        """Let the API give the rows that are due for a lower bound, whatever the upper one."""

        def page(asked: Asked) -> Answer:
            due = [row for row in self.rows if is_due(row, asked.params["since"])]
            first = (int(asked.params.get("page", 1)) - 1) * self.page_size
            return say({"data": due[first : first + self.page_size], "total": len(due)})

        self.api.route("/rows", page)

    def asked(self, param: str) -> list[str]:
        """The values of *param* in the requests so far, without repeats, in order."""
        return list(dict.fromkeys(one.params.get(param, "") for one in self.api.asked))

    def _page(self, asked: Asked) -> Answer:
        since, until = (datetime.fromisoformat(asked.params[name]) for name in ("since", "until"))
        due = [row for row in self.rows if not isinstance(row.get("at"), str) or since <= instant(row["at"]) <= until]
        if self.is_half_open:
            due = [row for row in due if instant(row["at"]) < until]
        first = (int(asked.params.get("page", 1)) - 1) * self.page_size
        return say({"data": due[first : first + self.page_size], "total": len(due)}, headers=self.headers)


def later(days: float) -> datetime:
    """So long after `NOW`."""
    return NOW + timedelta(days=days)


def instant(text: str) -> datetime:
    """A row's time as the API itself understands it."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def row(number: int, at: str, **more: Any) -> dict[str, Any]:
    """A row of the API."""
    return {"id": number, "at": at, **more}


MAY = [row(number, f"2024-05-{number:02}T00:00:00Z", price="1.50") for number in range(1, 9)]
"""Eight rows, one each day."""
