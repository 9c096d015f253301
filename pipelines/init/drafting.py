"""From one URL to one source file: the experiments in order, and their findings as text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from msgspec import Struct

from pipelines.batch import Json
from pipelines.init.answers import Answer, Trial, first_answer
from pipelines.init.counted import counted_paging, find_counted, find_last_id
from pipelines.init.followed import Paging, find_followed
from pipelines.init.names_of_rows import Clock, Key, find_clocks, find_key, made_at
from pipelines.init.posted import Manners, asked_lines, find_manners
from pipelines.init.prober import Asked, Prober
from pipelines.init.since import Since, find_since
from pipelines.init.sizes import Cap, Size, find_cap, find_size
from pipelines.init.subject import Subject
from pipelines.init.totals import Told, total_of
from pipelines.init.types import Guess, guesses
from pipelines.init.writing import Line, Question, yaml_text

_NUMBERED = re.compile(r"/(\d{2,}|[0-9a-f]{8}-[0-9a-f-]{27})(?=/|$)")
_ENOUGH_TO_PARTITION = 10_000

Lines = list[Line | Question]


class Draft(Struct, frozen=True):
    """A source file as written, what was asked for it, and what it leaves open."""

    name: str
    text: str
    asked: tuple[Asked, ...] = ()
    to_set: tuple[str, ...] = ()
    not_asked: int = 0

    @property
    def questions(self) -> list[str]:
        """The questions in the file."""
        return [line.partition("QUESTION: ")[2] for line in self.text.splitlines() if "# QUESTION: " in line]


class _Findings(Struct, frozen=True):
    """All that the experiments found out."""

    trial: Trial
    size: Size | None
    cap: Cap | None
    paging: Paging | None
    columns: list[Guess]
    key: Key
    clocks: list[Clock]
    since: Since | None
    sampled: int
    counted: Told | None
    manners: Manners | None

    @property
    def total(self) -> int | None:
        """How many records there are, if an answer tells."""
        return self.counted.number if self.counted else None

    @property
    def has_all(self) -> bool:
        """Whether the sample is everything that the API has."""
        return self.total is not None and self.sampled >= self.total


def draft(prober: Prober) -> Draft:
    """Experiment with the prober's subject, and write down what was found.

    Raises:
        PipelineError: The first request got no answer that could hold records.
    """
    found = _experiment(first_answer(prober))
    subject = prober.subject
    asked = f"{len(prober.asked)} requests to {subject.connection.url(subject.path)}"
    text = heading(f"threadmill init, after {asked}") + yaml_text(_file(found))
    return Draft(subject.name, subject.secrets.hide(text), tuple(prober.asked), subject.to_set, prober.refused_for_cap)


def heading(how: str) -> str:
    """The first lines of a file."""
    return (
        f"# Written by {how}.\n# Comments are evidence. A QUESTION is what it could not tell: answer it, delete it.\n"
    )


def top(subject: Subject, name: str) -> Lines:
    """The lines before `resources`."""
    why_name = "as given" if subject.is_named else "from the URL"
    lines: Lines = [Line("source", name, why_name), Line("base_url", subject.base_url, "the URL up to its last step")]
    why = {"auth": "as given; its value comes from the environment or `.env`"}
    return lines + [Line(key, value, why.get(key, "as given, for every request")) for key, value in subject.top.items()]


def column_lines(columns: Sequence[Guess]) -> Iterator[Line | Question]:
    """A line for each column, with what the sample says of it."""
    for one in columns:
        if one.question:
            yield Question(one.question)
        options = {"type": one.type, "from": one.source, "zone": one.zone}
        options = {key: value for key, value in options.items() if value is not None}
        if one.type:
            yield Line(one.name, options if len(options) > 1 else one.type, one.why)


def _experiment(trial: Trial) -> _Findings:
    pages = not trial.located.model.single
    size = find_size(trial) if pages else None
    cap, paging = _paging(trial, size) if pages else (None, None)
    columns = _columns(trial)
    clocks = find_clocks(columns)
    used = {*(paging.params if paging else ()), *([size.param] if size else ())}
    since = find_since(trial, clocks, used) if pages else None
    columns = _columns(trial)
    sampled = len(trial.sample())
    key = find_key(columns, sampled, trial.subject.resource)
    told, manners = total_of(trial, cap.answer if cap else trial.base), find_manners(trial)
    return _Findings(trial, size, cap, paging, columns, key, find_clocks(columns), since, sampled, told, manners)


def _columns(trial: Trial) -> list[Guess]:
    return guesses(trial.sample(), as_text=trial.located.format == "csv")


def _paging(trial: Trial, size: Size | None) -> tuple[Cap | None, Paging | None]:
    """How the next page is found, and how large pages may be."""
    if followed := find_followed(trial, size):
        return find_cap(trial, size, sign=followed.sign) if size else None, followed
    if counted := find_counted(trial, size):
        step = 1 if counted.kind == "page_number" else 1000
        second = f"{counted.param}={counted.first + step}"
        cap = find_cap(trial, size, second=second) if size else None
        chosen, why = (cap.size, cap.why) if cap else (size.small if size else None, "the only size tried")
        return cap, counted_paging(trial, counted, size, chosen, why)
    total = total_of(trial, trial.base)
    key = find_key(_columns(trial), trial.size, trial.subject.resource)
    paging = None if total and total.number <= trial.size else find_last_id(trial, size, _increasing(trial, key))
    return find_cap(trial, size, sign=paging.sign if paging else None) if size else None, paging


def _increasing(trial: Trial, key: Key) -> str | None:
    """The field of the key, if it grows from record to record."""
    column = next((one for one in _columns(trial) if (one.name,) == key.columns and len(one.path) == 1), None)
    values: list[Json] = list(column.values) if column else []
    if column is None or len({type(value) for value in values}) != 1:
        return None
    return str(column.path[0]) if values in (sorted(values), sorted(values, reverse=True)) else None


def _file(found: _Findings) -> Lines:
    subject = found.trial.subject
    resource = Line(subject.resource, below=tuple(_resource(found)))
    limits = list(_limits(found.trial.base))
    return [*top(subject, subject.name), *limits, Line("resources", below=(resource,))]


def _limits(base: Answer) -> Iterator[Line | Question]:
    """What headers say about the pace; how fast an API may be asked cannot be tried politely."""
    names = sorted(base.page.headers)
    remaining = next((name for name in names if re.search(r"rate-?limit-remaining$", name)), None)
    reset = next((name for name in names if re.search(r"rate-?limit-reset$", name)), None)
    if remaining and reset:
        yield Line("limits", {"remaining_header": remaining, "reset_header": reset}, "headers of the answer")
    yield Question("`limits`: how many requests does the API allow? For instance `limits: {rate: 5/s, in_flight: 2}`")


def _resource(found: _Findings) -> Iterator[Line | Question]:
    trial, located = found.trial, found.trial.located
    yield Line("path", trial.subject.path, "the last step of the URL")
    if _NUMBERED.search(trial.subject.connection.base_url + trial.subject.path):
        yield Question("the address holds an id: is there one for each record of another resource? see `for_each`")
    yield from _asked(found)
    if located.format != "json":
        yield Line("format", located.format, located.why)
    else:
        yield Line("records", located.written if located.written is not None else "@", located.why)
    if located.question:
        yield Question(located.question)
    yield from _paginate(found)
    yield from _writing(found)
    yield from _partitions(found)
    columns = tuple(column_lines(found.columns))
    if not any(isinstance(line, Line) for line in columns):
        return
    if not found.has_all:
        yield Line("on_mismatch", "widen", f"types are those of {found.sampled:,} records; others may differ")
    yield Line("columns", below=columns)


def _asked(found: _Findings) -> Iterator[Line | Question]:
    own = found.paging.params if found.paging else frozenset()
    since = {found.since.param} if found.since and found.key.columns else set()
    more: dict[str, tuple[Json, str]] = {}
    if found.size and found.cap and not (found.paging and found.paging.is_counted):
        more[found.size.param] = found.cap.size, f"{found.size.why}; {found.cap.why}"
    yield from asked_lines(found.trial, own | since, more)
    yield from found.manners.lines() if found.manners else ()


def _paginate(found: _Findings) -> Iterator[Line | Question]:
    if found.paging:
        yield from found.paging.lines
        return
    count = len(found.cap.answer.rows) if found.cap else found.trial.size
    if found.counted and found.total == count > 0:
        # with the total: should there be more one day, one page of them is not called complete
        told = found.counted.total_line(f"all {count:,} that it tells came at once")
        yield Line("paginate", below=(Line("none", below=(told,)),))
        return
    if found.trial.located.model.single:
        return
    # no line: `paginate: none` would let a run call one page complete
    what = "no link, token, page number or offset led to other records"
    if found.total:
        yield Question(f"`paginate`: the answer counts {found.total:,} records and gave {count:,}; {what}")
    else:
        yield Question(f"`paginate`: {count:,} records came; {what}. Is that all? Then say `paginate: none`")


def _writing(found: _Findings) -> Iterator[Line | Question]:
    """Incremental, key and write mode."""
    since, key = found.since, found.key
    if since and key.columns:
        yield from _incremental(since)
    if key.columns:
        others = f"; so are {', '.join(key.others)}" if key.others else ""
        yield Line("key", list(key.columns), key.why + others)
    else:
        yield Question(f"`key`: {key.why}")
    if since and key.columns:
        yield Line(
            "write",
            "upsert",
            f"{since.param} gives new and changed records, and {', '.join(key.columns)} tells them apart",
        )
        if since.clock.is_revised:
            yield Line("version", since.clock.guess.name, "of two versions of a record the newer one stays")
        return
    if since:
        yield Question(
            f"{since.why_param}. With a `key` only new records need to be read: `incremental`, `write: upsert`"
        )
    yield Line(
        "write",
        "replace",
        "every run reads everything"
        + ("" if since or found.trial.subject.posts else ": no parameter was found that filters by time"),
    )
    if not since and found.clocks and not found.trial.subject.posts:
        names = ", ".join(f"{clock.guess.name} ({clock.why})" for clock in found.clocks[:3])
        yield Question(f"does a parameter ask for what is new? Then say `incremental`. Times: {names}")


def _incremental(since: Since) -> Iterator[Line | Question]:
    lines: Lines = [
        Line("cursor", since.clock.guess.name, since.clock.why),
        Line("since_param", since.param, since.why_param),
        Line("start", since.start, since.why_start),
    ]
    if since.format != "iso":
        lines.append(Line("format", since.format, "the form in which the filter worked"))
    if since.question:
        lines.append(Question(since.question))
    lines.append(Question("`lag`: do records arrive late? Then `lag: 1h` reads the last hour again"))
    if not since.clock.is_revised:
        lines.append(Question(f"are records changed later? {since.clock.guess.name} would not show it"))
    yield Line("incremental", below=tuple(lines))


def _partitions(found: _Findings) -> Iterator[Line]:
    made = made_at(found.clocks)
    if made is None:
        return
    moments = made.instants(made.guess.values)
    days = (max(moments) - min(moments)).days
    written = f"{'year' if days > 5 * 365 else 'month'}({made.guess.name})"
    if found.total is None or found.total > _ENOUGH_TO_PARTITION:
        yield Line("partition_by", written, f"known in every record; the sample spans {days:,} days")


def summary(written: Draft, most: int) -> str:
    """What was asked and what is open, for the terminal."""
    lines = [f"{len(written.asked)} of at most {most} requests:"]
    lines += [
        f"  {n:>2}. {asked.status or '---'}  {asked.what}: {asked.why}" for n, asked in enumerate(written.asked, 1)
    ]
    if written.not_asked:
        lines.append(f"{written.not_asked} more would have been asked; raise --max-requests to allow them")
    lines += [f"set {name} in the environment or in `.env`: the file refers to it" for name in written.to_set]
    lines.append(f"questions left in the file: {len(written.questions)}")
    return "\n".join(lines)


__all__ = ["Draft", "column_lines", "draft", "heading", "summary", "top"]
