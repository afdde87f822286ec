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
from perdure._native.events import HistoryEvent
from perdure.api.enums.v1 import CommandType, WorkflowTaskFailedCause
from perdure.api.workflowservice import v1 as ws
from perdure.common import RawValue
from perdure.exceptions import (
    ActivityError,
    ApplicationError,
    ChildWorkflowError,
    WorkflowAlreadyStartedError,
)
from perdure.workflow import ActivityCancellationType, ChildWorkflowCancellationType
from perdure.workflow._definition import _Definition

from .mini_server import SECOND, MiniServer

SHORT = timedelta(seconds=5)


def kinds(server: MiniServer) -> list[str]:
    """The last task's commands by name."""
    return [CommandType(command.command_type).name.removeprefix("COMMAND_TYPE_").lower() for command in server.commands]


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
class Parent:
    @workflow.run
    async def run(self, how: str) -> str:
        try:
            handle = await workflow.start_child_workflow(
                "Child",
                how,
                id="child-1",
                cancellation_type=ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED,
            )
        except WorkflowAlreadyStartedError as error:
            return f"already: {error.workflow_id}"
        assert (handle.id, handle.first_execution_run_id) == ("child-1", "child-run")
        await handle.signal("hello", 1)
        try:
            return str(await handle)
        except ChildWorkflowError as error:
            return f"{error.message} / {type(error.cause).__name__}"


@pytest.mark.parametrize("cached", [True, False])
def test_children(cached: bool) -> None:
    server = MiniServer(Parent, "x")
    server.turn()
    assert kinds(server) == ["start_child_workflow_execution"]
    server.start_child()
    server.turn(cached=cached)
    assert kinds(server) == ["signal_external_workflow_execution"]
    assert server.commands[0].attributes.child_workflow_only  # type: ignore[attr-defined]
    server.external_signaled()
    server.turn(cached=cached)
    server.complete_child("grown")
    server.turn(cached=cached)
    assert server.result == "grown"
    server.replay()


def test_a_child_whose_id_is_taken() -> None:
    server = MiniServer(Parent, "x")
    server.turn()
    server.fail_child_start()
    server.turn(cached=False)
    assert server.result == "already: child-1"


@workflow.defn
class Renewing:
    @workflow.run
    async def run(self, count: int) -> int:
        if count:
            workflow.continue_as_new(count - 1, memo={"left": count - 1})
        return count


def test_continue_as_new() -> None:
    server = MiniServer(Renewing, 3)
    server.turn()
    assert kinds(server) == ["continue_as_new_workflow_execution"]
    attributes: Any = server.commands[0].attributes
    assert attributes.input.payloads[0].data == b"2"
    assert attributes.workflow_type.name == "Renewing"
    assert attributes.memo.fields["left"].data == b"2"
    server.replay()


@workflow.defn
class RenewingInGroup:
    @workflow.run
    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._renew())

    async def _renew(self) -> None:
        workflow.continue_as_new()


def test_continue_as_new_from_a_task_group() -> None:
    server = MiniServer(RenewingInGroup)
    server.turn()
    assert kinds(server) == ["continue_as_new_workflow_execution"]


@workflow.defn
class PatchedWorkflow:
    @workflow.run
    async def run(self) -> list[bool]:
        answers = [workflow.patched("one")]
        await workflow.execute_activity("x", start_to_close_timeout=SHORT)
        answers += [workflow.patched("one"), workflow.patched("two")]
        return answers


@workflow.defn(name="PatchedWorkflow")
class UnpatchedWorkflow:
    @workflow.run
    async def run(self) -> list[bool]:
        await workflow.execute_activity("x", start_to_close_timeout=SHORT)
        return []


@workflow.defn(name="PatchedWorkflow")
class DeprecatedWorkflow:
    @workflow.run
    async def run(self) -> list[bool]:
        workflow.deprecate_patch("one")
        await workflow.execute_activity("x", start_to_close_timeout=SHORT)
        workflow.deprecate_patch("two")
        return []


def test_patches() -> None:
    server = MiniServer(PatchedWorkflow)
    server.turn()
    assert kinds(server) == ["record_marker", "upsert_workflow_search_attributes", "schedule_activity_task"]
    server.complete_activity()
    server.turn(cached=False)
    assert kinds(server) == ["record_marker", "upsert_workflow_search_attributes", "complete_workflow_execution"]
    fields = server.commands[1].attributes.search_attributes.indexed_fields  # type: ignore[attr-defined]
    assert fields["TemporalChangeVersion"].data == b'["one","two"]'
    assert server.result == [True, True, True]
    server.replay()
    server.definition = _Definition.must_from_class(DeprecatedWorkflow)
    server.replay()
    server.definition = _Definition.must_from_class(UnpatchedWorkflow)
    with pytest.raises(workflow.NondeterminismError, match="patch 'one'"):
        server.replay()


def test_code_newer_than_the_history() -> None:
    server = MiniServer(UnpatchedWorkflow)
    server.turn()
    server.complete_activity()
    server.definition = _Definition.must_from_class(PatchedWorkflow)
    server.turn(cached=False)
    # Before the patch existed this point was passed, after it a new one is taken.
    assert server.result == [False, False, True]
    server.replay()


@workflow.defn
class Memos:
    @workflow.run
    async def run(self) -> dict[str, Any]:
        workflow.upsert_memo({"a": 1, "b": None})
        assert workflow.memo_value("a", type_hint=int) == 1
        with pytest.raises(KeyError):
            workflow.memo_value("b")
        return dict(workflow.memo())


def test_memo() -> None:
    server = MiniServer(Memos)
    server.turn()
    assert kinds(server) == ["modify_workflow_properties", "complete_workflow_execution"]
    assert server.result == {"a": 1}
    server.replay()


