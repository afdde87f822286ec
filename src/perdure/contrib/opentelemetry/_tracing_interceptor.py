"""Tracing with any provider: in workflows, a span that has ended already for each thing that happens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import opentelemetry.context
import opentelemetry.trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind

import perdure.client
import perdure.worker
from perdure import workflow
from perdure.contrib.opentelemetry._outside import OutsideInterceptor
from perdure.contrib.opentelemetry._propagation import (
    HEADER_KEY,
    HeaderPropagation,
    attached,
    default_text_map_propagator,
)
from perdure.converter import PayloadConverter
from perdure.exceptions import FailureError

if TYPE_CHECKING:
    from opentelemetry.propagators.textmap import TextMapPropagator
    from opentelemetry.util.types import Attributes, AttributeValue

    from perdure.worker import (
        ContinueAsNewInput,
        ExecuteWorkflowInput,
        HandleQueryInput,
        HandleSignalInput,
        HandleUpdateInput,
        SignalChildWorkflowInput,
        SignalExternalWorkflowInput,
        StartActivityInput,
        StartChildWorkflowInput,
        StartLocalActivityInput,
        StartNexusOperationInput,
        WorkflowInterceptorClassInput,
        WorkflowOutboundInterceptor,
    )
    from perdure.workflow import ActivityHandle, ChildWorkflowHandle, NexusOperationHandle

_EXTERN = "__temporal_opentelemetry_completed_span"
_INTERCEPTOR = opentelemetry.context.create_key("perdure-tracing-workflow-interceptor")


@dataclass(frozen=True)
class _CompletedSpan:
    """A span to make: what is known of it inside the workflow."""

    parent: dict[str, Any]
    name: str
    attributes: Attributes
    time_ns: int
    link: dict[str, Any] | None
    exception: Exception | None
    kind: SpanKind
    is_parent_missing: bool


class TracingInterceptor(OutsideInterceptor):
    """Traces client calls, workflows and activities. Give it to the client: its workers take it from there.

    For another header, propagator or converter derive from this class and from
    :class:`TracingWorkflowInboundInterceptor`, set the attributes in both, and return the second from
    :meth:`workflow_interceptor_class`.
    """

    def __init__(
        self, tracer: opentelemetry.trace.Tracer | None = None, *, always_create_workflow_spans: bool = False
    ) -> None:
        """Make the interceptor.

        Args:
            tracer: by default that of the global provider.
            always_create_workflow_spans: make spans in a workflow that was started without a trace, too. On a replay
                they may end up without their parents.
        """
        self.tracer = tracer or opentelemetry.trace.get_tracer(__name__)
        self.header_key = HEADER_KEY
        self.text_map_propagator: TextMapPropagator = default_text_map_propagator
        self.payload_converter = PayloadConverter.default
        self._always = always_create_workflow_spans

    def propagation(self) -> HeaderPropagation:
        """How traces travel."""
        return HeaderPropagation(self.header_key, self.text_map_propagator, self.payload_converter)

    def span_tracer(self) -> opentelemetry.trace.Tracer:
        """The tracer."""
        return self.tracer

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[TracingWorkflowInboundInterceptor]:
        """Trace workflows."""
        input.unsafe_extern_functions[_EXTERN] = self._complete
        return TracingWorkflowInboundInterceptor

    def _complete(self, wanted: _CompletedSpan) -> dict[str, Any] | None:
        """Make a span that begins and ends at one moment; the context to go on with, as text."""
        if wanted.is_parent_missing and not self._always:
            return None
        parent = self.text_map_propagator.extract(wanted.parent)
        links = []
        if wanted.link:
            linked = opentelemetry.trace.get_current_span(self.text_map_propagator.extract(wanted.link))
            if linked is not opentelemetry.trace.INVALID_SPAN:
                links.append(opentelemetry.trace.Link(linked.get_span_context()))
        made = self.tracer.start_span(
            wanted.name,
            parent,
            kind=wanted.kind,
            attributes=wanted.attributes,
            links=links,
            start_time=wanted.time_ns,
        )
        if wanted.exception is not None:
            made.record_exception(wanted.exception)
        made.end(end_time=wanted.time_ns)
        return self.propagation().carrier(opentelemetry.trace.set_span_in_context(made, parent))


class TracingWorkflowInboundInterceptor(perdure.worker.WorkflowInboundInterceptor):
    """Traces what comes into a workflow. Replay makes no spans."""

    def __init__(self, next: perdure.worker.WorkflowInboundInterceptor) -> None:
        """Wrap the next interceptor."""
        super().__init__(next)
        self.header_key = HEADER_KEY
        self.text_map_propagator: TextMapPropagator = default_text_map_propagator
        self.payload_converter = PayloadConverter.default
        self._complete = workflow.extern_functions()[_EXTERN]
        self._own_carrier: dict[str, Any] | None = None

    @staticmethod
    def _from_context() -> TracingWorkflowInboundInterceptor | None:
        found = opentelemetry.context.get_value(_INTERCEPTOR)
        return found if isinstance(found, TracingWorkflowInboundInterceptor) else None

    def propagation(self) -> HeaderPropagation:
        """How traces travel."""
        return HeaderPropagation(self.header_key, self.text_map_propagator, self.payload_converter)

    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        """Trace what the workflow asks for, too."""
        super().init(_Outbound(outbound, self))

    async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:
        """Trace the run: one span when it begins, one when it ends."""
        with self._in_workflow_context(ends=True):
            self._completed_span(f"RunWorkflow:{workflow.info().workflow_type}", kind=SpanKind.SERVER)
            return await super().execute_workflow(input)

    async def handle_signal(self, input: HandleSignalInput) -> None:
        """Trace a signal, linked to who sent it."""
        with self._in_workflow_context():
            self._handling(f"HandleSignal:{input.signal}", input)
            await super().handle_signal(input)

    async def handle_query(self, input: HandleQueryInput) -> Any:
        """Trace a query as part of who asked, linked to the workflow's own trace."""
        propagation = self.propagation()
        context = propagation.context_of(input.headers)
        link = None if context is None else self._workflow_carrier()
        context = Context() if context is None else context
        with attached(opentelemetry.context.set_value(_INTERCEPTOR, self, context)):
            self._completed_span(f"HandleQuery:{input.query}", link=link, on_replay=True, kind=SpanKind.SERVER)
            return await super().handle_query(input)

    def handle_update_validator(self, input: HandleUpdateInput) -> None:
        """Trace the validation of an update."""
        with self._in_workflow_context():
            self._handling(f"ValidateUpdate:{input.update}", input)
            super().handle_update_validator(input)

    async def handle_update_handler(self, input: HandleUpdateInput) -> Any:
        """Trace an update."""
        with self._in_workflow_context():
            self._handling(f"HandleUpdate:{input.update}", input)
            return await super().handle_update_handler(input)

    def _handling(self, name: str, input: Any) -> None:
        self._completed_span(name, link=self.propagation().carrier_of(input.headers), kind=SpanKind.SERVER)

    def _workflow_carrier(self) -> dict[str, Any] | None:
        if self._own_carrier is None:
            self._own_carrier = self.propagation().carrier_of(workflow.info().headers)
        return self._own_carrier

    @contextmanager
    def _in_workflow_context(self, *, ends: bool = False) -> Iterator[None]:
        """The context that the workflow was started with. What fails the workflow here leaves a last span."""
        carrier = self._workflow_carrier()
        context = self.text_map_propagator.extract(carrier) if carrier else Context()
        name = f"CompleteWorkflow:{workflow.info().workflow_type}"
        with attached(opentelemetry.context.set_value(_INTERCEPTOR, self, context)):
            try:
                yield
            except FailureError as error:
                self._completed_span(name, exception=error)
                raise
            if ends:
                self._completed_span(name)

    def _completed_span(
        self,
        name: str,
        *,
        link: dict[str, Any] | None = None,
        add_to: Any = None,
        on_replay: bool = False,
        additional_attributes: Attributes = None,
        exception: Exception | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
    ) -> dict[str, Any] | None:
        """Make a span, and put the trace with it, which is returned too, into the headers of ``add_to``."""
        if workflow.unsafe.is_replaying() and not on_replay:
            return None
        info = workflow.info()
        attributes: dict[str, AttributeValue] = {
            "temporalWorkflowID": info.workflow_id,
            "temporalRunID": info.run_id,
            **(additional_attributes or {}),
        }
        propagation = self.propagation()
        carrier: dict[str, Any] | None = self._complete(
            _CompletedSpan(
                parent=propagation.carrier(),
                name=name,
                attributes=attributes,
                time_ns=workflow.time_ns(),
                link=link,
                exception=exception,
                kind=kind,
                is_parent_missing=opentelemetry.trace.get_current_span() is opentelemetry.trace.INVALID_SPAN,
            )
        )
        if carrier and add_to is not None:
            add_to.headers = propagation.add(add_to.headers, carrier)
        return carrier


