"""For workflow code that is traced by a ``TracingInterceptor``."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from opentelemetry.trace import get_tracer

from perdure.contrib.opentelemetry._tracing_interceptor import TracingWorkflowInboundInterceptor

if TYPE_CHECKING:
    from opentelemetry.util.types import Attributes


def completed_span(name: str, *, attributes: Attributes = None, exception: Exception | None = None) -> None:
    """Make a span that has ended already, as part of the workflow's trace. Replay makes none.

    Args:
        name: the span's name.
        attributes: its attributes; workflow and run id come by themselves.
        exception: what went wrong, for the span's record.
    """
    interceptor = TracingWorkflowInboundInterceptor._from_context()
    if interceptor is not None:
        interceptor._completed_span(name, additional_attributes=attributes, exception=exception)
        return
    warnings.warn(
        "With OpenTelemetryPlugin, use opentelemetry.trace itself instead of completed_span.",
        DeprecationWarning,
        stacklevel=2,
    )
    made = get_tracer(__name__).start_span(name, attributes=attributes)
    if exception is not None:
        made.record_exception(exception)
    made.end()
