"""What `mask` covers is in no file, whatever the layout of the answer."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipelines.config.project import load_project
from pipelines.config.source import Source
from pipelines.load.lake import Lake
from pipelines.replay import replay_source
from pipelines.run import run
from pipelines.source_run import Shared, run_source
from tests.engines import Here
from tests.fake_api import Answer, FakeApi, say

NOW = datetime(2024, 6, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("how", "body", "stored"),
    [
        pytest.param(
            "records: {entries: data, keys: [user], value: email}",
            b'{"data": {"u1": "a@b.example", "u2": {"email": "a@b.example"}}}',
            [("***mple", "u1"), ("***mple", "u2")],
            id="entries",
        ),
        pytest.param(
            "records: {columns: data}",
            b'{"data": {"user": ["u1"], "email": ["a@b.example"]}}',
            [("***mple", "u1")],
            id="columns",
        ),
        pytest.param(
            "records: {columns: data}",
            b'{"data": [{"user": ["u1"], "email": ["a@b.example"]}, {"user": ["u2"], "email": ["a@b.example"]}]}',
            [("***mple", "u1"), ("***mple", "u2")],
            id="list-of-columns",
        ),
        pytest.param(
            "records: {rows: data, single: true}",
            b'\xef\xbb\xbf{"data": {"user": "u1", "email": "a@b.example"}}',
            [("***mple", "u1")],
            id="one-object",
        ),
        pytest.param(
            'records: "sort_by(data, &price)"',
            b'{"data":[{"user":"u2","email":"a@b.example","price":1.5},{"user":"u1","email":"a@b.example","price":1}]}',
            [("***mple", "u1"), ("***mple", "u2")],
            id="sorted",
        ),
        pytest.param(
            "format: ndjson",
            b'\xef\xbb\xbf{"email": "a@b.example", "user": "u1"}\r\n{"email": "a@b.example", "user": "u2"}',
            [("***mple", "u1"), ("***mple", "u2")],
            id="lines",
        ),
        pytest.param(
            "format: csv", b"\xef\xbb\xbfemail,user\na@b.example,u1\n", [("***mple", "u1")], id="csv-with-a-mark"
        ),
        pytest.param(
            "format: csv", b'\xef\xbb\xbf"email","user"\r\n"a@b.example",u1', [("***mple", "u1")], id="csv-in-quotes"
        ),
    ],
)
def test_a_masked_field_of_any_layout_is_in_no_file(
    api: FakeApi, tmp_path: Path, how: str, body: bytes, stored: list[tuple[str, str]]
) -> None:
    """Neither in the pages that are kept, nor in the lake, the view or what the run tells."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "shop.yaml").write_text(
        f"base_url: {api.url}\nresources:\n"
        f"  people:\n    path: /people\n    {how}\n    key: user\n    write: upsert\n    mask: {{email: last4}}\n"
    )
    api.answer("/people", Answer(body=body))

    report = run(load_project({}, root=tmp_path, data=tmp_path / "data"))

    rows = pq.read_table(tmp_path / "data/parquet/shop/people").select(["email", "user"]).to_pylist()
    files = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert (report.problems, sorted(tuple(row.values()) for row in rows)) == ([], stored)
    assert [path for path in files if b"a@b.exa" in path.read_bytes()] == []
    assert any("spool" in str(path) for path in files)


class People:
    """A list that is read in several runs, under rules that change."""

    def __init__(self, api: FakeApi, folder: Path) -> None:
        self.api, self.folder = api, folder
        (folder / "config").mkdir()

    def _asked(self, write: str, *masks: str) -> tuple[Source, Shared]:
        rules = f"    mask: {{{', '.join(f'{name}: last4' for name in masks)}}}\n" if masks else ""
        text = f"base_url: {self.api.url}\nresources:\n  people:\n    path: /people\n    key: id\n    write: {write}\n"
        (self.folder / "config/shop.yaml").write_text(text + rules + "    paginate: none\n")
        project = load_project({}, root=self.folder, data=self.folder / "data")
        return project.sources["shop"], Shared("r", NOW, project.settings, Here())

    def read(self, number: int, write: str, *masks: str) -> tuple[str, ...]:
        """The warnings of a run that reads one person."""
        self.api.answer("/people", say([{"id": number, "mail": "a@b.example", "phone": "+34 600 000 001"}]))
        return run_source(*self._asked(write, *masks)).resources[0].warnings

    def replay(self, write: str, *masks: str) -> tuple[str, ...]:
        """The warnings of a replay."""
        return replay_source(*self._asked(write, *masks)).resources[0].warnings


