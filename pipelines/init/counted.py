"""Pages that are asked for by a number: page numbers, offsets, the last record's id.

Parameters are tried in small pages where the size can be asked for, so that the
records of the first answer show where a page begins.
"""

from __future__ import annotations

from msgspec import Struct

from pipelines.batch import Json
from pipelines.init.answers import Answer, Trial, bare
from pipelines.init.followed import Paging
from pipelines.init.sizes import Size
from pipelines.init.totals import agreed_total, more_flag, page_total
from pipelines.init.writing import Line, Question

PAGE_NAMES = (
    *(
        "page",
        "p",
        "pageNumber",
        "page_number",
        "pageNo",
        "pageIndex",
        "page_index",
        "page[number]",
        "currentPage",
        "pg",
    ),
)
OFFSET_NAMES = ("offset", "skip", "start", "startIndex", "start_index", "$skip", "startAt", "from", "$offset", "first")
_OFFSETS_IN_BODIES = ("offset", "from", "skip")
_ID_NAMES = (
    "starting_after",
    "after",
    "since_id",
    "after_id",
    "last_id",
    "min_id",
    "id_gt",
    "from_id",
    "lastId",
    "afterId",
)
_BY_OFFSET = ("limit", "$limit", "$top", "top", "rows", "take", "max_results", "maxResults")
_FAR = 100_000


class Counted(Struct, frozen=True):
    """A parameter that counts pages or records, the number of the first, and the evidence for both."""

    kind: str
    param: str
    first: int
    why_param: str
    why_first: str
    answers: tuple[Answer, ...]


def find_counted(trial: Trial, size: Size | None) -> Counted | None:
    """A page number or an offset; whichever the size parameter, the URL or the answer hint at comes first."""
    offset_first = size is not None and size.param in _BY_OFFSET
    told = {*map(bare, trial.subject.wishes), *trial.subject.wishes, *map(bare, trial.base.around)}
    if told & set(OFFSET_NAMES):
        offset_first = True
    if told & set(PAGE_NAMES):
        offset_first = False
    tries = [_page_number, _offset]
    for find in reversed(tries) if offset_first else tries:
        if found := find(trial, size):
            return found
    return None


def counted_paging(trial: Trial, found: Counted, size: Size | None, chosen: int | None, why_size: str) -> Paging:
    """The lines for *found*, with the totals that its pages agree on."""
    pages = [answer for answer in found.answers if answer.rows]
    total = agreed_total(trial, pages)
    size_of_page = size.small if size else trial.size
    number = (
        page_total(pages[0], size_of_page, total.number if total else None) if found.kind == "page_number" else None
    )
    lines = [Line(trial.key("param"), found.param, found.why_param), Line("first", found.first, found.why_first)]
    if size and chosen:
        lines += [Line("size", chosen, why_size), Line(trial.key("size_param"), size.param, size.why)]
    elif not size and trial.size:
        lines.append(Line("size", trial.size, "so many came; no parameter changed that"))
    if total:
        lines.append(total.total_line(f"{total.number:,} on {len(pages)} pages: the run checks it"))
    if number:
        told = number.pages_line(f"{number.number:,} pages of {size_of_page:,} records")
        return Paging(_block("total_pages", [told, *lines]), _own(found, size), _second(found), is_counted=True)
    if not total and found.kind == "page_number" and not (size and chosen) and (flag := more_flag(pages[0])):
        why = "true while pages follow"
        lines = [Line("from", flag, why), *lines[:2]]
        return Paging(_block("has_more", lines), _own(found, size), _second(found), is_counted=True)
    rules = [] if total else _end(trial, found, size, lines)
    return Paging((*_block(found.kind, lines), *rules), _own(found, size), _second(found), is_counted=True)


def find_last_id(trial: Trial, size: Size | None, key: str | None) -> Paging | None:
    """A parameter that takes the id of the last record, and gives those after it."""
    if key is None or trial.size < 2 or trial.subject.posts:
        return None
    cut = size.small if size else trial.size // 2
    reference = trial.base.rows[cut - 1].get(key)
    more: dict[str, Json] = {size.param: size.small} if size else {}
    expected = trial.base.marks[cut : 2 * cut]

    def works(answer: Answer) -> bool:
        return bool(expected) and answer.marks[: len(expected)] == expected

    param = trial.effective(_ID_NAMES, reference, works, **more)
    if param is None:
        return None
    lines = [
        Line("field", key, "increases from record to record"),
        Line("param", param, f"{param}={key} of record {cut} gave the records after it"),
    ]
    flag = more_flag(size.few if size else trial.base)
    lines += [Line("more", flag, "true on the first page")] if flag else []
    return Paging(_block("last_id", lines), frozenset({param}), sign=flag)


def _block(kind: str, lines: list[Line]) -> tuple[Line | Question, ...]:
    return (Line("paginate", below=(Line(kind, below=tuple(lines)),)),)


