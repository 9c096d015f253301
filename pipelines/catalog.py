"""What there is to read: `catalog.html` and `CATALOG.md` for people, `catalog.duckdb` for SQL, `catalog.json`.

Written into the data folder after a run, from the newest commits, the footers of
the files, and what the YAML says of datasets and columns. Each file is written
aside and renamed, so a reader has the old one or the new one, whole. With nothing
new nothing is written; what was found in files that are still the same is kept.
A run of some sources keeps what is known of the others.
"""

from __future__ import annotations

import re
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import orjson
from msgspec import Struct
from msgspec.structs import asdict

from pipelines.batch import digest
from pipelines.catalog_page.entries import ColumnEntry, Entry
from pipelines.catalog_page.html import html
from pipelines.catalog_page.markdown import markdown
from pipelines.config.naming import not_found
from pipelines.errors import StoreError
from pipelines.load.disk import DISK, store_errors
from pipelines.load.facts import Facts, facts, in_time
from pipelines.load.lake import Lake
from pipelines.load.lock import in_turn
from pipelines.load.log import Commit, Dataset
from pipelines.load.stores import sources_of
from pipelines.views import DATABASE, statements_of, write_database
from pipelines.words import Words, remembered, with_memory, words_of

if TYPE_CHECKING:
    from pipelines.config.project import Project
    from pipelines.config.settings import Settings

_FORMAT = 2
JSON, MARKDOWN, PAGE = "catalog.json", "CATALOG.md", "catalog.html"
_LOCK, _PATIENCE_S = "catalog.lock", 10.0
_BY_TIME = re.compile(r"(?:day|month|year)\((\w+)\)")
_FOLDER = re.compile(r"\b(?:day|month|year)=(\d[\d-]*)")
_MOST_ROWS = 200_000
"""A run reads no column of a larger dataset for the catalog: its rows in time are counted by folders."""

_AT_ONCE = 4
Call = Callable[..., Any]


def _here(function: Callable[..., Any], *args: Any) -> Any:
    return function(*args)


def write_catalog(project: Project, call: Call = _here, *, most_rows: int | None = _MOST_ROWS) -> bool:
    """Bring the catalog to the newest commits; False if it was there already.

    *call* computes a function of its arguments, here or in a worker process. Of a
    dataset with more than *most_rows* no column is read; None means all are.

    Raises:
        Busy: Another process writes it and does not come to an end.
        StoreError: A commit or file cannot be read, or the data folder not be written.
    """
    settings, said = project.settings, words_of(project)
    known = _known(settings.data)
    now = _Now.of(settings, with_memory(known, said))
    if now.is_in(known, settings.data, counted=most_rows is None):
        return False
    counted: dict[str, Any] = {}
    if most_rows is None:
        # what takes long is done before others have to wait
        found = _found(now, known.get("found", {}), call, most_rows)
        counted = orjson.loads(orjson.dumps(found, default=asdict))
    return _written(settings, said, counted, call, most_rows)


def refresh_catalog(settings: Settings) -> None:
    """Bring a catalog that is there to the newest commits; what the YAML said of them stays as it was.

    Raises:
        Busy: Another process writes it and does not come to an end.
        StoreError: A commit or file cannot be read, or the data folder not be written.
    """
    known = _known(settings.data)
    if known and not _Now.of(settings, remembered(known)).is_in(known, settings.data, counted=False):
        _written(settings, {}, {}, _here, _MOST_ROWS)


