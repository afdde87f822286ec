"""Updates: asked for by clients, carried by workflow tasks, accepted, refused and completed by workers.

An update to a run without a pending workflow task gets a *speculative* one, which exists in memory only and becomes
part of the history when it brings more than refusals. So an update that its validator refuses leaves no trace.
"""

from __future__ import annotations

import uuid
from typing import Any

import msgspec

from perdure._native import commands, transitions
from perdure._native.commands import CommandError
from perdure._native.events import HistoryEvent
from perdure.api.common import v1 as common_v1
from perdure.api.enums.v1 import CommandType, EventType, WorkflowTaskFailedCause
from perdure.api.failure import v1 as failure_v1
from perdure.api.history import v1 as history_v1
from perdure.api.protocol import v1 as protocol_v1
from perdure.api.update import v1 as update_v1
from perdure.api.workflowservice import v1 as ws
from perdure.engine import limits
from perdure.engine.callbacks import Callbacks
from perdure.engine.core import Core
from perdure.engine.errors import (
    BUSY_WORKFLOW,
    CONCURRENT_LIMIT,
    deadline_exceeded,
    failed_precondition,
    invalid_argument,
    not_found,
    not_ready,
    permission_denied,
    resource_exhausted,
)
from perdure.engine.lookup import find_run
from perdure.engine.namespaces import Namespaces
from perdure.engine.pausing import PAUSED
from perdure.engine.run import Run
from perdure.engine.update_registry import (
    ACCEPTED,
    ADMITTED,
    CLOSED_WHILE_ACCEPTED,
    COMPLETED,
    AdmittedUpdate,
    RunContinued,
    UpdateRegistry,
    Waiter,
    stage_of,
)

_BAD_MESSAGE = int(WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_BAD_UPDATE_WORKFLOW_EXECUTION_MESSAGE)
_PROTOCOL_MESSAGE = int(CommandType.COMMAND_TYPE_PROTOCOL_MESSAGE)
_UPDATE_ACCEPTED = int(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED)
_UPDATE_COMPLETED = int(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED)
_STUCK_FROM_ATTEMPT = 3
#: With this many events since the last completed workflow task, a speculative one is written even if it brings nothing.
_MAX_DISCARDED_EVENTS = 10

Event = tuple[int, Any]


class Plan:
    """What the messages of a worker's answer come to, found before anything is changed."""

    __slots__ = ("accepted", "completed", "rejected", "requests", "rest", "sent")

    def __init__(self) -> None:
        #: message id -> the event it asks for at its command's place; None for a refusal.
        self.sent: dict[str, Event | None] = {}
        #: The events of messages that no command refers to.
        self.rest: list[Event] = []
        self.accepted: list[str] = []
        #: The requests of the accepted ones that carry callbacks or links.
        self.requests: list[tuple[str, update_v1.Request]] = []
        self.completed: list[tuple[str, update_v1.Outcome]] = []
        self.rejected: list[tuple[str, failure_v1.Failure | None]] = []


