"""The native rules beside their plain twins: retries, timeouts, commands; and the tables beside what the code does."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from perdure._native import activities, commands, transitions
from perdure._native.mutable_state import (
    COMPLETIONS,
    EXECUTION_ROWS,
    PENDING_ROWS,
    UNBUFFERED,
    MutableState,
    RetryPolicy,
    RunState,
)
from perdure.api.common import v1 as common_v1
from perdure.api.failure import v1 as failure_v1
from perdure.api.history import v1 as history_v1
from perdure.api.taskqueue import v1 as taskqueue_v1
from perdure.engine import wiring
from tests.engine.driver import (
    T0,
    S,
    application_failure,
    cancel_activity,
    cancel_timer,
    command,
    complete,
    schedule_activity,
    start_timer,
)
from tests.twins import retry as retry_twin
from tests.twins.commands import CommandTwin, RefusedError

assert wiring.__name__  # importing it configures the native core

NOW_MS = T0 // 1_000_000
kinds = st.sampled_from(["Boom", "Bad", "TemporalTimeout:StartToClose", "TemporalTimeout:Heartbeat"])
policies = st.none() | st.builds(
    common_v1.RetryPolicy,
    initial_interval=st.sampled_from([0, 1, 999_999, S, 7 * S, 3600 * S]),
    backoff_coefficient=st.sampled_from([0.0, 1.0, 1.5, 2.0, 10.0]),
    maximum_interval=st.sampled_from([0, 3600 * S, 10**6 * S]),
    maximum_attempts=st.integers(0, 5),
    non_retryable_error_types=st.lists(kinds, max_size=2),
)
failures = st.one_of(
    st.none(),
    st.builds(
        application_failure,
        kind=kinds,
        non_retryable=st.booleans(),
        next_retry_delay=st.sampled_from([None, 0, 1, S, 10**7 * S]),
    ),
    st.builds(
        failure_v1.Failure,
        timeout_failure_info=st.builds(failure_v1.TimeoutFailureInfo, st.integers(1, 4)),
    ),
    st.builds(
        failure_v1.Failure, server_failure_info=st.builds(failure_v1.ServerFailureInfo, non_retryable=st.booleans())
    ),
    st.just(failure_v1.Failure(canceled_failure_info=failure_v1.CanceledFailureInfo())),
    st.just(failure_v1.Failure(terminated_failure_info=failure_v1.TerminatedFailureInfo())),
    st.just(failure_v1.Failure("a wrapper", activity_failure_info=failure_v1.ActivityFailureInfo())),
)


@settings(max_examples=400, deadline=None)
@given(
    policies, failures, st.integers(1, 60), st.sampled_from([0, NOW_MS, NOW_MS + 1000, NOW_MS + 10**7]), st.booleans()
)
def test_retry_decisions(policy: Any, failure: Any, attempt: int, expiration_ms: int, is_workflow: bool) -> None:
    resolved = None if policy is None else RetryPolicy.from_message(policy)
    decided = activities.decide_retry(resolved, failure, attempt, NOW_MS, expiration_ms, is_workflow)
    state, backoff = retry_twin.decide_retry(policy, failure, attempt, NOW_MS, expiration_ms, is_workflow)
    assert decided[0] == state
    # The engine computes with doubles: a last millisecond may differ.
    assert abs(decided[1] - backoff) <= 1


def new_state(run_timeout: int = 0) -> MutableState:
    """A run with a started workflow task."""
    state = MutableState("n", "w", "r")
    started = history_v1.WorkflowExecutionStartedEventAttributes(
        workflow_type=common_v1.WorkflowType("W"),
        task_queue=taskqueue_v1.TaskQueue("q", 1),
        workflow_run_timeout=run_timeout,
    )
    transitions.start(state, started, T0)
    transitions.schedule_workflow_task(state, T0)
    transitions.start_workflow_task(state, T0, "1", "worker", False)
    return state


seconds = st.sampled_from([0, S, 5 * S, 60 * S, 3600 * S])


@settings(max_examples=300, deadline=None)
@given(seconds, seconds, seconds, seconds, seconds)
def test_activity_timeouts(run: int, close: int, start: int, attempt: int, heartbeat: int) -> None:
    expected = retry_twin.activity_timeouts(run, close, start, attempt, heartbeat)
    state = new_state(run)
    batch = [
        schedule_activity(
            schedule_to_close_timeout=close,
            schedule_to_start_timeout=start,
            start_to_close_timeout=attempt,
            heartbeat_timeout=heartbeat,
        )
    ]
    if expected is None:
        with pytest.raises(commands.CommandError) as refused:
            commands.check(state, batch, "default")
        assert refused.value.cause == 2
        return
    commands.check(state, batch, "default")
    completed_id = transitions.complete_workflow_task(state, T0, "worker")
    commands.apply(state, batch, completed_id, T0, "default")
    a = state.take_events()[-1].attributes
    found = (a.schedule_to_close_timeout, a.schedule_to_start_timeout, a.start_to_close_timeout, a.heartbeat_timeout)
    assert found == expected


ids = st.sampled_from(["", "a", "b", "c"])
batches = st.lists(
    st.one_of(
        st.builds(schedule_activity, ids, start_to_close_timeout=st.sampled_from([0, S])),
        st.builds(cancel_activity, st.integers(4, 14)),
        st.builds(start_timer, ids, st.sampled_from([-1, 0, 1])),
        st.builds(cancel_timer, ids.filter(bool)),
    ),
    max_size=6,
)


@settings(max_examples=500, deadline=None)
@given(st.lists(batches, min_size=1, max_size=4), st.data())
def test_commands(work: list[Any], data: st.DataObject) -> None:
    state = new_state()
    for batch in work:
        twin = CommandTwin(
            state.next_event_id + 1,
            {
                activity.scheduled_event_id: [
                    activity.activity_id,
                    bool(activity.started_ns),
                    bool(activity.cancel_requested_id),
                ]
                for activity in state.activities.values()
            },
            set(state.timers),
        )
        cause = 0
        try:
            for one in batch:
                twin.take(one)
        except RefusedError as refused:
            cause = refused.cause
        before = state.encode()
        try:
            commands.check(state, batch, "default")
        except commands.CommandError as error:
            assert error.cause == cause
            assert state.encode() == before, "a refused batch leaves no trace"
            continue
        assert cause == 0
        completed_id = transitions.complete_workflow_task(state, T0, "worker")
        state.take_events()
        commands.apply(state, batch, completed_id, T0, "default")
        assert [event.event_type for event in state.take_events()] == twin.events
        assert {id: a.activity_id for id, a in state.activities.items()} == {
            id: a[0] for id, a in twin.activities.items()
        }
        assert set(state.timers) == twin.timers
        for activity in state.activities.values():
            if not activity.started_ns and data.draw(st.booleans()):
                activities.start_activity(activity, T0, "1", "worker", 0)
        transitions.schedule_workflow_task(state, T0)
        transitions.start_workflow_task(state, T0, "1", "worker", False)


# ---- the tables


def test_the_rows_of_a_run_are_what_it_does() -> None:
    def at(state: RunState) -> MutableState:
        run = MutableState("n", "w", "r")
        started = history_v1.WorkflowExecutionStartedEventAttributes(
            workflow_type=common_v1.WorkflowType("W"), task_queue=taskqueue_v1.TaskQueue("q", 1)
        )
        transitions.start(run, started, T0)
        if state >= RunState.RUNNING:
            transitions.schedule_workflow_task(run, T0)
        if state == RunState.CLOSED:
            transitions.force_close(run, 27, history_v1.WorkflowExecutionTerminatedEventAttributes(), T0)
        return run

    found = set()
    for state in RunState:
        run = at(state)
        assert run.state == state
        if transitions.schedule_workflow_task(run, T0) or state == RunState.RUNNING:
            found.add((state, "SCHEDULE_TASK", RunState(run.state)))
        run = at(state)
        if run.state != RunState.CLOSED:
            transitions.force_close(run, 27, history_v1.WorkflowExecutionTerminatedEventAttributes(), T0)
            found.add((state, "CLOSE", RunState(run.state)))
    assert found == {(RunState(a), move, RunState(b)) for a, move, b in EXECUTION_ROWS}


def test_the_rows_of_workflow_tasks_are_what_they_do() -> None:
    def where(s: MutableState) -> str:
        return "STARTED" if s.task_started_id else "SCHEDULED" if s.task_scheduled_id else "NONE"

    def at(state: str) -> MutableState:
        s = new_state()
        if state == "NONE":
            transitions.complete_workflow_task(s, T0, "worker")
        elif state == "SCHEDULED":
            transitions.complete_workflow_task(s, T0, "worker")
            transitions.schedule_workflow_task(s, T0)
        s.take_events()
        assert where(s) == state
        return s

    moves: dict[str, Any] = {
        "SCHEDULE": lambda s: transitions.schedule_workflow_task(s, T0),
        "START": lambda s: transitions.start_workflow_task(s, T0, "1", "worker", False),
        "COMPLETE": lambda s: transitions.complete_workflow_task(s, T0, "worker"),
        "FAIL": lambda s: transitions.fail_workflow_task(s, T0, 14, None, "worker", ""),
        "TIME_OUT": lambda s: transitions.time_out_workflow_task(s, T0),
    }
    numbers = {5: "Scheduled", 6: "Started", 7: "Completed", 8: "TimedOut", 9: "Failed"}
    for state, move, after, event in transitions.WORKFLOW_TASK_ROWS:
        s = at(state)
        assert moves[move](s) is not False
        written = s.take_events()[0]
        assert f"WorkflowTask{numbers[written.event_type]}" == event
        if move in ("FAIL", "TIME_OUT"):
            # The next attempt follows at once: NONE is passed through.
            assert (after, where(s)) == ("NONE", "SCHEDULED")
        else:
            assert where(s) == after
    rows = {(state, move) for state, move, _, _ in transitions.WORKFLOW_TASK_ROWS}
    for state in ("NONE", "SCHEDULED", "STARTED"):
        for move in ("SCHEDULE", "START"):
            if (state, move) not in rows:
                assert moves[move](at(state)) is False


ANSWERS: dict[int, Any] = {
    11: lambda n: history_v1.ActivityTaskStartedEventAttributes(n),
    12: lambda n: history_v1.ActivityTaskCompletedEventAttributes(scheduled_event_id=n),
    13: lambda n: history_v1.ActivityTaskFailedEventAttributes(scheduled_event_id=n),
    14: lambda n: history_v1.ActivityTaskTimedOutEventAttributes(scheduled_event_id=n),
    15: lambda n: history_v1.ActivityTaskCancelRequestedEventAttributes(n),
    16: lambda n: history_v1.ActivityTaskCanceledEventAttributes(scheduled_event_id=n),
    18: lambda n: history_v1.TimerFiredEventAttributes("t", n),
    19: lambda n: history_v1.TimerCanceledEventAttributes("t", n),
    23: lambda n: history_v1.RequestCancelExternalWorkflowExecutionFailedEventAttributes(initiated_event_id=n),
    24: lambda n: history_v1.ExternalWorkflowExecutionCancelRequestedEventAttributes(initiated_event_id=n),
    30: lambda n: history_v1.StartChildWorkflowExecutionFailedEventAttributes(initiated_event_id=n),
    31: lambda n: history_v1.ChildWorkflowExecutionStartedEventAttributes(
        initiated_event_id=n, workflow_execution=common_v1.WorkflowExecution("c", "r")
    ),
    32: lambda n: history_v1.ChildWorkflowExecutionCompletedEventAttributes(initiated_event_id=n),
    33: lambda n: history_v1.ChildWorkflowExecutionFailedEventAttributes(initiated_event_id=n),
    34: lambda n: history_v1.ChildWorkflowExecutionCanceledEventAttributes(initiated_event_id=n),
    35: lambda n: history_v1.ChildWorkflowExecutionTimedOutEventAttributes(initiated_event_id=n),
    36: lambda n: history_v1.ChildWorkflowExecutionTerminatedEventAttributes(initiated_event_id=n),
    38: lambda n: history_v1.SignalExternalWorkflowExecutionFailedEventAttributes(initiated_event_id=n),
    39: lambda n: history_v1.ExternalWorkflowExecutionSignaledEventAttributes(initiated_event_id=n),
}
OPENINGS: dict[str, Any] = {
    "activities": schedule_activity(),
    "timers": start_timer("t"),
}


@pytest.mark.parametrize(("event_type", "table", "effect"), PENDING_ROWS)
def test_the_rows_of_pending_work_are_what_events_do(event_type: int, table: str, effect: str) -> None:
    from tests.engine.driver import cancel_external, signal_external, start_child

    opening = {
        **OPENINGS,
        "children": start_child("c"),
        "signals": signal_external("x"),
        "cancels": cancel_external("x"),
    }[table]
    state = new_state()
    completed_id = transitions.complete_workflow_task(state, T0, "worker")
    state.take_events()
    commands.apply(state, [opening], completed_id, T0, "default")
    (opened,) = state.take_events()
    tables = ("activities", "timers", "children", "signals", "cancels")
    assert [len(getattr(state, name)) for name in tables] == [int(name == table) for name in tables]
    if effect == "OPEN":
        assert opened.event_type == event_type
        return
    transitions.write(state, event_type, ANSWERS[event_type](opened.event_id), T0)
    assert len(getattr(state, table)) == (effect == "KEEP")
    if effect == "CLOSE":
        with pytest.raises(ValueError):
            transitions.write(state, event_type, ANSWERS[event_type](opened.event_id), T0)


def test_what_waits_for_a_started_task() -> None:
    written_by_commands = {10, 15, 17, 19, 22, 25, 29, 37, 40, 46}
    assert written_by_commands <= UNBUFFERED
    assert not COMPLETIONS & UNBUFFERED
    assert {1, 2, 3, 4, 21, 27, 28} <= UNBUFFERED
    closing = complete()
    assert command("COMPLETE_WORKFLOW_EXECUTION", closing.attributes).command_type in commands.CLOSE_COMMANDS
