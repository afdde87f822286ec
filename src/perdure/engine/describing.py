"""Describe, list, count: what is known of runs and task queues."""

from __future__ import annotations

import msgspec

from perdure.api.common import v1 as common_v1
from perdure.api.enums.v1 import BuildIdTaskReachability, DescribeTaskQueueMode, PendingWorkflowTaskState, TaskQueueType
from perdure.api.taskqueue import v1 as taskqueue_v1
from perdure.api.workflow import v1 as workflow_v1
from perdure.api.workflowservice import v1 as ws
from perdure.engine import limits
from perdure.engine.backlog import DEFAULT_PRIORITY, parts_of, sizes_of
from perdure.engine.core import Core
from perdure.engine.limits import NS_PER_MS
from perdure.engine.listing import count_runs, groups_of, list_page, read_query, search_attributes_of
from perdure.engine.lookup import find_run
from perdure.engine.matching import TaskQueue
from perdure.engine.namespaces import Namespaces
from perdure.engine.nexus_describing import add_nexus
from perdure.engine.pausing import pause_info
from perdure.engine.pending import pending_activity
from perdure.engine.queue_limits import QueueLimits
from perdure.engine.reset_points import reset_points
from perdure.engine.routing import priority_of_run, versioning_info
from perdure.engine.run import Run
from perdure.engine.wiring import decode_payload
from perdure.store.api import TaskKind, VisibilityRecord

_decode_fields = msgspec.msgpack.Decoder(dict[str, common_v1.Payload]).decode
#: Seconds after its last poll for which a poller is shown.
_POLLER_MEMORY = 300.0
_QUEUE_KINDS = {
    int(TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY): TaskKind.ACTIVITY,
    int(TaskQueueType.TASK_QUEUE_TYPE_NEXUS): TaskKind.NEXUS,
}
_BOTH_KINDS = (int(TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW), int(TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY))
_ENHANCED = int(DescribeTaskQueueMode.DESCRIBE_TASK_QUEUE_MODE_ENHANCED)
_REACHABLE = int(BuildIdTaskReachability.BUILD_ID_TASK_REACHABILITY_REACHABLE)