class WorkflowUpdates:
    """Temporal's UpdateWorkflowExecution and PollWorkflowExecutionUpdate, and the updates' part of workflow tasks."""

    callbacks: Callbacks

    def __init__(self, core: Core, namespaces: Namespaces) -> None:
        self._core = core
        self._namespaces = namespaces

    # ---- clients

    async def update(
        self, request: ws.UpdateWorkflowExecutionRequest, timeout: float | None
    ) -> ws.UpdateWorkflowExecutionResponse:
        """Temporal's UpdateWorkflowExecution: admit the update, or join it, and wait until it is as far as asked."""
        stage = check_update(request)
        if request.request is not None and request.request.completion_callbacks:
            self.callbacks.check(request.request.completion_callbacks)
        namespace_id = self._namespaces.get(request.namespace).namespace_id
        deadline = None if timeout is None else self._core.loop.time() + timeout
        while True:
            run = await find_run(self._core, namespace_id, request.workflow_execution)
            if request.first_execution_run_id and run.state.first_run_id != request.first_execution_run_id:
                raise not_found("workflow execution not found")
            self.admit(run, request)
            try:
                return await self.response(run, request, stage, deadline)
            except RunContinued:
                continue

    async def response(
        self, run: Run, request: ws.UpdateWorkflowExecutionRequest, stage: int, deadline: float | None
    ) -> ws.UpdateWorkflowExecutionResponse:
        """What the caller hears once the update that was admitted is far enough. Raises RunContinued."""
        update_id = request.request.meta.update_id  # type: ignore[union-attr]  # check_update saw one
        reached, outcome = await self._reached(run, update_id, stage, deadline)
        return ws.UpdateWorkflowExecutionResponse(
            reference(run, update_id), outcome, reached, _link(run, request, reached, outcome)
        )

    async def poll(
        self, request: ws.PollWorkflowExecutionUpdateRequest, timeout: float | None
    ) -> ws.PollWorkflowExecutionUpdateResponse:
        """Temporal's PollWorkflowExecutionUpdate."""
        asked = request.update_ref
        if asked is None:
            raise invalid_argument("UpdateRef is not set on request.")
        namespace_id = self._namespaces.get(request.namespace).namespace_id
        stage = 0 if request.wait_policy is None else request.wait_policy.lifecycle_stage
        deadline = None if timeout is None else self._core.loop.time() + timeout
        while True:
            run = await find_run(self._core, namespace_id, asked.workflow_execution)
            if not stage_of(run, asked.update_id):
                raise not_found(f"update {asked.update_id!r} not found")
            try:
                reached, outcome = await self._reached(run, asked.update_id, stage, deadline)
            except RunContinued:
                continue
            return ws.PollWorkflowExecutionUpdateResponse(outcome, reached, reference(run, asked.update_id))

    def admit(self, run: Run, request: ws.UpdateWorkflowExecutionRequest) -> None:
        """Take an update in, unless the run knows its id, and see to it that a workflow task will carry it."""
        core = self._core
        s = run.state
        update = request.request
        update_id = update.meta.update_id  # type: ignore[union-attr]  # check_update saw one
        is_known = stage_of(run, update_id) != 0
        if not run.is_open:
            if is_known:
                return
            raise not_found("workflow execution already completed")
        if s.status == PAUSED:
            raise failed_precondition("Workflow is paused. Cannot update the workflow.")
        if s.task_scheduled_id and s.task_attempt >= _STUCK_FROM_ATTEMPT:
            raise not_ready("Unable to perform workflow execution update due to Workflow Task in failed state.")
        if s.is_close_attempted and s.task_started_id:
            raise resource_exhausted("workflow operation can not be applied because workflow is closing", BUSY_WORKFLOW)
        if is_known:
            self._join(run, update_id, request)
            return
        assert update is not None
        size = len(update_id) + commands.size_of(None if update.input is None else update.input.args)
        _check_limits(run, size)
        UpdateRegistry.of(run).admitted[update_id] = AdmittedUpdate(update_id, update, size)
        if not s.task_scheduled_id and transitions.schedule_speculative_task(s, core.now()):
            if s.new_events:
                core.touch(run)
            else:
                core.absorb(run)
                core.timers.arm_workflow_task(run)

    def _join(self, run: Run, update_id: str, request: ws.UpdateWorkflowExecutionRequest) -> None:
        """Somebody else wants to be called back about an update that is there."""
        update = request.request
        if update is None or not update.completion_callbacks or stage_of(run, update_id) == COMPLETED:
            return
        admitted = None if run.updates is None else run.updates.admitted.get(update_id)
        if admitted is None:
            self.callbacks.register_for_update(run, update_id, update)
            self._core.touch(run)
        elif admitted.request.request_id != update.request_id:
            admitted.request.completion_callbacks.extend(update.completion_callbacks)

    async def _reached(
        self, run: Run, update_id: str, stage: int, deadline: float | None
    ) -> tuple[int, update_v1.Outcome | None]:
        """Wait until the update is at a stage, or for the length of a long poll; how far it is then, durably."""
        core = self._core
        reached = stage_of(run, update_id)
        outcome: update_v1.Outcome | None = None
        if reached < stage:
            left = None if deadline is None else max(deadline - core.loop.time(), 0.0)
            registry = UpdateRegistry.of(run)
            waiter = Waiter(stage, core.loop.create_future())
            registry.add_waiter(update_id, waiter)
            try:
                result = await core.deadlines.wait(
                    waiter.future, limits.LONG_POLL if left is None else min(left, limits.LONG_POLL)
                )
            finally:
                registry.remove_waiter(update_id, waiter)
            if result is not None:
                reached, outcome = result
            elif left is not None and left <= limits.LONG_POLL:
                raise deadline_exceeded(f"update {update_id!r} was not that far in time; it goes on")
            else:
                reached = stage_of(run, update_id)
        await core.durable(run)
        if reached == COMPLETED and outcome is None:
            outcome = await self.outcome(run, update_id)
        return reached, outcome

    async def outcome(self, run: Run, update_id: str) -> update_v1.Outcome:
        """The outcome of an update that is completed."""
        updates = run.state.updates
        event_id = 0 if updates is None else updates[update_id][2]
        if not event_id:
            return CLOSED_WHILE_ACCEPTED
        attributes: Any = (await self._core.event(run, event_id)).attributes
        outcome: update_v1.Outcome = attributes.outcome
        return outcome

    # ---- workers

    def plan(self, run: Run, request: ws.RespondWorkflowTaskCompletedRequest, is_closing: bool) -> Plan:
        """What the messages of an answer come to; raises CommandError when one is wrong."""
        plan = Plan()
        waiting = {message.id: message for message in request.messages}
        stages: dict[str, int] = {}
        for command in request.commands:
            if command.command_type == _PROTOCOL_MESSAGE:
                attributes: Any = command.attributes
                message = None if attributes is None else waiting.pop(attributes.message_id, None)
                if message is None:
                    known = "" if attributes is None else attributes.message_id
                    raise _bad(f"ProtocolMessageCommand referenced absent message ID {known}")
                plan.sent[message.id] = self._event(run, message, stages, plan)
        for message in waiting.values():
            if is_closing and not isinstance(message.body, update_v1.Rejection):
                continue  # too late: the workflow closed before it
            event = self._event(run, message, stages, plan)
            if event is not None:
                plan.rest.append(event)
        return plan

    def _event(self, run: Run, message: protocol_v1.Message, stages: dict[str, int], plan: Plan) -> Event | None:
        """The event a message asks for; None for a refusal. ``stages`` holds what earlier messages have changed."""
        update_id = message.protocol_instance_id
        body = message.body
        if not isinstance(body, (update_v1.Acceptance, update_v1.Rejection, update_v1.Response)):
            raise _bad(f"Message type {type(body).__name__} not supported")
        stage = stages.get(update_id) or stage_of(run, update_id)
        registry = run.updates
        admitted = None if registry is None else registry.admitted.get(update_id)
        request = None if admitted is None else admitted.request
        if not stage:
            # Forgotten by the service, for instance because it was restarted: the worker's copy brings it back.
            request = _request_of(body)
            if request is None:
                raise _bad(
                    f"update {update_id} wasn't found on the server. This is most likely a transient error which will "
                    "be resolved automatically by retries"
                )
            _check_total(run)
            stage = ADMITTED
        expected = ACCEPTED if isinstance(body, update_v1.Response) else ADMITTED
        if stage != expected:
            raise _bad(
                f"invalid state transition attempted for Update {update_id}: received {type(body).__name__} message "
                f"while in state {('Admitted', 'Accepted', 'Completed')[stage - 1]}"
            )
        if isinstance(body, update_v1.Acceptance):
            if not body.accepted_request_sequencing_event_id:
                raise _bad("invalid Acceptance: accepted_request_sequencing_event_id is not set")
            if not body.accepted_request_message_id:
                raise _bad("invalid Acceptance: accepted_request_message_id is not set")
            stages[update_id] = ACCEPTED
            plan.accepted.append(update_id)
            if request is not None and (request.completion_callbacks or request.links):
                plan.requests.append((update_id, request))
            return _UPDATE_ACCEPTED, history_v1.WorkflowExecutionUpdateAcceptedEventAttributes(
                update_id, f"{update_id}/request", body.accepted_request_sequencing_event_id, request
            )
        stages[update_id] = COMPLETED
        if isinstance(body, update_v1.Rejection):
            _check_size(body.failure, None)
            plan.rejected.append((update_id, body.failure))
            return None
        if body.meta is None or body.meta.update_id != update_id:
            raise _bad(f"invalid Response: meta.update_id is not {update_id}")
        if body.outcome is None:
            raise _bad("invalid Response: outcome is not set")
        _check_size(body.outcome.failure, body.outcome.success)
        plan.completed.append((update_id, body.outcome))
        return _UPDATE_COMPLETED, history_v1.WorkflowExecutionUpdateCompletedEventAttributes(body.meta, body.outcome)

    def settle(self, run: Run, plan: Plan | None, is_closing: bool, is_heartbeat: bool) -> None:
        """The events of an answer are written: let its updates go on, and whoever waits for them."""
        s = run.state
        if plan is not None:
            registry = UpdateRegistry.of(run)
            for update_id, request in plan.requests:
                if request.completion_callbacks:
                    self.callbacks.register_for_update(run, update_id, request)
                _link_acceptance(run, update_id, request)
            for update_id, outcome in plan.completed:
                if s.extra is not None:
                    self.callbacks.owe_updates(run, update_id)
                registry.completed(update_id, outcome)
            for update_id in plan.accepted:
                if not is_closing or stage_of(run, update_id) == COMPLETED:
                    registry.accepted(update_id)
            for update_id, failure in plan.rejected:
                if s.updates is not None and update_id in s.updates:
                    s.forget_update(update_id)
                registry.rejected(update_id, failure)
        if run.updates is not None and not is_closing and not is_heartbeat:
            run.updates.reject_unprocessed()


