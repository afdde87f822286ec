"""Starting workflows: policies, deduplication, signal-with-start.

Compiled as it is by the native build; ``starts.pxd`` declares the attributes.
"""

from __future__ import annotations

import uuid

from perdure import _cron as cron
from perdure._native import transitions
from perdure._native.commands import resolve_retry_policy, size_of
from perdure._native.mutable_state import MutableState
from perdure.api.common import v1 as common_v1
from perdure.api.deployment import v1 as deployment_v1
from perdure.api.enums.v1 import (
    ContinueAsNewInitiator,
    EventType,
    WorkflowExecutionStatus,
    WorkflowIdConflictPolicy,
    WorkflowIdReusePolicy,
)
from perdure.api.history import v1 as history_v1
from perdure.api.taskqueue import v1 as taskqueue_v1
from perdure.api.workflowservice import v1 as ws
from perdure.engine import limits
from perdure.engine.backlog import check_priority
from perdure.engine.callbacks import Callbacks
from perdure.engine.closing import Closing
from perdure.engine.core import Core
from perdure.engine.errors import BUSY_WORKFLOW, already_started, invalid_argument, resource_exhausted
from perdure.engine.limits import DEFAULT_TASK_TIMEOUT, MAX_TASK_TIMEOUT, NS_PER_MS
from perdure.engine.namespaces import Namespaces
from perdure.engine.nexus_state import callbacks
from perdure.engine.run import Run
from perdure.engine.workflow_tasks import WorkflowTasks
from perdure.store.api import RunKey

StartRequest = ws.StartWorkflowExecutionRequest | ws.SignalWithStartWorkflowExecutionRequest

_Reuse = WorkflowIdReusePolicy
_Conflict = WorkflowIdConflictPolicy
_ALLOW_DUPLICATE = int(_Reuse.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE)
_FAILED_ONLY = int(_Reuse.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE_FAILED_ONLY)
_REJECT_DUPLICATE = int(_Reuse.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE)
_TERMINATE_IF_RUNNING = int(_Reuse.WORKFLOW_ID_REUSE_POLICY_TERMINATE_IF_RUNNING)
FAIL = int(_Conflict.WORKFLOW_ID_CONFLICT_POLICY_FAIL)
USE_EXISTING = int(_Conflict.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING)
_TERMINATE_EXISTING = int(_Conflict.WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING)
_CLOSED_CLEANLY = (
    int(WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_COMPLETED),
    int(WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW),
)
_STARTED = int(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED)
_SIGNALED = int(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED)
_OPTIONS_UPDATED = int(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_OPTIONS_UPDATED)
_SHORT = limits.MAX_ID_LENGTH // 4
_MAX_BLOB_SIZE = limits.MAX_BLOB_SIZE
RUNNING = int(WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_RUNNING)


class Parent:
    """Who starts a child, and its root."""

    __slots__ = ("initiated_event_id", "key", "namespace", "pinned", "root")

    def __init__(self, key: RunKey, namespace: str, initiated_event_id: int, root: common_v1.WorkflowExecution) -> None:
        self.key = key
        self.namespace = namespace
        self.initiated_event_id = initiated_event_id
        self.root = root
        #: The worker deployment version that the child is pinned to because its parent is.
        self.pinned: deployment_v1.WorkerDeploymentVersion | None = None


