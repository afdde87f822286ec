"""A tracer provider for workflow code: same ids on replay, and no span twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import opentelemetry.sdk.trace as trace_sdk
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.trace import Span, SpanContext, SpanKind, Status, StatusCode, Tracer, TracerProvider, use_span
from opentelemetry.util._decorator import _agnosticcontextmanager

from perdure import workflow

if TYPE_CHECKING:
    from random import Random

    from opentelemetry.context import Context
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import sampling
    from opentelemetry.trace import Link
    from opentelemetry.util.types import Attributes, AttributeValue

_RANDOM = "__temporal_otel_id_random"


def is_replaying() -> bool:
    """Whether what happens now happened before. Queries and validators are never a repetition."""
    return workflow.in_workflow() and workflow.unsafe.is_replaying_history_events()


def _workflow_random() -> Random | None:
    """A source of randomness of the workflow's own, for ids alone; None outside, and where nothing may change."""
    if not workflow.in_workflow() or workflow.unsafe.is_read_only():
        return None
    instance = workflow.instance()
    random: Random | None = getattr(instance, _RANDOM, None)
    if random is None:
        random = workflow.new_random()
        setattr(instance, _RANDOM, random)
    return random


class TemporalIdGenerator(IdGenerator):
    """Ids that a replay makes again; outside workflows, those of another generator."""

    def __init__(self, id_generator: IdGenerator) -> None:
        """Wrap the generator for what is not a workflow."""
        self._id_generator = id_generator

    def generate_span_id(self) -> int:
        """A span's id."""
        random = _workflow_random()
        return self._id_generator.generate_span_id() if random is None else random.randrange(1, 1 << 64)

    def generate_trace_id(self) -> int:
        """A trace's id."""
        random = _workflow_random()
        return self._id_generator.generate_trace_id() if random is None else random.randrange(1, 1 << 128)


class _ReplaySafeSpan(Span):
    """A span that ends when it ends for the first time."""

    def __init__(self, span: Span) -> None:
        self._span = span
        self._exception: BaseException | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._span, name)

    def end(self, end_time: int | None = None) -> None:
        if workflow.in_workflow():
            if workflow.unsafe.is_replaying_history_events():
                return
            if self._exception is not None and not workflow.is_failure_exception(self._exception):
                return  # the workflow task fails, and this code runs again
        self._span.end(end_time=end_time)

    def get_span_context(self) -> SpanContext:
        return self._span.get_span_context()

    def set_attributes(self, attributes: Mapping[str, AttributeValue]) -> None:
        self._span.set_attributes(attributes)

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        self._span.set_attribute(key, value)

    def add_event(self, name: str, attributes: Attributes = None, timestamp: int | None = None) -> None:
        self._span.add_event(name, attributes, timestamp)

    def add_link(self, context: SpanContext, attributes: Attributes = None) -> None:
        self._span.add_link(context, attributes)

    def update_name(self, name: str) -> None:
        self._span.update_name(name)

    def is_recording(self) -> bool:
        return self._span.is_recording()

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        self._span.set_status(status, description)

    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        self._exception = exception
        self._span.record_exception(exception, attributes, timestamp, escaped)


class _ReplaySafeTracer(Tracer):
    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def start_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> Span:
        if start_time is None and is_replaying():
            start_time = workflow.time_ns()
        return _ReplaySafeSpan(
            self._tracer.start_span(
                name, context, kind, attributes, links, start_time, record_exception, set_status_on_exception
            )
        )

    @_agnosticcontextmanager
    def start_as_current_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
        end_on_exit: bool = True,
    ) -> Iterator[Span]:
        made = self.start_span(
            name, context, kind, attributes, links, start_time, record_exception, set_status_on_exception
        )
        with use_span(
            made,
            end_on_exit=end_on_exit,
            record_exception=record_exception,
            set_status_on_exception=set_status_on_exception,
        ) as current:
            yield current


class ReplaySafeTracerProvider(TracerProvider):
    """A tracer provider whose spans may be used in workflow code. Made by :func:`create_tracer_provider`."""

    def __init__(self, tracer_provider: trace_sdk.TracerProvider, id_generator: TemporalIdGenerator) -> None:
        """Wrap a provider of OpenTelemetry's SDK that takes its ids from a ``TemporalIdGenerator``.

        Raises:
            ValueError: it takes them from elsewhere, so a replay would make others.
        """
        if not isinstance(tracer_provider.id_generator, TemporalIdGenerator):
            raise ValueError(
                "ReplaySafeTracerProvider should only be used with a TemporalIdGenerator for replay safety: "
                "make it with create_tracer_provider"
            )
        self._tracer_provider = tracer_provider
        self._id_generator = id_generator

    def add_span_processor(self, span_processor: trace_sdk.SpanProcessor) -> None:
        """Hand ended spans to this processor as well."""
        self._tracer_provider.add_span_processor(span_processor)

    def shutdown(self) -> None:
        """Shut the provider down."""
        self._tracer_provider.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Export what has ended; whether that was done in time."""
        return self._tracer_provider.force_flush(timeout_millis)

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes = None,
    ) -> Tracer:
        """A tracer."""
        return _ReplaySafeTracer(
            self._tracer_provider.get_tracer(
                instrumenting_module_name, instrumenting_library_version, schema_url, attributes
            )
        )

    def id_generator(self) -> TemporalIdGenerator:
        """Where ids come from."""
        return self._id_generator


def create_tracer_provider(
    sampler: sampling.Sampler | None = None,
    resource: Resource | None = None,
    shutdown_on_exit: bool = True,
    active_span_processor: trace_sdk.SynchronousMultiSpanProcessor
    | trace_sdk.ConcurrentMultiSpanProcessor
    | None = None,
    id_generator: IdGenerator | None = None,
    span_limits: trace_sdk.SpanLimits | None = None,
) -> ReplaySafeTracerProvider:
    """A tracer provider for :class:`OpenTelemetryPlugin`; the arguments are those of OpenTelemetry's own.

    Make it the global one: ``opentelemetry.trace.set_tracer_provider(create_tracer_provider())``.
    """
    generator = TemporalIdGenerator(id_generator or RandomIdGenerator())
    return ReplaySafeTracerProvider(
        trace_sdk.TracerProvider(
            sampler=sampler,
            resource=resource,
            shutdown_on_exit=shutdown_on_exit,
            active_span_processor=active_span_processor,
            id_generator=generator,
            span_limits=span_limits,
        ),
        generator,
    )