def may_discard(run: Run, request: ws.RespondWorkflowTaskCompletedRequest, plan: Plan | None) -> bool:
    """Whether the answer to a speculative workflow task leaves no trace."""
    s = run.state
    if request.commands or request.force_create_new_workflow_task or (plan is not None and plan.rest):
        return False
    spare = 0
    if request.capabilities is not None and request.capabilities.discard_speculative_workflow_task_with_events:
        spare = _MAX_DISCARDED_EVENTS
    return bool(s.next_event_id <= s.previous_started_id + 2 + spare)


def check_update(request: ws.UpdateWorkflowExecutionRequest) -> int:
    """Refuse what is no update, and give it an id if it has none; the stage its caller waits for."""
    execution = request.workflow_execution
    limits.check_id("" if execution is None else execution.workflow_id, "WorkflowId")
    update = request.request
    if update is None or update.meta is None:
        raise invalid_argument("Update meta is not set on request.")
    limits.check_id(update.meta.update_id, "UpdateId", required=False)
    if not update.meta.update_id:
        update.meta.update_id = str(uuid.uuid4())
    if update.input is None:
        raise invalid_argument("Update input is not set on request.")
    if not update.input.name:
        raise invalid_argument("Update name is not set on request.")
    limits.check_payloads(update.input.args, "The input of the update")
    stage = 0 if request.wait_policy is None else request.wait_policy.lifecycle_stage
    if stage == ADMITTED:
        raise permission_denied(
            "UpdateWorkflowExecution issued asynchronously and waiting on update admitted is not supported."
        )
    return stage or COMPLETED