class Starts:
    """Starts workflows."""

    #: Set when the engine is put together.
    callbacks: Callbacks

    def __init__(self, core: Core, namespaces: Namespaces, closing: Closing, tasks: WorkflowTasks) -> None:
        self._core = core
        self._namespaces = namespaces
        self._closing = closing
        self._tasks = tasks

    async def start(
        self, request: ws.StartWorkflowExecutionRequest, is_local: bool
    ) -> ws.StartWorkflowExecutionResponse:
        """Temporal's StartWorkflowExecution. The run is durable before the answer.

        Atomic: WorkflowExecutionStarted, the first workflow task, and the end of the run it replaces, or none.
        """
        core = self._core
        check_start(request)
        reuse, conflict = policies(request, FAIL)
        if request.completion_callbacks:
            self.callbacks.check(request.completion_callbacks)
            request.links = _without_links_of_callbacks(request)
        namespace = self._namespaces.get_registered(request.namespace)
        namespace_id = namespace.namespace_id
        if request.search_attributes is not None:
            await self._namespaces.learn(namespace, request.search_attributes)
        current = await core.current(namespace_id, request.workflow_id)
        if current is not None:
            s = current.state
            if request.request_id and s.create_request_id == request.request_id:
                await core.durable(current)
                return ws.StartWorkflowExecutionResponse(
                    run_id=current.key.run_id,
                    started=True,
                    status=s.status,
                    link=event_link(request, current),
                    first_execution_run_id=s.first_run_id,
                )
            if not may_start(current, reuse, conflict):
                link = self._attach(current, request)
                await core.durable(current)
                return ws.StartWorkflowExecutionResponse(
                    run_id=current.key.run_id,
                    started=False,
                    status=s.status,
                    link=link,
                    first_execution_run_id=s.first_run_id,
                )
        run = self.replace(namespace_id, current, request)
        run_id = run.key.run_id
        response = ws.StartWorkflowExecutionResponse(run_id, None, True, None, RUNNING, run_id)
        if request.links or request.completion_callbacks:
            response.link = event_link(request, run)
        if request.request_eager_execution and run.state.task_scheduled_id:
            response.eager_workflow_task = await self._tasks.start(
                run, request.identity, is_sticky=True, is_local=is_local
            )
            core.touch(run)
        waiter = core.waiter(run)
        if waiter is not None:
            await waiter
        return response

    def _attach(self, current: Run, request: ws.StartWorkflowExecutionRequest) -> common_v1.Link | None:
        """Attach what the request says is to be attached to the run that is there; where the request shows in history.

        Atomic: WorkflowExecutionOptionsUpdated, once per request id.
        """
        options = request.on_conflict_options
        if options is None or not options.attach_request_id:
            if options is not None and options.attach_completion_callbacks:
                raise invalid_argument("attaching request ID is required for attaching completion callbacks")
            return None
        s = current.state
        attached = {} if s.extra is None else s.extra.get("request_ids", {})
        if request.request_id not in attached:
            given = request.completion_callbacks if options.attach_completion_callbacks else []
            self.callbacks.check(given, len(callbacks(s)))
            attributes = history_v1.WorkflowExecutionOptionsUpdatedEventAttributes(
                attached_request_id=request.request_id,
                attached_completion_callbacks=given,
                identity=request.identity,
            )
            links = request.links if options.attach_links else []
            transitions.note(
                s,
                self._core.now(),
                _OPTIONS_UPDATED,
                attributes,
                history_v1.EventExtras(links=links) if links else None,
            )
            self._core.touch(current)
        reference = common_v1.LinkWorkflowEventRequestIdReference(request.request_id, _OPTIONS_UPDATED)
        return common_v1.Link(
            workflow_event=common_v1.LinkWorkflowEvent(
                request.namespace, current.key.workflow_id, current.key.run_id, request_id_ref=reference
            )
        )

    async def signal_with_start(
        self, request: ws.SignalWithStartWorkflowExecutionRequest
    ) -> ws.SignalWithStartWorkflowExecutionResponse:
        """Temporal's SignalWithStartWorkflowExecution.

        Atomic: the start (if one is needed) and the signal, or none.
        """
        core = self._core
        check_start(request)
        limits.check_id(request.signal_name, "SignalName")
        limits.check_payloads(request.signal_input, "SignalInput")
        if request.workflow_id_conflict_policy == FAIL:
            raise invalid_argument("WorkflowIdConflictPolicy FAIL cannot be used with SignalWithStart.")
        reuse, conflict = policies(request, USE_EXISTING)
        namespace = self._namespaces.get_registered(request.namespace)
        namespace_id = namespace.namespace_id
        if request.search_attributes is not None:
            await self._namespaces.learn(namespace, request.search_attributes)
        run = await core.current(namespace_id, request.workflow_id)
        if run is not None and request.request_id and run.state.create_request_id == request.request_id:
            await core.durable(run)
            return ws.SignalWithStartWorkflowExecutionResponse(
                run_id=run.key.run_id, started=True, first_execution_run_id=run.state.first_run_id
            )
        started = run is None or may_start(run, reuse, conflict)
        signal = history_v1.WorkflowExecutionSignaledEventAttributes(
            signal_name=request.signal_name,
            input=request.signal_input,
            identity=request.identity,
            header=request.header,
            request_id=request.request_id,
        )
        if started:
            run = self.replace(namespace_id, run, request, signal)
        else:
            assert run is not None
            if not request.request_id or request.request_id not in run.state.signal_request_ids:
                check_signal(run)
                extras = history_v1.EventExtras(links=request.links) if request.links else None
                transitions.signal(run.state, core.now(), signal, True, extras)
                core.touch(run)
        await core.durable(run)
        return ws.SignalWithStartWorkflowExecutionResponse(
            run_id=run.key.run_id,
            started=started,
            signal_link=signal_link(request.namespace, run, request.request_id) if request.links else None,
            first_execution_run_id=run.state.first_run_id,
        )

    def replace(
        self,
        namespace_id: str,
        current: Run | None,
        request: StartRequest,
        signal: history_v1.WorkflowExecutionSignaledEventAttributes | None = None,
    ) -> Run:
        """Terminate the current run where it is open, and create the new one, in one commit."""
        core = self._core
        run_id = core.run_ids.new(core.now())
        is_alone = signal is None
        if current is not None and current.is_open:
            self._terminate(current, run_id)
            is_alone = False
        return self._create(RunKey(namespace_id, request.workflow_id, run_id), request, signal, None, is_alone)

    def _terminate(self, current: Run, new_run_id: str) -> None:
        note = common_v1.Payload({"encoding": b"json/plain"}, b'"terminated by new runID: %s"' % new_run_id.encode())
        self._closing.terminate(
            current, "TerminateIfRunning WorkflowIdReusePolicy", common_v1.Payloads([note]), "history-service"
        )
        self._core.touch(current)

    def check_may_start(self, current: Run, request: StartRequest, new_run_id: str) -> None:
        """Raise ALREADY_EXISTS unless a child may take the workflow id over."""
        reuse, conflict = policies(request, FAIL)
        if may_start(current, reuse, conflict) and current.is_open:
            self._terminate(current, new_run_id)

    def create(
        self,
        key: RunKey,
        request: StartRequest,
        signal: history_v1.WorkflowExecutionSignaledEventAttributes | None = None,
        parent: Parent | None = None,
    ) -> Run:
        """Create a run: its Started event, then its signal, then its first workflow task where nothing holds it."""
        return self._create(key, request, signal, parent, False)

    def _create(
        self,
        key: RunKey,
        request: StartRequest,
        signal: history_v1.WorkflowExecutionSignaledEventAttributes | None,
        parent: Parent | None,
        is_alone: bool,
    ) -> Run:
        core = self._core
        now = core.now()
        attributes = _started_attributes(key, request, now, parent)
        state = MutableState(*key)
        state.create_request_id = request.request_id or str(uuid.uuid4())
        run = Run(key, state, 0)
        extras = None
        if request.user_metadata is not None or request.links:
            extras = history_v1.EventExtras(request.user_metadata, request.links)
        transitions.start(state, attributes, now, extras)
        if parent is not None:
            state.is_first_task_held = True
        if signal is not None:
            links = history_v1.EventExtras(links=request.links) if request.links else None
            transitions.signal(state, now, signal, False, links)
        if state.backoff_until_ms == 0:
            transitions.schedule_workflow_task(state, now)
        core.add(run)
        if is_alone:
            core.touch_alone(run)
        else:
            core.touch(run)
        return run