@pytest.mark.parametrize("write", ["append", "upsert", "history", "replace"])
def test_rows_from_before_a_mask_are_told_until_none_is_left(api: FakeApi, tmp_path: Path, write: str) -> None:
    people = People(api, tmp_path)

    none = people.read(1, write)
    (mail, again) = (people.read(number, write, "mail") for number in (2, 3))
    both = people.read(4, write, "mail", "phone")
    pages = people.replay(write, "mail", "phone") if write in {"append", "upsert"} else both

    said = "shop.people: rows that were stored before `mask` named {} hold it as it came"
    if write == "replace":
        assert [none, mail, again, both] == [()] * 4
        return
    assert none == ()
    assert [len(one) for one in (mail, again, both, pages)] == [1, 1, 1, 1]
    assert {mail[0].partition(";")[0], again[0].partition(";")[0]} == {said.format("'mail'")}
    assert {both[0].partition(";")[0], pages[0].partition(";")[0]} == {said.format("'mail', 'phone'")}


def test_rows_that_were_always_masked_are_not_told(api: FakeApi, tmp_path: Path) -> None:
    """Neither by a run with fewer rules, nor by a replay or after a compaction, which keep what is known."""
    people = People(api, tmp_path)
    people.read(1, "upsert", "mail", "phone")
    lake = Lake(tmp_path / "data", "shop")
    people.read(2, "upsert", "mail", "phone")
    with lake.lock("compact"):
        lake.compact("compact")

    told = [
        people.read(3, "upsert", "mail", "phone"),
        people.replay("upsert", "mail", "phone"),
        people.read(4, "upsert"),
    ]
    late = people.read(5, "upsert", "mail")

    assert told == [(), (), ()]
    assert len(late) == 1


def test_a_read_of_all_rows_leaves_none_from_before_a_mask(api: FakeApi, tmp_path: Path) -> None:
    """An upsert that reads everything each time; a field that no row ever had is nobody's concern either."""
    people = People(api, tmp_path)
    people.read(1, "upsert")

    told = [
        people.read(1, "upsert", "mail"),
        people.read(2, "upsert", "mail"),
        people.read(3, "upsert", "mail", "iban"),
    ]

    # that no record has it is another matter
    assert [[one for one in lines if "stored before" in one] for lines in told] == [[], [], []]


def test_records_that_were_set_aside_before_a_mask_are_told_until_they_are_dropped(
    api: FakeApi, tmp_path: Path
) -> None:
    """A `replace` takes rows away, not what was set aside of them; the whole record stays there."""
    (tmp_path / "config").mkdir()
    text = f"base_url: {api.url}\nresources:\n  people:\n    path: /people\n    paginate: none\n    write: replace\n"
    text += "    columns: {v: int64}\n    on_mismatch: quarantine\n"

    def read(more: str, *values: object) -> list[str]:
        (tmp_path / "config/shop.yaml").write_text(text + more)
        api.answer("/people", say([{"v": value, "ssn": "123-45-6789"} for value in values]))
        project = load_project({}, root=tmp_path, data=tmp_path / "data")
        report = run_source(project.sources["shop"], Shared("r", NOW, project.settings, Here()))
        return [one for one in report.resources[0].warnings if "stored before" in one]

    mask = "    mask: {ssn: drop}\n"
    told = [read("", 1, "bad"), read(mask, 1, 2), read(mask, 1, "worse")]
    lake = Lake(tmp_path / "data", "shop")
    with lake.lock("drop"):
        lake.drop(["people__rejects"], "drop")

    assert [len(lines) for lines in told] == [0, 1, 1]
    assert told[1][0].startswith("shop.people__rejects: rows that were stored before `mask` named 'ssn'")
    assert [read(mask, "bad"), read(mask, 1)] == [[], []]
