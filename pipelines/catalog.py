"""What there is to read: `catalog.html` and `CATALOG.md` for people, `catalog.duckdb` for SQL, `catalog.json`.

Written into the data folder after a run, from the newest commits, the footers of
the files, and what the YAML says of datasets and columns. Each file is written
aside and renamed, so a reader has the old one or the new one, whole. With nothing
new nothing is written; what was found in files that are still the same is kept.
A run of some sources keeps what is known of the others.
"""

from __future__ import annotations

import fcntl
import os
import re
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from pipelines.batch import digest
from pipelines.catalog_page.entries import ColumnEntry, Entry
from pipelines.catalog_page.html import html
from pipelines.catalog_page.markdown import markdown
from pipelines.load.disk import store_errors
from pipelines.load.facts import Facts, facts, in_time
from pipelines.load.lake import Lake
from pipelines.load.log import Commit, Dataset
from pipelines.load.stores import sources_of
from pipelines.marts.model import MARTS
from pipelines.views import DATABASE, statements_of, write_database

if TYPE_CHECKING:
    from pipelines.config.project import Project
    from pipelines.config.settings import Settings

_FORMAT = 2
JSON, MARKDOWN, PAGE = "catalog.json", "CATALOG.md", "catalog.html"
_LOCK = Path("lake") / "catalog.lock"
_BY_TIME = re.compile(r"(?:day|month|year)\((\w+)\)")
_FOLDER = re.compile(r"\b(?:day|month|year)=(\d[\d-]*)")
_MOST_ROWS = 200_000
"""A run reads no column of a larger dataset for the catalog: its rows in time are counted by folders."""

_AT_ONCE = 4
Call = Callable[..., Any]


def _here(function: Callable[..., Any], *args: Any) -> Any:
    return function(*args)


@dataclass(frozen=True, slots=True)
class Words:
    """What the YAML says of a dataset: of itself, of its columns (text and unit), and what it is made from."""

    description: str = ""
    columns: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    made_from: tuple[str, ...] = ()


def write_catalog(project: Project, call: Call = _here, *, most_rows: int | None = _MOST_ROWS) -> bool:
    """Bring the catalog to the newest commits; False if it was there already.

    *call* computes a function of its arguments, here or in a worker process. Of a
    dataset with more than *most_rows* no column is read; None means all are. Who comes
    while another process writes waits for it.

    Raises:
        StoreError: A commit or file cannot be read, or the data folder not be written.
    """
    with _alone(project.settings.data):
        return _written(project.settings, _words(project), call, most_rows)


def refresh_catalog(settings: Settings) -> None:
    """Bring a catalog that is there to the newest commits; what the YAML said of them stays as it was.

    Raises:
        StoreError: A commit or file cannot be read, or the data folder not be written.
    """
    if (settings.data / JSON).is_file():
        with _alone(settings.data):
            _written(settings, {}, _here, _MOST_ROWS)


def _written(settings: Settings, said: Mapping[str, Words], call: Call, most_rows: int | None) -> bool:
    data, remote = settings.data, settings.remote
    known = _known(data)
    words = {**_remembered(known), **said}
    lakes = {source: Lake(data, source, remote) for source in sources_of(data, remote)}
    heads = {source: head for source, lake in lakes.items() if (head := lake.head())}
    told = {name: asdict(one) for name, one in words.items()}
    commits = {name: [head.n, head.run] for name, head in heads.items()}
    basis = [_FORMAT, str(data), str(data.resolve()), settings.lake, told, commits]
    state = digest(orjson.dumps(basis, option=orjson.OPT_SORT_KEYS))
    there = all((data / name).is_file() for name in (MARKDOWN, PAGE, DATABASE))
    if there and known.get("state") == state and (most_rows is not None or _is_counted(heads, known)):
        return False
    statements = [one for source, head in heads.items() for one in _statements(lakes[source], head, words)]
    views = digest("\n".join(statements).encode())
    is_new = known.get("views") != views or not (data / DATABASE).is_file()
    with store_errors("writing the catalog"), ThreadPoolExecutor(1, "views") as aside:
        written = aside.submit(write_database, data, statements, remote) if is_new else None
        found = _found(lakes, heads, known.get("found", {}), call, most_rows)
        entries = list(_entries(heads, words, found))
        document = {
            "format": _FORMAT, "state": state, "views": views, "datasets": entries, "words": told, "found": found,
        }  # fmt: skip
        if written:
            written.result()
        _replace(data / MARKDOWN, markdown(entries).encode())
        _replace(data / PAGE, html(entries, None if remote else data).encode())
        # last: it says that the others are up to date
        _replace(data / JSON, orjson.dumps(document, option=orjson.OPT_INDENT_2))
    return True


@contextmanager
def _alone(data: Path) -> Iterator[None]:
    """Wait until no other process writes the catalog; then remove what dead ones left of it."""
    with store_errors("writing the catalog"):
        (data / _LOCK).parent.mkdir(0o750, parents=True, exist_ok=True)
        file = os.open(data / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o640)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            for name in (JSON, MARKDOWN, PAGE, DATABASE):
                for leftover in data.glob(f".{name}-*"):
                    leftover.unlink(missing_ok=True)
            yield
        finally:
            os.close(file)


def _statements(lake: Lake, head: Commit, words: Mapping[str, Words]) -> Iterator[str]:
    for name, dataset in head.datasets.items():
        told = words.get(f"{lake.source}.{name}", Words())
        yield from statements_of(name, lake, dataset, told.description, told.columns)


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


def _remembered(known: Mapping[str, Any]) -> dict[str, Words]:
    return {
        name: Words(
            one["description"],
            {column: (text, unit) for column, (text, unit) in one["columns"].items()},
            tuple(one["made_from"]),
        )
        for name, one in known.get("words", {}).items()
    }


def _words(project: Project) -> dict[str, Words]:
    found = {}
    for source in project.sources:
        for name, resource in source.resources.items():
            columns = {
                column: (told.description or "", told.unit or "")
                for column, told in resource.columns.items()
                if told.description or told.unit
            }
            origin = f"{source.base_url.rstrip('/')}/{resource.path.lstrip('/')}".partition("?")[0]
            found[f"{source.name}.{name}"] = Words(resource.description or "", columns, (source.secrets.hide(origin),))
    for name, mart in project.marts.marts.items():
        texts = {column: (text, "") for column, text in mart.columns.items()}
        found[f"{MARTS}.{name}"] = Words(mart.description, texts, tuple(mart.inputs.values()))
    return found


@dataclass(frozen=True, slots=True)
class Found:
    """The facts of one dataset, the files and columns that they are of, and the column whose rows they count."""

    files: str
    time: str
    facts: Facts


def _found(
    lakes: Mapping[str, Lake], heads: Mapping[str, Commit], known: Mapping[str, Any], call: Call, most_rows: int | None
) -> dict[str, Found]:
    """The facts of every dataset; those of the last catalog where files and columns are still the same."""
    found: dict[str, Future[Found]] = {}
    with ThreadPoolExecutor(_AT_ONCE, "catalog") as threads:
        for source, head in heads.items():
            for name, dataset in head.datasets.items():
                last = known.get(f"{source}.{name}", {})
                find = partial(_found_of, lakes[source], dataset, last, call, most_rows)
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


def _entries(heads: Mapping[str, Commit], words: Mapping[str, Words], found: Mapping[str, Found]) -> Iterator[Entry]:
    for source, head in heads.items():
        for name, dataset in head.datasets.items():
            full = f"{source}.{name}"
            told, known = words.get(full, Words()), found[full].facts
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
                used_by=tuple(other for other, one in words.items() if full in one.made_from),
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