def event_link(request: ws.StartWorkflowExecutionRequest, run: Run) -> common_v1.Link:
    """A link to the run's first event."""
    reference = common_v1.LinkWorkflowEventEventReference(1, _STARTED)
    return common_v1.Link(
        workflow_event=common_v1.LinkWorkflowEvent(
            request.namespace, run.key.workflow_id, run.key.run_id, event_ref=reference
        )
    )


def signal_link(namespace: str, run: Run, request_id: str) -> common_v1.Link:
    """A link to the event of the signal that a request sent."""
    reference = common_v1.LinkWorkflowEventRequestIdReference(request_id, _SIGNALED)
    return common_v1.Link(
        workflow_event=common_v1.LinkWorkflowEvent(
            namespace, run.key.workflow_id, run.key.run_id, request_id_ref=reference
        )
    )


def _without_links_of_callbacks(request: ws.StartWorkflowExecutionRequest) -> list[common_v1.Link]:
    """The request's links without those that its callbacks carry."""
    carried = [link for callback in request.completion_callbacks for link in callback.links]
    return [link for link in request.links if link not in carried]


def _is_short(text: str) -> bool:
    """Whether a text is there and within the limit of ids, whatever its letters."""
    return 0 < len(text) <= _SHORT


def check_start(request: StartRequest) -> None:
    """Refuse what cannot start; durations of the request are cut to a century."""
    workflow_type = request.workflow_type
    task_queue = request.task_queue
    if not _is_short(request.workflow_id):
        limits.check_id(request.workflow_id, "WorkflowId")
    if workflow_type is None or not _is_short(workflow_type.name):
        limits.check_id("" if workflow_type is None else workflow_type.name, "WorkflowType")
    if task_queue is None or not _is_short(task_queue.name) or task_queue.name[0] == "/":
        limits.check_task_queue(task_queue)
    if not _is_short(request.request_id):
        limits.check_id(request.request_id, "RequestId", required=False)
    if not _is_short(request.identity):
        limits.check_id(request.identity, "Identity", required=False)
    if request.workflow_execution_timeout is not None:
        request.workflow_execution_timeout = limits.check_duration(
            request.workflow_execution_timeout, "WorkflowExecutionTimeout"
        )
    if request.workflow_run_timeout is not None:
        request.workflow_run_timeout = limits.check_duration(request.workflow_run_timeout, "WorkflowRunTimeout")
    if request.workflow_task_timeout is not None:
        request.workflow_task_timeout = limits.check_duration(request.workflow_task_timeout, "WorkflowTaskTimeout")
    if request.workflow_start_delay is not None:
        request.workflow_start_delay = limits.check_duration(request.workflow_start_delay, "WorkflowStartDelay")
    if request.retry_policy is not None:
        limits.check_retry_policy(request.retry_policy)
    if size_of(request.input) > _MAX_BLOB_SIZE:
        limits.check_payloads(request.input, "Input")
    if request.memo is not None:
        limits.check_memo(request.memo)
    if request.search_attributes is not None:
        limits.check_search_attributes(request.search_attributes)
    if request.user_metadata is not None:
        limits.check_user_metadata(request.user_metadata)
    if request.priority is not None:
        check_priority(request.priority)
    if request.cron_schedule:
        if request.workflow_start_delay:
            raise invalid_argument("CronSchedule and WorkflowStartDelay may not be used together.")
        try:
            cron.Cron.parse(request.cron_schedule)
        except ValueError as error:
            raise invalid_argument(f"Invalid CronSchedule: {error}") from None


