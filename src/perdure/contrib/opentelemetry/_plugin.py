"""The plugin that sets tracing up."""

from __future__ import annotations

from perdure.contrib.opentelemetry._interceptor import OpenTelemetryInterceptor
from perdure.plugin import SimplePlugin


class OpenTelemetryPlugin(SimplePlugin):
    """Traces clients, workers and replayers; ``opentelemetry.trace`` works in workflow code.

    The global tracer provider must be made by ``create_tracer_provider``.
    """

    def __init__(self, *, add_temporal_spans: bool = False) -> None:
        """Make the plugin; with ``add_temporal_spans`` what the SDK does gets spans as well."""
        super().__init__("OpenTelemetryPlugin", interceptors=[OpenTelemetryInterceptor(add_temporal_spans)])
