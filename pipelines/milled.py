"""What a worker must know to mill a batch, and what it tells when it has.

The parent imports no more of workers than this: what they do is named in `MILL`
and `MAKE_MART`, and what they need is imported where they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from msgspec import Struct, field

from pipelines.batch import Batch, Json, Part
from pipelines.cursors import Cursor, PageEnds
from pipelines.errors import PipelineError
from pipelines.load.target import Target
from pipelines.pool import Elsewhere
from pipelines.transform.columns import Shape

REJECTS = Target(write="upsert", key=("record", "column"))
"""How records that were set aside are kept: once each, however often they are read."""


class Recipe(Struct, frozen=True):
    """What a worker must know of a resource; the same for all its batches.

    `columns` is the schema of the rows that are committed (None before the
    first), `floors` the watermark of each parent ("" without parents) below
    which appended rows are old, `edge` the files with rows from `edge_floor` on,
    which may be read again. Where nothing tells what is old (`reaches_back`), `older`
    are the other files, each with its greatest cursor ("" where that is not known).
    `carried` are the columns that parents give.
    """

    source: str
    resource: str
    shape: Shape
    target: Target
    store: Path
    columns: tuple[Json, ...] | None = None
    cursor: Cursor | None = None
    floors: Mapping[str, str] = field(default_factory=dict)
    edge: tuple[Path, ...] = ()
    edge_floor: str = ""
    reaches_back: bool = False
    older: tuple[tuple[Path, str], ...] = ()
    asked_from: str = ""
    carried: tuple[str, ...] = ()
    transforms: Path | None = None
    slice_bytes: int = 16_000_000

    @property
    def compared(self) -> tuple[Path, ...]:
        """The files whose rows may be compared with those of a batch."""
        return (*self.edge, *(path for path, _ in self.older))


class Milled(Struct, frozen=True):
    """What came of a batch.

    `cursors` has the greatest cursor of each parent as text, `warnings` the rows
    that break a check which only warns, `reasons` how many records were set aside
    by column and reason, `ends` the cursors that pages begin and
    end with, where their order is declared, `filled` the columns that some row has a value in.
    """

    sequence: int
    parts: tuple[Part, ...]
    rejects: tuple[Part, ...]
    columns: tuple[Json, ...]
    rows_read: int
    rows_rejected: int
    cursors: Mapping[str, str]
    cpu_s: float
    wall_s: float
    warnings: Mapping[str, int] = field(default_factory=dict)
    reasons: Mapping[tuple[str, str], int] = field(default_factory=dict)
    ends: tuple[PageEnds, ...] = ()
    filled: frozenset[str] = frozenset()
    pid: int = 0
    began: float = 0.0
    """On the monotonic clock, which all processes of a machine share."""


MILL: Callable[[Batch, Recipe], Milled] = Elsewhere("pipelines.worker", "mill")
MAKE_MART: Callable[..., Milled] = Elsewhere("pipelines.worker", "make_mart")


def rejects_of(resource: str) -> str:
    """The dataset that keeps the records of *resource* that were set aside."""
    return f"{resource}__rejects"


def describe(error: PipelineError, name: str) -> PipelineError:
    """*error* with the resource it happened in, of the same kind."""
    return error if name in error.message else type(error)(f"{name}: {error.message}", error.hint)
