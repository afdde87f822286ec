"""What workflow code sees and commands, task by task, in memory and replayed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from perdure import activity, workflow
from perdure.api.enums.v1 import WorkflowTaskFailedCause
from perdure.api.workflowservice import v1 as ws
from perdure.common import RawValue
from perdure.exceptions import (
    ActivityError,
    ApplicationError,
)
from perdure.workflow import ActivityCancellationType
from perdure.workflow._definition import _Definition
from tests.workflow.mini_server import SECOND, SHORT, MiniServer, kinds


@dataclass
class Order:
    item: str
    count: int


@activity.defn
async def charge(order: Order) -> Order:
    return order


@workflow.defn
class Sequence_:
    @workflow.run
    async def run(self, order: Order) -> str:
        charged = await workflow.execute_activity(charge, order, start_to_close_timeout=SHORT)
        assert isinstance(charged, Order)
        await workflow.sleep(60, summary="a minute")
        other = await workflow.execute_activity("named", args=[1, "b"], schedule_to_close_timeout=SHORT)
        return f"{charged.item} {other}"


@pytest.mark.parametrize("cached", [True, False])
def test_activities_and_timers(cached: bool) -> None:
    server = MiniServer(Sequence_, Order("tea", 2))
    server.turn()
    attributes: Any = server.commands[0].attributes
    assert attributes.activity_id == "1"
    assert attributes.activity_type.name == "charge"
    assert attributes.task_queue.name == "queue"
    assert attributes.input.payloads[0].data == b'{"count":2,"item":"tea"}'
    assert attributes.start_to_close_timeout == 5 * SECOND
    assert attributes.request_eager_execution
    server.complete_activity({"item": "tea", "count": 2})
    server.turn(cached=cached)
    assert kinds(server) == ["start_timer"]
    attributes = server.commands[0].attributes
    assert (attributes.timer_id, attributes.start_to_fire_timeout) == ("1", 60 * SECOND)
    metadata = server.commands[0].user_metadata
    assert metadata is not None and metadata.summary is not None and metadata.summary.data == b'"a minute"'
    server.fire_timer()
    server.turn(cached=cached)
    assert [payload.data for payload in server.commands[0].attributes.input.payloads] == [b"1", b'"b"']  # type: ignore[attr-defined]
    server.complete_activity("done")
    server.turn(cached=cached)
    assert server.result == "tea done"
    server.replay()


@workflow.defn
class Listener:
    def __init__(self) -> None:
        self.words: list[str] = []
        self.is_done = False

    @workflow.run
    async def run(self) -> list[str]:
        await workflow.wait_condition(lambda: self.is_done)
        return self.words

    @workflow.signal
    async def word(self, word: str) -> None:
        await asyncio.sleep(0)
        self.words.append(word)

    @workflow.signal(name="end")
    def finish(self) -> None:
        self.is_done = True

    @workflow.signal(dynamic=True)
    def any_other(self, name: str, args: Sequence[RawValue]) -> None:
        self.words.append(f"{name}:{len(args)}")

    @workflow.query
    def count(self, factor: int) -> int:
        return len(self.words) * factor

    @workflow.query(dynamic=True)
    def any_query(self, name: str, args: Sequence[RawValue]) -> str:
        return name

    @workflow.query
    def meddle(self) -> None:
        workflow.start_activity("x", start_to_close_timeout=SHORT)


@pytest.mark.parametrize("cached", [True, False])
def test_signals_and_queries(cached: bool) -> None:
    server = MiniServer(Listener)
    server.signal("word", "first")
    server.turn()
    assert server.commands == []
    server.signal("odd", 1, 2)
    server.signal("word", "second")
    server.turn(cached=cached)
    assert server.query("count", 10).answer.payloads[0].data == b"30"  # type: ignore[union-attr]
    assert server.query("whatever").answer.payloads[0].data == b'"whatever"'  # type: ignore[union-attr]
    refused = server.query("meddle")
    assert refused.failure is not None
    assert "While in read-only function, action attempted: start activity" in refused.error_message
    server.signal("end")
    server.turn(cached=cached)
    # Handlers run up to their first real wait in the order of their signals.
    assert server.result == ["first", "odd:2", "second"]
    server.replay()


def test_a_query_in_the_same_task_as_history_sees_all_of_it() -> None:
    from perdure.api.query.v1 import WorkflowQuery

    server = MiniServer(Listener)
    server.turn()
    server.signal("word", "x")
    server.queries = {"q1": WorkflowQuery("__stack_trace"), "q2": WorkflowQuery("__temporal_workflow_metadata")}
    answer = server.turn()
    assert isinstance(answer, ws.RespondWorkflowTaskCompletedRequest)
    trace = answer.query_results["q1"].answer.payloads[0].data  # type: ignore[union-attr]
    assert b"test_activation.py" in trace and b"wait_condition" in trace
    metadata = answer.query_results["q2"].answer.payloads[0].data  # type: ignore[union-attr]
    assert b'"signalDefinitions":[{},{"name":"end"},{"name":"word"}]' in metadata


def test_an_unknown_query_lists_those_known() -> None:
    server = MiniServer(Sequence_, Order("x", 1))
    server.turn()
    result = server.query("nope")
    assert result.result_type == 2
    assert "known queries: [__enhanced_stack_trace __stack_trace __temporal_workflow_metadata]" in result.error_message


@workflow.defn
class LateDynamic:
    @workflow.run
    async def run(self) -> list[str]:
        words: list[str] = []

        def any_signal(name: str, args: Sequence[RawValue]) -> None:
            words.append(name)

        await workflow.execute_activity("first", start_to_close_timeout=SHORT)
        workflow.set_signal_handler("word", words.append)
        workflow.set_dynamic_signal_handler(any_signal)
        await workflow.wait_condition(lambda: len(words) >= 3)
        return words


def test_signals_wait_for_their_handler() -> None:
    server = MiniServer(LateDynamic)
    server.turn()
    server.signal("other")
    server.signal("word", "a")
    server.signal("word", "b")
    server.turn()
    server.complete_activity()
    server.turn(cached=False)
    assert server.result == ["a", "b", "other"]


def test_a_signal_that_cannot_be_decoded_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    server = MiniServer(Listener)
    server.turn()
    server.signal("word", {"not": "text"})
    server.signal("end")
    server.turn()
    assert server.result == []
    assert "dropping the signal" in caplog.text


def test_a_null_is_no_argument_of_a_handler_without_parameters() -> None:
    server = MiniServer(Listener)
    server.turn()
    server.signal("end", None)  # What Go's clients send where there is nothing to send.
    server.turn()
    assert server.result == []


@workflow.defn
class Canceller:
    @workflow.run
    async def run(self, how: str) -> str:
        handle = workflow.start_activity(
            "slow", start_to_close_timeout=SHORT, cancellation_type=ActivityCancellationType[how]
        )
        await workflow.sleep(1)
        handle.cancel()
        try:
            return str(await handle)
        except ActivityError as error:
            return f"{error.message}: {type(error.cause).__name__}"


@pytest.mark.parametrize("cached", [True, False])
def test_cancelling_an_activity(cached: bool) -> None:
    for how in ("TRY_CANCEL", "ABANDON"):
        server = MiniServer(Canceller, how)
        server.turn()
        server.fire_timer()
        server.turn(cached=cached)
        expected = ["request_cancel_activity_task"] if how == "TRY_CANCEL" else []
        assert kinds(server) == [*expected, "complete_workflow_execution"]
        assert server.result == "Activity cancelled: CancelledError"
        server.replay()
    server = MiniServer(Canceller, "WAIT_CANCELLATION_COMPLETED")
    server.turn()
    server.fire_timer()
    server.turn(cached=cached)
    assert kinds(server) == ["request_cancel_activity_task"]
    server.complete_activity("after all")
    server.turn(cached=cached)
    assert server.result == "after all"
    server.replay()


@workflow.defn
class Regret:
    @workflow.run
    async def run(self) -> list[str]:
        seen = []
        handle = workflow.start_activity("never", start_to_close_timeout=SHORT)
        timer = asyncio.create_task(workflow.sleep(10))
        await asyncio.sleep(0)
        handle.cancel()
        timer.cancel()
        for name, waited in (("activity", handle), ("timer", timer)):
            try:
                await waited
            except (ActivityError, asyncio.CancelledError) as error:
                seen.append(f"{name} {type(error).__name__}")
        return seen


def test_what_is_cancelled_before_it_is_sent_is_never_sent() -> None:
    server = MiniServer(Regret)
    server.turn()
    assert kinds(server) == ["complete_workflow_execution"]
    assert server.result == ["activity ActivityError", "timer CancelledError"]
    server.replay()


@workflow.defn
class TimedOutCondition:
    @workflow.run
    async def run(self) -> str:
        with contextlib.suppress(TimeoutError):
            await workflow.wait_condition(lambda: False, timeout=timedelta(seconds=3), timeout_summary="patience")
        async with asyncio.timeout(5):
            await workflow.execute_activity("quick", start_to_close_timeout=SHORT)
        return "ok"


@pytest.mark.parametrize("cached", [True, False])
def test_timeouts_are_timers(cached: bool) -> None:
    server = MiniServer(TimedOutCondition)
    server.turn()
    assert server.commands[0].attributes.start_to_fire_timeout == 3 * SECOND  # type: ignore[attr-defined]
    server.fire_timer()
    server.turn(cached=cached)
    assert sorted(kinds(server)) == ["schedule_activity_task", "start_timer"]
    server.complete_activity()
    server.turn(cached=cached)
    assert kinds(server) == ["cancel_timer", "complete_workflow_execution"]
    server.replay()


@workflow.defn
class Cancellable:
    @workflow.run
    async def run(self, swallow: bool) -> str:
        try:
            await workflow.execute_activity("slow", start_to_close_timeout=SHORT)
        except ActivityError:
            if not swallow:
                raise
            return f"cleaned up: {workflow.cancellation_reason()}"
        return "not reached"


@pytest.mark.parametrize("cached", [True, False])
def test_cancelling_the_workflow(cached: bool) -> None:
    server = MiniServer(Cancellable, False)
    server.turn()
    server.cancel("enough")
    server.turn(cached=cached)
    assert kinds(server) == ["request_cancel_activity_task", "cancel_workflow_execution"]
    server.replay()
    server = MiniServer(Cancellable, True)
    server.turn()
    server.cancel("enough")
    server.turn(cached=cached)
    assert server.result == "cleaned up: enough"


def test_a_cancelled_workflow_that_never_ran_ends_cancelled() -> None:
    server = MiniServer(Cancellable, False)
    server.cancel()
    server.turn()
    assert kinds(server) == ["cancel_workflow_execution"]
    server.replay()


@workflow.defn
class Failing:
    @workflow.run
    async def run(self, how: str) -> None:
        if how == "application":
            raise ApplicationError("no", 1, 2, type="Refused", non_retryable=True)
        if how == "timeout":
            raise TimeoutError
        if how == "group":
            async with asyncio.TaskGroup() as group:
                group.create_task(self._fail())
                group.create_task(asyncio.sleep(100))
        if how == "activity":
            await workflow.execute_activity("bad", start_to_close_timeout=SHORT)
        raise ValueError("a bug")

    async def _fail(self) -> None:
        raise ApplicationError("in a group")


def test_what_fails_the_workflow_and_what_the_task() -> None:
    server = MiniServer(Failing, "application")
    server.turn()
    failure = server.commands[0].attributes.failure  # type: ignore[attr-defined]
    assert failure.message == "no"
    assert failure.application_failure_info.type == "Refused"
    assert failure.application_failure_info.non_retryable
    for how, message in (("timeout", ""), ("group", "in a group")):
        server = MiniServer(Failing, how)
        server.turn()
        assert kinds(server)[-1] == "fail_workflow_execution"
        assert server.commands[-1].attributes.failure.message == message  # type: ignore[attr-defined]
        server.replay()
    server = MiniServer(Failing, "activity")
    server.turn()
    server.fail_activity("boom")
    server.turn()
    failure = server.commands[-1].attributes.failure  # type: ignore[attr-defined]
    assert failure.message == "Activity task failed"
    assert failure.cause.message == "boom"
    server = MiniServer(Failing, "bug")
    answer = server.turn()
    assert isinstance(answer, ws.RespondWorkflowTaskFailedRequest)
    assert answer.cause == WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_WORKFLOW_WORKER_UNHANDLED_FAILURE
    assert answer.failure is not None and answer.failure.message == "a bug"


@workflow.defn(failure_exception_types=[ValueError])
class FailsOnValueError:
    @workflow.run
    async def run(self) -> None:
        assert workflow.is_failure_exception(ValueError())
        raise ValueError("counted as a failure")


def test_failure_exception_types() -> None:
    server = MiniServer(FailsOnValueError)
    server.turn()
    assert kinds(server) == ["fail_workflow_execution"]


@workflow.defn
class Hasty:
    @workflow.run
    async def run(self) -> None:
        await workflow.sleep(1)


@workflow.defn
class OtherActivity:
    @workflow.run
    async def run(self, _: str) -> None:
        await workflow.execute_activity("other", start_to_close_timeout=SHORT)


def test_nondeterminism_is_reported_with_both_sides() -> None:
    server = MiniServer(Failing, "activity")
    server.turn()
    server.definition = _Definition.must_from_class(OtherActivity)
    with pytest.raises(workflow.NondeterminismError) as raised:
        server.replay()
    message = str(raised.value)
    assert "ActivityTaskScheduled (activity id '1', type 'bad')" in message
    assert "ScheduleActivityTask (activity id '1', type 'other')" in message
    assert "run-1" in message


def test_a_command_without_an_event_is_nondeterminism() -> None:
    server = MiniServer(Listener)
    server.turn()
    server.signal("word", "x")
    server.turn()
    server.definition = _Definition.must_from_class(Hasty)
    with pytest.raises(workflow.NondeterminismError, match="has no event in history"):
        server.replay()


@workflow.defn
class WaitsForSets:
    @workflow.run
    async def run(self) -> list[str]:
        handles = [workflow.start_activity(f"a{i}", start_to_close_timeout=SHORT) for i in range(20)]
        done, _ = await asyncio.wait(set(handles))
        return [await handle for handle in done]


def test_sets_of_handles_have_an_order() -> None:
    server = MiniServer(WaitsForSets)
    server.turn()
    for number in range(20, 0, -1):
        server.complete_activity(number, activity_id=str(number))
    server.turn()
    assert server.result == list(range(1, 21))
    server.replay()
