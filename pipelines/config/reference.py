"""The reference of every key of every file, generated from the models: `python -m pipelines.config.reference`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import yaml
from pydantic import BaseModel

from pipelines.config.reference_examples import MARTS, RESOURCE, SETTINGS, SOURCE
from pipelines.config.reference_values import PLACEHOLDERS, values
from pipelines.config.settings import Settings
from pipelines.config.source import Source
from pipelines.extract.auth import AnyAuth
from pipelines.extract.paginators import AnyPaginator
from pipelines.marts.model import Mart
from pipelines.values import OneOf

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

_TITLE = """\
# Every key of a source file

One section for each part, from the models that read it (`make reference` writes this page anew). Each example is
loaded by a test. What is written beside the keys, such as types, durations and placeholders: [Values](#values).
Selectors are JMESPath.
"""
_MART = """\
# Every key of a mart

One file, `config/marts.yaml`, holds all of them: `marts: {NAME: ...}`.
"""
_SETTINGS = """\
# Every setting

In `config/settings.toml`, there at the top or in a table of `[profiles]`; in the environment or `.env` with
`THREADMILL_` before the name in capitals, which goes before the file. `threadmill settings` tells where each came from.
"""
_ALSO = {"timeout": "how long to wait for a connection, for the next bytes, for one answer", "query": "the query"}
_PARTS = {"origin": "scheme, host and port, such as https://files.shop.example"}
_LINKS = {
    PLACEHOLDERS: "placeholders",
    "declared type": "types-of-columns",
    "anything a resource may say": "defaults",
}
"""By words of a meaning: the section of the values that says more."""


def reference() -> str:
    """The page, as Markdown."""
    lines = [_TITLE, *(line for model in models() for line in _section(model))]
    lines += [*values(), _MART, *_section(Mart), _SETTINGS, *_section(Settings, language="toml")]
    return "\n".join(lines).rstrip() + "\n"


def models() -> list[type[BaseModel]]:
    """Every model of a source file, each before those that its keys need."""
    found: list[type[BaseModel]] = []
    _collect(Source, found)
    return found


def keys(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The keys of *model*, as a source file spells them."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def meaning(name: str, field: FieldInfo) -> str:
    """What the key *name* means, in words; empty where nothing says."""
    return field.description or {**_ALSO, **_PARTS}.get(name, "")


def default(field: FieldInfo) -> str:
    """What a key means where it is left out, as a file says it; empty where that is nothing."""
    if field.is_required():
        return ""
    value = field.get_default(call_default_factory=True)
    if value in (None, "") or isinstance(value, BaseModel):
        return ""
    written: str = yaml.safe_dump(str(value) if isinstance(value, Path) else value, default_flow_style=True)
    return written.partition("\n")[0]


def examples(model: type[BaseModel]) -> tuple[str, ...]:
    """Lines of a source file, of a resource or of their own file, that use every key of *model*."""
    name = model.__name__
    return SOURCE.get(name) or RESOURCE.get(name) or MARTS.get(name) or SETTINGS.get(name, ())


def _section(model: type[BaseModel], *, language: str = "yaml") -> Iterator[str]:
    yield f"## {_name(model)}\n\n{(model.__doc__ or '').partition(chr(10))[0]}\n"
    if model.model_fields:
        yield "| key | meaning | default |\n| --- | --- | --- |"
        for name, field in keys(model).items():
            yield f"| `{name}` | {_linked(meaning(name, field))} | {_shown(field)} |".replace("  ", " ")
        yield ""
    for example in examples(model):
        yield f"```{language}\n{example}\n```\n"


def _name(model: type[BaseModel]) -> str:
    """How a source file leads to *model*: the key, and the kind where there are several."""
    for key, one_of in (("auth", _kinds(AnyAuth)), ("paginate", _kinds(AnyPaginator))):
        for kind, each in one_of.items():
            if each is model:
                return f"{key}: {kind}"
    named = {
        "Source": "The source", "Resource": "A resource", "Deadlines": "timeout", "AllowedHost": "allow_hosts",
        "Column": "columns", "Sha256": "mask: sha256", "Expectation": "expect", "ErrorRule": "errors",
        "ForEach": "for_each", "GraphQL": "graphql", "Mart": "A mart", "Settings": "The settings",
    }  # fmt: skip
    return named.get(model.__name__, model.__name__.lower())


def _kinds(annotation: Any) -> dict[str, type[BaseModel]]:
    return next(one.kinds for one in annotation.__metadata__ if isinstance(one, OneOf))


def _linked(text: str) -> str:
    for words, section in _LINKS.items():
        text = text.replace(words, f"[{words.strip('{}')}](#{section})")
    return text


def _shown(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    return f"`{written}`" if (written := default(field)) else ""


def _collect(model: type[BaseModel], found: list[type[BaseModel]]) -> None:
    if model in found:
        return
    found.append(model)
    for field in model.model_fields.values():
        for part in _parts(field.annotation, field.metadata):
            _collect(part, found)


def _parts(annotation: Any, metadata: Iterable[Any] = ()) -> list[type[BaseModel]]:
    """The models that a value of *annotation* may be made of."""
    found = [kind for one in metadata if isinstance(one, OneOf) for kind in one.kinds.values()]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        found.append(annotation)
    for part in get_args(annotation):
        found += _parts(part, getattr(part, "__metadata__", ()))
    return found


if __name__ == "__main__":
    sys.stdout.write(reference())
