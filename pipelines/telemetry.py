"""OpenTelemetry, where the environment asks for it: a run's spans and figures, over OTLP/HTTP.

`OTEL_EXPORTER_OTLP_ENDPOINT` turns it on; without it nothing is imported. Spans
are run > source > resource > requests and batches: requests as one span with
their sum, batches one each up to a bound. Everything leaves from threads of its
own, and a run waits for them a few seconds at its end, never longer.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from pipelines.extract.events import Event
from pipelines.report.result import ResourceReport, RunReport
from pipelines.version import CODE_VERSION

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, Observation
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

log = logging.getLogger(__name__)

ENDPOINTS = tuple(f"OTEL_EXPORTER_OTLP_{kind}ENDPOINT" for kind in ("", "TRACES_", "METRICS_"))
MAX_BATCH_SPANS = 200
MAX_PAUSE_EVENTS = 50
_LAST_S = 3.0
"""How long the end of a run waits for what is still to be sent."""
_COUNTERS = {
    "threadmill.requests": ("{request}", "requests that were answered"),
    "threadmill.retries": ("{request}", "attempts that failed and were repeated"),
    "threadmill.wire.size": ("By", "bytes of answers on the wire"),
    "threadmill.rows.read": ("{row}", "rows that workers made of pages"),
    "threadmill.rows.written": ("{row}", "rows that commits added or changed"),
    "threadmill.verdicts": ("{resource}", "resources by the verdict of their run"),
}
Labels = tuple[tuple[str, str], ...]


def telemetry(run_id: str, env: Mapping[str, str]) -> list[Telemetry]:
    """What exports the run *run_id*; nothing where *env* names no endpoint. Never raises."""
    if not any(env.get(name) for name in ENDPOINTS) or env.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return []
    try:
        from pipelines.otlp import providers
    except ImportError as error:
        packages = "opentelemetry-sdk opentelemetry-exporter-otlp-proto-http"
        log.warning("no telemetry: %s; `pip install %s`", error, packages)
        return []
    return [Telemetry(run_id, *providers(env))]


class _Open(Struct):
    """A resource whose span has not ended."""

    span: Span
    first: float = 0.0
    last: float = 0.0
    requests: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    size: int = 0
    batches: int = 0
    pauses: int = 0


class Telemetry:
    """Listens to one run; call `listen` from any thread."""

    def __init__(self, run_id: str, traces: TracerProvider, metrics: MeterProvider) -> None:
        self._run_id, self._traces, self._metrics = run_id, traces, metrics
        self._offset = time.time() - time.monotonic()
        self._lock = threading.Lock()
        self._tracer = traces.get_tracer("threadmill", CODE_VERSION)
        self._run = self._tracer.start_span("run", attributes={"threadmill.run": run_id})
        self._sources: dict[str, Span] = {}
        self._resources: dict[tuple[str, str], _Open] = {}
        self._sums: Counter[tuple[str, Labels]] = Counter()
        meter = metrics.get_meter("threadmill", CODE_VERSION)
        for name, (unit, text) in _COUNTERS.items():
            meter.create_observable_counter(name, [partial(self._observe, name)], unit, text)
        self._duration = meter.create_histogram("threadmill.run.duration", "s", "how long runs take")

    def began(self, sources: Sequence[str], workers: int) -> None:
        """The run has begun."""
        self._run.set_attributes({"threadmill.sources": list(sources), "threadmill.workers": workers})

    def listen(self, source: str, event: Event) -> None:
        """Take *event* of *source* into spans and sums."""
        with self._lock:
            if event.kind == "committed":
                self._source(source, event).add_event("committed", {"commit": event.size}, self._at(event.at))
            if not event.resource:
                return
            open_ = self._resource(source, event)
            match event.kind:
                case "answered":
                    self._answered(source, event, open_)
                case "retried" | "throttled":
                    self._paused(source, event, open_)
                case "batch":
                    self._batch(source, event, open_)
                case "settled":
                    labels = {"source": source, "resource": event.resource}
                    self._add("threadmill.rows.written", event.size, **labels)
                    self._add("threadmill.verdicts", 1, **labels, verdict=event.note)

    def ended(self, report: RunReport) -> None:
        """End all spans as *report* says, and wait a moment until all is sent."""
        from opentelemetry.trace import StatusCode

        with self._lock:
            for resource in report.resources:
                if found := self._resources.get((resource.source, resource.resource)):
                    self._end(found, resource)
            for source in report.sources:
                if span := self._sources.get(source.source):
                    failed = source.problem or any(one.problem for one in source.resources)
                    span.set_status(StatusCode.ERROR if failed else StatusCode.OK)
                    span.end()
            self._run.set_attributes({"threadmill.exit_code": report.exit_code, "threadmill.rows.written": report.rows})
            self._run.set_status(StatusCode.ERROR if report.problems else StatusCode.OK)
            self._run.end()
        self._duration.record(report.seconds, {"exit_code": report.exit_code})
        self._send()

    def _send(self) -> None:
        """Let everything go, for a few seconds at most; what cannot be sent by then is dropped."""
        threads = [threading.Thread(target=one, daemon=True) for one in (self._traces.shutdown, self._metrics.shutdown)]
        deadline = time.monotonic() + _LAST_S
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(deadline - time.monotonic(), 0.0))
        if any(thread.is_alive() for thread in threads):
            log.warning("telemetry of run %s could not be sent in %.0f s", self._run_id, _LAST_S)

    def _answered(self, source: str, event: Event, found: _Open) -> None:
        found.first, found.last = found.first or event.at - event.seconds, event.at
        found.requests[event.note] += 1
        found.seconds, found.size = found.seconds + event.seconds, found.size + event.size
        labels = {"source": source, "resource": event.resource}
        self._add("threadmill.requests", 1, **labels, status=event.note)
        self._add("threadmill.wire.size", event.size, **labels)

    def _paused(self, source: str, event: Event, found: _Open) -> None:
        found.pauses += 1
        kind = {"error.type": event.note}
        self._add("threadmill.retries", 1, source=source, resource=event.resource, kind=event.kind, **kind)
        if found.pauses <= MAX_PAUSE_EVENTS:
            found.span.add_event(event.kind, {**kind, "wait_s": event.seconds}, self._at(event.at))

    def _batch(self, source: str, event: Event, found: _Open) -> None:
        found.batches += 1
        self._add("threadmill.rows.read", event.size, source=source, resource=event.resource)
        if found.batches <= MAX_BATCH_SPANS:
            told = {"rows": event.size, "cpu_s": event.cpu_s, "process.pid": int(event.note or 0)}
            self._child(found, "batch", event.at - event.seconds, event.at, told)

    def _end(self, found: _Open, report: ResourceReport) -> None:
        from opentelemetry.trace import StatusCode

        if total := sum(found.requests.values()):
            told = {f"http.response.{status}": count for status, count in found.requests.items()}
            sums = {"requests": total, "seconds": found.seconds, "bytes": found.size}
            self._child(found, "requests", found.first, found.last, {**sums, **told})
        figures = ("verdict", "evidence", "requests", "retries", "resumed", "rows_read", "rows_written", "rejected")
        found.span.set_attributes({f"threadmill.{name}": getattr(report, name) for name in figures})
        found.span.set_attribute("threadmill.batches", found.batches)
        if report.problem:
            found.span.set_status(StatusCode.ERROR, f"{report.problem.kind}: {report.problem.message}")
        else:
            found.span.set_status(StatusCode.OK)
        found.span.end()

    def _child(self, parent: _Open, name: str, start: float, end: float, attributes: Mapping[str, Any]) -> None:
        span = self._tracer.start_span(name, _within(parent.span), attributes=attributes, start_time=self._at(start))
        span.end(self._at(end))

    def _source(self, source: str, event: Event) -> Span:
        if source not in self._sources:
            told = {"threadmill.run": self._run_id, "threadmill.source": source}
            start = self._at(event.at - event.seconds)
            span = self._tracer.start_span(f"source {source}", _within(self._run), attributes=told, start_time=start)
            self._sources[source] = span
        return self._sources[source]

    def _resource(self, source: str, event: Event) -> _Open:
        key = (source, event.resource)
        if key not in self._resources:
            told = {"threadmill.source": source, "threadmill.resource": event.resource}
            name, above = f"resource {source}.{event.resource}", _within(self._source(source, event))
            span = self._tracer.start_span(name, above, attributes=told, start_time=self._at(event.at))
            self._resources[key] = _Open(span)
        return self._resources[key]

    def _add(self, name: str, amount: int, **labels: str) -> None:
        self._sums[name, tuple(labels.items())] += amount

    def _observe(self, name: str, options: CallbackOptions) -> Iterable[Observation]:
        from opentelemetry.metrics import Observation

        with self._lock:
            return [Observation(sum_, dict(labels)) for (known, labels), sum_ in self._sums.items() if known == name]

    def _at(self, moment: float) -> int:
        """*moment* of the monotonic clock as nanoseconds since 1970."""
        return int((moment + self._offset) * 1e9)


def _within(span: Span) -> Any:
    from opentelemetry.trace import set_span_in_context

    return set_span_in_context(span)
