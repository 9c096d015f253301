"""Faults that loop, lose or falsify rows elsewhere: what whole runs say of them, and what is stored."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.config.project import load_project
from pipelines.report.result import ResourceReport
from pipelines.source_run import Shared, run_source
from tests.engines import Here
from tests.fake_api import Answer, Asked, FakeApi, say

SOURCE = """\
base_url: {url}
retry: {{attempts: 2, wait: 10ms}}
resources:
{resources}"""
ROWS = [{"id": number, "size": number * 10} for number in range(1, 13)]


class Small:
    """A project of a few resources; each run is made in this process."""

    def __init__(self, api: FakeApi, folder: Path) -> None:
        self.api, self.folder = api, folder

    def configure(self, **resources: str) -> None:
        """Write the source file: for each resource its lines, the path aside."""
        (self.folder / "config").mkdir(exist_ok=True)
        written = "".join(f"  {name}: {{path: /{name}, {more}}}\n" for name, more in resources.items())
        (self.folder / "config" / "small.yaml").write_text(SOURCE.format(url=self.api.url, resources=written))

    def run(self) -> dict[str, ResourceReport]:
        """One run; its resources' reports."""
        project = load_project({}, root=self.folder, data=self.folder / "data")
        shared = Shared("r", datetime.now(UTC), project.settings, Here())
        return {one.resource: one for one in run_source(project.sources["small"], shared).resources}

    def table(self, resource: str = "rows") -> pa.Table | None:
        """What a plain reader sees; None where nothing is."""
        folder = self.folder / "data" / "parquet" / "small" / resource
        return pq.read_table(folder, partitioning=None) if folder.exists() else None

    def ids(self, resource: str = "rows") -> list[Any]:
        """The ids that a plain reader sees, sorted."""
        table = self.table(resource)
        return sorted(table["id"].to_pylist()) if table is not None and len(table) else []


@pytest.fixture
def small(api: FakeApi, tmp_path: Path) -> Small:
    """A project without configuration."""
    return Small(api, tmp_path)


def test_a_token_that_comes_again_ends_the_run_with_an_error(small: Small) -> None:
    """Two requests, no rows; nothing is asked for ever."""
    small.configure(rows="records: data, paginate: {cursor: {from: next, param: cursor}}, key: id, write: upsert")
    small.api.answer("/rows", say({"data": ROWS, "next": "again"}))

    (problem,) = [one.problem for one in small.run().values()]

    assert problem is not None
    assert problem.kind == "PaginationLoop"
    assert small.api.calls["/rows"] <= 3
    assert small.table() is None


@pytest.mark.parametrize(
    "paginate",
    [
        pytest.param("{offset: {size: 4, total: total}}", id="a-total"),
        pytest.param("{offset: {size: 4, overlap: 1}}", id="overlapping-pages"),
        pytest.param("{offset: {size: 4}}", id="nothing-tells"),
    ],
)
def test_a_row_that_moves_between_pages_is_never_lost_in_silence(small: Small, paginate: str) -> None:
    """The first row is deleted after page 1: the row that page 2 began with is now the last of page 1."""
    small.configure(rows=f"records: data, paginate: {paginate}, key: id, write: upsert")
    rows = list(ROWS)

    def page(asked: Asked) -> Answer:
        start = int(asked.params.get("offset", 0))
        answer = say({"data": rows[start : start + 4], "total": len(rows)})
        if start == 0 and len(rows) == len(ROWS):
            del rows[0]
        return answer

    small.api.route("/rows", page)

    report = small.run()["rows"]
    lost = set(range(2, 13)) - set(small.ids())
    again = small.run()["rows"]

    assert not lost or report.verdict != "complete"
    assert again.problem is None
    assert set(small.ids()) >= set(range(2, 13))


def test_an_error_body_under_200_is_neither_a_row_nor_a_success(small: Small) -> None:
    """Without a rule it is RecordsMissing, with one ApiError; what was committed stays."""
    lines = "records: data, paginate: none, key: id, write: upsert"
    small.configure(rows=lines)
    small.api.answer("/rows", say({"data": ROWS}), say({"error": {"code": "QUOTA"}}))
    small.run()

    without_rule = small.run()["rows"].problem
    small.configure(rows=lines + ", errors: [{status: 200, when: error.code == 'QUOTA', do: fail}]")
    with_rule = small.run()["rows"].problem

    assert [one and one.kind for one in (without_rule, with_rule)] == ["RecordsMissing", "ApiError"]
    assert small.ids() == [row["id"] for row in ROWS]


