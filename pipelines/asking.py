"""The first pages of a resource, for a look at them: no row is written, and nothing remembered but a renewed token."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, redirect_stdout
from datetime import datetime
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import asdict

from pipelines.config.loading import Resource, Source
from pipelines.config.problems import nearest
from pipelines.config.settings import Settings
from pipelines.errors import ConfigError, PipelineError
from pipelines.extract.chains import Asker, Chain, Question, below, known_names
from pipelines.extract.client import Client
from pipelines.extract.daily import counts_folder
from pipelines.extract.page import Page
from pipelines.extract.placeholders import Scope
from pipelines.extract.steps import ResourceRun, Step
from pipelines.extract.tokens import keepsake_file
from pipelines.extract.watermark import Watermark
from pipelines.report.result import Problem
from pipelines.run import answering

if TYPE_CHECKING:
    import pyarrow as pa


class FirstPages(Struct, frozen=True):
    """Pages of the first chain of a resource; *more* says how many follow, None where that is not known."""

    question: Question
    pages: tuple[Page, ...]
    more: int | None


class Asking:
    """Asks the API of one source, one request at a time."""

    def __init__(self, source: Source, client: Client, now: datetime) -> None:
        self._source, self._client, self._now = source, client, now

    def first(self, name: str, *, watermark: Watermark | None = None, pages: int = 1) -> FirstPages | None:
        """The first *pages* of *name*; of a child, for the first record of its parent. None without a question.

        Raises:
            PipelineError: No acceptable answer.
        """
        resource = resource_of(self._source, name)
        endpoint = resource.endpoint()
        names = known_names(self._source.resources, name)
        run = ResourceRun(name, endpoint, Asker(self._source.connection(), endpoint, watermark, self._now, names))
        scopes = self._scopes(resource)
        asked = (one for scope, fields in scopes for one in run.asker.questions(scope, fields=fields))
        question = next(asked, None)
        if question is None:
            return None
        chain = Chain(name, question)
        following = [Step(chain, endpoint.paginator.first(question.request), 0)]
        found: list[Page] = []
        while following and len(found) < pages:
            step = following.pop(0)
            found.append(self._client.fetch(step.request, endpoint))
            chain.take_in(found[-1], step.number, counts=run.counts_records)
            following += step.following(run, found[-1])
        return FirstPages(question, tuple(found), len(following) if chain.is_addressed or not following else None)

    def _scopes(self, resource: Resource) -> Iterator[tuple[Scope, Scope]]:
        """What placeholders stand for, and the fields that are carried."""
        each = resource.for_each
        if each is None:
            yield {}, {}
        elif each.resource is None:
            yield from ((scope, scope) for scope in each.scopes())
        elif (parents := self.first(each.resource)) is not None:
            question = parents.question
            records = ({**dict(question.carry), **record} for page in parents.pages for record in page.rows())
            yield from ((below(question, scope, each), scope) for scope in each.scopes(records))


@contextmanager
def asking(source: Source, settings: Settings, now: datetime) -> Iterator[Asking]:
    """Ask *source* within the block; the bundled APIs answer where the profile says so."""
    secrets, counts = source.secrets, counts_folder(settings.data)
    with answering(settings) as origin_map:
        client = Client(
            source.connection(),
            origin_map=origin_map,
            keepsake=keepsake_file(settings.data, source.name),
            conceal=secrets.add,
            refer=secrets.refer,
            counts=counts,
        )
        with closing(client):
            yield Asking(source, client, now)


def rows_of(resource: Resource, found: FirstPages, settings: Settings) -> tuple[pa.Table, pa.Table | None]:
    """The records of *found* as a worker would make rows of them, and those that do not fit."""
    from pipelines.transform.decode import decode
    from pipelines.transform.frames import FOLDER, apply, resolve
    from pipelines.transform.mask import mask

    shape, carry = resource.shape(), dict(found.question.carry)
    told = [page for page in found.pages if not page.skipped and not page.is_empty_body]
    bodies = [mask(one.body, shape.format, shape.records, shape.mask) if shape.mask else one.body for one in told]
    decoded = decode([(body, carry) for body in bodies], shape)
    if not shape.transform:
        return decoded.table, decoded.rejects
    with redirect_stdout(sys.stderr):  # as in a worker
        table = apply(decoded.table, resolve(shape.transform, (settings.transforms or FOLDER,)))
    return table, decoded.rejects


def answers_of(source: Source, settings: Settings, now: datetime) -> list[dict[str, Any]]:
    """What page 1 of each resource of *source* is like, as plain values: what it `told`, or its `problem`."""
    found: list[dict[str, Any]] = []
    with asking(source, settings, now) as asked:
        for name in source.resources:
            told, problem = "", None
            try:
                told = _told(asked.first(name))
            except PipelineError as error:
                problem = asdict(Problem.of(error).hiding(source.secrets.hide))
            found.append({"resource": f"{source.name}.{name}", "told": told, "problem": problem})
    return found


def _told(answer: FirstPages | None) -> str:
    if answer is None:
        return "nothing to ask for yet"
    count = answer.pages[0].count
    more = {None: "", 0: ", the only page"}.get(answer.more, f", {answer.more} more pages")
    return f"{count:,} {'record' if count == 1 else 'records'} on page 1{more}"


def resource_of(source: Source, name: str) -> Resource:
    """The resource *name*.

    Raises:
        ConfigError: There is none.
    """
    resources: Mapping[str, Resource] = source.resources
    if not name:
        example = f"such as {source.name}.{next(iter(resources))}"
        raise ConfigError(f"{source.name} is a source: name one of its resources", example)
    if name not in resources:
        raise ConfigError(
            f"{source.name} has no resource {name!r}{nearest(name, resources)}", f"it has: {', '.join(resources)}"
        )
    return resources[name]
