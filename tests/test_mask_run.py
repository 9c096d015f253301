"""What `mask` covers is in no file, whatever the layout of the answer."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipelines.config.project import load_project
from pipelines.run import run
from tests.fake_api import Answer, FakeApi


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
