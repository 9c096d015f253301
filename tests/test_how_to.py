"""The how-to pages: each source file is run, and needs the requests and gives the rows that the page says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipelines.config.project import load_project
from pipelines.report.result import RunReport, SourceReport
from pipelines.run import run
from tests.fake_api import Answer, Asked, FakeApi, fake_api, say

ROOT = Path(__file__).parents[1]
PAGES = sorted(path for path in (ROOT / "docs" / "how-to").glob("*.md") if path.stem != "index")
ENV = {"FORGE_TOKEN": "a-token-of-the-test", "SHOP_ID": "an-id-of-the-test", "SHOP_SECRET": "a-secret-of-the-test"}
ROWS = [{"id": number, "total": f"{number}.50", "full_name": f"acme/{number}"} for number in range(1, 251)]
_YAML = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)
_SAID = re.compile(
    r"^> A first run: (\d+) requests?, (\d+) rows, (\w+)\. The next: (\d+) requests?, (\d+) rows, (\w+)\."
)
_START = datetime.fromisoformat("2024-03-01T00:00:00+00:00")

Said = tuple[int, int, str]


@dataclass(frozen=True)
class Ran:
    """All files of the how-to pages in one project, run twice."""

    reports: tuple[RunReport, RunReport]
    api: FakeApi

    def of(self, page: Path) -> list[SourceReport]:
        """What both runs say of the file of *page*."""
        return [one for report in self.reports for one in report.sources if one.source == name_of(page)]


def name_of(page: Path) -> str:
    return page.stem.replace("-", "_")


def example(page: Path) -> str:
    """The source file that *page* shows."""
    (found,) = _YAML.findall(page.read_text(encoding="utf-8"))
    return str(found)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    folder = tmp_path_factory.mktemp("how-to")
    with fake_api() as api:
        (folder / "config").mkdir()
        for page in PAGES:
            name = name_of(page)
            text = re.sub(r"https://auth[^/]*", f"{api.url}/{name}", example(page))
            text = re.sub(r"^base_url: https://[^/\n]*", f"base_url: {api.url}/{name}", text, flags=re.MULTILINE)
            (folder / "config" / f"{name}.yaml").write_text(text, encoding="utf-8")
        serve(api)
        project = load_project({**ENV, "THREADMILL_WORKERS": "1"}, root=folder, data=folder / "data")
        yield Ran((run(project), run(project)), api)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_each_page_says_what_two_runs_of_its_file_do(ran: Ran, page: Path) -> None:
    (said,) = [found for line in page.read_text(encoding="utf-8").splitlines() if (found := _SAID.match(line))]

    told = [figures(one) for one in ran.of(page)]

    assert [one.problem for one in ran.of(page)] == [None, None]
    assert told == [(int(said[1]), int(said[2]), said[3]), (int(said[4]), int(said[5]), said[6])]


def test_no_page_needs_a_warning(ran: Ran) -> None:
    assert [(report.warnings, report.problems) for report in ran.reports] == [((), []), ((), [])]


def test_the_list_of_pages_leads_to_all_of_them() -> None:
    index = (ROOT / "docs" / "how-to" / "index.md").read_text(encoding="utf-8")

    assert [page.name for page in PAGES if f"]({page.name})" not in index] == []


def figures(report: SourceReport) -> Said:
    """Requests and rows of all resources, and the worst verdict."""
    order = ("complete", "unproved", "skipped", "incomplete", "failed")
    worst = max((one.verdict for one in report.resources), key=order.index)
    return sum(one.requests for one in report.resources), sum(one.rows_written for one in report.resources), worst


def serve(api: FakeApi) -> None:
    """Answers in the shapes that the pages show."""
    api.route("/page_number/v1/orders", lambda asked: say(_numbered(asked, "orders", total_in="meta")))
    api.route("/offset/v1/items", _skipped)
    api.route("/cursor/v1/contacts", _by_token)
    api.route("/link_header/orgs/acme/repos", lambda asked: _linked(api, asked))
    api.route("/post_search/orders/_search", _searched)
    api.route("/graphql/graphql", _connection)
    api.route("/parents_and_children/v1/customers", lambda asked: say([{"id": n} for n in range(20)]))
    for customer in range(20):
        api.route(f"/parents_and_children/v1/customers/{customer}/invoices", _invoices(customer))
    api.route("/incremental/v1/orders", _changed)
    api.route("/windows/api/reports/spend", _spent)
    lines = [{"id": n, "at": f"2024-01-01T{n // 60:02}:{n % 60:02}:00Z"} for n in range(120)]
    api.answer("/lines_and_csv/export/events.ndjson", _text("\n".join(map(json.dumps, lines)), "application/x-ndjson"))
    table = "id,city,opened\n" + "".join(f"{n},Paris,2019-04-{n + 1:02}\n" for n in range(10))
    api.answer("/lines_and_csv/export/stores.csv", _text(table, "text/csv"))
    api.answer("/oauth2/token", say({"access_token": "an-access-token", "expires_in": 3600}))
    api.route("/oauth2/v1/orders", _with_token)
    days = [str(date(2024, 1, 1) + timedelta(days=n)) for n in range(30)]
    api.answer("/columns_and_keys/v1/forecast", say({"daily": {"date": days, "t_max": [n / 2 for n in range(30)]}}))
    api.answer("/columns_and_keys/v1/rates", say({"rates": {day: {"USD": 1.1, "JPY": 155.6} for day in days}}))


def _numbered(asked: Asked, field: str, *, total_in: str | None = None) -> dict[str, Any]:
    number, size = int(asked.params["page"]), int(asked.params["per_page"])
    part = ROWS[(number - 1) * size : number * size]
    return {field: part, total_in: {"total": len(ROWS)}} if total_in else {field: part, "total": len(ROWS)}


def _skipped(asked: Asked) -> Answer:
    start, size = int(asked.params["offset"]), int(asked.params["limit"])
    return say({"items": ROWS[start : start + size], "total": len(ROWS)})


def _by_token(asked: Asked) -> Answer:
    start = int(asked.params.get("cursor", "at-0").removeprefix("at-"))
    more = f"at-{start + 100}" if start + 100 < len(ROWS) else None
    return say({"results": ROWS[start : start + 100], "paging": {"next": more}})


def _linked(api: FakeApi, asked: Asked) -> Answer:
    if asked.headers.get("authorization") != f"Bearer {ENV['FORGE_TOKEN']}":
        return say({}, 401)
    number = int(asked.params.get("page", 1))
    following = f"{api.url}{asked.path}?per_page=100&page={number + 1}"
    headers = {"Link": f'<{following}>; rel="next"'} if number < 3 else {}
    return say(ROWS[(number - 1) * 100 : number * 100], headers=headers)


def _searched(asked: Asked) -> Answer:
    body = json.loads(asked.body)
    assert body["query"] == {"match": {"status": "open"}}
    hits = [{"_id": str(row["id"]), "_source": row} for row in ROWS[body["from"] : body["from"] + body["size"]]]
    return say({"hits": {"total": {"value": len(ROWS)}, "hits": hits}})


def _connection(asked: Asked) -> Answer:
    start = int(json.loads(asked.body)["variables"]["after"] or 0)
    nodes = [{**row, "customer": {"id": row["id"], "name": "Ada"}} for row in ROWS[start : start + 100]]
    info = {"hasNextPage": start + 100 < len(ROWS), "endCursor": str(start + 100)}
    return say({"data": {"orders": {"totalCount": len(ROWS), "nodes": nodes, "pageInfo": info}}})


def _invoices(customer: int) -> Any:
    rows = [{"number": n, "total": "9.50"} for n in range(3)]
    return lambda asked: say({"message": "gone"}, 404) if customer == 19 else say(rows)


def _changed(asked: Asked) -> Answer:
    since = datetime.fromisoformat(asked.params["updated_since"])
    rows: Sequence[dict[str, Any]] = [
        {"id": n, "status": "paid", "created_at": "2024-02-01T00:00:00Z", "updated_at": _START + timedelta(hours=n)}
        for n in range(48)
    ]
    return say({"data": [{**row, "updated_at": str(row["updated_at"])} for row in rows if row["updated_at"] >= since]})


def _spent(asked: Asked) -> Answer:
    first, last = (date.fromisoformat(asked.params[name]) for name in ("from", "to"))
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    return say({"rows": [{"date": str(day), "campaign": n, "spend": 12.5} for day in days for n in (1, 2)]})


def _with_token(asked: Asked) -> Answer:
    if asked.headers.get("authorization") != "Bearer an-access-token":
        return say({}, 401)
    return say(_numbered(asked, "orders"))


def _text(body: str, kind: str) -> Answer:
    return Answer(body=body.encode(), headers={"Content-Type": kind})
