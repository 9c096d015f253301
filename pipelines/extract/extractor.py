"""All resources of one source, fetched side by side by a few threads.

A step is one request of one chain. Threads take steps from each resource in
turn; a page that has arrived is spooled, handed on, and names the next step.
Parents' records become children's chains while the parents still page. A
resource that fails fails alone, with those that need its records.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

from msgspec.structs import replace

from pipelines.errors import Defect, Interrupted, PipelineError
from pipelines.extract.answers import Answers, Mask
from pipelines.extract.chains import Asker, Chain, Question, below, known_names
from pipelines.extract.channel import Backlog, Fetched
from pipelines.extract.client import Client
from pipelines.extract.connection import Connection
from pipelines.extract.crew import Crew, Size
from pipelines.extract.endpoint import Endpoint
from pipelines.extract.events import Event, EventKind
from pipelines.extract.extraction import Extraction
from pipelines.extract.lanes import Lanes
from pipelines.extract.page import Page
from pipelines.extract.paginators import NoPages
from pipelines.extract.placeholders import Scope
from pipelines.extract.request import Request
from pipelines.extract.spool import Spool, Stored
from pipelines.extract.steps import ResourceRun, Step
from pipelines.extract.watermark import Watermark

_STOPPED = ("the run was asked to stop", "run again to resume")
_LOOK_EVERY_S = 0.1
_NOTABLE_S = 0.001


class Extractor:
    """Fetches the *endpoints* of one source; `run` returns when every page is spooled and handed on."""

    def __init__(  # noqa: PLR0913  # all that a run of one source is made of, each by name
        self,
        connection: Connection,
        endpoints: Mapping[str, Endpoint],
        *,
        name: str,
        client: Client,
        spool: Spool,
        backlog: Backlog,
        watermarks: Mapping[str, Watermark | None],
        clock: Callable[[str], datetime],
        masks: Mapping[str, Mask] | None = None,
        keys: Mapping[str, Sequence[str]] | None = None,
        listen: Callable[[Event], None] = lambda event: None,
        stop: threading.Event | None = None,
        size: Size | None = None,
    ) -> None:
        """*keys* are the paths in a record to what tells it from others, for resources that have a key."""
        self._connection, self._name, self._client = connection, name, client
        self._backlog, self._listen = backlog, listen
        self._stop = stop or threading.Event()
        self._over = threading.Event()
        self._answers = Answers(client, spool, masks=masks or {}, listen=listen, over=self._over)
        self._crew = Crew(self._serve, size or Size(connection.limits.in_flight), f"fetch-{name}")
        self._lanes: Lanes[Step] = Lanes(self._crew.wanted)
        self._changed = threading.Condition()
        self._crash: BaseException | None = None
        self._resources = {
            name: ResourceRun(
                name,
                one,
                Asker(connection, one, watermarks.get(name), clock(name), known_names(endpoints, name)),
                key=(keys or {}).get(name, ()),
            )
            for name, one in endpoints.items()
        }

    def run(self) -> dict[str, Extraction]:
        """Fetch everything; a resource that failed has its error in its extraction.

        A set *stop* ends it within a second: what was not finished has `Interrupted` as its error.
        """
        try:
            self._begin()
            self._crew.open()
            self._lanes.look()
            self._wait()
        finally:
            self._end()
        if self._crash is not None:
            raise self._crash
        return {
            name: resource.tally.extraction(name, resource.error, resource.asker.upper_bound(), resource.verdict())
            for name, resource in self._resources.items()
        }

    def _begin(self) -> None:
        """Queue the chains of resources without a parent resource; connect children to their parents."""
        for resource in self._resources.values():  # all of them, before any fails: its children fail with it
            each = resource.endpoint.for_each
            if each is not None and each.resource is not None:
                self._resources[each.resource].add_child(resource)
        for resource in self._resources.values():
            each = resource.endpoint.for_each
            if each is not None and each.resource is not None:
                continue
            try:
                for number, scope in enumerate(each.scopes() if each else [{}]):
                    self._add_chains(resource, scope, (number,) if each else ())
            except PipelineError as error:
                self._fail(resource, error)
            resource.has_all_parents = True
        for resource in self._resources.values():
            self._finish_if_done(resource)

    def _wait(self) -> None:
        with self._changed:
            while not self._is_over():
                self._changed.wait(_LOOK_EVERY_S)
                self._lanes.look()  # there may be room for a thread now that there was none for before

    def _is_over(self) -> bool:
        done = all(resource.is_finished for resource in self._resources.values())
        return done or self._stop.is_set() or self._crash is not None

    def _end(self) -> None:
        """Let everybody go, whatever happened: what is unfinished was stopped; nothing of ours runs afterwards."""
        self._crew.close()
        self._lanes.close()
        self._over.set()
        for resource in self._resources.values():
            self._fail(resource, Interrupted(*_STOPPED))
        self._client.abort()
        self._crew.join()

    def _serve(self) -> None:
        """What each thread does: one step after another."""
        while (turn := self._lanes.take()) is not None:
            resource = self._resources[turn.resource]
            if resource.is_finished:
                continue
            try:
                self._take(resource, turn.step)
            except PipelineError as error:
                # a first page has no token that could have ended: pages of other questions do not lead to it
                error.lasting = error.lasting and turn.step.number > 0
                self._fail(resource, error)
            except Exception as error:  # noqa: BLE001  # a defect with one resource stops no other
                defect = Defect.of(error, f"{self._name}.{resource.name}")
                defect.__cause__ = error
                self._fail(resource, defect)
            except BaseException as error:  # noqa: BLE001  # raised again by run: a thread must not die unheard
                with self._changed:
                    self._crash = error
                    self._changed.notify_all()

    def _take(self, resource: ResourceRun, step: Step) -> None:
        """Fetch one page, keep it, hand it on, and queue what follows from it."""
        chain = step.chain
        if not step.again:
            chain.ask(step.request, step.key, resource.endpoint.max_pages)
        page, stored = self._answers.get(resource, step.request, step.key)
        self._crew.has_page(len(page.body))
        if resource.is_finished:
            return
        kept = page if stored else self._answers.masked(resource, page)
        if halves := resource.halves(step, page):
            _ = stored or self._answers.keep(resource, step.key, kept)  # for a run that resumes
            self._split(resource, halves)
            return
        joint = step.joint(resource, kept, lambda: [self._answers.read(resource, *one) for one in chain.latest])
        if joint.is_lost:
            _ = stored or self._answers.keep(resource, step.key, kept)  # the same
            back = step.stepped_back(resource)
            self._lanes.follow(resource.name, replace(back, request=self._checked(back.request)))
            return
        counts, repeated = resource.counts_records, len(joint.repeated)
        chain.take_in(page, step.number, counts=counts, repeated=repeated, again=step.again)
        following = [
            replace(after, request=self._checked(after.request)) for after in step.following(resource, page, joint)
        ]
        resource.tally.see_date(page.header("date"))
        stored = stored or self._answers.keep(resource, step.key, kept)
        if resource.endpoint.paginator.is_numbered and not chain.is_addressed:
            chain.go_on(kept, stored, joint.repeated, again=step.again)
        self._hand_on(resource, step, page, stored, joint.repeated)
        for child in resource.children:
            self._add_children(child, page, step, joint.repeated)
        with chain.lock:
            chain.outstanding += len(following) - 1
            is_last = chain.outstanding == 0
        self._lanes.follow(resource.name, *following)
        if step.number == 0 and chain.is_addressed:
            self._tell("expected", resource.name, size=len(following))
        if is_last:
            self._close(resource, chain)

    def _hand_on(
        self, resource: ResourceRun, step: Step, page: Page, stored: Stored, repeated: tuple[int, ...]
    ) -> None:
        """Give the page to the workers, in the order of its chain; an empty one only takes its turn."""
        resource.tally.count("pages")
        fetched: Fetched | None = None
        if not page.is_empty and not (repeated and len(repeated) == page.count):
            question = step.chain.question
            order = (*question.order, step.number)
            ref = replace(stored.ref, order=order, carry=question.carry, parent=question.parent, without=repeated)
            fetched = Fetched(ref, step.request)
            resource.tally.count("raw_bytes", ref.raw_bytes)
        began = time.monotonic()
        with step.chain.handing:  # else a later page could overtake this one on its way
            for ready in step.chain.in_order(step.number, fetched):
                self._backlog.put(resource.name, ready)
        if (blocked_s := time.monotonic() - began) > _NOTABLE_S:
            self._tell("blocked", resource.name, blocked_s)

    def _checked(self, request: Request) -> Request:
        """*request* in its configured origin; a link elsewhere is refused before any packet leaves."""
        return replace(request, url=self._client.origins.configured(request.url))

    def _add_children(self, child: ResourceRun, page: Page, step: Step, repeated: tuple[int, ...]) -> None:
        """Ask *child* for each record of *page*, which knows by name what it was asked for itself."""
        each, question = child.endpoint.for_each, step.chain.question
        if child.is_finished or each is None:
            return
        carried, order = dict(question.carry), (*question.order, step.number)
        try:
            for number, record in enumerate(page.rows()):
                if number in repeated:
                    continue
                for place, scope in enumerate(each.scopes([{**carried, **record}])):
                    self._add_chains(child, below(question, scope, each), (*order, number, place), fields=scope)
        except PipelineError as error:
            self._fail(child, error)

    def _add_chains(
        self, resource: ResourceRun, scope: Scope, order: tuple[int, ...], *, fields: Scope | None = None
    ) -> None:
        """Ask *resource* what it asks in *scope*, if nobody has: a parent may come twice, and its children would."""
        questions = list(resource.asker.questions(scope, order, fields))
        with self._changed:
            new = [question for question in questions if resource.is_new(question)]
        self._add_questions(resource, new)

    def _add_questions(self, resource: ResourceRun, questions: Iterable[Question]) -> None:
        chains = [Chain(resource.name, question) for question in questions]
        with self._changed:
            resource.open_chains += len(chains)
        self._tell("planned", resource.name, size=len(chains))
        paginator = resource.endpoint.paginator
        self._lanes.add(
            resource.name, *(Step(chain, self._checked(paginator.first(chain.question.request)), 0) for chain in chains)
        )

    def _split(self, resource: ResourceRun, halves: list[Question]) -> None:
        """Ask for *halves* of a window instead of it."""
        self._add_questions(resource, halves)
        with self._changed:
            resource.open_chains -= 1
        self._finish_if_done(resource)  # other threads may be done with the halves by now

    def _close(self, resource: ResourceRun, chain: Chain) -> None:
        """All pages of *chain* are there: compare them with what the API tells, and count it off."""
        if resource.endpoint.count is not None:
            told = self._answers.counted(resource, self._connection, chain)
            chain.total = chain.total if told is None else told
        declared, numbered = isinstance(resource.endpoint.paginate, NoPages), resource.endpoint.paginator.is_numbered
        guarded = not numbered or resource.notices_moves
        resource.tally.close_chain(chain, declared=declared, guarded=guarded, most=resource.most)
        with self._changed:
            resource.open_chains -= 1
        self._finish_if_done(resource)

    def _finish_if_done(self, resource: ResourceRun) -> None:
        with self._changed:
            if resource.is_finished or resource.open_chains or not resource.has_all_parents:
                return
            resource.is_finished = True
            self._changed.notify_all()
        self._backlog.finish(resource.name)
        self._tell("finished", resource.name, note=resource.verdict()[0])
        for child in resource.children:
            child.has_all_parents = True
            self._finish_if_done(child)

    def _fail(self, resource: ResourceRun, error: PipelineError) -> None:
        """End *resource* with *error*, and those that need its records."""
        with self._changed:
            if resource.is_finished:
                return
            resource.is_finished, resource.error = True, error
            self._changed.notify_all()
        self._lanes.drop(resource.name)
        self._backlog.drop(resource.name, error)
        self._tell("finished", resource.name, note=error.kind)
        for child in resource.children:
            told = type(error)(f"its parent {resource.name} failed: {error.message}", error.hint)
            told.lasting = False  # none of its own pages leads there
            self._fail(child, told)

    def _tell(self, kind: EventKind, resource: str, seconds: float = 0.0, size: int = 0, note: str = "") -> None:
        self._listen(Event(kind, resource, time.monotonic(), seconds, size, note))
