"""Findings as YAML text: every line may carry its evidence, every gap is a question.

Text that came from the API never becomes a reference to the environment, nor
anything but a scalar or a comment.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence

from msgspec import Struct, field

from pipelines.batch import Json

WIDTH = 118
_PLAIN = re.compile(r"[A-Za-z_/][\w./ <>()-]*(?<! )|https?://[\w./:-]+(?<!:)", re.ASCII)
_WORDS = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff]")
_BAD = r"\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff"
_LINES = re.compile(rf"[^\s{_BAD}][^{_BAD}]*\n[^{_BAD}]*")
_LONGEST_COMMENT = 300


class Reference(str):
    """Text of the user that may hold `${NAME}`; any other text is written so that it cannot."""

    __slots__ = ()


class Line(Struct, frozen=True):
    """One key with its value, or with the lines below it; `why` becomes its comment."""

    key: str
    value: Json = None
    why: str = ""
    below: Sequence[Line | Question] = field(default=())


class Question(Struct, frozen=True):
    """What no experiment could settle."""

    text: str


def yaml_text(lines: Sequence[Line | Question], indent: int = 0) -> str:
    """*lines* as a block of YAML."""
    return "".join(f"{line}\n" for line in _rendered(lines, " " * indent))


def flow(value: Json) -> str:
    """*value* in YAML's flow style, on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_scalar(str(key))}: {flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(flow, value)) + "]"
    return _scalar(value) if isinstance(value, str) else json.dumps(value)


def comment(text: str) -> str:
    """*text* on one line, without control characters, cut."""
    text = " ".join(_UNPRINTABLE.sub(" ", text).split())
    return text if len(text) <= _LONGEST_COMMENT else f"{text[: _LONGEST_COMMENT - 1]}…"


def _rendered(lines: Sequence[Line | Question], indent: str) -> Iterator[str]:
    for line in lines:
        if isinstance(line, Question):
            yield f"{indent}# QUESTION: {comment(line.text)}"
            continue
        if isinstance(line.value, str) and _LINES.fullmatch(line.value):
            yield from _block(line, indent)
            continue
        text = f"{indent}{_scalar(line.key)}:" + ("" if line.below else f" {flow(line.value)}")
        why = comment(line.why)
        if why and len(text) + len(why) + 3 > WIDTH:
            yield f"{indent}# {why}"
            yield text
        else:
            yield f"{text} # {why}" if why else text
        yield from _rendered(line.below, f"{indent}  ")


def _block(line: Line, indent: str) -> Iterator[str]:
    """Text of several lines, as it is."""
    yield f"{indent}{_scalar(line.key)}: |" + (f" # {comment(line.why)}" if line.why else "")
    yield from (f"{indent}  {text}".rstrip() for text in line.value.replace("${", "$${").strip("\n").split("\n"))


def _scalar(text: str) -> str:
    if not isinstance(text, Reference):
        text = text.replace("${", "$${")
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return str(text)
    quoted = json.dumps(str(text), ensure_ascii=False)
    return _UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", quoted)