@workflow.defn
class Updated:
    def __init__(self) -> None:
        self.total = 0

    @workflow.run
    async def run(self) -> int:
        await workflow.wait_condition(lambda: self.total >= 10 and workflow.all_handlers_finished())
        return self.total

    @workflow.update
    async def add(self, amount: int) -> int:
        info = workflow.current_update_info()
        assert info is not None and info.name == "add"
        self.total += await workflow.execute_activity("check", amount, start_to_close_timeout=SHORT)
        return self.total

    @add.validator
    def check_amount(self, amount: int) -> None:
        if amount < 0:
            raise ValueError("negative")


@pytest.mark.parametrize("cached", [True, False])
def test_updates(cached: bool) -> None:
    server = MiniServer(Updated)
    server.turn()
    server.update("u1", "add", 10)
    server.update("u2", "add", -1)
    server.update("u3", "unknown")
    answer = server.turn(cached=cached)
    assert isinstance(answer, ws.RespondWorkflowTaskCompletedRequest)
    assert kinds(server) == ["protocol_message", "schedule_activity_task"]
    assert [message.id for message in answer.messages] == [
        "u1/request/accept",
        "u2/request/reject",
        "u3/request/reject",
    ]
    server.complete_activity(10)
    server.turn(cached=cached)
    assert kinds(server) == ["protocol_message", "complete_workflow_execution"]
    assert server.result == 10
    server.replay()


@workflow.defn
class UpdatedAfterTheEnd:
    def __init__(self) -> None:
        self.has_returned = False

    @workflow.run
    async def run(self) -> None:
        self.has_returned = True

    @workflow.update
    async def wait_for_end(self) -> str:
        await workflow.wait_condition(lambda: self.has_returned)
        return "done"


def test_old_sdks_dropped_what_came_after_the_end() -> None:
    """Their histories lack the update's completion, and the flag that says it is sent first."""
    server = MiniServer(UpdatedAfterTheEnd)
    server.update("u1", "wait_for_end")
    server.turn()
    server.replay()
    completed = next(event for event in server.events if event.event_type == 7)
    completed.attributes.sdk_metadata.core_used_flags = [1, 2]
    with pytest.raises(workflow.NondeterminismError):
        server.replay()
    before = [event for event in server.events if event.event_type != 43]  # UpdateCompleted
    server.replay([HistoryEvent(i, e.event_type, e.event_time, e.attributes) for i, e in enumerate(before, 1)])


@workflow.defn
class Unfinished:
    @workflow.run
    async def run(self) -> None:
        await workflow.sleep(1)

    @workflow.signal
    async def slow(self) -> None:
        await workflow.sleep(100)


def test_unfinished_handlers_are_warned_of() -> None:
    server = MiniServer(Unfinished)
    server.turn()
    server.signal("slow")
    server.turn()
    server.fire_timer("1")
    with pytest.warns(workflow.UnfinishedSignalHandlersWarning, match="slow"):
        server.turn()


def test_where_the_warning_is_an_error_it_fails_the_task() -> None:
    server = MiniServer(Unfinished)
    server.turn()
    server.signal("slow")
    server.turn()
    server.fire_timer("1")
    answer = server.turn()
    assert isinstance(answer, ws.RespondWorkflowTaskFailedRequest) and answer.failure is not None
    assert answer.failure.message.startswith("[TMPRL1102] Workflow finished while signal handlers are still running")


def test_eviction_makes_no_commands() -> None:
    server = MiniServer(WithFinally, 1)
    server.turn()
    assert server.run is not None
    run = server.run
    run.evict()
    run.evict()
    assert kinds(server) == ["schedule_activity_task"]
    server.run = None
    server.complete_activity()
    server.turn()
    assert server.is_closed


@workflow.defn
class WithFinally:
    @workflow.run
    async def run(self, _: int) -> None:
        try:
            await workflow.execute_activity("x", start_to_close_timeout=SHORT)
        finally:
            try:
                workflow.start_activity("cleanup", start_to_close_timeout=SHORT)
            except Exception:  # as careless code does
                pytest.fail("the eviction must pass through except Exception")


@workflow.defn
class Unclosable:
    @workflow.run
    async def run(self) -> None:
        self.task = asyncio.create_task(self.wait_for_ever())

    async def wait_for_ever(self) -> None:
        while True:
            try:
                await workflow.wait_condition(lambda: False)
            except BaseException:
                pass


def test_what_cannot_be_evicted_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    server = MiniServer(Unclosable)
    server.turn()
    assert server.run is not None
    server.run.evict()
    assert f"Timed out running eviction job for run ID {server.run.run_id}" in caplog.text


@workflow.defn
class AboutItself:
    @workflow.run
    async def run(self) -> dict[str, Any]:
        info = workflow.info()
        assert workflow.in_workflow()
        assert isinstance(workflow.instance(), AboutItself)
        assert info.workflow_id == "workflow-1"
        assert info.attempt == 1
        assert info.parent is None
        return {
            "type": info.workflow_type,
            "length": info.get_current_history_length(),
            "size": info.get_current_history_size(),
            "uuid": str(workflow.uuid4()),
            "random": workflow.random().random(),
            "now": workflow.now().isoformat(),
            "seven": str(workflow.uuid7()),
        }


def test_what_a_workflow_knows_of_itself() -> None:
    server = MiniServer(AboutItself)
    server.turn()
    result = server.result
    assert result["type"] == "AboutItself"
    assert result["length"] == 3
    assert result["now"] == "1970-01-01T00:16:40.003000+00:00"
    server.replay()
    assert not workflow.in_workflow()
    with pytest.raises(Exception, match="Not in workflow event loop"):
        workflow.info()


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
