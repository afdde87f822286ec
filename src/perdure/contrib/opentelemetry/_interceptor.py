"""Tracing with a replay-safe provider: in workflows, spans that last."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from opentelemetry.context import Context
from opentelemetry.trace import SpanKind, Tracer, get_tracer, get_tracer_provider

import perdure.client
import perdure.worker
from perdure import workflow
from perdure.contrib.opentelemetry._outside import OutsideInterceptor, Tracing
from perdure.contrib.opentelemetry._propagation import HeaderPropagation, attached
from perdure.contrib.opentelemetry._tracer_provider import ReplaySafeTracerProvider

if TYPE_CHECKING:
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

_PROPAGATION = HeaderPropagation()


class OpenTelemetryInterceptor(OutsideInterceptor):
    """Carries traces through client calls, workflows and activities. Usually part of ``OpenTelemetryPlugin``."""

    def __init__(self, add_temporal_spans: bool = False) -> None:
        """Make the interceptor; with ``add_temporal_spans`` what the SDK does gets spans as well."""
        self._add_temporal_spans = add_temporal_spans

    def propagation(self) -> HeaderPropagation:
        """How traces travel."""
        return _PROPAGATION

    def span_tracer(self) -> Tracer | None:
        """The global provider's tracer, if the SDK's doings get spans."""
        return get_tracer(__name__) if self._add_temporal_spans else None

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[perdure.worker.WorkflowInboundInterceptor]:
        """Trace workflows. Raises ValueError if the global tracer provider would not survive a replay."""
        if not isinstance(get_tracer_provider(), ReplaySafeTracerProvider):
            raise ValueError(
                "When using OpenTelemetryPlugin, the global trace provider must be a ReplaySafeTracerProvider. "
                "Use create_tracer_provider to create one."
            )
        root = self

        class Inbound(_Inbound):
            tracing = root

        return Inbound


class _Inbound(perdure.worker.WorkflowInboundInterceptor):
    tracing: OpenTelemetryInterceptor

    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        super().init(_Outbound(outbound, self.tracing))

    @contextmanager
    def _around(self, name: str, input: Any) -> Iterator[None]:
        context = _PROPAGATION.context_of(input.headers)
        with (
            attached(Context() if context is None else context),
            _around(self.tracing, name, SpanKind.SERVER),
        ):
            yield

    async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:
        with self._around(f"RunWorkflow:{workflow.info().workflow_type}", input):
            return await super().execute_workflow(input)

    async def handle_signal(self, input: HandleSignalInput) -> None:
        with self._around(f"HandleSignal:{input.signal}", input):
            await super().handle_signal(input)

    async def handle_query(self, input: HandleQueryInput) -> Any:
        with self._around(f"HandleQuery:{input.query}", input):
            return await super().handle_query(input)

    def handle_update_validator(self, input: HandleUpdateInput) -> None:
        with self._around(f"ValidateUpdate:{input.update}", input):
            super().handle_update_validator(input)

    async def handle_update_handler(self, input: HandleUpdateInput) -> Any:
        with self._around(f"HandleUpdate:{input.update}", input):
            return await super().handle_update_handler(input)


def _around(tracing: Tracing, name: str, kind: SpanKind) -> AbstractContextManager[None]:
    info = workflow.info()
    return tracing.around(name, kind, {"temporalWorkflowID": info.workflow_id, "temporalRunID": info.run_id})


class _Outbound(perdure.worker.WorkflowOutboundInterceptor):
    def __init__(self, next: WorkflowOutboundInterceptor, tracing: Tracing) -> None:
        super().__init__(next)
        self._tracing = tracing

    @contextmanager
    def _sending(self, name: str, input: Any, kind: SpanKind = SpanKind.CLIENT) -> Iterator[None]:
        with _around(self._tracing, name, kind):
            input.headers = _PROPAGATION.add(input.headers)
            yield

    def continue_as_new(self, input: ContinueAsNewInput) -> NoReturn:
        input.headers = _PROPAGATION.add(input.headers)
        super().continue_as_new(input)

    async def signal_child_workflow(self, input: SignalChildWorkflowInput) -> None:
        with self._sending(f"SignalChildWorkflow:{input.signal}", input, SpanKind.SERVER):
            await super().signal_child_workflow(input)

    async def signal_external_workflow(self, input: SignalExternalWorkflowInput) -> None:
        with self._sending(f"SignalExternalWorkflow:{input.signal}", input):
            await super().signal_external_workflow(input)

    def start_activity(self, input: StartActivityInput) -> ActivityHandle[Any]:
        with self._sending(f"StartActivity:{input.activity}", input):
            return super().start_activity(input)

    def start_local_activity(self, input: StartLocalActivityInput) -> ActivityHandle[Any]:
        with self._sending(f"StartActivity:{input.activity}", input):
            return super().start_local_activity(input)

    async def start_nexus_operation(self, input: StartNexusOperationInput[Any, Any]) -> NexusOperationHandle[Any]:
        with _around(self._tracing, f"StartNexusOperation:{input.service}/{input.operation_name}", SpanKind.CLIENT):
            input.headers = _PROPAGATION.add_text(input.headers)
            return await super().start_nexus_operation(input)

    async def start_child_workflow(self, input: StartChildWorkflowInput) -> ChildWorkflowHandle[Any, Any]:
        with self._sending(f"StartChildWorkflow:{input.workflow}", input):
            return await super().start_child_workflow(input)
