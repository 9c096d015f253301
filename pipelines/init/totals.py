"""What an answer says about all records: how many there are, how many pages, whether more follow."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.init.answers import Answer, named, whole

TOTALS = (
    *("total", "totalcount", "totalresults", "totalrecords", "totalitems", "totalelements", "totalhits", "totalrows"),
    *("recordstotal", "numfound", "resultcount", "itemcount", "nbhits", "hits", "count", "value"),
)
PAGES = ("totalpages", "pagestotal", "pagecount", "numpages", "lastpage", "nbpages", "maxpage", "pages", "totalpage")
MORE = ("hasmore", "hasnext", "hasnextpage", "more", "moreresults", "morepages", "nextpageexists")
_TELLING = frozenset(TOTALS) - {"hits", "count", "value"}


def total_of(answer: Answer) -> tuple[str, int] | None:
    """Path and value of the number of all records, as far as one answer can tell."""
    for path, value in named(answer.around, TOTALS):
        number = whole(value)
        telling = any(word in path.lower().replace("_", "") for word in _TELLING)
        if number is not None and (number > len(answer.rows) or (telling and number == len(answer.rows))):
            return path, number
    return None


def agreed_total(answers: Sequence[Answer]) -> tuple[str, int] | None:
    """The total that different pages agree on."""
    found = [total_of(answer) for answer in answers if answer.rows]
    known = [each for each in found if each]
    if not known:
        return None
    path, value = known[0]
    told = {whole(answer.around.get(path)) for answer in answers if answer.rows}
    return (path, value) if told == {value} else None


def page_total(few: Answer, size: int, total: int | None) -> tuple[str, int] | None:
    """Path and value of the number of pages of *size* records; with a total it has to agree."""
    for path, value in named(few.around, PAGES):
        number = whole(value)
        if number is not None and number >= 1 and (total is None or number == -(-total // size)):
            return path, number
    return None


def more_flag(answer: Answer) -> str | None:
    """Path of a flag that is true while pages follow."""
    return next((path for path, value in named(answer.around, MORE) if value is True), None)
