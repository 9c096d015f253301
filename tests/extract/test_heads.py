"""Heads of answers are read as `http.client` reads them, whatever a server sends."""

from __future__ import annotations

import http.client
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.extract.heads import Answer, read_head

NAMES = st.sampled_from(
    ["Content-Type", "content-length", "Link", "X-Total", "Set-Cookie", "a!#$%&'*+-.^_`|~9", "X Y", ""]
)
VALUES = st.one_of(
    st.text(st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=12), st.just(" \t a b \t")
)
LINES = st.tuples(
    NAMES, st.sampled_from([":", ": ", ":\t", "", " : "]), VALUES, st.sampled_from(["\r\n", "\n", "\r\n more\r\n"])
)


class Socket:
    """What http.client asks of a socket: a file."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer

    def makefile(self, mode: str) -> io.BytesIO:
        """The answer, to be read."""
        return io.BytesIO(self.answer)


@given(st.lists(LINES.map("".join), max_size=6))
def test_a_head_is_what_http_client_makes_of_it(lines: list[str]) -> None:
    head = "".join([*lines, "\r\n"]).encode("iso-8859-1")

    ours, theirs = read_head(io.BytesIO(head)), http.client.parse_headers(io.BytesIO(head))

    assert ours.items() == theirs.items()
    assert ours.defects == [] or theirs.defects != []


def test_an_answer_decides_by_its_head_as_ever() -> None:
    body = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nLink: <a>\r\nLink: <b>\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    answer = Answer(Socket(body))  # type: ignore[arg-type]  # all that it needs of one

    answer.begin()

    assert (answer.status, answer.chunked, answer.read()) == (200, True, b"abc")
    assert answer.headers.get_all("link") == ["<a>", "<b>"]


def test_plain_heads_do_not_go_to_the_e_mail_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(http.client, "parse_headers")
    answer = Answer(Socket(b"HTTP/1.1 204 No Content\r\nDate: today\r\n\r\n"))  # type: ignore[arg-type]  # as above

    answer.begin()

    assert (answer.status, answer.headers["date"]) == (204, "today")


@pytest.mark.parametrize(
    "head", [pytest.param(b"a: b\r\n" * 101, id="many"), pytest.param(b"a: " + b"b" * 70_000 + b"\r\n", id="long")]
)
def test_heads_without_end_are_refused(head: bytes) -> None:
    with pytest.raises(http.client.HTTPException):
        read_head(io.BytesIO(head + b"\r\n"))
