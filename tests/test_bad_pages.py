"""A page that only a worker finds broken: the error names what asked for it, and the line that asks again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fake_api import Answer, Asked, FakeApi, fake_api
from tests.shop import Ended, start

SECRET = "canary-token-4714"
SOURCE = """\
base_url: {url}
auth: {{bearer: "${{TOKEN}}"}}
retry: {{attempts: 2, wait: 10ms}}
resources:
  by_team:
    path: /teams/{{team}}/rows
    params: {{year: "{{year}}"}}
    for_each: {{values: {{team: [a, b, c], year: [2023, 2024]}}}}
    records: "@"
    paginate: none
    write: replace
  by_page:
    path: /pages
    records: data
    paginate: {{page_number: {{total: total}}}}
    write: replace
  by_link:
    path: /links
    records: data
    paginate: {{next_url: next}}
    columns: {{id: int64}}
    on_mismatch: fail
    write: replace
  sound:
    path: /sound
    records: data
    paginate: none
    write: replace
"""
ROWS = [{"id": number, "name": f"row {number}"} for number in range(5_000)]
WHOLE = json.dumps(ROWS).encode()
BROKEN = WHOLE.replace(b'{"id": 2500,', b'{"id": 2500 2501,')


def teams(asked: Asked) -> Answer:
    """Every list is whole but that of team b in 2024."""
    return Answer(200, BROKEN if asked.params["year"] == "2024" else WHOLE)


def pages(asked: Asked) -> Answer:
    """Five pages; page 4 names a field of a record twice."""
    page = int(asked.params.get("page", "1"))
    record = b'{"id": 1, "id": 2}' if page == 4 else b'{"id": %d}' % page
    return Answer(200, b'{"total": 5, "data": [%b]}' % record)


def links(asked: Asked) -> Answer:
    """Four pages, each naming the next by a link that holds a token; the third has a text for a number."""
    page = int(asked.params.get("at", "0"))
    link = b"null" if page == 3 else b'"/links?at=%d&access_token=canary-link"' % (page + 1)
    return Answer(200, b'{"next": %b, "data": [{"id": %b}]}' % (link, b'"x"' if page == 2 else b"%d" % page))


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FakeApi, Ended, Path]]:
    folder = tmp_path_factory.mktemp("project")
    (folder / "config").mkdir()
    with fake_api() as api:
        for team in "abc":
            api.route(f"/teams/{team}/rows", teams if team == "b" else lambda asked: Answer(200, WHOLE))
        api.route("/pages", pages)
        api.route("/links", links)
        api.answer("/sound", Answer(200, b'{"data": [{"id": 1}]}'))
        (folder / "config" / "shop.yaml").write_text(SOURCE.format(url=api.url))
        yield api, Ended.of(start(folder, "run", "--data", "data", "--json", TOKEN=SECRET)), folder


@pytest.mark.parametrize(
    ("resource", "asked", "kind", "says"),
    [
        ("by_team", "/teams/b/rows?year=2024", "DecodeError", "the answer is not JSON"),
        ("by_page", "/pages?page=4", "DecodeError", "an object names 'id' twice"),
        ("by_link", "/links?at=2&access_token=***", "TypeConflict", "record 1 of a page: the value of 'id' is a"),
    ],
)
def test_it_is_named_by_its_request_and_not_by_that_of_another_page(
    ended: tuple[FakeApi, Ended, Path], resource: str, asked: str, kind: str, says: str
) -> None:
    """Pages of one batch, of several parents, and one deep in a chain; nothing of a query is in the message."""
    api, run, _ = ended

    problem = run.resource(f"shop.{resource}")["problem"]

    assert problem["kind"] == kind
    assert problem["message"].startswith(f"shop.{resource}: GET {api.url}{asked.partition('?')[0]}: {says}"), problem
    assert "?" not in problem["message"].partition(says)[0]
    assert shlex.split(problem["curl"])[-1] == f"{api.url}{asked}"
    assert '"Authorization: Bearer $TOKEN"' in problem["curl"]


def test_other_resources_commit_and_no_secret_is_told(ended: tuple[FakeApi, Ended, Path]) -> None:
    _, run, folder = ended
    written = [path.read_bytes() for path in (folder / "data").rglob("*") if path.is_file()]

    assert (run.resource("shop.sound")["new"], run.code) == (1, 1)
    assert SECRET not in run.out + run.err
    assert "canary-link" not in run.out + run.err
    assert [text for text in written if SECRET.encode() in text] == []
