"""Answers of one endpoint, compared record by record.

Two answers are never compared as bytes: times of generation and echoes of the
question differ between equal pages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property

from msgspec import Struct

from pipelines.batch import Json, digest
from pipelines.envelope import dumps
from pipelines.errors import AuthError, DecodeError, HttpError, PipelineError
from pipelines.extract.page import Page
from pipelines.extract.request import Request
from pipelines.extract.rules import error_text
from pipelines.init.located import Located, locate
from pipelines.init.prober import Prober
from pipelines.init.subject import Subject
from pipelines.records import find, parse

_DRIFT = 0.2  # share of records that may have moved to another page between two requests
_LONGEST_SHOWN = 24
_SINGLY = 3
_ALONE = 2
_MOST_SHOWN = 3


class Answer(Struct, frozen=True, dict=True):
    """One answer and the records in it."""

    page: Page
    rows: list[dict[str, Json]]
    around: dict[str, Json]
    has_errors: bool = False
    """The body of a GraphQL answer tells of errors."""

    @property
    def refused(self) -> bool:
        """Whether the API answered with an error; GraphQL says 200 to mistakes, too."""
        return self.page.status >= 400 or self.has_errors

    @property
    def came(self) -> bool:
        """Whether the API answered with what may be records."""
        return 200 <= self.page.status < 300 and not self.has_errors

    @cached_property
    def marks(self) -> tuple[str, ...]:
        """A digest for each record."""
        return tuple(digest(dumps(row, sort_keys=True)) for row in self.rows)

    @property
    def outcome(self) -> str:
        """What came, in a few words."""
        if self.refused:
            return f"was refused with {self.page.status}" + (" and `errors`" if self.has_errors else "")
        return f"gave {len(self.rows):,} records" if self.came else "had no answer"

    def is_like(self, other: Answer, size: int | None = None) -> bool:
        """Whether both begin with the same records, *size* of them or all."""
        return self.came and bool(self.rows) and self.marks[:size] == other.marks[:size]

    def goes_on_from(self, other: Answer) -> bool:
        """Whether these are other records than *other* has, but for a few that moved."""
        common = len(set(self.marks) & set(other.marks))
        return bool(self.rows) and common <= _DRIFT * len(self.rows)


class Trial:
    """One endpoint under experiment: the answer to the user's URL, and all later ones."""

    def __init__(self, prober: Prober, located: Located, base: Answer) -> None:
        self.prober = prober
        self.located = located
        self.base = base
        self.answers = [base]
        self.is_strict = False
        """Whether the API refused parameters that it does not know."""
        self.counts_of_page: frozenset[str] = frozenset()
        """Names of numbers that are as many as the records of a page, whatever its size."""

    @property
    def subject(self) -> Subject:
        """What the user gave."""
        return self.prober.subject

    @property
    def size(self) -> int:
        """How many records came without any wish."""
        return len(self.base.rows)

    def ask(self, changes: Mapping[str, Json], why: str) -> Answer:
        """The answer with *changes* to the parameters of the user's URL, or to its body."""
        what = "&".join(f"{name}={_shown(value)}" for name, value in list(changes.items())[:_MOST_SHOWN])
        what += f" and {len(changes) - _MOST_SHOWN} more" if len(changes) > _MOST_SHOWN else ""
        return self.send(self.subject.changed(changes), what, why)

    def send(self, request: Request, what: str, why: str) -> Answer:
        """The answer to *request*, which *what* describes."""
        page = self.prober.ask(request, what, why)
        around = self.located.around(page) if page.status < 400 else {}
        answer = Answer(page, self.located.rows(page), around, self.subject.variables is not None and has_errors(page))
        if answer.came:
            self.answers.append(answer)
        return answer

    def effective(self, names: Sequence[str], value: Json, works: Callable[[Answer], bool], **more: Json) -> str | None:
        """Which of the parameters *names* works when set to *value*; all are asked at once first.

        An API that refuses unknown parameters is asked for the likeliest ones singly.
        """
        names = self.subject.candidates(names)
        if not names:
            return None
        why = f"is one of {len(names)} names known?" if len(names) > 1 else "is it known?"
        together = None if self.is_strict else self.ask({**more, **dict.fromkeys(names, value)}, why)
        if together is None or together.refused:
            self.is_strict = True
            asked = ((name, self.ask({**more, name: value}, "is it known?")) for name in names[:_SINGLY])
            return next((name for name, answer in asked if works(answer)), None)
        return self._isolated(list(names), value, works, more) if works(together) else None

    def key(self, name: str) -> str:
        """What a paginator calls *name*: `param` is `field`, and `size_param` is `size_field`, in a body."""
        return name.replace("param", "field") if self.subject.posts else name

    def sample(self) -> list[dict[str, Json]]:
        """Every different record of all answers."""
        rows = {mark: row for answer in self.answers for mark, row in zip(answer.marks, answer.rows, strict=True)}
        return list(rows.values())

    def _isolated(
        self, names: list[str], value: Json, works: Callable[[Answer], bool], more: Mapping[str, Json]
    ) -> str | None:
        """The one of *names* that works: the two likeliest alone first, then by halves."""
        tries = 0
        while len(names) > 1:
            some = names[: 1 if tries < _ALONE else max(1, len(names) // 2)]
            tries += 1
            found = works(self.ask({**more, **dict.fromkeys(some, value)}, "which of the names is it?"))
            names = some if found else names[len(some) :]
        return names[0] if works(self.ask({**more, names[0]: value}, "is it that name alone?")) else None


def first_answer(prober: Prober) -> Trial:
    """Ask the user's URL as it is, and find the records in the answer.

    Raises:
        PipelineError: There is no answer, or nothing that could be records.
    """
    page = prober.ask(prober.subject.request, "as given", "where are the records?")
    if page.status >= 400 or (prober.subject.variables is not None and has_errors(page)):
        raise refusal(page, prober)
    located = locate(page)
    return Trial(prober, located, Answer(page, located.rows(page), located.around(page)))


def has_errors(page: Page) -> bool:
    """Whether a GraphQL answer tells of errors."""
    return _mistake(page) is not None


def _mistake(page: Page) -> str | None:
    """The first of the `errors` of a GraphQL answer; None where there is none."""
    try:
        return str(find(parse(page.body, "json"), "errors[0].message") or "") or None
    except DecodeError:
        return None


def refusal(page: Page, prober: Prober) -> PipelineError:
    """The error for a first answer that is a refusal."""
    told = prober.subject.secrets.hide(_mistake(page) or error_text(page))
    what = f"{page.request.safe_url} answered {page.status}" + (f" ({told})" if told else "")
    if page.status in (401, 403):
        return AuthError(what, "give credentials: --header 'Authorization: Bearer ${TOKEN}'")
    return HttpError(what, "check the URL; parameters that the API requires belong into it")


def named(around: Mapping[str, Json], names: Sequence[str]) -> Iterator[tuple[str, Json]]:
    """Those of *around* whose last step, without `_` and case, is one of *names*, in the order of *names*."""
    for name in names:
        yield from ((path, value) for path, value in around.items() if bare(path) == name)


def bare(path: str) -> str:
    """The last step of *path* in lower case without signs: `meta.totalPages` is `totalpages`."""
    return "".join(char for char in path.rpartition(".")[2].lower() if char.isalnum())


def whole(value: Json) -> int | None:
    """*value* as a whole number, if it is one or is written as one."""
    if isinstance(value, str) and value.isdigit() and len(value) < 16:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _shown(value: Json) -> str:
    text = str(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 1]}…"
