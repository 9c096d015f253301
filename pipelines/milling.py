"""Batches from the backlog to the workers, results back, one ledger a source."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Self

from msgspec import Struct, field

from pipelines.batch import Batch, Json
from pipelines.cursors import refuse_disorder
from pipelines.errors import PipelineError, TransformError
from pipelines.extract.channel import Backlog, Work
from pipelines.extract.events import Event
from pipelines.extract.request import Request
from pipelines.load.schema import decode_schema, encode_schema, unify
from pipelines.milled import MILL, Milled, Recipe, describe
from pipelines.pool import Engine

if TYPE_CHECKING:
    import pyarrow as pa


class Ledger(Struct):
    """What came of a resource's batches so far; *error* is the first that failed.

    *unmet* are paths of `mask` that no record has.
    """

    milled: list[Milled] = field(default_factory=list)
    error: PipelineError | None = None
    unmet: tuple[str, ...] = ()
    ended_at: float = 0.0

    @property
    def rows_read(self) -> int:
        """Records in all pages so far."""
        return sum(milled.rows_read for milled in self.milled)

    @property
    def reasons(self) -> Counter[tuple[str, str]]:
        """How many records were set aside so far, by column and reason."""
        counted: Counter[tuple[str, str]] = Counter()
        for milled in self.milled:
            counted.update(milled.reasons)
        return counted

    @property
    def rows_made(self) -> int:
        """Rows that came of them: fewer where records were set aside, or a transform left some out."""
        return sum(part.rows for milled in self.milled for part in milled.parts)

    @property
    def filled(self) -> frozenset[str]:
        """The columns that have a value in some row that came of the batches so far."""
        return frozenset[str]().union(*(milled.filled for milled in self.milled))

    def refuse_disorder(self, recipe: Recipe) -> None:
        """Note it as the error where a page begins before the end of the page before it, against its declared order."""
        if recipe.cursor is None or recipe.cursor.ordered is None or self.error is not None:
            return
        try:
            refuse_disorder((page for milled in self.milled for page in milled.ends), recipe.cursor)
        except PipelineError as error:
            self.error = error

    def columns_beside(self, known: tuple[Json, ...] | None) -> tuple[Json, ...] | None:
        """The columns of rows that are *known* and those that came of the batches so far; None where there are none."""
        found = (known or (), *(milled.columns for milled in self.milled if milled.parts))
        return tuple(encode_schema(unify(map(decode_schema, found)))) or None

    def refuse_other_types(self, recipe: Recipe) -> None:
        """Note it as the error where a batch has a column of another type than one before, and the policy forbids that.

        Each batch settles for itself the types that are neither declared nor committed. What
        a transform makes is compared when it is merged; what parents give may be of any type.
        """
        policy = recipe.shape.on_mismatch or "widen"
        if policy == "widen" or recipe.shape.transform or self.error is not None:
            return
        batches = sorted((milled for milled in self.milled if milled.parts), key=lambda milled: milled.sequence)
        try:
            unify((_settled_by(milled, recipe) for milled in batches), policy)
        except PipelineError as error:
            self.error = describe(error, f"{recipe.source}.{recipe.resource}")


def _settled_by(milled: Milled, recipe: Recipe) -> pa.Schema:
    """The columns whose types a batch did not find in the last commit."""
    known = {column["name"]: column["type"] for column in recipe.columns or ()}
    new = [column for column in milled.columns if column["type"] != known.get(column["name"])]
    return decode_schema([column for column in new if column["name"] not in recipe.carried])


def batch_event(resource: str, milled: Milled) -> Event:
    """What listeners are told of a batch, or of a unit of a mart, when a worker has done it."""
    ended, process = milled.began + milled.wall_s, str(milled.pid)
    return Event("batch", resource, ended, milled.wall_s, milled.rows_read, process, milled.cpu_s)


class Milling:
    """Keeps every worker busy while there are batches: as many threads as workers, each waiting for one."""

    def __init__(  # noqa: PLR0913  # what it needs, and who is asked or hears of what
        self,
        engine: Engine,
        backlog: Backlog,
        recipes: Mapping[str, Recipe],
        *,
        on_batch: Callable[[Batch, Milled], None] = lambda batch, milled: None,
        on_busy: Callable[[str, int], None] = lambda resource, more: None,
        repeat: Callable[[str, Request], str] = lambda resource, request: "",
    ) -> None:
        """*on_busy* hears of each resource that a worker begins (1) or ends (-1) to mill.

        *repeat* gives the line that repeats a request of a resource: an error of its page tells it.
        """
        self.ledgers = {resource: Ledger() for resource in recipes}
        self._engine, self._backlog, self._recipes, self._on_batch = engine, backlog, recipes, on_batch
        self._on_busy, self._repeat = on_busy, repeat
        self._lock = threading.Lock()
        self._crash: BaseException | None = None
        self._threads = [threading.Thread(target=self._serve, name=f"mill-{i}") for i in range(engine.workers)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is not None:
            self._backlog.close()
        self._join()
        if kind is None and self._crash is not None:
            raise self._crash
        for resource, ledger in self.ledgers.items():
            ledger.refuse_disorder(self._recipes[resource])
            ledger.refuse_other_types(self._recipes[resource])

    def _join(self) -> None:
        """Wait until every batch is milled."""
        for thread in self._threads:
            thread.join()

    def _serve(self) -> None:
        try:
            while (work := self._backlog.take()) is not None:
                self._mill(work)
        except PipelineError:
            return  # the channel was closed by an error that its owner reports
        except BaseException as error:  # noqa: BLE001  # raised again at the end: batches left over must not be missed in silence
            self._crash = self._crash or error
            self._backlog.close()

    def _mill(self, work: Work) -> None:
        batch = work.batch
        ledger = self.ledgers[batch.resource]
        if ledger.error is not None:
            return
        self._on_busy(batch.resource, 1)
        try:
            milled = self._engine.call(MILL, batch, self._recipes[batch.resource])
        except Exception as raised:  # noqa: BLE001  # a thread that dies unheard would lose the batch and keep its watermark
            defect = TransformError(f"{type(raised).__name__}: {raised}", "this is a defect")
            error = raised if isinstance(raised, PipelineError) else defect
            self._fail(batch, self._described(error, work))
            return
        finally:
            self._on_busy(batch.resource, -1)
        with self._lock:
            ledger.milled.append(milled)
            ledger.ended_at = time.monotonic()
        self._on_batch(batch, milled)

    def _described(self, error: PipelineError, work: Work) -> PipelineError:
        """*error* with its resource and, where it is about one page, with what asked for that."""
        batch = work.batch
        request = None if error.page is None else work.requests[error.page]
        if request is not None:
            error = type(error)(f"{request.method} {request.safe_url}: {error.message}", error.hint)
        told = describe(error, f"{batch.source}.{batch.resource}")
        told.curl = self._repeat(batch.resource, request) if request is not None else ""
        return told

    def _fail(self, batch: Batch, error: PipelineError) -> None:
        with self._lock:
            self.ledgers[batch.resource].error = self.ledgers[batch.resource].error or error
        self._backlog.drop(batch.resource, error)