def check_signal(run: Run) -> None:
    """Refuse a signal the run cannot take now."""
    s = run.state
    if s.signal_count >= limits.MAX_SIGNALS:
        raise invalid_argument("exceeded workflow execution limit for signal events")
    if s.is_close_attempted and s.task_started_id:
        raise resource_exhausted("workflow operation can not be applied because workflow is closing", BUSY_WORKFLOW)


def policies(request: StartRequest, default_conflict: int) -> tuple[int, int]:
    """What to do about a closed and about an open run of the same workflow id."""
    reuse = request.workflow_id_reuse_policy or _ALLOW_DUPLICATE
    conflict = request.workflow_id_conflict_policy
    if reuse == _TERMINATE_IF_RUNNING:
        if conflict:
            raise invalid_argument(
                "WorkflowIdReusePolicy TERMINATE_IF_RUNNING cannot be combined with a WorkflowIdConflictPolicy."
            )
        return _ALLOW_DUPLICATE, _TERMINATE_EXISTING
    if reuse == _REJECT_DUPLICATE and conflict == _TERMINATE_EXISTING:
        raise invalid_argument(
            "WorkflowIdReusePolicy REJECT_DUPLICATE cannot be combined with WorkflowIdConflictPolicy TERMINATE_EXISTING."
        )
    return reuse, conflict or default_conflict


