"""The service, put together: every RPC and where it is answered."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import timedelta
from typing import Any

from perdure.api.workflowservice import v1 as ws
from perdure.engine import collector
from perdure.engine.activity_rpcs import ActivityRpcs
from perdure.engine.activity_tasks import ActivityTasks
from perdure.engine.closing import Closing
from perdure.engine.core import Core
from perdure.engine.deployment_rpcs import DeploymentRpcs
from perdure.engine.describing import Describing
from perdure.engine.errors import unavailable
from perdure.engine.histories import Histories
from perdure.engine.idle_queues import IdleQueues
from perdure.engine.imports import Imports, ImportWorkflowExecutionRequest, ImportWorkflowExecutionResponse
from perdure.engine.limits import SERVER_VERSION, long_poll
from perdure.engine.messages import Messages
from perdure.engine.multi_operations import MultiOperations
from perdure.engine.namespace_rpcs import NamespaceRpcs
from perdure.engine.namespaces import Namespaces
from perdure.engine.nexus_rpcs import NexusRpcs
from perdure.engine.poller_scaling import PollerScaling
from perdure.engine.queries import Queries
from perdure.engine.remote import RemoteService
from perdure.engine.resets import Resets
from perdure.engine.schedule_rpcs import ScheduleRpcs
from perdure.engine.starts import Starts
from perdure.engine.transfers import Transfers
from perdure.engine.worker_rpcs import WorkerRpcs
from perdure.engine.workflow_tasks import WorkflowTasks
from perdure.engine.workflow_updates import WorkflowUpdates
from perdure.service._loops import refuse_loop
from perdure.store.api import Store

Metadata = Mapping[str, str | bytes] | None

DEFAULT_CACHE_BYTES = 64 * 1024 * 1024


def _seconds(timeout: timedelta | None) -> float | None:
    return None if timeout is None else timeout.total_seconds()


#: How many forks lie between this process and the one that imported this.
_forks = 0


def _forked() -> None:
    global _forks
    _forks += 1


os.register_at_fork(after_in_child=_forked)


class Engine(ActivityRpcs, DeploymentRpcs, NamespaceRpcs, NexusRpcs, ScheduleRpcs, WorkerRpcs):
    """Temporal's WorkflowService over a store, in this process. Made by :meth:`open`."""

    in_process = True

    def __init__(self, core: Core, namespaces: Namespaces, callback_addresses: Sequence[str] = ()) -> None:
        self._core = core
        self._namespaces = namespaces
        self._forks = _forks
        self._loop = core.loop
        self._thread_id = threading.get_ident()
        self._add_nexus_rpcs(core, namespaces, callback_addresses)
        closing = Closing(core, namespaces)
        self._add_standalone_operations(core, namespaces, closing)
        self._queries = Queries(core, namespaces)
        self._workflow_updates = WorkflowUpdates(core, namespaces)
        self._workflow_tasks = WorkflowTasks(core, namespaces, closing, self._queries, self._workflow_updates)
        self._activity_tasks = ActivityTasks(core, namespaces)
        self._add_activity_rpcs(core, namespaces, closing)
        self._add_deployment_rpcs(core, namespaces)
        self._workflow_tasks.activity_tasks = self._standalone.activity_tasks = self._activity_tasks
        self._workflow_tasks.deployments = self._activity_tasks.deployments = self._deployments
        self._activity_tasks.router = self._queries.router = self._router
        self._activity_tasks.queue_limits = self._queue_limits
        self._starts = Starts(core, namespaces, closing, self._workflow_tasks)
        self._multi_operations = MultiOperations(core, namespaces, self._starts, self._workflow_updates)
        self._messages = Messages(core, namespaces, closing)
        self._add_schedule_rpcs(core, namespaces, self._starts, self._messages)
        self._histories = Histories(core, namespaces)
        self._describing = Describing(core, namespaces)
        self._describing.queue_limits = self._queue_limits
        self._resets = Resets(core, namespaces, closing)
        self._imports = Imports(core, namespaces)
        self._transfers = Transfers(core, namespaces, self._starts, closing)
        self._transfers.nexus_tasks = self._nexus_tasks
        self._transfers.callbacks = self._starts.callbacks = self._standalone.callbacks = self._callbacks
        closing.callbacks = self._workflow_updates.callbacks = self._callbacks
        self._workflow_tasks.nexus_endpoints = self._nexus_endpoints
        self._workflow_tasks.system_endpoint = self._system_endpoint
        self._system_endpoint.signal_with_start = lambda request: self.signal_with_start_workflow_execution(request)
        self._add_namespace_rpcs(core, namespaces, self)
        self._add_worker_rpcs(namespaces, core.now)
        self._idle_queues = IdleQueues(core)
        scaling = PollerScaling(core.matching, self._describing.age)
        parts = self, self._check, self._starts, self._workflow_tasks, self._activity_tasks, self._queries, scaling
        #: This service for workers and clients of other processes: what they hold does not end with this one.
        self.remote = RemoteService(*parts)
        #: The same for processes that share the store's folder.
        self.guests = RemoteService(*parts, is_strict=False)
        #: What is to end before the engine does.
        self.before_close: list[Callable[[], Coroutine[Any, Any, None]]] = []

    @classmethod
    async def open(
        cls,
        store: Store,
        *,
        clock: Callable[[], int] = time.time_ns,
        retention: timedelta | None = None,
        cache_bytes: int = DEFAULT_CACHE_BYTES,
        callback_addresses: Sequence[str] = (),
        nexus_callback_url: str = "",
    ) -> Engine:
        """Take a store over and go on with all that it holds.

        Args:
            clock: nanoseconds since the epoch; tests pass their own.
            retention: how long closed runs of the default namespace are kept from now on (3 days on a new store).
            cache_bytes: about how much memory runs may take; idle ones are dropped and read again when needed.
            callback_addresses: beginnings of the URLs that completion callbacks may call outside this service.
            nexus_callback_url: where Nexus handlers outside tell of an operation's end; see ``perdure.server.NexusCallbacks``.
        """
        core = Core(store, asyncio.get_running_loop(), clock, cache_bytes)
        namespaces = Namespaces(store)
        await namespaces.open(None if retention is None else int(retention.total_seconds() * 1000))
        engine = cls(core, namespaces, callback_addresses)
        engine._external_endpoints.callback_url = nexus_callback_url
        await engine._nexus_endpoints.open()
        await core.open()
        await engine._queue_limits.open()
        await engine._deployments.open()
        await engine._schedules.open()
        await engine._open_namespace_rpcs()
        collector.engine_opened()
        return engine

    @property
    def namespaces(self) -> Namespaces:
        """The namespaces of the store."""
        return self._namespaces

    @property
    def store(self) -> Store:
        """The store below."""
        return self._core.store

    @property
    def core(self) -> Core:
        """The heart of the engine, for who drives its clock."""
        return self._core

    def poke(self) -> None:
        """The clock was moved: do what is due now."""
        self._core.timers.poke()
        self._core.alarms.poke()

    def _check(self) -> None:
        if self._core.is_closed:
            raise unavailable("The engine is closed.")
        if _forks != self._forks:
            raise unavailable("The engine belongs to the process that forked this one: connect again in this process.")
        if asyncio._get_running_loop() is not self._loop:
            refuse_loop(self._thread_id)

    async def detach_activity_task(self, task_token: bytes) -> None:
        """The attempt goes on outside this process and does not die with it."""
        await self._activity_tasks.detach(task_token)

    async def close(self) -> None:
        """Make durable what happened, end every poll with UNAVAILABLE, close the store. Safe to repeat."""
        while self.before_close:
            await self.before_close.pop()()
        if not self._core.is_closed:
            collector.engine_closed()
        await self._core.close()
        await self._archival.close()

    async def get_system_info(
        self, request: ws.GetSystemInfoRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ws.GetSystemInfoResponse:
        """Temporal's GetSystemInfo."""
        return ws.GetSystemInfoResponse(
            server_version=SERVER_VERSION,
            capabilities=ws.GetSystemInfoResponseCapabilities(
                signal_and_query_header=True,
                internal_error_differentiation=True,
                activity_failure_include_heartbeat=True,
                supports_schedules=True,
                encoded_failure_attributes=True,
                upsert_memo=True,
                eager_workflow_start=True,
                sdk_metadata=True,
                count_group_by_execution_status=True,
                nexus=True,
            ),
        )

    def start_workflow_execution(
        self, request: ws.StartWorkflowExecutionRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> Coroutine[Any, Any, ws.StartWorkflowExecutionResponse]:
        """Temporal's StartWorkflowExecution."""
        self._check()
        return self._starts.start(request, True)

    async def signal_with_start_workflow_execution(
        self,
        request: ws.SignalWithStartWorkflowExecutionRequest,
        *,
        metadata: Metadata = None,
        timeout: timedelta | None = None,
    ) -> ws.SignalWithStartWorkflowExecutionResponse:
        """Temporal's SignalWithStartWorkflowExecution."""
        self._check()
        return await self._starts.signal_with_start(request)

    async def signal_workflow_execution(
        self, request: ws.SignalWorkflowExecutionRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ws.SignalWorkflowExecutionResponse:
        """Temporal's SignalWorkflowExecution."""
        self._check()
        return await self._messages.signal(request)

    async def request_cancel_workflow_execution(
        self,
        request: ws.RequestCancelWorkflowExecutionRequest,
        *,
        metadata: Metadata = None,
        timeout: timedelta | None = None,
    ) -> ws.RequestCancelWorkflowExecutionResponse:
        """Temporal's RequestCancelWorkflowExecution."""
        self._check()
        return await self._messages.request_cancel(request)

    async def terminate_workflow_execution(
        self,
        request: ws.TerminateWorkflowExecutionRequest,
        *,
        metadata: Metadata = None,
        timeout: timedelta | None = None,
    ) -> ws.TerminateWorkflowExecutionResponse:
        """Temporal's TerminateWorkflowExecution."""
        self._check()
        return await self._messages.terminate(request)

    async def query_workflow(
        self, request: ws.QueryWorkflowRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ws.QueryWorkflowResponse:
        """Temporal's QueryWorkflow."""
        self._check()
        return await self._queries.query(request, _seconds(timeout))

    async def describe_workflow_execution(
        self,
        request: ws.DescribeWorkflowExecutionRequest,
        *,
        metadata: Metadata = None,
        timeout: timedelta | None = None,
    ) -> ws.DescribeWorkflowExecutionResponse:
        """Temporal's DescribeWorkflowExecution."""
        self._check()
        return await self._describing.describe(request)

    async def list_workflow_executions(
        self, request: ws.ListWorkflowExecutionsRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ws.ListWorkflowExecutionsResponse:
        """Temporal's ListWorkflowExecutions."""
        self._check()
        return await self._describing.list_runs(request)

    async def count_workflow_executions(
        self, request: ws.CountWorkflowExecutionsRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ws.CountWorkflowExecutionsResponse:
        """Temporal's CountWorkflowExecutions."""
        self._check()
        return await self._describing.count(request)

    def get_workflow_execution_history(
        self,
        request: ws.GetWorkflowExecutionHistoryRequest,
        *,
        metadata: Metadata = None,
        timeout: timedelta | None = None,
    ) -> Coroutine[Any, Any, ws.GetWorkflowExecutionHistoryResponse]:
        """Temporal's GetWorkflowExecutionHistory."""
        self._check()
        if self._namespaces.with_archive:
            return self._archival.read(request, _seconds(timeout), metadata)
        return self._histories.read(request, _seconds(timeout), metadata)

    async def get_workflow_execution_history_reverse(
        self,
        request: ws.GetWorkflowExecutionHistoryReverseRequest,
        *,
        metadata: Metadata = None,
        timeout: timedelta | None = None,
    ) -> ws.GetWorkflowExecutionHistoryReverseResponse:
        """Temporal's GetWorkflowExecutionHistoryReverse."""
        self._check()
        return await self._histories.read_reverse(request)

    async def reset_workflow_execution(
        self, request: ws.ResetWorkflowExecutionRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ws.ResetWorkflowExecutionResponse:
        """Temporal's ResetWorkflowExecution."""
        self._check()
        return await self._resets.reset(request)

    async def import_workflow_execution(
        self,
        request: ImportWorkflowExecutionRequest,
        *,
        metadata: Metadata = None,
        timeout: timedelta | None = None,
    ) -> ImportWorkflowExecutionResponse:
        """Take in a run of another home, see :meth:`Imports.take`; no RPC of Temporal's."""
        self._check()
        return await self._imports.take(request)

    async def delete_workflow_execution(
        self, request: ws.DeleteWorkflowExecutionRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ws.DeleteWorkflowExecutionResponse:
        """Temporal's DeleteWorkflowExecution."""
        self._check()
        return await self._resets.delete(request)

    async def update_workflow_execution(
        self, request: ws.UpdateWorkflowExecutionRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ws.UpdateWorkflowExecutionResponse:
        """Temporal's UpdateWorkflowExecution."""
        self._check()
        return await self._workflow_updates.update(request, _seconds(timeout))

    async def poll_workflow_execution_update(
        self,
        request: ws.PollWorkflowExecutionUpdateRequest,
        *,
        metadata: Metadata = None,
        timeout: timedelta | None = None,
    ) -> ws.PollWorkflowExecutionUpdateResponse:
        """Temporal's PollWorkflowExecutionUpdate."""
        self._check()
        return await self._workflow_updates.poll(request, _seconds(timeout))

    async def execute_multi_operation(
        self, request: ws.ExecuteMultiOperationRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ws.ExecuteMultiOperationResponse:
        """Temporal's ExecuteMultiOperation."""
        self._check()
        return await self._multi_operations.execute(request, _seconds(timeout))

    def poll_workflow_task_queue(
        self, request: ws.PollWorkflowTaskQueueRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> Coroutine[Any, Any, ws.PollWorkflowTaskQueueResponse]:
        """Temporal's PollWorkflowTaskQueue."""
        self._check()
        return self._workflow_tasks.poll(request, True, long_poll(timeout))

    def respond_workflow_task_completed(
        self,
        request: ws.RespondWorkflowTaskCompletedRequest,
        *,
        metadata: Metadata = None,
        timeout: timedelta | None = None,
    ) -> Coroutine[Any, Any, ws.RespondWorkflowTaskCompletedResponse]:
        """Temporal's RespondWorkflowTaskCompleted."""
        self._check()
        return self._workflow_tasks.complete(request)

    async def respond_workflow_task_failed(
        self,
        request: ws.RespondWorkflowTaskFailedRequest,
        *,
        metadata: Metadata = None,
        timeout: timedelta | None = None,
    ) -> ws.RespondWorkflowTaskFailedResponse:
        """Temporal's RespondWorkflowTaskFailed."""
        self._check()
        return await self._workflow_tasks.fail(request)

    async def respond_query_task_completed(
        self,
        request: ws.RespondQueryTaskCompletedRequest,
        *,
        metadata: Metadata = None,
        timeout: timedelta | None = None,
    ) -> ws.RespondQueryTaskCompletedResponse:
        """Temporal's RespondQueryTaskCompleted."""
        self._check()
        return await self._queries.complete(request)

    def poll_activity_task_queue(
        self, request: ws.PollActivityTaskQueueRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> Coroutine[Any, Any, ws.PollActivityTaskQueueResponse]:
        """Temporal's PollActivityTaskQueue."""
        self._check()
        return self._activity_tasks.poll(request, True, long_poll(timeout))

    async def record_activity_task_heartbeat(
        self,
        request: ws.RecordActivityTaskHeartbeatRequest,
        *,
        metadata: Metadata = None,
        timeout: timedelta | None = None,
    ) -> ws.RecordActivityTaskHeartbeatResponse:
        """Temporal's RecordActivityTaskHeartbeat."""
        self._check()
        return await self._activity_tasks.heartbeat(request)

    async def record_activity_task_heartbeat_by_id(
        self,
        request: ws.RecordActivityTaskHeartbeatByIdRequest,
        *,
        metadata: Metadata = None,
        timeout: timedelta | None = None,
    ) -> ws.RecordActivityTaskHeartbeatByIdResponse:
        """Temporal's RecordActivityTaskHeartbeatById."""
        self._check()
        return await self._activity_tasks.heartbeat_by_id(request)

    def respond_activity_task_completed(
        self,
        request: ws.RespondActivityTaskCompletedRequest,
        *,
        metadata: Metadata = None,
        timeout: timedelta | None = None,
    ) -> Coroutine[Any, Any, ws.RespondActivityTaskCompletedResponse]:
        """Temporal's RespondActivityTaskCompleted."""
        self._check()
        return self._activity_tasks.complete(request)

    async def respond_activity_task_completed_by_id(
        self,
        request: ws.RespondActivityTaskCompletedByIdRequest,
        *,
        metadata: Metadata = None,
        timeout: timedelta | None = None,
    ) -> ws.RespondActivityTaskCompletedByIdResponse:
        """Temporal's RespondActivityTaskCompletedById."""
        self._check()
        return await self._activity_tasks.complete_by_id(request)

    async def respond_activity_task_failed(
        self,
        request: ws.RespondActivityTaskFailedRequest,
        *,
        metadata: Metadata = None,
        timeout: timedelta | None = None,
    ) -> ws.RespondActivityTaskFailedResponse:
        """Temporal's RespondActivityTaskFailed."""
        self._check()
        return await self._activity_tasks.fail(request)

    async def respond_activity_task_failed_by_id(
        self,
        request: ws.RespondActivityTaskFailedByIdRequest,
        *,
        metadata: Metadata = None,
        timeout: timedelta | None = None,
    ) -> ws.RespondActivityTaskFailedByIdResponse:
        """Temporal's RespondActivityTaskFailedById."""
        self._check()
        return await self._activity_tasks.fail_by_id(request)

    async def respond_activity_task_canceled(
        self,
        request: ws.RespondActivityTaskCanceledRequest,
        *,
        metadata: Metadata = None,
        timeout: timedelta | None = None,
    ) -> ws.RespondActivityTaskCanceledResponse:
        """Temporal's RespondActivityTaskCanceled."""
        self._check()
        return await self._activity_tasks.cancel(request)

    async def respond_activity_task_canceled_by_id(
        self,
        request: ws.RespondActivityTaskCanceledByIdRequest,
        *,
        metadata: Metadata = None,
        timeout: timedelta | None = None,
    ) -> ws.RespondActivityTaskCanceledByIdResponse:
        """Temporal's RespondActivityTaskCanceledById."""
        self._check()
        return await self._activity_tasks.cancel_by_id(request)

    async def reset_sticky_task_queue(
        self, request: ws.ResetStickyTaskQueueRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ws.ResetStickyTaskQueueResponse:
        """Temporal's ResetStickyTaskQueue."""
        self._check()
        return await self._workflow_tasks.reset_sticky(request)

    async def shutdown_worker(
        self, request: ws.ShutdownWorkerRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ws.ShutdownWorkerResponse:
        """Temporal's ShutdownWorker."""
        self._check()
        self._worker_registry.shut_down(request)
        return await self._workflow_tasks.shutdown_worker(request)

    async def describe_task_queue(
        self, request: ws.DescribeTaskQueueRequest, *, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ws.DescribeTaskQueueResponse:
        """Temporal's DescribeTaskQueue."""
        self._check()
        return await self._describing.describe_task_queue(request)