def _check_limits(run: Run, size: int) -> None:
    admitted = () if run.updates is None else run.updates.admitted.values()
    if len(admitted) + run.state.open_updates >= limits.MAX_UPDATES_IN_FLIGHT:
        raise resource_exhausted(
            f"limit on number of concurrent in-flight updates has been reached ({limits.MAX_UPDATES_IN_FLIGHT})",
            CONCURRENT_LIMIT,
        )
    if size + sum(update.size for update in admitted) >= limits.MAX_UPDATES_SIZE:
        raise resource_exhausted(
            f"limit on total payload size of in-flight updates has been reached ({limits.MAX_UPDATES_SIZE} bytes)",
            CONCURRENT_LIMIT,
        )
    _check_total(run)


def _check_total(run: Run) -> None:
    known = 0 if run.state.updates is None else len(run.state.updates)
    if known + (0 if run.updates is None else len(run.updates.admitted)) >= limits.MAX_UPDATES:
        raise failed_precondition(
            f"The limit on the total number of distinct updates in this workflow has been reached "
            f"({limits.MAX_UPDATES}). Give updates that are the same the same update id, refuse those the workflow will "
            "not handle, or continue as new: workflow.info().is_continue_as_new_suggested() says when."
        )


def _check_size(failure: failure_v1.Failure | None, payloads: common_v1.Payloads | None) -> None:
    size = commands.size_of(payloads) if failure is None else len(msgspec.msgpack.encode(failure))
    if size > limits.MAX_BLOB_SIZE:
        raise CommandError(
            _BAD_MESSAGE, f"the outcome of an update has {size} bytes, more than {limits.MAX_BLOB_SIZE}", True
        )


