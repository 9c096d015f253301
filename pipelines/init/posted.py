"""What is asked, as lines of the file: parameters of the URL, a body, or a GraphQL query with its variables."""

from __future__ import annotations

import copy
import re
from collections.abc import Collection, Iterator, Mapping

from msgspec import Struct

from pipelines.batch import Json
from pipelines.init.answers import Answer, Trial
from pipelines.init.subject import alone
from pipelines.init.writing import Line, Question, Reference

_REFERENCE = re.compile(r"\$\{[A-Za-z_]\w*(:-[^}]*)?\}")
_MISTAKE = "{"


class Manners(Struct, frozen=True):
    """How a posted question behaves: whether it can be asked twice, and what a mistake is answered with."""

    repeats: bool
    mistake: Answer | None = None

    def lines(self) -> Iterator[Line | Question]:
        """The lines that follow from it."""
        if self.repeats:
            yield Line("idempotent", value=True, why="asked twice, it gave the same records")
        else:
            yield Question("does it change anything to ask twice? If not, say `idempotent: true`: it is then retried")
        if self.mistake and self.mistake.has_errors and self.mistake.page.status == 200:
            rule = {"status": 200, "when": "errors", "do": "fail"}
            yield Line("errors", [rule], "a broken query was answered with 200 and `errors`")


def find_manners(trial: Trial) -> Manners | None:
    """Ask the same again, and of GraphQL something broken; None for what is not posted."""
    subject = trial.subject
    if not subject.posts:
        return None
    page = trial.prober.again(subject.request, "as given, again", "can it be asked twice?")
    repeats = bool(trial.size) and Answer(page, trial.located.rows(page), {}).is_like(trial.base)
    if subject.variables is None:
        return Manners(repeats)
    broken = trial.send(subject.changed({"query": _MISTAKE}), "a broken query", "what does a mistake look like?")
    return Manners(repeats, broken)


def asked_lines(trial: Trial, own: Collection[str], more: Mapping[str, tuple[Json, str]]) -> Iterator[Line | Question]:
    """The parameters and the body as given, without what is the paginator's *own*, and with *more*: value and why."""
    subject = trial.subject
    mine = {} if subject.posts else more
    given = [
        Line(name, alone(values), "as in the URL")
        for name, values in subject.params.items()
        if name not in {*own, *mine}
    ]
    if params := [*given, *(Line(name, value, why) for name, (value, why) in mine.items())]:
        yield Line("params", below=tuple(params))
    if not subject.posts:
        return
    body = copy.deepcopy(subject.body)
    for path in own:
        _take(body, path)
    for path, (value, _) in more.items():
        _put(body, path, value)
    whys = "; ".join(why for _, why in more.values())
    if subject.variables is None:
        yield Line("body", _referring(body), f"as given{'; ' if whys else ''}{whys}")
    else:
        variables = [Line("variables", _referring(body["variables"]), whys)] if body["variables"] else []
        yield Line("graphql", below=(Line("query", subject.body["query"], "as given"), *variables))
    yield Question('does a field of it ask for what is new? Put "{window.start}" there and say `incremental`')


def _take(body: Json, path: str) -> None:
    """Leave out the field at the dotted *path*."""
    *above, last = path.split(".")
    for name in above:
        body = body.get(name, {})
    body.pop(last, None)


def _put(body: Json, path: str, value: Json) -> None:
    *above, last = path.split(".")
    for name in above:
        body = body.setdefault(name, {})
    body[last] = value


def _referring(value: Json) -> Json:
    """*value*, in which texts with `${NAME}` stay references."""
    if isinstance(value, dict):
        return {name: _referring(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_referring(item) for item in value]
    return Reference(value) if isinstance(value, str) and _REFERENCE.search(value) else value
