"""What a schedule does and when: decisions over its record, without any waiting.

Source: Temporal server, ``service/worker/scheduler/workflow.go`` and ``buffer.go``.
"""

from __future__ import annotations

import copy
from typing import TypeVar

import msgspec

from perdure.api._message import Message
from perdure.api.common import v1 as common_v1
from perdure.api.enums.v1 import ScheduleOverlapPolicy, WorkflowExecutionStatus
from perdure.api.failure import v1 as failure_v1
from perdure.api.schedule import v1 as schedule_v1
from perdure.api.workflow import v1 as workflow_v1
from perdure.engine.limits import NS_PER_S
from perdure.engine.schedule_record import BufferedStart, ScheduleRecord
from perdure.engine.schedule_spec import ActionTime, CompiledSpec, clean

_M = TypeVar("_M", bound=Message)
_Overlap = ScheduleOverlapPolicy
SKIP = int(_Overlap.SCHEDULE_OVERLAP_POLICY_SKIP)
BUFFER_ONE = int(_Overlap.SCHEDULE_OVERLAP_POLICY_BUFFER_ONE)
BUFFER_ALL = int(_Overlap.SCHEDULE_OVERLAP_POLICY_BUFFER_ALL)
CANCEL_OTHER = int(_Overlap.SCHEDULE_OVERLAP_POLICY_CANCEL_OTHER)
TERMINATE_OTHER = int(_Overlap.SCHEDULE_OVERLAP_POLICY_TERMINATE_OTHER)
ALLOW_ALL = int(_Overlap.SCHEDULE_OVERLAP_POLICY_ALLOW_ALL)
_FAILED = int(WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_FAILED)
_TIMED_OUT = int(WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_TIMED_OUT)
_RUNNING = int(WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_RUNNING)

DEFAULT_CATCHUP_WINDOW = 365 * 86400 * NS_PER_S
MIN_CATCHUP_WINDOW = 10 * NS_PER_S
#: How long a schedule that will not act again is kept.
RETENTION = 7 * 86400 * NS_PER_S
MAX_BUFFER = 1000
MAX_NOTES = 1000
MAX_MATCHING_TIMES = 1000
#: Actions looked at, and actions backfilled, before the rest of the engine has its turn.
ACTIONS_PER_TURN = 1000
BACKFILLS_PER_TURN = 10
RECENT_ACTIONS = 10
FUTURE_ACTIONS = 10
LISTED_ACTIONS = 5
LISTED_SPECS = 10
MAX_REQUEST_IDS = 20


class Starts(msgspec.Struct):
    """What of the buffer may start now, and what has to end first."""

    starts: list[BufferedStart]
    #: The one of them, if any, after which others wait.
    follower: BufferedStart | None = None
    cancel_running: bool = False
    terminate_running: bool = False