def _own(found: Counted, size: Size | None) -> frozenset[str]:
    return frozenset({found.param, *([size.param] if size else [])})


def _second(found: Counted) -> str | None:
    return f"{found.param}={found.first + 1}" if found.kind == "page_number" else f"{found.param}={found.first + 1000}"


def _page_number(trial: Trial, size: Size | None) -> Counted | None:
    more: dict[str, Json] = {size.param: size.small} if size else {}
    reference = size.few if size else trial.base

    def works(answer: Answer) -> bool:
        return answer.came and (answer.goes_on_from(reference) or not answer.rows)

    param = trial.effective(_told_first(trial, PAGE_NAMES), 2, works, **more)
    if param is None:
        return None
    two, one, zero = (trial.ask({**more, param: number}, "which number has the first page?") for number in (2, 1, 0))
    if one.is_like(reference) and works(two):
        second = f"{param}=2 gave {len(two.rows):,} other records" if two.rows else f"{param}=2 gave an empty page"
        why = f"{param}=1 gave the same records as no page at all; {param}=0 {_zero(zero, one, reference)}"
        return Counted("page_number", param, 1, second, why, (one, two))
    if zero.is_like(reference) and works(one):
        second = f"{param}=1 gave {len(one.rows):,} other records"
        return Counted(
            "page_number", param, 0, second, f"{param}=0 gave the same records as no page at all", (zero, one)
        )
    return None


def _zero(zero: Answer, one: Answer, reference: Answer) -> str:
    return "gave them, too" if zero.is_like(one) or zero.is_like(reference) else zero.outcome


def _offset(trial: Trial, size: Size | None) -> Counted | None:
    step = size.small if size else trial.size
    more: dict[str, Json] = {size.param: size.small} if size else {}
    reference = size.few if size else trial.base

    def works(answer: Answer) -> bool:
        return answer.came and answer.marks != reference.marks and _begin(trial, answer, step) is not None

    param = trial.effective(_told_first(trial, OFFSET_NAMES), step, works, **more)
    if param is None:
        return None
    shifted = trial.ask({**more, param: step}, "where does the offset lead?")
    first = _begin(trial, shifted, step)
    same = trial.ask({**more, param: first}, "which offset has the first record?")
    if first is None or not same.is_like(reference):
        return None
    other = f"{param}={1 - first}"
    wrong = trial.ask({**more, param: 1 - first}, "is the other offset another page?")
    why_param = f"{param}={step} gave what follows" if shifted.rows else f"{param}={step} gave an empty page"
    why_first = f"{param}={first} gave the same records as no offset; {other} {_moved(wrong, reference)}"
    return Counted("offset", param, first, why_param, why_first, (same, shifted))


def _begin(trial: Trial, answer: Answer, step: int) -> int | None:
    """The offset of the first record, told by where a page at *step* begins; None where it begins nowhere near."""
    if not answer.rows:
        return 0 if step >= trial.size else None
    if answer.marks[0] in trial.base.marks:
        begins = trial.base.marks.index(answer.marks[0])
        return step - begins if step - begins in (0, 1) else None
    return 0 if step >= trial.size and answer.goes_on_from(trial.base) else None


def _moved(answer: Answer, reference: Answer) -> str:
    if not answer.came:
        return answer.outcome
    return "gave them, too" if answer.is_like(reference) else "begins at another record"


def _told_first(trial: Trial, names: tuple[str, ...]) -> list[str]:
    """*names*, those that the URL or the answer mention in front."""
    wishes = [path.rpartition(".")[2] for path in trial.subject.wishes]
    told = {*wishes, *(path.rpartition(".")[2] for path in trial.base.around)}
    if trial.subject.posts and names == OFFSET_NAMES:
        names = (*_OFFSETS_IN_BODIES, *(name for name in names[:-1] if name not in _OFFSETS_IN_BODIES))
    given = [
        path for path in trial.subject.wishes if trial.subject.variables is None and path.rpartition(".")[2] in names
    ]
    return list(dict.fromkeys([*given, *sorted(names, key=lambda name: name not in told)]))


def _end(trial: Trial, found: Counted, size: Size | None, lines: list[Line]) -> list[Line | Question]:
    """What a page far beyond the last one is like, where no total tells the end."""
    more: dict[str, Json] = {size.param: size.small} if size else {}
    far = trial.ask({**more, found.param: _FAR}, "what comes after the last page?")
    if far.page.status in (404, 416):
        rule = {"status": far.page.status, "do": "skip"}
        return [Line("errors", [rule], f"{found.param}={_FAR} {far.outcome}: so the last page is known")]
    if far.rows or far.refused:
        lines.append(Line("until", "short", f"{found.param}={_FAR} {far.outcome}: only a short page shows the end"))
    if far.rows:
        return [
            Question(f"{found.param}={_FAR} {far.outcome}: the API has no end of its own. Does a short page mean it?")
        ]
    return []
