"""How a trace travels in headers, and how a context is made the current one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import opentelemetry.context
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from perdure.converter import PayloadConverter
from perdure.exceptions import ApplicationError, ApplicationErrorCategory

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.propagators.textmap import TextMapPropagator
    from opentelemetry.util.types import Attributes

    from perdure.api.common.v1 import Payload

# OpenTelemetry picks its kind of context when it first needs one, and opens files for that: not in a workflow, please.
opentelemetry.context.get_current()

HEADER_KEY = "_tracer-data"

default_text_map_propagator = CompositePropagator([TraceContextTextMapPropagator(), W3CBaggagePropagator()])
"""Trace context and baggage, as the W3C has them."""


class HeaderPropagation:
    """Contexts into headers and out of them."""

    def __init__(
        self,
        key: str = HEADER_KEY,
        propagator: TextMapPropagator = default_text_map_propagator,
        converter: PayloadConverter = PayloadConverter.default,
    ) -> None:
        self.key = key
        self.propagator = propagator
        self.converter = converter

    def carrier(self, context: Context | None = None) -> dict[str, Any]:
        """The context, by default the current one, as text."""
        carrier: dict[str, Any] = {}
        self.propagator.inject(carrier, context)
        return carrier

    def add(self, headers: Mapping[str, Payload], carrier: dict[str, Any] | None = None) -> Mapping[str, Payload]:
        """The headers with the current context, or with this one; unchanged if there is nothing to tell."""
        carrier = self.carrier() if carrier is None else carrier
        return {**headers, self.key: self.converter.to_payloads([carrier])[0]} if carrier else headers

    def add_text(
        self, headers: Mapping[str, str] | None, carrier: dict[str, Any] | None = None
    ) -> Mapping[str, str] | None:
        """Headers of a Nexus operation, which are text, with the current context or with this one."""
        carrier = self.carrier() if carrier is None else carrier
        if not carrier:
            return headers
        text = {key: ",".join(value) if isinstance(value, list) else value for key, value in carrier.items()}
        return {**(headers or {}), **text}

    def carrier_of(self, headers: Mapping[str, Payload]) -> dict[str, Any] | None:
        """The context in headers as text."""
        payload = headers.get(self.key)
        return self.converter.from_payloads([payload])[0] if payload is not None else None

    def context_of(self, headers: Mapping[str, Payload]) -> Context | None:
        """The context in headers."""
        carrier = self.carrier_of(headers)
        return self.propagator.extract(carrier) if carrier else None


@contextmanager
def attached(context: Context | None) -> Iterator[None]:
    """Make a context the current one; None changes nothing.

    What is left by another way than it was entered, as a coroutine that is closed by an eviction, has nothing to undo.
    """
    if context is None:
        yield
        return
    # Its own attach and detach without the log entry for a token of another contextvars context.
    runtime_context: Any = opentelemetry.context._RUNTIME_CONTEXT
    token = runtime_context.attach(context)
    try:
        yield
    finally:
        if opentelemetry.context.get_current() is context:
            with suppress(ValueError):
                runtime_context.detach(token)


@contextmanager
def span(
    tracer: Tracer, name: str, kind: SpanKind, attributes: Attributes, context: Context | None = None
) -> Iterator[Span]:
    """A span around a block, in a context. An exception makes it an error, unless it is a benign one."""
    with (
        attached(context),
        tracer.start_as_current_span(
            name, context, kind=kind, attributes=attributes, set_status_on_exception=False
        ) as current,
    ):
        try:
            yield current
        except Exception as error:
            if not isinstance(error, ApplicationError) or error.category != ApplicationErrorCategory.BENIGN:
                current.set_status(Status(StatusCode.ERROR, f"{type(error).__name__}: {error}"))
            raise
