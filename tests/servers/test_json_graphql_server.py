"""json-graphql-server from npm: pages as a variable of a GraphQL query, a filter in its text, a total in the answer."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
import requests

from tests.servers.installed import from_npm
from tests.servers.reader import Reader
from tests.servers.started import free_port, started

VERSION = "3.3.2"
POSTS = 777
NOW = datetime(2024, 12, 1, tzinfo=UTC)
SOURCE = """\
base_url: {url}
limits: {{in_flight: 4}}
resources:
  posts:
    path: /
    graphql:
      query: >-
        query($page: Int) {{
          rows: allPosts(page: $page, perPage: 50, filter: {{ views_gte: {{window.start}} }}) {{ id title views }}
          meta: _allPostsMeta(filter: {{ views_gte: {{window.start}} }}) {{ count }}
        }}
    idempotent: true
    records: data.rows
    paginate: {{page_number: {{field: variables.page, first: 0, size: 50, total: data.meta.count}}}}
    incremental: {{cursor: views, format: number, start: 0}}
    key: id
    write: upsert
    columns: {{id: string, title: string, views: int64}}
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The server with POSTS posts, which have as many views as their number says."""
    file, port = tmp_path / "db.json", free_port()
    file.write_bytes(orjson.dumps({"posts": [post(number) for number in range(POSTS)]}))
    program = from_npm("json-graphql-server", VERSION)
    command = [program, file, "--host", "127.0.0.1", "--port", str(port)]
    with started(command, port, tmp_path / "server.log", ready="/?query=%7B_allPostsMeta%7Bcount%7D%7D") as url:
        yield url


def post(number: int) -> dict[str, Any]:
    """One post."""
    return {"id": number, "title": f"post {number}", "views": number}


def create(url: str, number: int) -> None:
    """Make one more post through the API."""
    mutation = "mutation($title: String!, $views: Int!) { createPost(title: $title, views: $views) { id } }"
    row = post(number)
    answer = requests.post(url, json={"query": mutation, "variables": row}, timeout=10)
    assert "errors" not in answer.json(), answer.text


def test_pages_in_variables_read_every_row_and_the_next_run_asks_from_the_last_number(
    server: str, reader: Reader
) -> None:
    """777 posts in pages of 50, told by the total; then three more."""
    reader.configure(SOURCE.format(url=server))

    first = reader.read(now=NOW)["posts"]
    again = reader.read(now=NOW + timedelta(hours=1))["posts"]
    for number in range(POSTS, POSTS + 3):
        create(server, number)
    third = reader.read(now=NOW + timedelta(hours=2))["posts"]

    assert (first.new, first.requests, first.verdict) == (POSTS, 16, "complete")
    assert first.evidence == "777 of 777 records that the API counts"
    assert (again.rows_read, again.rows_written, again.verdict) == (1, 0, "complete")
    assert (third.rows_read, third.new, third.verdict) == (4, 3, "complete")
    assert reader.stored("posts", "views") == list(range(POSTS + 3))
