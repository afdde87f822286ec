"""Handlers of operations behind which a workflow, an update or an activity stands."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from nexusrpc import HandlerError, HandlerErrorType, InputT, OutputT
from nexusrpc.handler import (
    CancelOperationContext,
    OperationHandler,
    StartOperationContext,
    StartOperationResultAsync,
    StartOperationResultSync,
)

from perdure.nexus._client import OperationClient, TemporalNexusClient, TemporalOperationResult
from perdure.nexus._context import TemporalCancelOperationContext, TemporalStartOperationContext, client
from perdure.nexus._definitions import is_async_callable
from perdure.nexus._token import OperationToken, OperationTokenType, WorkflowHandle


class WorkflowRunOperationHandler(OperationHandler[InputT, OutputT]):
    """Starts a workflow for an operation, and cancels it."""

    def __init__(self, start: Callable[[StartOperationContext, InputT], Awaitable[WorkflowHandle[OutputT]]]) -> None:
        """``start`` starts the workflow with ``WorkflowRunOperationContext.start_workflow`` and returns its handle."""
        if not is_async_callable(start):
            raise RuntimeError(
                f"{start} is not an `async def` method. WorkflowRunOperationHandler must be initialized with an "
                "`async def` start method."
            )
        self._start = start

    async def start(self, ctx: StartOperationContext, input: InputT) -> StartOperationResultAsync:
        """Start the workflow."""
        handle = await self._start(ctx, input)
        if not isinstance(handle, WorkflowHandle):
            raise RuntimeError(
                f"Expected {handle} to be a nexus.WorkflowHandle, but got {type(handle)}. When using "
                "@workflow_run_operation you must use WorkflowRunOperationContext.start_workflow() and return what it "
                "returns; client.Client.start_workflow() starts workflows that complete no operation."
            )
        return StartOperationResultAsync(handle.to_token())

    async def cancel(self, ctx: CancelOperationContext, token: str) -> None:
        """Request cancellation of the workflow."""
        try:
            handle: WorkflowHandle[Any] = WorkflowHandle.from_token(token)
        except TypeError as error:
            raise HandlerError(
                "Failed to decode operation token as a workflow operation token. Canceling non-workflow operations is "
                "not supported.",
                type=HandlerErrorType.NOT_FOUND,
            ) from error
        try:
            workflow = handle._to_client_workflow_handle(client())
        except ValueError as error:
            raise HandlerError(
                "Failed to construct workflow handle from workflow operation token", type=HandlerErrorType.NOT_FOUND
            ) from error
        await workflow.cancel()


@dataclass(frozen=True)
class CancelWorkflowRunOptions:
    """What :meth:`TemporalOperationHandler.cancel_workflow_run` gets."""

    workflow_id: str
    """The workflow to cancel."""


@dataclass(frozen=True)
class CancelUpdateWorkflowOptions:
    """What :meth:`TemporalOperationHandler.cancel_workflow_update` gets."""

    workflow_id: str
    """The workflow that was updated."""
    update_id: str
    """The update to cancel."""
    run_id: str
    """The run that accepted it."""


@dataclass(frozen=True)
class CancelActivityOptions:
    """What :meth:`TemporalOperationHandler.cancel_activity` gets."""

    activity_id: str
    """The activity to cancel."""
    run_id: str
    """Its run."""


class TemporalOperationHandler(OperationHandler[InputT, OutputT], ABC):
    """Handles an operation with the help of a workflow, an update or a standalone activity. Extend it."""

    @abstractmethod
    async def start_operation(
        self, ctx: TemporalStartOperationContext, client: TemporalNexusClient, input: InputT
    ) -> TemporalOperationResult[OutputT]:
        """Start the operation."""

    async def start(
        self, ctx: StartOperationContext, input: InputT
    ) -> StartOperationResultSync[OutputT] | StartOperationResultAsync:
        """Called by the worker."""
        context = TemporalStartOperationContext._from_start_operation_context(ctx)
        result = await self.start_operation(context, OperationClient(), input)
        return result._to_nexus_result()

    async def cancel(self, ctx: CancelOperationContext, token: str) -> None:
        """Called by the worker: cancels what the token names."""
        try:
            found = OperationToken.decode(token)
        except TypeError as error:
            raise HandlerError(
                "Unable to decode operation token to cancel",
                type=HandlerErrorType.INTERNAL,
                retryable_override=False,
            ) from error
        context = TemporalCancelOperationContext._from_cancel_operation_context(ctx)
        match found.type:
            case OperationTokenType.WORKFLOW:
                assert found.workflow_id is not None
                await self.cancel_workflow_run(context, CancelWorkflowRunOptions(found.workflow_id))
            case OperationTokenType.UPDATE_WORKFLOW:
                assert found.workflow_id is not None and found.update_id is not None
                update = CancelUpdateWorkflowOptions(found.workflow_id, found.update_id, found.run_id or "")
                await self.cancel_workflow_update(context, update)
            case OperationTokenType.ACTIVITY:
                assert found.activity_id is not None
                if not found.run_id:
                    raise HandlerError(
                        "Expected operation token of type ACTIVITY to have a valid run id.",
                        type=HandlerErrorType.INTERNAL,
                        retryable_override=False,
                    )
                await self.cancel_activity(context, CancelActivityOptions(found.activity_id, found.run_id))

    async def cancel_workflow_run(self, ctx: TemporalCancelOperationContext, options: CancelWorkflowRunOptions) -> None:
        """Request cancellation of the workflow behind the operation."""
        await client().get_workflow_handle(options.workflow_id).cancel()

    async def cancel_workflow_update(
        self, ctx: TemporalCancelOperationContext, options: CancelUpdateWorkflowOptions
    ) -> None:
        """Refused unless you override it: how an accepted update can be ended, only its handler knows."""
        raise HandlerError(
            "There is no native way to cancel an accepted Update: override cancel_workflow_update and tell the Update "
            "handler in a way it understands.",
            type=HandlerErrorType.NOT_IMPLEMENTED,
        )

    async def cancel_activity(self, ctx: TemporalCancelOperationContext, options: CancelActivityOptions) -> None:
        """Request cancellation of the activity behind the operation."""
        await client().get_activity_handle(options.activity_id, run_id=options.run_id).cancel()