class _Outbound(perdure.worker.WorkflowOutboundInterceptor):
    def __init__(self, next: WorkflowOutboundInterceptor, root: TracingWorkflowInboundInterceptor) -> None:
        super().__init__(next)
        self._root = root

    def continue_as_new(self, input: ContinueAsNewInput) -> NoReturn:
        input.headers = self._root.propagation().add(input.headers)
        super().continue_as_new(input)

    async def signal_child_workflow(self, input: SignalChildWorkflowInput) -> None:
        self._root._completed_span(f"SignalChildWorkflow:{input.signal}", add_to=input, kind=SpanKind.SERVER)
        await super().signal_child_workflow(input)

    async def signal_external_workflow(self, input: SignalExternalWorkflowInput) -> None:
        self._root._completed_span(f"SignalExternalWorkflow:{input.signal}", add_to=input, kind=SpanKind.CLIENT)
        await super().signal_external_workflow(input)

    def start_activity(self, input: StartActivityInput) -> ActivityHandle[Any]:
        self._root._completed_span(f"StartActivity:{input.activity}", add_to=input, kind=SpanKind.CLIENT)
        return super().start_activity(input)

    def start_local_activity(self, input: StartLocalActivityInput) -> ActivityHandle[Any]:
        self._root._completed_span(f"StartActivity:{input.activity}", add_to=input, kind=SpanKind.CLIENT)
        return super().start_local_activity(input)

    async def start_nexus_operation(self, input: StartNexusOperationInput[Any, Any]) -> NexusOperationHandle[Any]:
        carrier = self._root._completed_span(
            f"StartNexusOperation:{input.service}/{input.operation_name}", kind=SpanKind.CLIENT
        )
        if carrier:
            input.headers = self._root.propagation().add_text(input.headers, carrier)
        return await super().start_nexus_operation(input)

    async def start_child_workflow(self, input: StartChildWorkflowInput) -> ChildWorkflowHandle[Any, Any]:
        self._root._completed_span(f"StartChildWorkflow:{input.workflow}", add_to=input, kind=SpanKind.CLIENT)
        return await super().start_child_workflow(input)