class _Now(Struct, frozen=True):
    """What is committed now and said of it; a catalog of the same `state` shows that."""

    lakes: Mapping[str, Lake]
    heads: Mapping[str, Commit]
    words: Mapping[str, Words]
    state: str

    @classmethod
    def of(cls, settings: Settings, words: Mapping[str, Words]) -> Self:
        """As the data folder, or the bucket, has it."""
        data, remote = settings.data, settings.remote
        lakes = {source: Lake(data, source, remote) for source in sources_of(data, remote)}
        heads = {source: head for source, lake in lakes.items() if (head := lake.head())}
        told = {name: asdict(one) for name, one in words.items()}
        commits = {name: [head.n, head.run] for name, head in heads.items()}
        basis = [_FORMAT, str(data), str(data.resolve()), settings.lake, told, commits]
        return cls(lakes, heads, words, digest(orjson.dumps(basis, default=asdict, option=orjson.OPT_SORT_KEYS)))

    def is_in(self, known: Mapping[str, Any], data: Path, *, counted: bool) -> bool:
        """Whether the catalog *known* shows it, with every column of times read if it has to be *counted*."""
        there = all((data / name).is_file() for name in (MARKDOWN, PAGE, DATABASE))
        return there and known.get("state") == self.state and (not counted or _is_counted(self.heads, known))


def _written(
    settings: Settings, said: Mapping[str, Words], counted: Mapping[str, Any], call: Call, most_rows: int | None
) -> bool:
    """Write what is committed by now, unless another process has; what is *counted* already is not read again."""
    data, remote = settings.data, settings.remote
    if not data.is_dir():
        raise StoreError(f"there is no data folder {data}", "run `threadmill run` first, or set THREADMILL_DATA")
    with in_turn(data / "lake" / _LOCK, "the catalog", DISK, _PATIENCE_S), store_errors("writing the catalog"):
        for leftover in chain.from_iterable(data.glob(f".{name}-*") for name in (JSON, MARKDOWN, PAGE, DATABASE)):
            leftover.unlink(missing_ok=True)
        known = _known(data)
        now = _Now.of(settings, with_memory(known, said))
        if now.is_in(known, data, counted=most_rows is None):
            return False
        statements = [one for source, head in now.heads.items() for one in _statements(now, source, head)]
        views = digest("\n".join(statements).encode())
        is_new = known.get("views") != views or not (data / DATABASE).is_file()
        with ThreadPoolExecutor(1, "views") as aside:
            written = aside.submit(write_database, data, statements, remote) if is_new else None
            found = _found(now, {**known.get("found", {}), **counted}, call, most_rows)
            entries = list(_entries(now, found))
            document = {
                "format": _FORMAT, "state": now.state, "views": views, "datasets": entries, "words": now.words,
                "found": found,
            }  # fmt: skip
            if written:
                written.result()
            _replace(data / MARKDOWN, markdown(entries).encode())
            _replace(data / PAGE, html(entries, None if remote else data).encode())
            # last: it says that the others are up to date
            _replace(data / JSON, orjson.dumps(document, default=asdict, option=orjson.OPT_INDENT_2))
        return True


def _statements(now: _Now, source: str, head: Commit) -> Iterator[str]:
    if not_found(source):  # DuckDB would refuse to make its views
        return
    for name, dataset in head.datasets.items():
        told = now.words.get(f"{source}.{name}", Words())
        yield from statements_of(name, now.lakes[source], dataset, told.description, told.columns)


def meanings(data: Path, dataset: str) -> dict[str, str]:
    """What the columns of *dataset*, `source.name`, say, and their unit, as the last catalog has it."""
    found = [one["columns"] for one in _known(data).get("datasets", []) if one["dataset"] == dataset]
    texts = {one["name"]: (one["description"], one["unit"]) for columns in found for one in columns}
    return {name: f"{text} ({unit})".strip() if unit else text for name, (text, unit) in texts.items()}


def _known(data: Path) -> dict[str, Any]:
    """The last catalog; nothing where there is none that can be read."""
    with suppress(OSError, ValueError):
        found = orjson.loads((data / JSON).read_bytes())
        if isinstance(found, dict) and found.get("format") == _FORMAT:
            return found
    return {}


class Found(Struct, frozen=True):
    """The facts of one dataset, the files and columns that they are of, and the column whose rows they count."""

    files: str
    time: str
    facts: Facts


def _found(now: _Now, known: Mapping[str, Any], call: Call, most_rows: int | None) -> dict[str, Found]:
    """The facts of every dataset; those of the last catalog where files and columns are still the same."""
    found: dict[str, Future[Found]] = {}
    with ThreadPoolExecutor(_AT_ONCE, "catalog") as threads:
        for source, head in now.heads.items():
            for name, dataset in head.datasets.items():
                last = known.get(f"{source}.{name}", {})
                find = partial(_found_of, now.lakes[source], dataset, last, call, most_rows)
                found[f"{source}.{name}"] = threads.submit(find)
    return {name: one.result() for name, one in found.items()}


