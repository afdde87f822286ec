"""Decorators of methods that start operations."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, TypeVar, overload

from nexusrpc import InputT, OutputT
from nexusrpc.handler import OperationHandler, StartOperationContext

from perdure.nexus._client import TemporalNexusClient, TemporalOperationResult
from perdure.nexus._context import TemporalStartOperationContext, WorkflowRunOperationContext
from perdure.nexus._definitions import define_operation, is_async_callable, wrapped_types
from perdure.nexus._handlers import TemporalOperationHandler, WorkflowRunOperationHandler
from perdure.nexus._token import WorkflowHandle
from perdure.types import NexusServiceType

StartT = TypeVar("StartT", bound=Callable[..., Any])

TemporalOperationStartHandlerFunc: TypeAlias = Callable[
    [NexusServiceType, TemporalStartOperationContext, TemporalNexusClient, InputT],
    Awaitable[TemporalOperationResult[OutputT]],
]


@overload
def workflow_run_operation(
    start: Callable[[NexusServiceType, WorkflowRunOperationContext, InputT], Awaitable[WorkflowHandle[OutputT]]],
) -> Callable[[NexusServiceType, WorkflowRunOperationContext, InputT], Awaitable[WorkflowHandle[OutputT]]]: ...


@overload
def workflow_run_operation(
    *, name: str | None = None
) -> Callable[
    [Callable[[NexusServiceType, WorkflowRunOperationContext, InputT], Awaitable[WorkflowHandle[OutputT]]]],
    Callable[[NexusServiceType, WorkflowRunOperationContext, InputT], Awaitable[WorkflowHandle[OutputT]]],
]: ...


def workflow_run_operation(start: Any = None, *, name: str | None = None) -> Any:
    """Make a method the start of an operation behind which a workflow stands.

    The method starts it with ``ctx.start_workflow`` and returns the handle. The workflow's end completes the operation,
    and cancelling the operation requests cancellation of the workflow.

    Args:
        name: the operation's name, the method's if not given.
    """

    def decorate(start: StartT) -> StartT:
        input_type, output_type = wrapped_types(start, (WorkflowRunOperationContext,), WorkflowHandle)

        def factory(service: Any) -> OperationHandler[Any, Any]:
            async def begin(ctx: StartOperationContext, input: Any) -> WorkflowHandle[Any]:
                context = WorkflowRunOperationContext._from_start_operation_context(ctx)
                handle: WorkflowHandle[Any] = await start(service, context, input)
                return handle

            begin.__doc__ = start.__doc__
            return WorkflowRunOperationHandler(begin)

        define_operation(start, factory, name, input_type, output_type)
        return start

    return decorate if start is None else decorate(start)


@overload
def temporal_operation(
    start: TemporalOperationStartHandlerFunc[NexusServiceType, InputT, OutputT],
) -> TemporalOperationStartHandlerFunc[NexusServiceType, InputT, OutputT]: ...


@overload
def temporal_operation(
    *, name: str | None = None
) -> Callable[
    [TemporalOperationStartHandlerFunc[NexusServiceType, InputT, OutputT]],
    TemporalOperationStartHandlerFunc[NexusServiceType, InputT, OutputT],
]: ...


def temporal_operation(start: Any = None, *, name: str | None = None) -> Any:
    """Make a method the start of an operation that may be done at once, or go on as a workflow, update or activity.

    The method gets a :class:`TemporalNexusClient` and returns a :class:`TemporalOperationResult`.

    Args:
        name: the operation's name, the method's if not given.
    """

    def decorate(start: StartT) -> StartT:
        if not is_async_callable(start):
            raise RuntimeError(
                f"{start} is not an `async def` method. @temporal_operation must decorate an `async def` start method."
            )
        parameters = (TemporalStartOperationContext, TemporalNexusClient)
        input_type, output_type = wrapped_types(start, parameters, TemporalOperationResult)

        def factory(service: Any) -> OperationHandler[Any, Any]:
            class Handler(TemporalOperationHandler[Any, Any]):
                async def start_operation(
                    self, ctx: TemporalStartOperationContext, client: TemporalNexusClient, input: Any
                ) -> TemporalOperationResult[Any]:
                    result: TemporalOperationResult[Any] = await start(service, ctx, client, input)
                    return result

            Handler.start_operation.__doc__ = start.__doc__
            return Handler()

        define_operation(start, factory, name, input_type, output_type)
        return start

    return decorate if start is None else decorate(start)
