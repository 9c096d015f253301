"""What an answer says about all records: how many there are, how many pages, whether more follow."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from msgspec import Struct

from pipelines.init.answers import Answer, Trial, named, whole
from pipelines.init.writing import Line

TOTALS = (
    *("total", "totalcount", "totalresults", "totalrecords", "totalitems", "totalelements", "totalhits", "totalrows"),
    *("recordstotal", "numfound", "nbhits", "resultcount", "itemcount", "hits", "count", "value"),
)
PAGES = ("totalpages", "pagestotal", "pagecount", "numpages", "lastpage", "nbpages", "maxpage", "pages", "totalpage")
MORE = ("hasmore", "hasnext", "hasnextpage", "more", "moreresults", "morepages", "nextpageexists")
TOTAL_HEADER = re.compile(
    r"(x-)?((pagination-)?total(-?(count|items|records|results|elements))?|wp-total|record-count|content-range)", re.I
)
PAGES_HEADER = re.compile(r"(x-)?(wp-totalpages|(pagination-)?(total-?pages|page-?count|pages))", re.I)
TELLING = TOTALS[: TOTALS.index("resultcount")]
"""Those that mean all records; the others are as often the records of one page."""


class Told(Struct, frozen=True):
    """A number in an answer: where it is, in the body or a header, and what it is."""

    name: str
    number: int
    in_header: bool = False

    def total_line(self, why: str) -> Line:
        """The line of a paginator for the number of all records."""
        return Line("total_header" if self.in_header else "total", self.name, why)

    def pages_line(self, why: str) -> Line:
        """The line of `total_pages` for the number of all pages."""
        return Line("from_header" if self.in_header else "from", self.name, why)


def total_of(trial: Trial, answer: Answer) -> Told | None:
    """The number of all records, as far as one answer can tell."""
    return next((told for told in _totals(answer) if told.name not in trial.counts_of_page), None)


def counts_of_page(answer: Answer, other: Answer) -> frozenset[str]:
    """What is just the number of its records in both, which have different numbers of them."""
    return _of_own_records(answer) & _of_own_records(other)


def agreed_total(trial: Trial, answers: Sequence[Answer]) -> Told | None:
    """The total that different pages agree on, and that is not smaller than their records together."""
    found = [total_of(trial, answer) for answer in answers if answer.rows]
    first = next((told for told in found if told), None)
    if first is None or first.number < len({mark for answer in answers for mark in answer.marks}):
        return None
    if first.in_header:
        return first if set(found) == {first} else None
    told = {whole(answer.around.get(first.name)) for answer in answers if answer.rows}
    return first if told == {first.number} else None


def page_total(few: Answer, size: int, total: int | None) -> Told | None:
    """The number of pages of *size* records; with a total it has to agree."""
    in_body = ((path, whole(value)) for path, value in named(few.around, PAGES))
    found = [Told(path, number) for path, number in in_body if number is not None]
    for told in (*found, *_in_headers(few, PAGES_HEADER)):
        if told.number >= 1 and (total is None or told.number == -(-total // size)):
            return told
    return None


def more_flag(answer: Answer) -> str | None:
    """Path of a flag that is true while pages follow."""
    return next((path for path, value in named(answer.around, MORE) if value is True), None)


def _of_own_records(answer: Answer) -> frozenset[str]:
    return frozenset(told.name for told in _totals(answer) if told.number == len(answer.rows))


def _totals(answer: Answer) -> Iterator[Told]:
    """Numbers that may count all records, the likeliest first."""
    for path, value in named(answer.around, TOTALS):
        of, _, _ = path.rpartition(".")
        if answer.around.get(f"{of}.relation", "eq") != "eq":
            continue  # there are so many at least: a search that stops counting says so
        number = whole(value)
        telling = any(word in path.lower().replace("_", "") for word in TELLING)
        if number is not None and (number > len(answer.rows) or (telling and number == len(answer.rows))):
            yield Told(path, number)
    yield from (told for told in _in_headers(answer, TOTAL_HEADER) if told.number >= len(answer.rows))


def _in_headers(answer: Answer, names: re.Pattern[str]) -> Iterator[Told]:
    """Numbers in headers; of `Content-Range: items 0-9/57` the one behind the slash."""
    for name, text in answer.page.headers.items():
        number = whole(text.rpartition("/")[2].strip())
        if names.fullmatch(name) and number is not None and not text.startswith("bytes"):
            yield Told(name, number, in_header=True)