class ScheduleRules:
    """A schedule's record and its compiled spec."""

    def __init__(self, namespace_id: str, record: ScheduleRecord) -> None:
        self.record = record
        self._seed = f"{namespace_id}-{record.schedule_id}"
        self._spec: CompiledSpec | None = None
        #: The newest answer of :meth:`next_time`, which is asked for the same time again and again.
        self._answer: tuple[int, ActionTime | None] | None = None
        self.compile()

    def compile(self) -> None:
        """Take over the record's spec; one that an earlier version accepted and this one does not never acts."""
        info = self.record.info
        self._answer = None
        try:
            self._spec = CompiledSpec(self.spec)
            info.invalid_schedule_error = ""
        except ValueError as error:
            self._spec = None
            info.invalid_schedule_error = str(error)

    # ---- parts of the record

    @property
    def spec(self) -> schedule_v1.ScheduleSpec:
        """When it acts."""
        return self.record.schedule.spec or schedule_v1.ScheduleSpec()

    @property
    def action(self) -> workflow_v1.NewWorkflowExecutionInfo:
        """What it starts."""
        action = self.record.schedule.action
        assert action is not None and action.start_workflow is not None  # checked when it came in
        return action.start_workflow

    @property
    def policies(self) -> schedule_v1.SchedulePolicies:
        """How it starts it."""
        policies = self.record.schedule.policies
        assert policies is not None  # filled in by :func:`with_defaults`
        return policies

    @property
    def state(self) -> schedule_v1.ScheduleState:
        """Whether it acts at all."""
        state = self.record.schedule.state
        assert state is not None  # filled in by :func:`with_defaults`
        return state

    # ---- times

    def next_time(self, after: int) -> ActionTime | None:
        """The first action after a time."""
        if self._answer is not None and self._answer[0] == after:
            return self._answer[1]
        action = None
        if self._spec is not None:
            try:
                action = self._spec.next_time(self._seed, after)
            except ValueError as error:
                self.record.info.invalid_schedule_error = str(error)
        self._answer = (after, action)
        return action

    def may_act(self) -> bool:
        """Whether actions of the spec are taken at all now."""
        return not self.state.paused and (not self.state.limited_actions or self.state.remaining_actions > 0)

    def next_wake(self) -> int | None:
        """When there is something to do next, if nothing happens before."""
        action = self.next_time(self.record.last_processed) if self.may_act() else None
        if action is not None:
            return action.actual
        return self.expiration()

    def expiration(self) -> int | None:
        """When the schedule is forgotten, if nothing happens before: None while it is paused or will act."""
        record = self.record
        if self.state.paused or record.buffer or record.backfills or record.info.running_workflows:
            return None
        if self.may_act() and self.next_time(record.last_processed) is not None:
            return None
        last = max(record.info.create_time or 0, record.info.update_time or 0)
        if record.info.recent_actions:
            last = max(last, record.info.recent_actions[-1].actual_time or 0)
        return last + RETENTION

    def future_times(self, now: int, count: int) -> list[int]:
        """The times of the next actions, as far as the spec and the remaining actions allow."""
        record = self.record
        if self.state.limited_actions:
            count = min(count, self.state.remaining_actions)
        found: list[int] = []
        answer = self._answer
        after = max(record.last_processed, now) if self.state.paused else record.last_processed
        while len(found) < count and (action := self.next_time(after)) is not None:
            after = action.actual
            if after >= (record.info.update_time or 0):
                found.append(after)
        self._answer = answer
        return found

    def matching_times(self, start: int, end: int) -> list[int]:
        """The times of the spec within bounds, at most a thousand. Raises ValueError."""
        if self._spec is None:
            raise ValueError(f"invalid schedule: {self.record.info.invalid_schedule_error}")
        found: list[int] = []
        while len(found) < MAX_MATCHING_TIMES and (action := self._spec.next_time(self._seed, start)) is not None:
            start = action.actual
            if start > end:
                break
            found.append(start)
        return found

    # ---- what is due

    def take_due(self, now: int) -> bool:
        """Buffer what the spec says is due; whether there is more."""
        record = self.record
        if not self.may_act():
            return False
        for _ in range(ACTIONS_PER_TURN):
            action = self.next_time(record.last_processed)
            if action is None or action.actual > now:
                return False
            record.last_processed = action.actual
            if action.actual < (record.info.update_time or 0):
                continue  # the schedule was another one then
            if now - action.actual > self._catchup_window():
                record.info.missed_catchup_window += 1
            else:
                self._buffer(BufferedStart(action.nominal, action.actual, 0, False))
        return True

    def settle(self, now: int) -> None:
        """Be done with the time up to now: a change of the schedule is about what comes after."""
        while self.take_due(now):
            pass
        if not self.may_act():
            self.record.last_processed = max(self.record.last_processed, now)  # not made up for later

    def take_backfills(self) -> bool:
        """Buffer some of what is to be backfilled; whether there is more that the buffer has room for."""
        record = self.record
        left = BACKFILLS_PER_TURN
        while record.backfills and len(record.buffer) < MAX_BUFFER // 2:
            backfill = record.backfills[0]
            action = self.next_time(backfill.start_time or 0)
            if action is None or action.actual > (backfill.end_time or 0):
                record.backfills = record.backfills[1:]
                continue
            if left == 0:
                return True
            left -= 1
            backfill.start_time = action.actual
            self._buffer(BufferedStart(action.nominal, action.actual, backfill.overlap_policy, True))
        return False

    def _buffer(self, start: BufferedStart) -> None:
        if len(self.record.buffer) >= MAX_BUFFER:
            self.record.info.buffer_dropped += 1
        else:
            self.record.buffer.append(start)

    def _catchup_window(self) -> int:
        return self.policies.catchup_window or DEFAULT_CATCHUP_WINDOW

    def take_startable(self) -> Starts:
        """Take out of the buffer what may start now; what has to wait stays, what overlaps and may not is dropped."""
        record = self.record
        is_running = bool(record.info.running_workflows)
        result = Starts([])
        waiting: list[BufferedStart] = []
        for start in record.buffer:
            overlap = start.overlap or self.policies.overlap_policy
            if overlap == ALLOW_ALL:
                result.starts.append(start)
            elif not is_running and result.follower is None:
                result.follower = start
            elif overlap == BUFFER_ALL or (overlap == BUFFER_ONE and not waiting):
                waiting.append(start)
            elif overlap in (CANCEL_OTHER, TERMINATE_OTHER):
                if is_running:
                    result.cancel_running |= overlap == CANCEL_OTHER
                    result.terminate_running |= overlap == TERMINATE_OTHER
                    waiting.append(start)
                else:
                    result.follower = start  # instead of the one that was about to start
            else:
                record.info.overlap_skipped += 1
        if result.cancel_running or result.terminate_running:
            result.starts = []  # they would be ended at once
        if result.follower is not None:
            result.starts.append(result.follower)
        record.buffer = waiting
        return result

    def spend(self, start: BufferedStart) -> bool:
        """Count an action that is about to be taken; False: it may not be taken any more."""
        if start.manual:
            return True
        if not self.may_act():
            return False
        if self.state.limited_actions:
            self.state.remaining_actions -= 1
            self.record.conflict_token += 1
        return True

    # ---- what happened

    def started(self, start: BufferedStart, workflow_id: str, run_id: str, now: int) -> None:
        """An action was taken."""
        info = self.record.info
        execution = common_v1.WorkflowExecution(workflow_id, run_id)
        info.action_count += 1
        result = schedule_v1.ScheduleActionResult(start.actual, now, execution, _RUNNING)
        info.recent_actions = [*info.recent_actions, result][-RECENT_ACTIONS:]
        if (start.overlap or self.policies.overlap_policy) != ALLOW_ALL:
            info.running_workflows = [*info.running_workflows, execution]

    def closed(
        self,
        execution: common_v1.WorkflowExecution,
        status: int,
        result: common_v1.Payloads | None,
        failure: failure_v1.Failure | None,
    ) -> None:
        """A workflow the schedule started came to its end (status 0: it was deleted)."""
        record = self.record
        info = record.info
        info.running_workflows = [other for other in info.running_workflows if other.run_id != execution.run_id]
        for action in info.recent_actions:
            started = action.start_workflow_result
            if started is not None and started.run_id == execution.run_id:
                action.start_workflow_status = status
        if self.policies.pause_on_failure and status in (_FAILED, _TIMED_OUT) and not self.state.paused:
            if status == _FAILED:
                message = "" if failure is None else failure.message
                note = f"paused due to workflow failure: {execution.workflow_id}: {message}"
            else:
                note = f"paused due to workflow timeout: {execution.workflow_id}"
            self._set_paused(True, note)
        if result is not None:
            record.last_completion_result = result
            record.continued_failure = None
        elif failure is not None:
            record.continued_failure = failure

    def patch(self, patch: schedule_v1.SchedulePatch, now: int) -> None:
        """Trigger, backfill, pause, unpause."""
        self.settle(now)
        trigger = patch.trigger_immediately
        if trigger is not None:
            at = trigger.scheduled_time or now
            self._buffer(BufferedStart(at, at, trigger.overlap_policy, True))
        for backfill in patch.backfill_request:
            if len(self.record.backfills) >= MAX_BUFFER:
                self.record.info.buffer_dropped += 1
                continue
            # The start is part of what is backfilled.
            start = (backfill.start_time or 0) - 1
            self.record.backfills = [*self.record.backfills, msgspec.structs.replace(backfill, start_time=start)]
        if patch.pause:
            self._set_paused(True, patch.pause)
        if patch.unpause:
            self._set_paused(False, patch.unpause)

    def _set_paused(self, paused: bool, note: str) -> None:
        self.state.paused = paused
        self.state.notes = note
        self.record.conflict_token += 1

    def replace(self, schedule: schedule_v1.Schedule, now: int) -> None:
        """Become another schedule; what was started and buffered stays."""
        self.settle(now)
        record = self.record
        record.schedule = with_defaults(schedule)
        record.info.update_time = now
        record.conflict_token += 1
        # Times before now do not count, but what is late by its jitter may still come.
        record.last_processed = max(record.last_processed, now - (self.spec.jitter or 0) - NS_PER_S)
        self.compile()

    # ---- views

    def describe(self, now: int) -> tuple[schedule_v1.Schedule, schedule_v1.ScheduleInfo]:
        """The schedule and what it did, as describe shows them."""
        record = self.record
        schedule = msgspec.structs.replace(
            _copy(record.schedule, schedule_v1.Schedule), spec=clean(_copy(self.spec, schedule_v1.ScheduleSpec))
        )
        times = self.future_times(now, FUTURE_ACTIONS)
        info = _copy(record.info, schedule_v1.ScheduleInfo)
        info.future_action_times = times
        info.buffer_size = len(record.buffer)
        return schedule, info

    def list_info(self, now: int) -> schedule_v1.ScheduleListInfo:
        """The schedule as lists show it."""
        spec = self.spec
        recent = self.record.info.recent_actions[-LISTED_ACTIONS:]
        shown = msgspec.structs.replace(
            spec,
            timezone_data=b"",
            structured_calendar=spec.structured_calendar[:LISTED_SPECS],
            interval=spec.interval[:LISTED_SPECS],
            exclude_structured_calendar=spec.exclude_structured_calendar[:LISTED_SPECS],
        )
        return schedule_v1.ScheduleListInfo(
            spec=clean(shown),
            workflow_type=copy.copy(self.action.workflow_type),
            notes=self.state.notes,
            paused=self.state.paused,
            recent_actions=[_copy(action, schedule_v1.ScheduleActionResult) for action in recent],
            future_action_times=self.future_times(now, LISTED_ACTIONS),
        )


def _copy(value: _M, kind: type[_M]) -> _M:
    """A copy of a message that shares nothing with it: the caller may change it."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(value), type=kind)


def with_defaults(schedule: schedule_v1.Schedule) -> schedule_v1.Schedule:
    """The schedule with its policies as they hold; the spec is in its canonical form. Raises ValueError."""
    policies = schedule.policies or schedule_v1.SchedulePolicies()
    window = DEFAULT_CATCHUP_WINDOW if policies.catchup_window is None else policies.catchup_window
    return schedule_v1.Schedule(
        spec=CompiledSpec(schedule.spec or schedule_v1.ScheduleSpec()).spec,
        action=schedule.action,
        policies=msgspec.structs.replace(
            policies,
            overlap_policy=policies.overlap_policy or SKIP,
            catchup_window=max(window, MIN_CATCHUP_WINDOW),
        ),
        state=copy.copy(schedule.state) or schedule_v1.ScheduleState(),
    )
