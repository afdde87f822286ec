"""The client that starts what stands behind a ``temporal_operation``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Concatenate, Generic, Literal, Self, TypeVar, Unpack, cast, overload

from nexusrpc import HandlerError, HandlerErrorType, OperationError, OperationErrorState
from nexusrpc.handler import StartOperationResultAsync, StartOperationResultSync

from perdure.client import WorkflowUpdateFailedError, WorkflowUpdateStage
from perdure.common import (
    _arg_unset,
)
from perdure.nexus._context import backing, start_backing_workflow, starting_operation
from perdure.nexus._options import StartActivityOptions, StartWorkflowOptions
from perdure.nexus._token import OperationToken, OperationTokenType
from perdure.types import (
    CallableAsyncNoParam,
    CallableAsyncSingleParam,
    CallableSyncNoParam,
    CallableSyncSingleParam,
    MethodAsyncNoParam,
    MethodAsyncSingleParam,
    MultiParamSpec,
    ParamType,
    ReturnType,
    SelfType,
)

if TYPE_CHECKING:
    from perdure import client as client_module

_ResultT = TypeVar("_ResultT")


@dataclass(frozen=True)
class TemporalOperationResult(Generic[_ResultT]):
    """What starting an operation came to: its result at once, or the token of what goes on."""

    value: _ResultT | object = _arg_unset
    token: str | None = None

    def __post_init__(self) -> None:
        """Refuse both, and neither."""
        if (self.value is not _arg_unset) == (self.token is not None):
            raise ValueError("TemporalOperationResult must have exactly one of value or token set.")
        if self.token is not None and (not isinstance(self.token, str) or not self.token):
            raise ValueError("TemporalOperationResult token must be a non-empty string.")

    @classmethod
    def sync(cls, value: _ResultT) -> Self:
        """The operation is done."""
        return cls(value=value)

    @classmethod
    def async_token(cls, token: str) -> Self:
        """The operation goes on; its end comes with a completion callback."""
        return cls(token=token)

    def _to_nexus_result(self) -> StartOperationResultSync[_ResultT] | StartOperationResultAsync:
        if self.token is not None:
            return StartOperationResultAsync(self.token)
        return StartOperationResultSync(cast("_ResultT", self.value))


class TemporalNexusClient(ABC):
    """Starts one workflow, update or standalone activity whose end completes the operation.

    For anything else use :attr:`client`.
    """

    @property
    @abstractmethod
    def client(self) -> client_module.Client:
        """The worker's client."""

    @overload
    async def start_workflow(
        self, workflow: MethodAsyncNoParam[SelfType, ReturnType], **options: Unpack[StartWorkflowOptions]
    ) -> TemporalOperationResult[ReturnType]: ...

    @overload
    async def start_workflow(
        self,
        workflow: MethodAsyncSingleParam[SelfType, ParamType, ReturnType],
        arg: ParamType,
        **options: Unpack[StartWorkflowOptions],
    ) -> TemporalOperationResult[ReturnType]: ...

    @overload
    async def start_workflow(
        self,
        workflow: Callable[Concatenate[SelfType, MultiParamSpec], Awaitable[ReturnType]],
        *,
        args: Sequence[Any],
        **options: Unpack[StartWorkflowOptions],
    ) -> TemporalOperationResult[ReturnType]: ...

    @overload
    async def start_workflow(
        self,
        workflow: str,
        arg: Any = _arg_unset,
        *,
        args: Sequence[Any] = [],
        result_type: type[ReturnType] | None = None,
        **options: Unpack[StartWorkflowOptions],
    ) -> TemporalOperationResult[ReturnType]: ...

    @abstractmethod
    async def start_workflow(
        self,
        workflow: str | Callable[..., Awaitable[Any]],
        arg: Any = _arg_unset,
        *,
        args: Sequence[Any] = [],
        result_type: type | None = None,
        **options: Unpack[StartWorkflowOptions],
    ) -> TemporalOperationResult[Any]:
        """Start the workflow that stands behind the operation; arguments are those of ``Client.start_workflow``."""

    @overload
    async def start_workflow_update(
        self,
        workflow_id: str,
        update: str | Callable[..., Any],
        arg: Any = _arg_unset,
        *,
        args: Sequence[Any] = [],
        wait_for_stage: Literal[WorkflowUpdateStage.ACCEPTED] = WorkflowUpdateStage.ACCEPTED,
        update_id: str | None = None,
        result_type: type[ReturnType],
        rpc_metadata: Mapping[str, str | bytes] = {},
        rpc_timeout: timedelta | None = None,
        run_id: str | None = None,
        first_execution_run_id: str | None = None,
    ) -> TemporalOperationResult[ReturnType]: ...

    @overload
    async def start_workflow_update(
        self,
        workflow_id: str,
        update: str | Callable[..., Any],
        arg: Any = _arg_unset,
        *,
        args: Sequence[Any] = [],
        wait_for_stage: Literal[WorkflowUpdateStage.ACCEPTED] = WorkflowUpdateStage.ACCEPTED,
        update_id: str | None = None,
        result_type: None = None,
        rpc_metadata: Mapping[str, str | bytes] = {},
        rpc_timeout: timedelta | None = None,
        run_id: str | None = None,
        first_execution_run_id: str | None = None,
    ) -> TemporalOperationResult[Any]: ...

    @abstractmethod
    async def start_workflow_update(
        self,
        workflow_id: str,
        update: Any,
        arg: Any = _arg_unset,
        *,
        args: Sequence[Any] = [],
        wait_for_stage: Literal[WorkflowUpdateStage.ACCEPTED] = WorkflowUpdateStage.ACCEPTED,
        update_id: str | None = None,
        result_type: type | None = None,
        rpc_metadata: Mapping[str, str | bytes] = {},
        rpc_timeout: timedelta | None = None,
        run_id: str | None = None,
        first_execution_run_id: str | None = None,
    ) -> TemporalOperationResult[Any]:
        """Start the update that stands behind the operation; without ``update_id`` its id is the operation's request id."""

    @overload
    async def start_activity(
        self,
        activity: CallableAsyncNoParam[ReturnType] | CallableSyncNoParam[ReturnType],
        **options: Unpack[StartActivityOptions],
    ) -> TemporalOperationResult[ReturnType]: ...

    @overload
    async def start_activity(
        self,
        activity: CallableAsyncSingleParam[ParamType, ReturnType] | CallableSyncSingleParam[ParamType, ReturnType],
        arg: ParamType,
        **options: Unpack[StartActivityOptions],
    ) -> TemporalOperationResult[ReturnType]: ...

    @overload
    async def start_activity(
        self,
        activity: Callable[..., Awaitable[ReturnType]] | Callable[..., ReturnType],
        *,
        args: Sequence[Any],
        **options: Unpack[StartActivityOptions],
    ) -> TemporalOperationResult[ReturnType]: ...

    @overload
    async def start_activity(
        self,
        activity: str,
        arg: Any = _arg_unset,
        *,
        args: Sequence[Any] = [],
        result_type: type[ReturnType] | None = None,
        **options: Unpack[StartActivityOptions],
    ) -> TemporalOperationResult[ReturnType]: ...

    @abstractmethod
    async def start_activity(
        self,
        activity: Any,
        arg: Any = _arg_unset,
        *,
        args: Sequence[Any] = [],
        result_type: type | None = None,
        **options: Unpack[StartActivityOptions],
    ) -> TemporalOperationResult[Any]:
        """Start the activity that stands behind the operation; arguments are those of ``Client.start_activity``."""


