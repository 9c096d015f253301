"""Secrets never leave the process: every text that a person may read passes here.

A `Redactor` knows the secret values and replaces them wherever they appear, in
the forms that URLs, JSON, `repr` and HTTP authentication give them. It works on
values, not on parameter names: a key in an unexpected place is hidden as well.
`RedactingFilter` puts it before a log, `RedactingStream` before what a command prints.
"""

from __future__ import annotations

import base64
import json
import logging
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TextIO
from urllib.parse import quote, quote_plus

MASK = "***"
SHORTEST = 4
"""A shorter value would hide half of every text; it is left alone, with a warning."""

_QUIET_CHARS = 500
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_CONTROL_EXCEPT_LAYOUT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")


class Redactor:
    """Replaces secret values by `***`; safe to use and to widen from any thread."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._lock = threading.Lock()
        self._forms: set[str] = set()
        self._variables: dict[str, str] = {}
        self._count = 0
        self._pattern: re.Pattern[str] | None = None
        self.add(*values)

    def __repr__(self) -> str:
        return f"Redactor({self._count} secrets)"

    def __reduce__(self) -> tuple[type[Redactor], tuple[()]]:
        # a pickled redactor would carry the secrets into files and other processes
        return Redactor, ()

    def add(self, *values: str) -> tuple[str, ...]:
        """Hide these *values* too, such as a token just obtained; returns those too short to hide."""
        short = tuple(value for value in values if len(value) < SHORTEST)
        with self._lock:
            known = len(self._forms)
            for value in values:
                if len(value) >= SHORTEST and value not in self._forms:
                    self._count += 1
                    self._forms.update(form for form in _forms(value) if len(form) >= SHORTEST)
            if len(self._forms) > known:
                longest_first = sorted(self._forms, key=lambda form: (-len(form), form))
                self._pattern = re.compile("|".join(map(re.escape, longest_first)))
        return short

    def name(self, variables: Mapping[str, str]) -> None:
        """Note which of the *variables* of the environment each secret came from, for `refer`."""
        with self._lock:
            for variable, value in variables.items():
                self._variables |= dict.fromkeys(_forms(value), f"${variable}")

    def refer(self, text: str) -> list[tuple[str, str]]:
        """*text* in pieces: what may be seen, and `$NAME` or `***` for the secret after it; "" after the last."""
        pieces, end, pattern = [], 0, self._pattern
        for match in pattern.finditer(text) if pattern else ():
            pieces.append((text[end : match.start()], self._variables.get(match[0], MASK)))
            end = match.end()
        return [*pieces, (text[end:], "")]

    def hide(self, text: str) -> str:
        """*text* with every secret replaced."""
        pattern = self._pattern
        return pattern.sub(MASK, text) if pattern else text

    def quiet(self, body: str | bytes) -> str:
        """The beginning of an error *body*, fit for a message: no secrets, one line, 500 characters."""
        text = body[: 1 << 16].decode("utf-8", "replace") if isinstance(body, bytes) else body[: 1 << 16]
        text = escape(self.hide(text).strip())
        return text if len(text) <= _QUIET_CHARS else text[: _QUIET_CHARS - 1] + "…"

    def guard(self, logger: logging.Logger) -> None:
        """Filter all that the handlers of *logger* write, records of its children included."""
        for handler in logger.handlers:
            if not any(isinstance(known, RedactingFilter) and known.redactor is self for known in handler.filters):
                handler.addFilter(RedactingFilter(self))


class RedactingFilter(logging.Filter):
    """Makes each log record one line without secrets or control characters."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self.redactor = redactor

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite *record* in place; it is always kept."""
        record.msg = escape(self.redactor.hide(_message(record)))
        record.args = None
        if fields := getattr(record, "fields", None):
            record.fields = redacted(fields, self.redactor)
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        record.exc_info = None
        if record.exc_text:
            record.exc_text = self._layout(record.exc_text)
        if record.stack_info:
            record.stack_info = self._layout(record.stack_info)
        return True

    def _layout(self, text: str) -> str:
        return _CONTROL_EXCEPT_LAYOUT.sub(_escaped, self.redactor.hide(text))


class RedactingStream:
    """A text stream, such as standard output, that hides secrets in all that is written to it.

    Bytes, written to its `buffer`, are documents for programs: there values are hidden before (`redacted`),
    as a number that looks like a secret has to stay one.
    """

    def __init__(self, stream: TextIO, redactor: Redactor) -> None:
        self.stream, self.redactor = stream, redactor

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Write *text* without its secrets."""
        self.stream.write(self.redactor.hide(text))
        return len(text)


def escape(text: str) -> str:
    r"""*text* on one line: control characters are shown as `\n` or `\x1b`, so they cannot forge a log line."""
    return _CONTROL.sub(_escaped, text)


def redacted(value: Any, redactor: Redactor) -> Any:
    """A JSON-like *value* with every secret in its texts replaced; keys stay."""
    if isinstance(value, str):
        return redactor.hide(value)
    if isinstance(value, Mapping):
        return {key: redacted(item, redactor) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(redacted(item, redactor) for item in value)
    return value


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError):
        # a mistaken log call must not end the run, nor print its arguments unfiltered
        return str(record.msg)


def _escaped(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")


def _forms(value: str) -> Iterator[str]:
    """The spellings of *value* in URLs, JSON, Python text and HTTP authentication."""
    yield value
    yield quote(value, safe="")
    yield quote(value)
    yield quote_plus(value)
    yield json.dumps(value)[1:-1]
    yield json.dumps(value, ensure_ascii=False)[1:-1]
    yield repr(value)[1:-1]
    yield escape(value)
    for shift in range(3):
        inside = _base64_inside(value.encode(), shift)
        yield inside
        yield inside.replace("+", "-").replace("/", "_")


def _base64_inside(value: bytes, shift: int) -> str:
    """What base64 makes of *value* when *shift* other bytes come before it, as in `user:password`.

    Only the characters that *value* alone decides.
    """
    text = base64.b64encode(b"\0" * shift + value).decode().rstrip("=")
    end = len(text) - 1 if (shift + len(value)) % 3 else len(text)
    return text[(0, 2, 3)[shift] : end]
