"""The running operation: what its handler can ask, and what its client's requests carry."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Awaitable, Callable, Generator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Concatenate, Self, Unpack, overload

import nexusrpc
from nexusrpc.handler import CancelOperationContext, OperationContext, StartOperationContext

from perdure.api.common.v1 import (
    Callback,
    CallbackNexus,
    Link,
    LinkActivity,
    LinkWorkflowEvent,
    LinkWorkflowEventRequestIdReference,
    OnConflictOptions,
)
from perdure.api.enums.v1 import EventType
from perdure.api.nexus import links as nexus_links
from perdure.api.nexus import v1 as nexus_v1
from perdure.api.workflow import v1 as workflow_v1
from perdure.api.workflowservice import v1 as ws
from perdure.common import (
    MetricMeter,
    _arg_unset,
)
from perdure.nexus._options import StartWorkflowOptions
from perdure.nexus._token import OperationToken, OperationTokenType, WorkflowHandle
from perdure.types import MethodAsyncNoParam, MethodAsyncSingleParam, MultiParamSpec, ParamType, ReturnType, SelfType

if TYPE_CHECKING:
    from perdure import client as client_module
    from perdure.activity._context import OnceEvent

_STARTED = int(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED)

#: The request that a worker handles here.
_current: ContextVar[StartingOperation | CancelingOperation | None] = ContextVar("perdure_nexus_request", default=None)
#: Whether the client's call that runs here starts what stands behind the operation.
_is_backing: ContextVar[bool] = ContextVar("perdure_nexus_backing", default=False)


@dataclass(frozen=True)
class Info:
    """About the running operation; see :func:`info`."""

    endpoint: str
    """The endpoint through which it was called."""
    namespace: str
    """The namespace of the worker that handles it."""
    task_queue: str
    """The task queue of that worker."""


@dataclass(frozen=True)
class NexusCallback:
    """Who is told when a workflow has ended."""

    url: str
    """Where to call."""
    headers: Mapping[str, str]
    """What to send along."""


def in_operation() -> bool:
    """Whether this code handles a Nexus operation."""
    return _current.get() is not None


def info() -> Info:
    """About the running operation."""
    return _running().info


def client() -> client_module.Client:
    """The client of the worker that handles the running operation."""
    return _running().client


def metric_meter() -> MetricMeter:
    """A meter with the running operation's attributes."""
    return _running().metric_meter


def is_worker_shutdown() -> bool:
    """Whether the worker was told to shut down."""
    return _running().worker_shutdown.is_set()


async def wait_for_worker_shutdown() -> None:
    """Wait until the worker is told to shut down."""
    await _running().worker_shutdown.wait()


def wait_for_worker_shutdown_sync(timeout: timedelta | float | None = None) -> None:
    """Block this thread until the worker is told to shut down, or for ``timeout`` (a number: seconds)."""
    seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    _running().worker_shutdown.wait_sync(seconds)


def _running() -> StartingOperation | CancelingOperation:
    running = _current.get()
    if running is None:
        raise RuntimeError("Not in Nexus operation context.")
    return running


def starting_operation() -> StartingOperation:
    """The operation that is being started here; raises RuntimeError when none is."""
    running = _current.get()
    if not isinstance(running, StartingOperation):
        raise RuntimeError("Not in Nexus operation context.")
    return running


@contextmanager
def backing() -> Generator[None]:
    """In this block the client's calls start what stands behind the operation."""
    token = _is_backing.set(True)
    try:
        yield
    finally:
        _is_backing.reset(token)


class _Running:
    """A request that a worker handles."""

    def __init__(
        self,
        context: OperationContext,
        client: client_module.Client,
        info: Info,
        meter: MetricMeter,
        worker_shutdown: OnceEvent,
    ) -> None:
        self.context = context
        self.client = client
        self.info = info
        self.worker_shutdown = worker_shutdown
        self._worker_meter = meter
        self._meter: MetricMeter | None = None

    @property
    def metric_meter(self) -> MetricMeter:
        """A meter with the operation's attributes."""
        if self._meter is None:
            self._meter = self._worker_meter.with_additional_attributes(
                {
                    "nexus_service": self.context.service,
                    "nexus_operation": self.context.operation,
                    "task_queue": self.info.task_queue,
                }
            )
        return self._meter