class OperationClient(TemporalNexusClient):
    """The client of one request to start."""

    def __init__(self) -> None:
        """For the request that is handled here."""
        self._starting = starting_operation()
        self._has_started = False

    @property
    def client(self) -> client_module.Client:
        """The worker's client."""
        return self._starting.client

    @contextmanager
    def _only_once(self) -> Iterator[None]:
        if self._has_started:
            raise HandlerError(
                "Only one async operation can be started per operation handler invocation. Use "
                "TemporalNexusClient.client for additional workflow interactions",
                type=HandlerErrorType.BAD_REQUEST,
            )
        self._has_started = True
        try:
            yield
        except BaseException:
            self._has_started = False
            raise

    async def start_workflow(self, workflow: Any, arg: Any = _arg_unset, **options: Any) -> Any:
        """See :meth:`TemporalNexusClient.start_workflow`."""
        with self._only_once():
            handle = await start_backing_workflow(self._starting, {"workflow": workflow, "arg": arg, **options})
        return TemporalOperationResult.async_token(handle.to_token())

    async def start_workflow_update(
        self,
        workflow_id: str,
        update: Any,
        arg: Any = _arg_unset,
        *,
        wait_for_stage: WorkflowUpdateStage = WorkflowUpdateStage.ACCEPTED,
        update_id: str | None = None,
        run_id: str | None = None,
        first_execution_run_id: str | None = None,
        **options: Any,
    ) -> Any:
        """See :meth:`TemporalNexusClient.start_workflow_update`."""
        context = self._starting.context
        if not context.callback_url:
            raise HandlerError(
                "callback URL is required for a workflow update Nexus operation", type=HandlerErrorType.BAD_REQUEST
            )
        if wait_for_stage != WorkflowUpdateStage.ACCEPTED:
            raise ValueError("Only ACCEPTED wait stage is supported")
        target = self.client.get_workflow_handle(
            workflow_id, run_id=run_id, first_execution_run_id=first_execution_run_id
        )
        with self._only_once():
            with backing():
                handle = await target.start_update(
                    update, arg, wait_for_stage=wait_for_stage, id=update_id or context.request_id, **options
                )
            if handle._known_outcome is not None:
                try:
                    return TemporalOperationResult.sync(await handle.result())
                except WorkflowUpdateFailedError as error:
                    raise OperationError(str(error), state=OperationErrorState.FAILED) from error
        token = OperationToken(
            type=OperationTokenType.UPDATE_WORKFLOW,
            namespace=self.client.namespace,
            workflow_id=handle.workflow_id,
            update_id=handle.id,
            run_id=handle.workflow_run_id,
        )
        return TemporalOperationResult.async_token(token.encode())

    async def start_activity(self, activity: Any, arg: Any = _arg_unset, **options: Any) -> Any:
        """See :meth:`TemporalNexusClient.start_activity`."""
        options["task_queue"] = options.get("task_queue") or self._starting.info.task_queue
        with self._only_once(), backing():
            handle = await self.client.start_activity(activity, arg, **options)
        token = OperationToken(
            type=OperationTokenType.ACTIVITY,
            namespace=self.client.namespace,
            activity_id=handle.id,
            run_id=handle.run_id,
        )
        return TemporalOperationResult.async_token(token.encode())
