"""Log lines on standard error: for people in a terminal, JSON for programs otherwise.

Every line tells one event. As JSON it is one object with these keys, those that
say nothing left out:

    time (UTC), level, logger, event, source, resource, run, fields, error

`fields` holds what belongs to the event (numbers carry their unit in the name),
`error` a traceback. A logger gives them by `extra`; in a terminal those marked
`shown` are left out unless more is asked for: progress and the table tell them.
"""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import Any, Literal

from pipelines.config.redact import RedactingStream, escape

LogFormat = Literal["auto", "text", "json"]
OURS = "pipelines"
_PLACES = ("source", "resource", "run")
_LEVELS = (logging.ERROR, logging.WARNING, logging.INFO, logging.DEBUG)


def configure(form: LogFormat = "auto", louder: int = 0) -> None:
    """Write the log to standard error in *form*, replacing what an earlier call set up.

    In a terminal, where progress is drawn, it holds warnings; elsewhere it is all
    there is to see, and tells of each resource. Each step *louder* adds requests,
    then what libraries say; each step quieter leaves warnings, then errors only.
    """
    in_terminal = _is_terminal(sys.stderr)
    is_text = form == "text" or (form == "auto" and in_terminal)
    chosen = max(-1, min((0 if in_terminal else 1) + louder, 3))
    handler = _Handler()
    handler.setFormatter(TextLines() if is_text else JsonLines())
    if is_text and in_terminal and louder <= 0 and _is_terminal(sys.stdout):
        handler.addFilter(lambda record: not getattr(record, "shown", False))
    root = logging.getLogger()
    for known in [one for one in root.handlers if isinstance(one, _Handler)]:
        root.removeHandler(known)
    root.addHandler(handler)
    root.setLevel((logging.WARNING, logging.WARNING, logging.INFO, logging.DEBUG)[max(chosen, 0)])
    logging.getLogger(OURS).setLevel(_LEVELS[min(chosen + 1, 3)])
    if chosen < 0:
        root.setLevel(logging.ERROR)


class _Handler(logging.StreamHandler[Any]):
    """Writes to what standard error is at that moment: a live display puts itself in its place."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> Any:
        """Where lines go; a guarded log hides secrets itself, as a number of its JSON has to stay one."""
        return sys.stderr.stream if isinstance(sys.stderr, RedactingStream) else sys.stderr

    @stream.setter
    def stream(self, stream: Any) -> None:
        """It cannot be another."""


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """*record* by the shape that the module's head describes."""
        import orjson

        line: dict[str, Any] = {"time": _time(record), "level": record.levelname, "logger": record.name}
        line["event"] = record.getMessage()
        line |= {name: value for name in _PLACES if (value := getattr(record, name, ""))}
        line |= {"fields": fields} if (fields := _fields(record)) else {}
        line |= {"error": error} if (error := self._error(record)) else {}
        return orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode()

    def _error(self, record: logging.LogRecord) -> str:
        return record.exc_text or (self.formatException(record.exc_info) if record.exc_info else "")


class TextLines(logging.Formatter):
    """`10:31:07 WARNING usgs.events: request is repeated wait_s=0.5`."""

    def format(self, record: logging.LogRecord) -> str:
        """*record* on one line, a traceback below it."""
        clock = datetime.fromtimestamp(record.created).astimezone()
        return f"{clock:%H:%M:%S} {record.levelname:<7} {self.message(record)}"

    def message(self, record: logging.LogRecord) -> str:
        """What *record* tells, without time and level."""
        error = record.exc_text or (self.formatException(record.exc_info) if record.exc_info else "")
        where = ".".join(filter(None, (getattr(record, name, "") for name in ("source", "resource"))))
        told = " ".join(f"{name}={_short(value)}" for name, value in _fields(record).items())
        text = f"{where or record.name}: {escape(record.getMessage())}{' ' if told else ''}{told}"
        return f"{text}\n{error}" if error else text


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in getattr(record, "fields", {}).items() if value not in (None, "")}


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    text = escape(str(value))
    return f'"{text}"' if " " in text else text


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _is_terminal(stream: Any) -> bool:
    return bool(stream is not None and stream.isatty())
