"""How many records a page holds: the parameter that asks for it, and where the server caps it."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, urlsplit

from msgspec import Struct

from pipelines.init.answers import Answer, Trial, bare
from pipelines.init.totals import counts_of_page, total_of

NAMES = (
    *("per_page", "limit", "page_size", "pageSize", "size", "perPage", "pagesize", "count", "max_results"),
    *("maxResults", "pageLimit", "page_limit", "rows", "take", "top", "$top", "page[size]", "$limit", "num"),
)
_BARE = frozenset("".join(char for char in name.lower() if char.isalnum()) for name in NAMES)
IN_BODIES = ("size", "limit", "first")
"""What bodies and GraphQL variables are likeliest to call it."""
_MANY = 1000
_FEW = 10


class Size(Struct, frozen=True):
    """The parameter for the page size, and an answer of few records that it gave."""

    param: str
    small: int
    few: Answer
    why: str


class Cap(Struct, frozen=True):
    """The page size to write, and how many records came for it."""

    size: int
    why: str
    answer: Answer


def find_size(trial: Trial) -> Size | None:
    """The parameter that made the page smaller as asked."""
    small = min(max(1, trial.size // 4), _FEW)
    if trial.size < 2 or small >= trial.size:
        return None

    def works(answer: Answer) -> bool:
        return len(answer.rows) == small

    hints = [name for name in _hints(trial) if not trial.subject.posts or name in trial.subject.wishes]
    for name in hints[:2]:
        answer = trial.ask({name: small}, "is it the page size?")
        if works(answer):
            return _size(trial, name, small, answer)
    names = dict.fromkeys((*IN_BODIES, *NAMES) if trial.subject.posts else NAMES)
    param = trial.effective([name for name in names if name not in hints[:2]], small, works)
    return _size(trial, param, small, trial.ask({param: small}, "is it the page size?")) if param else None


def find_cap(trial: Trial, size: Size, *, second: str | None = None, sign: str | None = None) -> Cap | None:
    """How many records come when a thousand are asked for; None where the API says nothing usable.

    *second* asks for the second page, as `page=2`; *sign* is where an answer says that another page follows.
    """
    answer = trial.ask({size.param: _MANY}, "does the server cap the page size?")
    if answer.refused:
        return _after_refusal(trial, size, answer)
    came = len(answer.rows)
    if not came:
        return None
    if came >= _MANY:
        return Cap(_MANY, f"asked for {_MANY:,}, {came:,} came", answer)
    if more := _more(trial, answer, size, second, sign):
        return Cap(came, f"asked for {_MANY:,}, {came:,} came and {more}: the server's cap", answer)
    told = total_of(trial, answer) or second or (sign and sign in answer.around)
    rest = f"all {came:,} came at once: no cap was met" if told else f"{came:,} came; nothing tells whether that is all"
    return Cap(_MANY if told else came, f"asked for {_MANY:,}, {rest}", answer)


def _hints(trial: Trial) -> list[str]:
    """Names that the URL, links or the answer give for the size of the page."""
    wished = trial.subject.wishes.items()
    told = [name for name, value in wished if value == str(trial.size) or _is_size(name.rpartition(".")[2])]
    links = [trial.base.page.link("next") or "", *(v for v in trial.base.around.values() if isinstance(v, str))]
    for link in links:
        query = urlsplit(link).query if "?" in link else ""
        told += [name for name, value in parse_qsl(query) if value == str(trial.size) and _is_size(name)]
    echoes = [path for path, value in trial.base.around.items() if value == trial.size and _is_size(bare(path))]
    told += [re.split(r"[.\[\]]+", path)[-1].strip('"') for path in echoes]
    return [name for name in dict.fromkeys(told) if name]


def _is_size(name: str) -> bool:
    return "".join(char for char in name.lower() if char.isalnum()) in _BARE - {"count"}


def _size(trial: Trial, name: str, small: int, few: Answer) -> Size:
    trial.counts_of_page = counts_of_page(trial.base, few)
    return Size(name, small, few, f"{name}={small} gave {small:,} records instead of {trial.size:,}")


def _after_refusal(trial: Trial, size: Size, answer: Answer) -> Cap | None:
    """Where a thousand are too many: the number that the refusal names, or a hundred."""
    text = answer.page.body[:2000].decode("utf-8", "replace")
    told = sorted({int(number) for number in re.findall(r"(?<![\w.])\d{1,4}(?![\w.])", text)}, reverse=True)
    for number in [*(number for number in told if size.small < number < _MANY and number != answer.page.status), 100][
        :2
    ]:
        again = trial.ask({size.param: number}, "is that its largest size?")
        if again.rows:
            what = "the refusal names it" if number in told else "100 were accepted"
            return Cap(number, f"{size.param}={_MANY} {answer.outcome}; {what}: {len(again.rows):,} came", again)
    return None


def _more(trial: Trial, answer: Answer, size: Size, second: str | None, sign: str | None) -> str:
    """What tells that *answer* does not hold all records; empty where nothing does."""
    total = total_of(trial, answer)
    if total and total.number > len(answer.rows):
        return f"`{total.name}` tells {total.number:,}"
    if total and total.number == len(answer.rows):
        return ""
    if answer.page.link("next") or (sign and (answer.around.get(sign) or answer.page.header(sign))):
        return "more pages follow"
    if len(answer.rows) < trial.size:
        return "fewer than by default"
    if second:
        name, _, number = second.partition("=")
        beyond = int(number) if int(number) <= 2 else int(number) - _MANY + len(answer.rows)
        following = trial.ask({size.param: _MANY, name: beyond}, "is there more beyond the cap?")
        return f"{name}={beyond} gave others" if following.goes_on_from(answer) else ""
    return ""