def test_one_endpoint_that_answers_404_costs_the_healthy_one_nothing(small: Small) -> None:
    small.configure(gone="paginate: none, write: replace", rows="records: data, paginate: none, write: replace")
    small.api.answer("/rows", say({"data": ROWS}))

    reports = small.run()

    assert reports["gone"].problem is not None
    assert (reports["gone"].problem.kind, reports["gone"].verdict) == ("HttpError", "failed")
    assert (reports["rows"].problem, len(small.ids())) == (None, 12)
    assert small.table("gone") is None


def test_page_numbers_begin_at_one(small: Small) -> None:
    """The API takes page 0 for page 1, as many do: beginning there would store the first page twice."""
    small.configure(rows="records: data, paginate: page_number, write: append")

    def page(asked: Asked) -> Answer:
        number = max(1, int(asked.params.get("page", 1)))
        return say({"data": ROWS[(number - 1) * 5 : number * 5]})

    small.api.route("/rows", page)

    report = small.run()["rows"]

    assert (report.problem, small.ids()) == (None, [row["id"] for row in ROWS])
    assert {asked.params["page"] for asked in small.api.asked} >= {"1", "2", "3"}
    assert "0" not in {asked.params["page"] for asked in small.api.asked}


@pytest.mark.parametrize("write", ["append", "upsert", "replace"])
def test_a_first_page_of_nulls_settles_no_type(small: Small, write: str) -> None:
    """Nulls in the first run and on the first page of the second; then numbers and objects come."""
    small.configure(rows=f"records: data, paginate: {{next_url: next}}, key: id, write: {write}")
    empty = [{"id": number, "size": None, "place": None} for number in (1, 2)]
    full = [{"id": 3, "size": 2**53 + 1, "place": {"x": 1.5}}]
    small.api.answer("/rows", say({"data": empty, "next": None}))
    small.run()
    small.api.route(
        "/rows",
        lambda asked: say({"data": full if asked.params else empty, "next": None if asked.params else "/rows?p=2"}),
    )

    report = small.run()["rows"]

    table = small.table()
    assert report.problem is None
    assert table is not None
    assert {row["size"] for row in table.to_pylist()} == {None, 2**53 + 1}
    assert {"x": 1.5} in table["place"].to_pylist()


@pytest.mark.parametrize("body", [{"data": []}, None], ids=["an-empty-list", "no-content"])
def test_nothing_after_a_full_table_empties_it_only_where_it_may(small: Small, body: object) -> None:
    lines = "records: data, paginate: none, write: replace"
    small.configure(rows=lines)
    small.api.answer("/rows", say({"data": ROWS}), say(body) if body else Answer(204, b""))
    small.run()

    refused = small.run()["rows"].problem
    kept = small.ids()
    small.configure(rows=lines + ", allow_empty: true")
    allowed = small.run()["rows"]

    assert refused is not None
    assert (refused.kind, len(kept)) == ("ExpectationFailed", 12)
    assert "allow_empty" in refused.hint
    assert (allowed.problem, small.ids()) == (None, [])


@pytest.mark.parametrize(
    ("more", "stored", "rejected"),
    [
        pytest.param("write: upsert", [], 0, id="the-page-is-refused"),
        pytest.param(
            "write: upsert, expect: [{not_null: id, severity: quarantine}]", [1, 2], 1, id="the-row-is-set-aside"
        ),
    ],
)
def test_g20_a_row_without_its_key_fails_the_run_or_is_set_aside_by_option(
    small: Small, more: str, stored: list[int], rejected: int
) -> None:
    """Set aside, it is counted, and kept with its reason, once however often it is read."""
    small.configure(rows=f"records: data, paginate: none, key: id, {more}")
    small.api.answer("/rows", say({"data": [{"id": 1, "n": 1}, {"id": None, "n": 2}, {"id": 2, "n": 3}]}))

    small.run()
    report = small.run()["rows"]

    assert (report.problem and report.problem.kind) == (None if rejected else "KeyMissing")
    assert (small.ids(), report.rejected) == (stored, rejected)
    aside = small.table("rows__rejects")
    assert (aside is None) == (not rejected)
    if aside is not None:
        assert aside.select(["column", "reason"]).to_pylist() == [{"column": "id", "reason": "id is null"}]
        assert '"n":2' in aside["record"][0].as_py()
