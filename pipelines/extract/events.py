"""What an extraction tells while it runs, for progress and the report's timeline."""

from __future__ import annotations

from typing import Literal, Protocol

from msgspec import Struct

EventKind = Literal[
    "answered",
    "retried",
    "throttled",
    "paused",
    "waited",
    "blocked",
    "spooled",
    "from_spool",
    "planned",
    "expected",
    "busy",
    "finished",
    "batch",
    "merged",
    "settled",
    "committed",
]


class Event(Struct, frozen=True):
    """One thing that happened in a thread that fetches.

    `answered`: a request has its answer (seconds, size on the wire; note is the status).
    `retried`, `throttled`: an attempt failed and will be repeated after seconds.
    `paused`: a request waited seconds, because the API had asked for it (after `throttled`, or by its headers).
    `waited`: a request waited seconds for its turn.
    `blocked`: a page waited seconds, because workers are behind.
    `spooled`, `from_spool`: a page counts as fetched (size inflated).
    `planned`: size says how many chains of requests were added.
    `expected`: size says how many pages more the API tells of.
    `busy`: one worker more (size 1) or less (-1) mills the resource.
    `finished`: the resource has all its pages, or failed; note says which.
    `batch`: a worker has milled a batch (seconds, CPU, size in rows; note is its process).
    `merged`: what workers staged is merged and checked (seconds).
    `settled`: a resource or mart is ready to be committed, or failed; note is the verdict.
    `committed`: the source has its commit; size is its number (0 for none; seconds).
    """

    kind: EventKind
    resource: str
    at: float
    """Seconds on the monotonic clock."""
    seconds: float = 0.0
    size: int = 0
    note: str = ""
    cpu_s: float = 0.0
    """What another process computed for it."""


class Listen(Protocol):
    """Hears what happens to one request, from the thread that makes it."""

    def __call__(self, kind: EventKind, seconds: float, size: int, note: str, ago_s: float = 0.0) -> None:
        """Hear of an event that took *seconds* until *ago_s* ago."""


def nobody(kind: EventKind, seconds: float, size: int, note: str, ago_s: float = 0.0) -> None:
    """Nobody listens."""
