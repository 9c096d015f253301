"""The OpenTelemetry SDK, set up for one run; imported only where telemetry is wanted.

Its own variables apply (`OTEL_SERVICE_NAME`, `OTEL_EXPORTER_OTLP_HEADERS`, ...).
Nothing is registered globally and nothing waits when the program ends.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from pipelines.version import CODE_VERSION

_TIMEOUT_S = 2.0


def providers(env: Mapping[str, str]) -> tuple[TracerProvider, MeterProvider]:
    """What makes spans and what makes metrics, each sending by itself in a thread of its own."""
    # an endpoint that is down must not fill the log: the run says once that it could not send
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    timeout_s = float(env.get("OTEL_EXPORTER_OTLP_TIMEOUT") or _TIMEOUT_S)
    named = {} if env.get("OTEL_SERVICE_NAME") else {"service.name": "threadmill"}
    resource = Resource.create({**named, "service.version": CODE_VERSION})
    traces = TracerProvider(resource=resource, shutdown_on_exit=False)
    readers = []
    if env.get("OTEL_TRACES_EXPORTER") != "none":
        traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(timeout=timeout_s)))
    if env.get("OTEL_METRICS_EXPORTER") != "none":
        readers.append(PeriodicExportingMetricReader(OTLPMetricExporter(timeout=timeout_s)))
    return traces, MeterProvider(readers, resource=resource, shutdown_on_exit=False)