def may_start(current: Run, reuse: int, conflict: int) -> bool:
    """Whether a new run takes the id over; False: the open run is used. Raises ALREADY_EXISTS."""
    s = current.state
    if current.is_open:
        if conflict == USE_EXISTING:
            return False
        if conflict == _TERMINATE_EXISTING:
            return True
    elif reuse == _ALLOW_DUPLICATE or (reuse == _FAILED_ONLY and s.status not in _CLOSED_CLEANLY):
        return True
    raise already_started(
        current.key.workflow_id, current.key.run_id, s.create_request_id, s.first_run_id, current.is_open
    )


def _kept(fields: dict[str, common_v1.Payload]) -> dict[str, common_v1.Payload]:
    return {name: payload for name, payload in fields.items() if payload.data or payload.metadata}


def _started_attributes(
    key: RunKey, request: StartRequest, now: int, parent: Parent | None
) -> history_v1.WorkflowExecutionStartedEventAttributes:
    execution_timeout = request.workflow_execution_timeout or 0
    run_timeout = request.workflow_run_timeout or execution_timeout
    if execution_timeout and run_timeout > execution_timeout:
        run_timeout = execution_timeout
    task_timeout = min(request.workflow_task_timeout or DEFAULT_TASK_TIMEOUT, MAX_TASK_TIMEOUT)
    if run_timeout and task_timeout > run_timeout:
        task_timeout = run_timeout
    backoff = request.workflow_start_delay or 0
    initiator = 0
    if request.cron_schedule:
        initiator = int(ContinueAsNewInitiator.CONTINUE_AS_NEW_INITIATOR_CRON_SCHEDULE)
        backoff = (cron.backoff_ms(cron.Cron.parse(request.cron_schedule), now, now) or 0) * NS_PER_MS
    started = history_v1.WorkflowExecutionStartedEventAttributes(
        workflow_type=request.workflow_type,
        task_queue=taskqueue_v1.TaskQueue(request.task_queue.name, 1),  # type: ignore[union-attr]  # it was checked
        input=request.input,
        workflow_execution_timeout=execution_timeout,
        workflow_run_timeout=run_timeout,
        workflow_task_timeout=task_timeout,
        initiator=initiator,
        original_execution_run_id=key.run_id,
        identity=request.identity,
        first_execution_run_id=key.run_id,
        retry_policy=None if request.retry_policy is None else resolve_retry_policy(request.retry_policy),
        attempt=1,
        workflow_execution_expiration_time=now + execution_timeout if execution_timeout else None,
        cron_schedule=request.cron_schedule,
        first_workflow_task_backoff=backoff,
        memo=None if request.memo is None else common_v1.Memo(_kept(request.memo.fields)),
        search_attributes=(
            None
            if request.search_attributes is None
            else common_v1.SearchAttributes(_kept(request.search_attributes.indexed_fields))
        ),
        header=request.header,
        workflow_id=key.workflow_id,
        priority=request.priority,
        versioning_override=request.versioning_override,
    )
    if isinstance(request, ws.StartWorkflowExecutionRequest):
        started.continued_failure = request.continued_failure
        started.last_completion_result = request.last_completion_result
        started.completion_callbacks = request.completion_callbacks
        started.eager_execution_accepted = request.request_eager_execution and not backoff
    if parent is not None:
        started.parent_workflow_namespace = parent.namespace
        started.parent_workflow_namespace_id = parent.key.namespace_id
        started.parent_workflow_execution = common_v1.WorkflowExecution(parent.key.workflow_id, parent.key.run_id)
        started.parent_initiated_event_id = parent.initiated_event_id
        started.root_workflow_execution = parent.root
        started.inherited_pinned_version = parent.pinned
    return started