class Describing:
    """Answers about runs and queues. Never changes anything."""

    #: Set when the engine is put together.
    queue_limits: QueueLimits

    def __init__(self, core: Core, namespaces: Namespaces) -> None:
        self._core = core
        self._namespaces = namespaces

    # ---- one run

    async def describe(self, request: ws.DescribeWorkflowExecutionRequest) -> ws.DescribeWorkflowExecutionResponse:
        """Temporal's DescribeWorkflowExecution, of durable state."""
        core = self._core
        namespace_id = self._namespaces.get(request.namespace).namespace_id
        run = await find_run(core, namespace_id, request.execution)
        await core.durable(run)
        s = run.state
        started = await core.event(run, 1)
        response = ws.DescribeWorkflowExecutionResponse(
            execution_config=workflow_v1.WorkflowExecutionConfig(
                task_queue=taskqueue_v1.TaskQueue(s.task_queue, 1),
                workflow_execution_timeout=s.execution_timeout_ms * NS_PER_MS,
                workflow_run_timeout=s.run_timeout_ms * NS_PER_MS,
                default_workflow_task_timeout=s.task_timeout_ms * NS_PER_MS,
                user_metadata=started.user_metadata,
            ),
            workflow_execution_info=_info(run),
            pending_activities=[pending_activity(activity) for activity in s.activities.values()],
            pending_children=[
                workflow_v1.PendingChildExecutionInfo(
                    child.workflow_id,
                    child.run_id,
                    child.workflow_type,
                    child.initiated_event_id,
                    child.parent_close_policy,
                )
                for child in s.children.values()
            ],
            workflow_extended_info=workflow_v1.WorkflowExecutionExtendedInfo(
                execution_expiration_time=s.expiration_ms * NS_PER_MS or None,
                run_expiration_time=s.run_deadline_ms * NS_PER_MS or None,
                cancel_requested=s.is_cancel_requested,
                original_start_time=started.event_time,
                last_reset_time=None if started.event_time == s.start_ns else s.start_ns,
                reset_run_id=s.reset_run_id,
                pause_info=pause_info(run),
            ),
        )
        if s.extra is not None:
            add_nexus(run, response)
        if s.task_scheduled_id:
            is_started = bool(s.task_started_id)
            response.pending_workflow_task = workflow_v1.PendingWorkflowTaskInfo(
                state=int(
                    PendingWorkflowTaskState.PENDING_WORKFLOW_TASK_STATE_STARTED
                    if is_started
                    else PendingWorkflowTaskState.PENDING_WORKFLOW_TASK_STATE_SCHEDULED
                ),
                scheduled_time=s.task_scheduled_ns,
                original_scheduled_time=s.task_original_ns,
                started_time=s.task_started_ns or None,
                attempt=s.task_attempt,
            )
        return response

    # ---- many runs

    async def list_runs(self, request: ws.ListWorkflowExecutionsRequest) -> ws.ListWorkflowExecutionsResponse:
        """Temporal's ListWorkflowExecutions; it sees everything acknowledged before the call."""
        namespace = self._namespaces.get(request.namespace)
        query = read_query(request.query, namespace.search_attributes)
        page = await list_page(self._core, namespace.namespace_id, query, request.page_size, request.next_page_token)
        return ws.ListWorkflowExecutionsResponse([_listed(record) for record in page.records], page.next_page_token)

    async def scan(self, request: ws.ScanWorkflowExecutionsRequest) -> ws.ScanWorkflowExecutionsResponse:
        """Temporal's ScanWorkflowExecutions: the same listing under another name."""
        listed = await self.list_runs(
            ws.ListWorkflowExecutionsRequest(
                request.namespace, request.page_size, request.next_page_token, request.query
            )
        )
        return ws.ScanWorkflowExecutionsResponse(listed.executions, listed.next_page_token)

    async def list_open(self, request: ws.ListOpenWorkflowExecutionsRequest) -> ws.ListOpenWorkflowExecutionsResponse:
        """Temporal's ListOpenWorkflowExecutions: filters in fields instead of a query."""
        tests = ["CloseTime IS NULL", *_older_filters(request, "StartTime")]
        listed = await self.list_runs(
            ws.ListWorkflowExecutionsRequest(
                request.namespace, request.maximum_page_size, request.next_page_token, " AND ".join(tests)
            )
        )
        return ws.ListOpenWorkflowExecutionsResponse(listed.executions, listed.next_page_token)

    async def list_closed(
        self, request: ws.ListClosedWorkflowExecutionsRequest
    ) -> ws.ListClosedWorkflowExecutionsResponse:
        """Temporal's ListClosedWorkflowExecutions: filters in fields instead of a query; times are those of closing."""
        tests = ["CloseTime IS NOT NULL", *_older_filters(request, "CloseTime")]
        if request.status_filter is not None:
            tests.append(f"ExecutionStatus = {request.status_filter.status}")
        listed = await self.list_runs(
            ws.ListWorkflowExecutionsRequest(
                request.namespace, request.maximum_page_size, request.next_page_token, " AND ".join(tests)
            )
        )
        return ws.ListClosedWorkflowExecutionsResponse(listed.executions, listed.next_page_token)

    async def count(self, request: ws.CountWorkflowExecutionsRequest) -> ws.CountWorkflowExecutionsResponse:
        """Temporal's CountWorkflowExecutions."""
        namespace = self._namespaces.get(request.namespace)
        query = read_query(request.query, namespace.search_attributes)
        counts = await count_runs(self._core, namespace.namespace_id, query)
        groups = [ws.CountWorkflowExecutionsResponseAggregationGroup(*group) for group in groups_of(counts)]
        return ws.CountWorkflowExecutionsResponse(sum(counts.values()), groups)

    # ---- task queues

    async def describe_task_queue(self, request: ws.DescribeTaskQueueRequest) -> ws.DescribeTaskQueueResponse:
        """Temporal's DescribeTaskQueue: who polls, and how much waits."""
        if request.api_mode == _ENHANCED:
            return await self._describe_by_version(request)
        name = limits.check_task_queue(request.task_queue)
        namespace_id = self._namespaces.get(request.namespace).namespace_id
        kind = _QUEUE_KINDS.get(request.task_queue_type, TaskKind.WORKFLOW)
        response = ws.DescribeTaskQueueResponse()
        backlog = age = 0
        added = dispatched = 0.0
        by_priority: dict[int, int] = {}
        now = self._core.now()
        loop_now = self._core.loop.time()
        rate, source = self.queue_limits.rate(namespace_id, int(kind), name)
        for queue in parts_of(self._core.matching, namespace_id, kind, name):
            backlog += len(queue.tasks)
            if request.report_stats:
                age = max(age, await self.age(queue, kind))
                rates = queue.rates(loop_now)
                added, dispatched = added + rates[0], dispatched + rates[1]
            for priority, count in sizes_of(queue).items():
                by_priority[priority] = by_priority.get(priority, 0) + count
            for identity, seen in queue.identities.items():
                if loop_now - seen < _POLLER_MEMORY:
                    response.pollers.append(
                        taskqueue_v1.PollerInfo(
                            last_access_time=now - int((loop_now - seen) * 1e9), identity=identity, rate_per_second=rate
                        )
                    )
        if request.include_task_queue_status:
            response.task_queue_status = taskqueue_v1.TaskQueueStatus(backlog_count_hint=backlog)
        if request.report_stats:
            is_limited = self.queue_limits.is_shut(namespace_id, int(kind), name)
            response.stats = taskqueue_v1.TaskQueueStats(backlog, age, added, dispatched, is_limited)
            response.stats_by_priority_key = {
                priority: taskqueue_v1.TaskQueueStats(approximate_backlog_count=count)
                for priority, count in sorted(by_priority.items())
            }
            if len(by_priority) <= 1:
                response.stats_by_priority_key = {next(iter(by_priority), DEFAULT_PRIORITY): response.stats}
        if request.report_config:
            response.config = self.queue_limits.config(namespace_id, int(kind), name)
            response.effective_rate_limit = ws.DescribeTaskQueueResponseEffectiveRateLimit(rate, source)
        return response

    async def _describe_by_version(self, request: ws.DescribeTaskQueueRequest) -> ws.DescribeTaskQueueResponse:
        """The older form, by build id: everything here is of no build id."""
        types = {}
        for kind in request.task_queue_types or _BOTH_KINDS:
            part = await self.describe_task_queue(
                msgspec.structs.replace(request, api_mode=0, task_queue_type=kind, include_task_queue_status=False)
            )
            types[kind] = taskqueue_v1.TaskQueueTypeInfo(
                part.pollers if request.report_pollers else [], part.stats if request.report_stats else None
            )
        reachability = _REACHABLE if request.report_task_reachability else 0
        return ws.DescribeTaskQueueResponse(versions_info={"": taskqueue_v1.TaskQueueVersionInfo(types, reachability)})

    async def age(self, queue: TaskQueue, kind: TaskKind) -> int:
        """Nanoseconds since the first of a queue's waiting tasks was scheduled."""
        task = next(iter(queue.tasks), None)
        run = None if task is None or task.query else await self._core.load(task.key)
        if task is None or run is None:
            return 0
        if kind is TaskKind.WORKFLOW:
            since = run.state.task_scheduled_ns
        else:
            activity = run.state.activities.get(task.scheduled_event_id)
            since = 0 if activity is None else activity.scheduled_ns
        return max(self._core.now() - since, 0) if since else 0


