"""What both ways of tracing do outside workflows: around client calls and activities."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import SpanKind, Tracer

import perdure.client
import perdure.worker
from perdure import activity
from perdure.contrib.opentelemetry._propagation import HeaderPropagation, attached, span

if TYPE_CHECKING:
    from opentelemetry.util.types import AttributeValue

    from perdure.client import (
        ActivityHandle,
        QueryWorkflowInput,
        SignalWorkflowInput,
        StartActivityInput,
        StartWorkflowInput,
        StartWorkflowUpdateInput,
        StartWorkflowUpdateWithStartInput,
        WorkflowHandle,
        WorkflowUpdateHandle,
    )
    from perdure.worker import (
        ExecuteActivityInput,
        ExecuteNexusOperationCancelInput,
        ExecuteNexusOperationStartInput,
    )


class Tracing(ABC):
    """What the interceptors below ask for."""

    @abstractmethod
    def propagation(self) -> HeaderPropagation:
        """How traces travel."""

    @abstractmethod
    def span_tracer(self) -> Tracer | None:
        """The tracer for spans of what the SDK does; None for none."""

    @contextmanager
    def around(self, name: str, kind: SpanKind, attributes: dict[str, AttributeValue]) -> Iterator[None]:
        """A span around a block, if there shall be one."""
        tracer = self.span_tracer()
        if tracer is None:
            yield
        else:
            with span(tracer, name, kind, attributes):
                yield


class ClientInterceptor(perdure.client.OutboundInterceptor):
    """Spans around client calls, and the trace in their headers."""

    def __init__(self, next: perdure.client.OutboundInterceptor, tracing: Tracing) -> None:
        super().__init__(next)
        self._tracing = tracing

    @contextmanager
    def _sending(self, name: str, input: Any, attributes: dict[str, AttributeValue]) -> Iterator[None]:
        with self._tracing.around(name, SpanKind.CLIENT, attributes):
            input.headers = self._tracing.propagation().add(input.headers)
            yield

    async def start_workflow(self, input: StartWorkflowInput) -> WorkflowHandle[Any, Any]:
        verb = "StartWorkflow" if input.start_signal is None else "SignalWithStartWorkflow"
        with self._sending(f"{verb}:{input.workflow}", input, {"temporalWorkflowID": input.id}):
            return await super().start_workflow(input)

    async def query_workflow(self, input: QueryWorkflowInput) -> Any:
        with self._sending(f"QueryWorkflow:{input.query}", input, {"temporalWorkflowID": input.id}):
            return await super().query_workflow(input)

    async def signal_workflow(self, input: SignalWorkflowInput) -> None:
        with self._sending(f"SignalWorkflow:{input.signal}", input, {"temporalWorkflowID": input.id}):
            await super().signal_workflow(input)

    async def start_workflow_update(self, input: StartWorkflowUpdateInput) -> WorkflowUpdateHandle[Any]:
        with self._sending(f"StartWorkflowUpdate:{input.update}", input, {"temporalWorkflowID": input.id}):
            return await super().start_workflow_update(input)

    async def start_update_with_start_workflow(
        self, input: StartWorkflowUpdateWithStartInput
    ) -> WorkflowUpdateHandle[Any]:
        start, update = input.start_workflow_input, input.update_workflow_input
        attributes: dict[str, AttributeValue] = {"temporalWorkflowID": start.id}
        if update.update_id is not None:
            attributes["temporalUpdateID"] = update.update_id
        with self._sending(f"StartUpdateWithStartWorkflow:{start.workflow}", start, attributes):
            update.headers = self._tracing.propagation().add(update.headers)
            return await super().start_update_with_start_workflow(input)

    async def start_activity(self, input: StartActivityInput) -> ActivityHandle[Any]:
        attributes: dict[str, AttributeValue] = {
            "temporalActivityID": input.id,
            "temporalActivityType": input.activity_type,
        }
        with self._sending(f"StartActivity:{input.activity_type}", input, attributes):
            return await super().start_activity(input)


class ActivityInterceptor(perdure.worker.ActivityInboundInterceptor):
    """A span around an activity, as part of the trace that its headers tell of."""

    def __init__(self, next: perdure.worker.ActivityInboundInterceptor, tracing: Tracing) -> None:
        super().__init__(next)
        self._tracing = tracing

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        info = activity.info()
        attributes: dict[str, AttributeValue] = {"temporalActivityID": info.activity_id}
        if info.workflow_id:
            attributes["temporalWorkflowID"] = info.workflow_id
        if info.workflow_run_id:
            attributes["temporalRunID"] = info.workflow_run_id
        with (
            attached(self._tracing.propagation().context_of(input.headers)),
            self._tracing.around(f"RunActivity:{info.activity_type}", SpanKind.SERVER, attributes),
        ):
            return await super().execute_activity(input)


class NexusInterceptor(perdure.worker.NexusOperationInboundInterceptor):
    """A span around each call of a Nexus handler, as part of the trace that its headers tell of."""

    def __init__(self, next: perdure.worker.NexusOperationInboundInterceptor, tracing: Tracing) -> None:
        super().__init__(next)
        self._tracing = tracing

    @contextmanager
    def _handling(self, what: str, input: Any) -> Iterator[None]:
        propagation = self._tracing.propagation()
        name = f"Run{what}NexusOperationHandler:{input.ctx.service}/{input.ctx.operation}"
        with (
            attached(propagation.propagator.extract(input.ctx.headers)),
            self._tracing.around(name, SpanKind.SERVER, {}),
        ):
            input.ctx = dataclasses.replace(input.ctx, headers=propagation.add_text(input.ctx.headers) or {})
            yield

    async def execute_nexus_operation_start(self, input: ExecuteNexusOperationStartInput) -> Any:
        with self._handling("Start", input):
            return await super().execute_nexus_operation_start(input)

    async def execute_nexus_operation_cancel(self, input: ExecuteNexusOperationCancelInput) -> None:
        with self._handling("Cancel", input):
            await super().execute_nexus_operation_cancel(input)


class OutsideInterceptor(perdure.client.Interceptor, perdure.worker.Interceptor, Tracing):
    """An interceptor that traces everything but workflows."""

    def intercept_client(self, next: perdure.client.OutboundInterceptor) -> perdure.client.OutboundInterceptor:
        """Trace client calls."""
        return ClientInterceptor(next, self)

    def intercept_activity(
        self, next: perdure.worker.ActivityInboundInterceptor
    ) -> perdure.worker.ActivityInboundInterceptor:
        """Trace activities."""
        return ActivityInterceptor(next, self)

    def intercept_nexus_operation(
        self, next: perdure.worker.NexusOperationInboundInterceptor
    ) -> perdure.worker.NexusOperationInboundInterceptor:
        """Trace handlers of Nexus operations."""
        return NexusInterceptor(next, self)
