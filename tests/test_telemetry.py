"""OpenTelemetry as a collector on 127.0.0.1 receives it; and a run that none receives."""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.fake_api import FakeApi, say
from tests.shop import Ended, Shop, start

pytest.importorskip("opentelemetry.sdk")

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

TOKEN = "sesame-open-7341"


class Collector:
    """What arrived: spans with their parents' names, points of metrics, and every byte."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.points: list[tuple[str, dict[str, Any], float]] = []
        self.services: set[str] = set()
        self.raw = b""

    def take(self, path: str, body: bytes) -> None:
        """One export."""
        self.raw += body
        if path.endswith("/traces"):
            told: Any = ExportTraceServiceRequest.FromString(body)
            for resource in told.resource_spans:
                self.services.add(_values(resource.resource)["service.name"])
                self.spans += [span for scope in resource.scope_spans for span in scope.spans]
            return
        measured: Any = ExportMetricsServiceRequest.FromString(body)
        for one in measured.resource_metrics:
            for metric in (metric for scope in one.scope_metrics for metric in scope.metrics):
                for point in metric.sum.data_points:
                    self.points.append((metric.name, _values(point), point.as_int))

    def named(self, name: str) -> list[Any]:
        """The spans of that name."""
        return [span for span in self.spans if span.name == name]

    def above(self, span: Any) -> str:
        """The name of the span that *span* is part of."""
        return next((one.name for one in self.spans if one.span_id == span.parent_span_id), "")

    def total(self, metric: str, **labels: str) -> float:
        """The last sum of *metric* over all points with *labels*."""
        last = {tuple(sorted(of.items())): value for name, of, value in self.points if name == metric}
        return sum(value for of, value in last.items() if labels.items() <= dict(of).items())


@pytest.fixture
def shop(api: FakeApi, tmp_path: Path) -> Shop:
    """A project of two sources, the second with a token."""
    shop = Shop(api, tmp_path)
    shop.edit("bank.yaml", "retry:", "auth: {bearer: '${BANK_TOKEN}'}\nretry:")
    return shop


@contextmanager
def collecting() -> Iterator[tuple[Collector, str]]:
    """A collector that speaks OTLP over HTTP, and its address."""
    collector = Collector()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            collector.take(self.path, self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name that http.server has
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield collector, f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_a_run_arrives_as_spans_and_figures_that_agree_with_its_report(shop: Shop) -> None:
    """Run > source > resource > requests and batches; one resource fails after two retries; no secret leaves."""
    shop.api.route("/shop/events", lambda asked: say({}, status=500))
    with collecting() as (collector, address):
        ran = shop.run("--json", OTEL_EXPORTER_OTLP_ENDPOINT=address, BANK_TOKEN=TOKEN)

    (run,) = collector.named("run")
    assert _values(run)["threadmill.run"] == ran.report["run_id"]
    assert {collector.above(span) for span in collector.spans if span.name.startswith("source ")} == {"run"}
    assert collector.above(collector.named("resource shop.orders")[0]) == "source shop"
    assert {collector.above(span) for span in collector.named("batch")} >= {"resource shop.customers"}
    assert collector.services == {"threadmill"}
    requests = {collector.above(span): _values(span) for span in collector.named("requests")}
    assert requests["resource shop.orders"]["requests"] == requests["resource shop.orders"]["http.response.200"] == 4
    (failed,) = collector.named("resource shop.events")
    assert (failed.status.code, _values(failed)["threadmill.verdict"]) == (2, "failed")
    assert {event.name for event in failed.events} == {"retried"}
    assert len(failed.events) == ran.resource("shop.events")["retries"]
    assert collector.named("resource bank.accounts")[0].status.code == 1
    for source, resource in (("shop", "orders"), ("shop", "events"), ("bank", "accounts")):
        told, labels = ran.resource(f"{source}.{resource}"), {"source": source, "resource": resource}
        assert collector.total("threadmill.requests", **labels) == told["requests"]
        assert collector.total("threadmill.rows.written", **labels) == told["new"] + told["updated"]
        assert collector.total("threadmill.retries", **labels) == told["retries"]
        assert collector.total("threadmill.verdicts", **labels, verdict=told["verdict"]) == 1
    assert all(span.start_time_unix_nano <= span.end_time_unix_nano for span in collector.spans)
    assert TOKEN.encode() not in collector.raw


@pytest.mark.parametrize("endpoint", ["refused", "silent"])
def test_an_endpoint_that_is_down_neither_fails_a_run_nor_holds_it_up(shop: Shop, endpoint: str) -> None:
    """Nobody listens, or somebody who never answers: a few seconds at the end at most, and no more than a warning."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        if endpoint == "refused":
            listener.close()
        began = time.monotonic()
        ran = shop.run("--json", "-q", OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}", BANK_TOKEN=TOKEN)
        took_s = time.monotonic() - began

    assert (ran.code, ran.report["exit_code"]) == (0, 0)
    assert took_s < ran.report["seconds"] + 10
    assert ran.err.count("\n") <= 1
    assert "Traceback" not in ran.err


def test_without_an_endpoint_nothing_of_it_is_imported(shop: Shop) -> None:
    code = (
        "import sys, pipelines.cli as cli\ntry: cli.app(['run'])\nexcept SystemExit: pass\n"
        "print(*(name for name in sys.modules if name.startswith(('opentelemetry', 'pipelines.otlp'))))"
    )

    done = Ended.of(start(shop.folder, "-c", code, program=[sys.executable], BANK_TOKEN=TOKEN))

    assert "rows written" in done.out
    assert done.out.splitlines()[-1] == ""


def _values(attributed: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributed.attributes}
