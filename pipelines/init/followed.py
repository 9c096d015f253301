"""Pages that the answer itself leads to: a link in a header or in the body, or a token."""

from __future__ import annotations

import re
from collections.abc import Iterator

from msgspec import Struct, field

from pipelines.batch import Json
from pipelines.errors import PipelineError
from pipelines.init.answers import Answer, Trial, bare
from pipelines.init.sizes import Size
from pipelines.init.totals import agreed_total, more_flag
from pipelines.init.writing import Line, Question

_LINK = re.compile(r"(https?://|/|\?)\S+")
_TOKEN_WORDS = ("cursor", "token", "continuation", "marker", "scroll", "bookmark", "next", "after")
_HEADER_WORDS = ("cursor", "continuation", "next-token", "nexttoken", "page-token", "next-page")
_SELF = frozenset({"self", "prev", "previous", "first", "last", "before", "start"})
_BEGINS = ("startcursor", "prev", "first", "self", "before")
_PARAMS = (
    *("cursor", "page_token", "pageToken", "next_token", "nextToken", "after", "token", "continuation"),
    *("starting_after", "marker", "next", "next_cursor", "nextPageToken", "next_page_token", "scroll_id", "bookmark"),
)


class Paging(Struct, frozen=True):
    """How the next page is found: the lines for the file, and what the experiment used up."""

    lines: tuple[Line | Question, ...]
    params: frozenset[str] = field(default_factory=frozenset)
    """Parameters of the URL that paging sets by itself."""

    second: str | None = None
    """What asks for the second page by a number, such as `page=2`."""

    is_counted: bool = False
    """Whether the paginator itself sets the page size."""

    sign: str | None = None
    """Where the answer says that another page follows."""


def find_followed(trial: Trial, size: Size | None) -> Paging | None:
    """A next link or token that was followed and led to other records."""
    start = size.few if size else trial.base
    return _link_header(trial, start) or _next_url(trial, start) or _token(trial, start, size)


def _link_header(trial: Trial, start: Answer) -> Paging | None:
    link = start.page.link("next")
    if not link:
        return None
    following, problem = _follow(trial, start, link, "the Link header names a next page: is it one?")
    if following is None or not following.goes_on_from(start):
        return _refused(problem or "the next link of the Link header led to no other records")
    why = f"the Link header names the next page; it gave {len(following.rows):,} other records"
    total = _total(trial, start, following)
    line = Line("paginate", below=(Line("link_header", why=why, below=total),))
    return Paging((line if total else Line("paginate", "link_header", why),), _query_names(link, start))


def _next_url(trial: Trial, start: Answer) -> Paging | None:
    for path, value in start.around.items():
        if not isinstance(value, str) or "next" not in path.lower() or not _LINK.fullmatch(value):
            continue
        following, problem = _follow(trial, start, value, f"`{path}` names a next page: is it one?")
        if problem:
            return _refused(problem)
        if following and following.goes_on_from(start):
            why = f"`{path}` holds the URL of the next page; it gave {len(following.rows):,} other records"
            line = Line("paginate", {"next_url": path}, why)
            if total := _total(trial, start, following):
                line = Line("paginate", below=(Line("next_url", below=(Line("from", path, why), *total)),))
            return Paging((line,), _query_names(value, start), sign=path)
    return None


def _total(trial: Trial, start: Answer, following: Answer) -> tuple[Line, ...]:
    """The line for the number of all records, where both answers tell the same."""
    total = agreed_total(trial, [start, following])
    return (total.total_line(f"{total.number:,} on 2 pages: the run checks it"),) if total else ()


def _follow(trial: Trial, start: Answer, link: str, why: str) -> tuple[Answer | None, str]:
    """The answer behind *link*, or why it cannot be followed."""
    request = start.page.request.with_link(link)
    try:
        trial.prober.check(request)
    except PipelineError as error:
        return None, f"{error.message}: {error.hint}"
    return trial.send(request, "the next link", why), ""


def _refused(problem: str) -> Paging:
    return Paging((Question(f"{problem}. How are the other pages asked for?"),))


def _query_names(link: str, start: Answer) -> frozenset[str]:
    """Parameters of the user's URL that the link changes: they belong to paging."""
    asked, following = start.page.request, start.page.request.with_link(link)
    return frozenset(name for name, _ in asked.params if following.param(name) not in (None, asked.param(name)))


def _token(trial: Trial, start: Answer, size: Size | None) -> Paging | None:
    more = {size.param: size.small} if size else {}
    for where, name, token in _tokens(start):
        stem = re.sub(r"[.\[\]\"]+", " ", name).split()[-1]
        known = dict.fromkeys((stem, re.sub(r"^(next[_-]?)(?=.)", "", stem, flags=re.I), *_PARAMS))
        names = ["page", *known] if isinstance(token, int) else list(known)

        def works(answer: Answer) -> bool:
            return answer.goes_on_from(start)

        param = trial.effective([name for name in names if name], token, works, **more)
        if param:
            following = trial.ask({**more, param: token}, "does the token lead on?")
            why = f"sent back, the token gave {len(following.rows):,} other records"
            lines = [Line(where, name, "a token for the next page, other on each page")]
            lines.append(Line(trial.key("param"), param, why))
            flag = more_flag(start)
            lines += [Line("more", flag, "true on this page")] if flag and flag in following.around else []
            lines += _total(trial, start, following)
            return Paging(
                (Line("paginate", below=(Line("cursor", below=tuple(lines)),)),), frozenset({param}), sign=name
            )
    return None if trial.subject.variables is None else _without_variable(start)


def _without_variable(start: Answer) -> Paging | None:
    """A question, where GraphQL tells of more but the query takes no cursor."""
    flag = more_flag(start)
    if flag is None:
        return None
    return Paging(
        (Question(f"`{flag}` is true, but no variable took the cursor: declare `$after: String` in the query"),)
    )


def leads_back(path: str) -> bool:
    """Whether the token at *path* is by its name that of this page, or of one before it."""
    return not _SELF.isdisjoint(_words(path)) or bare(path).startswith(_BEGINS)


def _words(path: str) -> set[str]:
    return {*re.split(r"[._\-\[\]\"]+", path.lower())}


def _tokens(answer: Answer) -> Iterator[tuple[str, str, Json]]:
    """`from` or `from_header`, the path or name there, and the token."""
    for path, value in answer.around.items():
        name = bare(path)
        if value in (1, 2) and not isinstance(value, bool):
            continue  # the number of the next page: counting finds it, and the totals beside it
        if leads_back(path) or isinstance(value, bool):
            continue
        if not isinstance(value, str | int) or value in ("", 0):
            continue
        if isinstance(value, str) and _LINK.fullmatch(value) and value.startswith("http"):
            continue
        if any(word in name for word in _TOKEN_WORDS) or ("next" in _words(path)):
            yield "from", path, value
    for header, text in answer.page.headers.items():
        if text and any(word in header.lower() for word in _HEADER_WORDS):
            yield "from_header", header, text