def _request_of(body: object) -> update_v1.Request | None:
    if isinstance(body, update_v1.Acceptance):
        return body.accepted_request
    return body.rejected_request if isinstance(body, update_v1.Rejection) else None


def _bad(message: str) -> CommandError:
    return CommandError(_BAD_MESSAGE, message)


def _link(
    run: Run, request: ws.UpdateWorkflowExecutionRequest, stage: int, outcome: update_v1.Outcome | None
) -> common_v1.Link | None:
    """Where the update can be seen: its acceptance, or the workflow when there may be none."""
    key = run.key
    if stage == COMPLETED and outcome is not None and outcome.failure is not None:
        return common_v1.Link(
            workflow=common_v1.LinkWorkflow(request.namespace, key.workflow_id, key.run_id, "Update rejected")
        )
    if stage < ACCEPTED or request.request is None:
        return None
    accepted = common_v1.LinkWorkflowEventRequestIdReference(request.request.request_id, _UPDATE_ACCEPTED)
    return common_v1.Link(
        common_v1.LinkWorkflowEvent(request.namespace, key.workflow_id, key.run_id, request_id_ref=accepted)
    )


def _link_acceptance(run: Run, update_id: str, request: update_v1.Request) -> None:
    """Let the event that was just written for an acceptance point at who asked for the update."""
    links = [*request.links]
    links += [link for callback in request.completion_callbacks for link in callback.links if link not in links]
    events = run.state.new_events
    for at, event in enumerate(events):
        if event.event_type == _UPDATE_ACCEPTED and event.attributes.protocol_instance_id == update_id and links:
            events[at] = HistoryEvent(
                event.event_id,
                event.event_type,
                event.event_time,
                event.attributes,
                version=event.version,
                task_id=event.task_id,
                worker_may_ignore=event.worker_may_ignore,
                extras=history_v1.EventExtras(links=links),
            )


def reference(run: Run, update_id: str) -> update_v1.UpdateRef:
    """Which update of which run."""
    return update_v1.UpdateRef(common_v1.WorkflowExecution(run.key.workflow_id, run.key.run_id), update_id)