def _found_of(lake: Lake, dataset: Dataset, last: Mapping[str, Any], call: Call, most_rows: int | None) -> Found:
    files = digest(orjson.dumps([dataset.columns, [file.path for file in dataset.files]]))
    time = _time(dataset)
    read = time if most_rows is None or dataset.rows <= most_rows else ""
    if last.get("files") == files and last.get("time") in (time, read):
        return Found(files, last["time"], _facts(last["facts"]))
    at = lake.addresses(dataset)
    # the way into a bucket has credentials in it: no worker is told
    compute = call if at.filesystem is None else _here
    return Found(files, read, compute(facts, at.paths, dataset.schema, read, at.filesystem))


def _is_counted(heads: Mapping[str, Commit], known: Mapping[str, Any]) -> bool:
    """Whether the last catalog has read every column of times."""
    return all(
        known["found"][f"{source}.{name}"]["time"] == _time(dataset)
        for source, head in heads.items()
        for name, dataset in head.datasets.items()
    )


def _facts(known: Mapping[str, Any]) -> Facts:
    """What `orjson` wrote of facts."""
    return Facts(
        {name: (least, greatest) for name, (least, greatest) in known["spans"].items()},
        known["nulls"],
        tuple(map(tuple, known["sample"])),
        tuple((when, rows) for when, rows in known["per_time"]),
    )


def _time(dataset: Dataset) -> str:
    """The column that says when a row was: the one of the folders, or the first time; empty where there is none."""
    import pyarrow as pa

    schema = dataset.schema or ()
    times = [one.name for one in schema if pa.types.is_timestamp(one.type) or pa.types.is_date(one.type)]
    folders = _BY_TIME.findall(" ".join(dataset.partition_by))
    return next((name for name in (*folders, *times) if name in times), "")


def _entries(now: _Now, found: Mapping[str, Found]) -> Iterator[Entry]:
    for source, head in now.heads.items():
        for name, dataset in head.datasets.items():
            full = f"{source}.{name}"
            told, known = now.words.get(full, Words()), found[full].facts
            yield Entry(
                dataset=full,
                description=told.description,
                commit=head.n,
                committed_at=head.created_at.isoformat(timespec="seconds"),
                rows=dataset.rows,
                files=len(dataset.files),
                size_bytes=sum(file.size_bytes for file in dataset.files),
                write=dataset.write,
                key=dataset.key,
                partition_by=dataset.partition_by,
                columns=tuple(_columns(dataset, told, known)),
                sample=known.sample,
                made_from=told.made_from,
                used_by=tuple(other for other, one in now.words.items() if full in one.made_from),
                time=_time(dataset),
                per_time=known.per_time or _by_folder(dataset),
            )


def _by_folder(dataset: Dataset) -> tuple[tuple[str, int], ...]:
    """Rows in time as the names of the folders tell them."""
    counts: Counter[str] = Counter()
    for file in dataset.files:
        if when := _FOLDER.search(file.partition):
            counts[when[1]] += file.rows
    return in_time(counts)


def _columns(dataset: Dataset, told: Words, found: Facts) -> Iterator[ColumnEntry]:
    for column in dataset.schema or ():
        description, unit = told.columns.get(column.name, ("", ""))
        least, greatest = found.spans.get(column.name, ("", ""))
        nulls = found.nulls.get(column.name)
        share = nulls / dataset.rows if nulls is not None and dataset.rows else None
        yield ColumnEntry(column.name, str(column.type), description, unit, least, greatest, share)


def _replace(path: Path, content: bytes) -> None:
    aside = path.with_name(f".{path.name}-{uuid.uuid4().hex}")
    try:
        aside.write_bytes(content)
        aside.replace(path)
    finally:
        with suppress(FileNotFoundError):
            aside.unlink()