class CancelingOperation(_Running):
    """A request to cancel."""


class StartingOperation(_Running):
    """A request to start, and what the client's requests carry of it (``perdure.client._nexus_context``)."""

    context: StartOperationContext

    def _links(self) -> list[Link]:
        """The caller's links, for the histories of what the handler starts."""
        return nexus_links.all_from_nexus(nexus_v1.Link(link.url, link.type) for link in self.context.inbound_links)

    def _callbacks(self, token: OperationToken, links: list[Link]) -> list[Callback]:
        context = self.context
        if not context.callback_url:
            return []
        header = {**context.callback_headers, "nexus-operation-token": token.encode()}
        return [Callback(nexus=CallbackNexus(context.callback_url, header), links=links)]

    def prepare_start(self, request: ws.StartWorkflowExecutionRequest) -> None:
        """A workflow is about to be started, or signaled and started if need be."""
        links = self._links()
        request.links = [*request.links, *links]
        callbacks: list[Callback] = []
        if _is_backing.get():
            request.request_id = self.context.request_id
            token = OperationToken(
                type=OperationTokenType.WORKFLOW, namespace=self.client.namespace, workflow_id=request.workflow_id
            )
            callbacks = self._callbacks(token, links)
            request.completion_callbacks = [*request.completion_callbacks, *callbacks]
        if links or callbacks:
            request.on_conflict_options = workflow_v1.OnConflictOptions(True, True, True)

    def prepare_signal(self, request: ws.SignalWorkflowExecutionRequest) -> None:
        """A workflow is about to be signaled."""
        request.links = [*request.links, *self._links()]

    def prepare_update(self, request: ws.UpdateWorkflowExecutionRequest) -> None:
        """A workflow is about to be updated."""
        inner, execution = request.request, request.workflow_execution
        if not _is_backing.get() or inner is None or inner.meta is None or execution is None:
            return
        links = self._links()
        inner.request_id = self.context.request_id
        inner.links = [*inner.links, *links]
        token = OperationToken(
            type=OperationTokenType.UPDATE_WORKFLOW,
            namespace=self.client.namespace,
            workflow_id=execution.workflow_id,
            update_id=inner.meta.update_id,
            run_id=execution.run_id or None,
        )
        inner.completion_callbacks = [*inner.completion_callbacks, *self._callbacks(token, links)]

    def prepare_activity(self, request: ws.StartActivityExecutionRequest) -> None:
        """A standalone activity is about to be started."""
        request.request_id = self.context.request_id
        links = self._links()
        callbacks: list[Callback] = []
        if _is_backing.get():
            token = OperationToken(
                type=OperationTokenType.ACTIVITY, namespace=self.client.namespace, activity_id=request.activity_id
            )
            callbacks = self._callbacks(token, links)
            request.completion_callbacks = [*request.completion_callbacks, *callbacks]
        else:
            request.links = [*request.links, *links]
        if links or callbacks:
            request.on_conflict_options = OnConflictOptions(True, True, True)

    def started(self, handle: client_module.WorkflowHandle[Any, Any]) -> None:
        """A workflow was started: the operation's answer links to it."""
        response = handle._start_workflow_response
        if isinstance(response, ws.StartWorkflowExecutionResponse):
            reference = LinkWorkflowEventRequestIdReference(self.context.request_id, _STARTED)
            event = LinkWorkflowEvent(
                self.client.namespace, handle.id, handle.first_execution_run_id or "", request_id_ref=reference
            )
            self.linked(response.link or Link(workflow_event=event))
        elif isinstance(response, ws.SignalWithStartWorkflowExecutionResponse):
            self.linked(response.signal_link)

    def activity_started(self, activity_id: str, response: ws.StartActivityExecutionResponse) -> None:
        """A standalone activity was started: the operation's answer links to it."""
        activity = LinkActivity(self.client.namespace, activity_id, response.run_id)
        self.linked(response.link or Link(activity=activity))

    def linked(self, link: Link | None) -> None:
        """A response came with a link: the operation's answer carries it."""
        found = None if link is None else nexus_links.to_nexus(link)
        if found is not None:
            self.context.outbound_links.append(nexusrpc.Link(url=found.url, type=found.type))