def _older_filters(
    request: ws.ListOpenWorkflowExecutionsRequest | ws.ListClosedWorkflowExecutionsRequest, time: str
) -> list[str]:
    """The filter fields of an older list request, as tests of a query."""
    tests = []
    times = request.start_time_filter
    if times is not None:
        if times.earliest_time is not None:
            tests.append(f"{time} >= {times.earliest_time}")
        if times.latest_time is not None:
            tests.append(f"{time} <= {times.latest_time}")
    if request.execution_filter is not None:
        tests.append(f"WorkflowId = {_quote(request.execution_filter.workflow_id)}")
        if request.execution_filter.run_id:
            tests.append(f"RunId = {_quote(request.execution_filter.run_id)}")
    if request.type_filter is not None:
        tests.append(f"WorkflowType = {_quote(request.type_filter.name)}")
    return tests


def _quote(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def _fields(encoded: dict[str, bytes]) -> dict[str, common_v1.Payload]:
    return {name: decode_payload(data) for name, data in encoded.items()}


def _info(run: Run) -> workflow_v1.WorkflowExecutionInfo:
    s = run.state
    info = workflow_v1.WorkflowExecutionInfo(
        execution=common_v1.WorkflowExecution(run.key.workflow_id, run.key.run_id),
        type=common_v1.WorkflowType(s.workflow_type),
        start_time=s.start_ns,
        close_time=s.close_ns or None,
        status=s.status,
        history_length=s.next_event_id - 1,
        execution_time=s.execution_ns,
        memo=common_v1.Memo(_fields(s.memo)),
        search_attributes=common_v1.SearchAttributes(_fields(s.search_attributes)),
        task_queue=s.task_queue,
        state_transition_count=s.transition_count,
        history_size_bytes=s.history_size,
        execution_duration=s.close_ns - s.execution_ns if s.close_ns else None,
        root_execution=common_v1.WorkflowExecution(s.root_workflow_id or s.workflow_id, s.root_run_id or s.run_id),
        first_run_id=s.first_run_id,
    )
    if s.extra is not None:
        info.auto_reset_points = reset_points(s)
        info.priority = priority_of_run(run)
        info.versioning_info = versioning_info(run)
        if "version" in s.extra:
            info.worker_deployment_name = s.extra["version"][1]
    if s.parent_workflow_id:
        info.parent_namespace_id = s.parent_namespace_id
        info.parent_execution = common_v1.WorkflowExecution(s.parent_workflow_id, s.parent_run_id)
    return info


def _listed(record: VisibilityRecord) -> workflow_v1.WorkflowExecutionInfo:
    info = workflow_v1.WorkflowExecutionInfo(
        execution=common_v1.WorkflowExecution(record.key.workflow_id, record.key.run_id),
        type=common_v1.WorkflowType(record.workflow_type),
        start_time=record.start_time,
        close_time=record.close_time or None,
        status=record.status,
        history_length=record.history_length,
        execution_time=record.execution_time,
        memo=common_v1.Memo(_decode_fields(record.memo) if record.memo else {}),
        search_attributes=search_attributes_of(record),
        task_queue=record.task_queue,
        state_transition_count=record.state_transition_count,
        history_size_bytes=record.history_size_bytes,
        execution_duration=record.close_time - record.execution_time if record.close_time else None,
        root_execution=common_v1.WorkflowExecution(record.root_workflow_id, record.root_run_id),
    )
    if record.parent_workflow_id:
        info.parent_execution = common_v1.WorkflowExecution(record.parent_workflow_id, record.parent_run_id)
    return info
