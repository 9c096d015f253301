"""What may stand beside the keys: a part of the reference, from the tables that files are read by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pipelines.config.loading import MERGED
from pipelines.config.reference_examples import RESOURCE, SOURCE
from pipelines.config.references import PREFECT
from pipelines.extract.endpoint import Count, Endpoint
from pipelines.extract.limits import SPANS_S
from pipelines.transform.column_types import EPOCHS, FORMS, UNITS, WORDS
from pipelines.values import BYTES, SECONDS

PLACEHOLDERS = "{placeholders}"
"""In a description: the key may hold some."""
_TITLE = """\
# Values

What the keys of a source file take. `threadmill check` tells a value that does not fit with its line and its key.
"""
_TYPES = """\
## Types of columns

Of `columns`. A value fits where nothing of it is lost, a number that is written as text, too; `on_mismatch` says what
becomes of one that does not.
"""
_TIMES = """\
A time that names no zone is not taken for UTC: the resource fails until its column says `zone: UTC`, or the API's own
zone. Times of a column without a type stay text. `start` and `end` of `incremental` are in its `zone` where they name
none, by default UTC.
"""
_QUANTITIES = """\
## Durations, sizes and rates

A number and its unit; a number alone is refused. `min` and `m` are minutes, a KB is 1000 bytes and a KiB 1024. A rate
is a whole number of requests.
"""
_REFERENCES = f"""\
## References

In any text of a source file, though not in a key. What is found is not read again, and a text that is a number will do
where a number is wanted.

| written | is |
| --- | --- |
| `${{NAME}}` | the variable NAME; it is an error where none is set |
| `${{NAME:-default}}` | the same, or else `default`, in which there can be no `}}` |
| `$${{` | `${{` as it stands |
| `{PREFECT}NAME` | alone in its text: Prefect's [Secret block](prefect.md#secrets) NAME, in a flow run only |

A variable is looked for in the environment, then in `.env`, under Prefect among its
[variables](prefect.md#variables), then in `variables` of the settings. One that is there and empty is as good as
none: `variables` of the settings, then the default take its place. Between braces YAML wants a reference in quotes.
"""
_FILLED = """\
Children of children know the records and the `values` of all above them. In a path a value is percent-encoded and
keeps its slashes; an empty one is an error, and so is `..`. In `params` a null leaves its parameter out, and a list
repeats it. In a JSON body a text that is one placeholder becomes the value with its type: a bound is a number where
`format` counts. Other braces stay as they are, save in a path, where they are refused: in a GraphQL query `{ id }` is
a field, and `{id}` a placeholder.
"""
_TAKES = {
    **dict.fromkeys(("int8", "int16", "int32", "int64"), 'whole numbers: `12`, `12.0`, `"12"`'),
    **dict.fromkeys(("uint8", "uint16", "uint32", "uint64"), "whole numbers from 0 on"),
    "float64": "numbers; whole ones that it would round do not fit",
    "string": "texts; anything else as JSON",
    "bool": "`true` and `false`, but not as text",
    "date": "days: `2024-02-29`",
    "json": "anything, as JSON",
    "decimal(12,2)": "numbers of 12 digits at most (up to 38 can be said), 2 of them behind the point",
    "timestamp": "times with their zone, in ISO 8601: `2024-02-29T12:00:00+01:00`; stored as UTC, in `us`",
    "timestamp(ms)": "the same, stored in {units}",
    "timestamp(ms) from epoch_ms": "numbers that count from 1970 on, by {epochs}",
    "list<int64>": "lists of one type, which may be any of these",
    "struct<id: int64>": "objects of such fields, with commas between them, and no others; one that is missing is null",
}


def values() -> Iterator[str]:
    """The paragraphs and tables, each as Markdown."""
    yield _TITLE
    yield _TYPES
    yield _table(("type", "takes"), _types())
    yield _TIMES
    yield from _examples(RESOURCE["Types"])
    yield _QUANTITIES
    yield _table(("value", "units", "such as"), _quantities())
    yield _REFERENCES
    yield from _examples(SOURCE["References"])
    yield f"## Placeholders\n\nIn {_holders()}.\n"
    yield _table(("written", "is"), _placeholders())
    yield _FILLED
    yield from _examples(RESOURCE["Placeholders"])
    yield f"## Defaults\n\n{_defaults()}\n"
    yield from _examples(SOURCE["Defaults"])


def _types() -> Iterator[tuple[str, str]]:
    """Words that take the same, and what that is."""
    units = _listed(UNITS, "or")
    epochs = _listed([f"epoch_{epoch}" for epoch in EPOCHS], "or")
    together: dict[str, list[str]] = {}
    for word in (*WORDS, *FORMS):
        together.setdefault(_TAKES[word].format(units=units, epochs=epochs), []).append(word)
    return ((", ".join(f"`{word}`" for word in words), takes) for takes, words in together.items())


def _quantities() -> Iterator[tuple[str, ...]]:
    yield "duration", _listed(SECONDS, "or"), "`500ms`, `1.5h`"
    yield "size", _listed(BYTES, "or"), "`64MB`, `1.5GiB`"
    yield "rate", _listed([f"/{span}" for span in SPANS_S], "or"), "`10/s`, `600/min`"


def _placeholders() -> Iterator[tuple[str, str]]:
    yield (
        "`{window.start}`, `{window.end}`",
        "with `incremental`: the bounds of what is asked for, by its `format` and `zone`; not in `count`",
    )
    yield "`{name}`", "with `for_each`: the name of a list of `values`, a field of its objects, or a column of `file`"
    yield "`{orders.id}`, `{orders.buyer.id}`", "with `for_each: {resource: orders}`: a field of the parent's record"


def _holders() -> str:
    """The keys that may hold placeholders."""
    of_a_resource = _holding(Endpoint)
    return f"{_listed(of_a_resource, 'and')} of a resource, and in {_listed(_holding(Count), 'and')} of `count`"


def _holding(model: type[Endpoint | Count]) -> list[str]:
    return [name for name, field in model.model_fields.items() if PLACEHOLDERS in (field.description or "")]


def _defaults() -> str:
    merged = _listed(sorted(MERGED), "or")
    return (
        "What `defaults` says holds for each resource that does not say it itself. Where both say "
        f"{merged},\ntheir entries are joined, and those of the resource win; "
        "anything else that a resource says stands for the whole.\n"
        "A null takes a default away, as in `paginate: null`."
    )


def _listed(words: Iterable[str], last: str) -> str:
    *first, end = (f"`{word}`" for word in words)
    return f"{', '.join(first)} {last} {end}" if first else end


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def _examples(fragments: Iterable[str]) -> Iterator[str]:
    return (f"```yaml\n{fragment}\n```\n" for fragment in fragments)
