"""Traces, metrics and logs for OpenTelemetry: ``pip install "perdure[opentelemetry]"``.

Two ways to trace. :class:`OpenTelemetryPlugin` makes spans of workflow code real: they last as long as what they stand
for, also over days and restarts, and ``opentelemetry.trace`` can be used in workflow code. It needs a tracer provider made
by :func:`create_tracer_provider`. :class:`TracingInterceptor` works with any provider: it makes spans without a duration
in workflows, one per thing that happens.

Both carry the trace in the header ``_tracer-data``, as Temporal's SDKs do, so that traces cross languages.
"""

from perdure.contrib.opentelemetry._interceptor import OpenTelemetryInterceptor
from perdure.contrib.opentelemetry._metrics_exporter import MetricsExporter
from perdure.contrib.opentelemetry._plugin import OpenTelemetryPlugin
from perdure.contrib.opentelemetry._replay_safe import ReplaySafeLoggerProvider, ReplaySafeMeterProvider
from perdure.contrib.opentelemetry._tracer_provider import ReplaySafeTracerProvider, create_tracer_provider
from perdure.contrib.opentelemetry._tracing_interceptor import TracingInterceptor, TracingWorkflowInboundInterceptor

__all__ = [
    "MetricsExporter",
    "OpenTelemetryInterceptor",
    "OpenTelemetryPlugin",
    "ReplaySafeLoggerProvider",
    "ReplaySafeMeterProvider",
    "ReplaySafeTracerProvider",
    "TracingInterceptor",
    "TracingWorkflowInboundInterceptor",
    "create_tracer_provider",
]