class TemporalStartOperationContext(StartOperationContext):
    """What a ``temporal_operation`` gets when it is started."""

    @classmethod
    def _from_start_operation_context(cls, context: StartOperationContext) -> Self:
        return cls(**{field.name: getattr(context, field.name) for field in dataclasses.fields(context)})


class TemporalCancelOperationContext(CancelOperationContext):
    """What a ``TemporalOperationHandler`` gets when it is cancelled."""

    @classmethod
    def _from_cancel_operation_context(cls, context: CancelOperationContext) -> Self:
        return cls(**{field.name: getattr(context, field.name) for field in dataclasses.fields(context)})


class WorkflowRunOperationContext(StartOperationContext):
    """What a ``workflow_run_operation`` gets when it is started."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Made by the worker, around the request."""
        super().__init__(*args, **kwargs)
        self._starting = starting_operation()

    @classmethod
    def _from_start_operation_context(cls, context: StartOperationContext) -> Self:
        return cls(**{field.name: getattr(context, field.name) for field in dataclasses.fields(context)})

    @property
    def metric_meter(self) -> MetricMeter:
        """A meter with the operation's attributes."""
        return self._starting.metric_meter

    @overload
    async def start_workflow(
        self, workflow: MethodAsyncNoParam[SelfType, ReturnType], **options: Unpack[StartWorkflowOptions]
    ) -> WorkflowHandle[ReturnType]: ...

    @overload
    async def start_workflow(
        self,
        workflow: MethodAsyncSingleParam[SelfType, ParamType, ReturnType],
        arg: ParamType,
        **options: Unpack[StartWorkflowOptions],
    ) -> WorkflowHandle[ReturnType]: ...

    @overload
    async def start_workflow(
        self,
        workflow: Callable[Concatenate[SelfType, MultiParamSpec], Awaitable[ReturnType]],
        *,
        args: Sequence[Any],
        **options: Unpack[StartWorkflowOptions],
    ) -> WorkflowHandle[ReturnType]: ...

    @overload
    async def start_workflow(
        self,
        workflow: str,
        arg: Any = _arg_unset,
        *,
        args: Sequence[Any] = [],
        result_type: type[ReturnType] | None = None,
        **options: Unpack[StartWorkflowOptions],
    ) -> WorkflowHandle[ReturnType]: ...

    async def start_workflow(
        self,
        workflow: str | Callable[..., Awaitable[Any]],
        arg: Any = _arg_unset,
        *,
        args: Sequence[Any] = [],
        result_type: type | None = None,
        **options: Unpack[StartWorkflowOptions],
    ) -> WorkflowHandle[Any]:
        """Start the workflow that stands behind the operation: its result becomes the operation's.

        Safe to repeat: the operation's request id is the start's, so a handler that is called again after a crash
        finds the workflow that it started. Arguments are those of ``Client.start_workflow``; without ``task_queue``
        the workflow goes to the worker's own.
        """
        arguments = {"workflow": workflow, "arg": arg, "args": args, "result_type": result_type, **options}
        return await start_backing_workflow(self._starting, arguments)


async def start_backing_workflow(starting: StartingOperation, arguments: dict[str, Any]) -> WorkflowHandle[Any]:
    """Start a workflow whose end completes the operation; ``arguments`` are those of ``Client.start_workflow``."""
    arguments["task_queue"] = arguments.get("task_queue") or starting.info.task_queue
    with backing():
        handle = await starting.client.start_workflow(**arguments)
    return WorkflowHandle._unsafe_from_client_workflow_handle(handle)


class LoggerAdapter(logging.LoggerAdapter[logging.Logger]):
    """Adds the running operation's service, name and task queue to each record."""

    def __init__(self, logger: logging.Logger, extra: Mapping[str, Any] | None) -> None:
        """Wrap a logger; ``extra`` goes into every record."""
        super().__init__(logger, extra or {})

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Add the details of the operation that runs here, if one does."""
        extra = dict(self.extra or {})
        running = _current.get()
        if running is not None:
            extra["service"] = running.context.service
            extra["operation"] = running.context.operation
            extra["task_queue"] = running.info.task_queue
        kwargs["extra"] = extra | dict(kwargs.get("extra") or {})
        return msg, kwargs


#: Logs with the running operation's details.
logger = LoggerAdapter(logging.getLogger("perdure.nexus"), None)
