"""YAML text to plain data, with the line of every value.

Only what a configuration needs: mappings, lists, text, whole and decimal
numbers, true, false and null. Dates, `yes`, `012`, `+1` and `1:30` stay text; tags that
build objects, duplicate keys and aliases that multiply are refused. A number that
Python would write in another way (`1.10`, `1e3`) keeps its text, as a `Real`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from pipelines.batch import Json, Real
from pipelines.config.problems import Document, Keys, Problem, dotted

MAX_BYTES = 1 << 20
_MAX_VALUES = 20_000
_MAX_DEPTH = 40
_TOO_LARGE = f"more than {_MAX_VALUES:,} values or {_MAX_DEPTH} levels, aliases counted each time"
_TAG = "tag:yaml.org,2002:"
_PLAIN = {
    "null": (r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    "bool": (r"^(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    "int": (r"^(?:0|-?[1-9][0-9]{0,17})$", list("-0123456789")),
    "float": (r"^-?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?$", list("-.0123456789")),
}


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # chosen by what libyaml offers
    """Reads the scalars of `_PLAIN`; anything else is text."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  # PyYAML's own name for it


for _name, (_pattern, _first) in _PLAIN.items():
    _Loader.add_implicit_resolver(_TAG + _name, re.compile(_pattern), _first)


def read(path: Path) -> tuple[Document, list[Problem]]:
    """The data of the YAML file at *path* and all that is wrong with its form."""
    empty = Document(path, {}, {})
    try:
        node = _compose(path)
    except OSError as error:
        return empty, [Problem(str(path), 1, "", f"cannot be read: {error.strerror}")]
    except (yaml.YAMLError, ValueError) as error:
        return empty, [_syntax(path, error)]
    if node is None:
        return empty, [Problem(str(path), 1, "", "is empty")]
    builder = _Builder(empty)
    data = builder.value(node, ())
    if not isinstance(data, dict) and not builder.problems:
        builder.problems.append(empty.problem((), "needs a mapping of keys at its top"))
    document = Document(path, data if isinstance(data, dict) else {}, empty.lines)
    return document, builder.problems


def _compose(path: Path) -> yaml.Node | None:
    with path.open("rb") as file:
        raw = file.read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        raise ValueError("is larger than 1 MiB")
    text = raw.decode("utf-8-sig")
    _check_size(text)
    loader = _Loader(text)
    try:
        node: yaml.Node | None = loader.get_single_node()
    finally:
        loader.dispose()
    return node


def _check_size(text: str) -> None:
    """Read *text* once as flat events: composing nodes recurses, and too deep a file would kill the process."""
    depth = 0
    for values, event in enumerate(yaml.parse(text, Loader=_Loader)):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if values > 2 * _MAX_VALUES or depth > _MAX_DEPTH:
            raise ValueError(f"has {_TOO_LARGE}; write less")


def _syntax(path: Path, error: Exception) -> Problem:
    if isinstance(error, UnicodeDecodeError):
        return Problem(str(path), 1, "", "is not UTF-8 text")
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        told = ", ".join(text for text in (error.context, error.problem) if text)
        return Problem(str(path), error.problem_mark.line + 1, "", f"is not YAML: {told}")
    if isinstance(error, yaml.YAMLError):
        return Problem(str(path), 1, "", "is not YAML: it holds characters that YAML does not allow")
    return Problem(str(path), 1, "", str(error))


class _Builder:
    """Turns nodes into data; notes lines and problems on the way."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.problems: list[Problem] = []
        self.values = 0

    def value(self, node: yaml.Node, keys: Keys) -> Json:
        """The data of *node*; null where a problem was noted."""
        self.values += 1
        self.document.lines.setdefault(keys, node.start_mark.line + 1)
        if self.values > _MAX_VALUES or len(keys) > _MAX_DEPTH:
            return self._refuse_size(keys)
        if not node.tag.startswith(_TAG) or node.tag.removeprefix(_TAG) not in {*_PLAIN, "str", "map", "seq"}:
            tag = node.tag.replace(_TAG, "!!")
            return self._note(keys, f"the tag {tag} is refused", "write a plain value")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, keys)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*keys, number)) for number, item in enumerate(node.value)]
        return self._scalar(node, keys)

    def _mapping(self, node: yaml.MappingNode, keys: Keys) -> dict[str, Json]:
        data: dict[str, Json] = {}
        for key, item in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._note(keys, "a key must be text", "put it in quotes")
                continue
            place = (*keys, key.value)
            if key.value in data:
                first, line = self.document.lines[place], key.start_mark.line + 1
                text = f"the key appears twice, first in line {first}"
                self.problems.append(Problem(str(self.document.path), line, dotted(place), text))
                continue
            self.document.lines[place] = key.start_mark.line + 1
            data[key.value] = self.value(item, place)
            if self.values > _MAX_VALUES:
                break
        return data

    def _scalar(self, node: yaml.Node, keys: Keys) -> Json:
        kind, text = node.tag.removeprefix(_TAG), str(node.value)
        try:
            match kind:
                case "null":
                    return None
                case "bool":
                    return {"true": True, "false": False}[text.lower()]
                case "int":
                    return int(text)
                case "float":
                    return float(text) if repr(float(text)) == text else Real(text)
        except (ValueError, KeyError):
            return self._note(keys, f"is no {kind}", "write a plain value")
        return text

    def _note(self, keys: Keys, what: str, instead: str) -> None:
        self.problems.append(self.document.problem(keys, f"{what}; {instead}"))

    def _refuse_size(self, keys: Keys) -> None:
        if not any("aliases" in problem.what for problem in self.problems):
            self._note(keys[:3], f"has {_TOO_LARGE}", "write less")
