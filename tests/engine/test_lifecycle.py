"""How runs end and go on: timers, timeouts, retry, cron, continue-as-new, children, reset, retention, restart."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from perdure.api.common import v1 as common_v1
from perdure.api.enums.v1 import ParentClosePolicy, WorkflowIdReusePolicy
from perdure.api.query import v1 as query_v1
from perdure.api.workflowservice import v1 as ws
from perdure.service import RPCError, RPCStatusCode
from perdure.store.api import Capability, Store
from tests.engine.driver import (
    Clock,
    Driver,
    S,
    cancel,
    cancel_external,
    cancel_timer,
    complete,
    continue_as_new,
    driving,
    fail,
    name,
    payloads,
    queue,
    schedule_activity,
    signal_external,
    start_child,
    start_timer,
)

# ---- timers


async def test_timers_fire_in_order_of_time_in_one_task(d: Driver) -> None:
    await d.start()
    await d.turn(start_timer("late", 3), start_timer("early", 1), start_timer("mid", 2))
    await d.advance(3)
    fired = [event.attributes.timer_id for event in await d.history() if name(event) == "TimerFired"]
    assert fired == ["early", "mid", "late"]
    assert (await d.names()).count("WorkflowTaskScheduled") == 2


async def test_a_zero_timer_fires(d: Driver) -> None:
    await d.start()
    await d.turn(start_timer("t", 0))
    await d.advance(0.001)
    assert "TimerFired" in await d.names()


async def test_cancelling_a_timer_whose_firing_is_buffered_removes_it(d: Driver) -> None:
    await d.start()
    await d.turn(start_timer("t", 1))
    await d.signal()
    task = await d.poll()
    await d.advance(1)
    await d.answer(task, cancel_timer("t"))
    names = await d.names()
    assert "TimerFired" not in names
    assert names[-1] == "TimerCanceled"


# ---- timeouts, retry, cron, continue-as-new


async def test_run_timeout(d: Driver) -> None:
    await d.start(workflow_run_timeout=5 * S)
    await d.turn(start_timer("t", 100))
    await d.advance(5)
    assert await d.status() == 7
    assert (await d.history())[-1].attributes.retry_state == 5


async def test_workflow_retry_carries_the_failure_and_the_attempt(d: Driver) -> None:
    policy = common_v1.RetryPolicy(initial_interval=2 * S, maximum_attempts=2)
    first = await d.start(retry_policy=policy, input=payloads(b"7"))
    await d.turn(fail())
    closed = (await d.history(run_id=first))[-1].attributes
    assert closed.retry_state == 1
    second = closed.new_execution_run_id
    started = (await d.history(run_id=second))[0].attributes
    assert (started.attempt, started.continued_failure.message, started.input) == (2, "no", payloads(b"7"))
    assert started.first_workflow_task_backoff == 2 * S
    assert (started.first_execution_run_id, started.continued_execution_run_id) == (first, first)
    await d.advance(2)
    await d.turn(fail())
    last = (await d.history(run_id=second))[-1].attributes
    assert (last.retry_state, last.new_execution_run_id) == (4, "")


async def test_execution_timeout_ends_the_chain(d: Driver) -> None:
    await d.start(workflow_execution_timeout=5 * S, retry_policy=common_v1.RetryPolicy(initial_interval=S))
    await d.turn(fail())
    await d.advance(1)
    await d.turn(start_timer("t", 100))
    await d.advance(4)
    last = (await d.history())[-1]
    assert name(last) == "WorkflowExecutionTimedOut"
    assert (last.attributes.retry_state, last.attributes.new_execution_run_id) == (3, "")


async def test_cron_runs_at_its_slots_and_carries_the_result(d: Driver) -> None:
    first = await d.start(cron_schedule="@every 10s")
    assert await d.names() == ["WorkflowExecutionStarted"]
    await d.advance(10)
    await d.turn(complete(b"1"))
    closed = (await d.history(run_id=first))[-1].attributes
    assert name((await d.history(run_id=first))[-1]) == "WorkflowExecutionCompleted"
    assert await d.status(run_id=first) == 2
    started = (await d.history(run_id=closed.new_execution_run_id))[0].attributes
    assert started.initiator == 3
    assert started.last_completion_result == payloads(b"1")
    assert started.first_workflow_task_backoff == 10 * S
    await d.advance(10)
    await d.turn(fail())
    started = (await d.history())[0].attributes
    assert started.last_completion_result == payloads(b"1")
    assert started.continued_failure.message == "no"
    await d.terminate()
    assert await d.status() == 5


async def test_continue_as_new(d: Driver) -> None:
    first = await d.start(input=payloads(b"1"), memo=common_v1.Memo({"m": common_v1.Payload(data=b"1")}))
    await d.advance(5)
    await d.turn(continue_as_new(input=payloads(b"2")))
    closed = (await d.history(run_id=first))[-1].attributes
    second = closed.new_execution_run_id
    assert await d.status(run_id=first) == 6
    started = (await d.history(run_id=second))[0].attributes
    assert started.input == payloads(b"2")
    assert started.initiator == 1
    assert started.memo is None
    assert started.first_workflow_task_backoff == 0
    assert await d.names() == ["WorkflowExecutionStarted", "WorkflowTaskScheduled"]


async def test_a_quick_continue_as_new_is_paced(d: Driver) -> None:
    await d.start()
    await d.turn(continue_as_new())
    assert await d.names() == ["WorkflowExecutionStarted"]
    assert (await d.history())[0].attributes.first_workflow_task_backoff == S
    await d.advance(1)
    assert await d.has_workflow_task()


# ---- cancel and signals across runs


async def test_cancel_is_recorded_once_and_the_workflow_decides(d: Driver) -> None:
    await d.start()
    await d.turn(start_timer())
    await d.request_cancel(reason="why")
    await d.request_cancel()
    assert (await d.names()).count("WorkflowExecutionCancelRequested") == 1
    await d.turn(cancel())
    assert await d.status() == 4
    await d.request_cancel()
    with pytest.raises(RPCError):
        await d.terminate()


async def test_external_signal_and_cancel(d: Driver) -> None:
    await d.start("target", task_queue=queue("tq"))
    await d.start()
    await d.turn(
        signal_external("target", input=payloads(b"1")),
        cancel_external("target", reason="stop"),
        signal_external("nobody"),
        cancel_external("nobody"),
        signal_external("w"),
    )
    await d.settle()
    names = await d.names()
    assert names.count("ExternalWorkflowExecutionSignaled") == 1
    assert names.count("ExternalWorkflowExecutionCancelRequested") == 1
    assert names.count("SignalExternalWorkflowExecutionFailed") == 2
    assert names.count("RequestCancelExternalWorkflowExecutionFailed") == 1
    target = await d.names("target")
    assert {"WorkflowExecutionSignaled", "WorkflowExecutionCancelRequested"} <= set(target)


# ---- children


async def child_turn(d: Driver, *commands: Any) -> None:
    task = await d.poll(queue("cq"))
    await d.answer(task, *commands)
    await d.settle()


async def test_child_completes(d: Driver) -> None:
    await d.start()
    await d.turn(start_child(input=payloads(b"1")))
    await d.settle()
    assert (await d.names())[4:] == [
        "StartChildWorkflowExecutionInitiated",
        "ChildWorkflowExecutionStarted",
        "WorkflowTaskScheduled",
    ]
    started = (await d.history("child"))[0].attributes
    assert started.parent_workflow_execution.workflow_id == "w"
    assert started.root_workflow_execution.workflow_id == "w"
    await child_turn(d, complete(b"42"))
    completed = (await d.history())[-1]
    assert name(completed) == "ChildWorkflowExecutionCompleted"
    assert completed.attributes.result == payloads(b"42")
    assert completed.attributes.started_event_id == 6


@pytest.mark.parametrize(
    ("closing", "event"),
    [(fail, "ChildWorkflowExecutionFailed"), (cancel, "ChildWorkflowExecutionCanceled")],
)
async def test_other_child_ends(d: Driver, closing: Any, event: str) -> None:
    await d.start()
    await d.turn(start_child())
    await d.settle()
    await child_turn(d, closing())
    assert (await d.names())[-1] == event


async def test_a_terminated_child_tells_its_parent(d: Driver) -> None:
    await d.start()
    await d.turn(start_child())
    await d.settle()
    await d.terminate("child")
    await d.settle()
    assert (await d.names())[-1] == "ChildWorkflowExecutionTerminated"


async def test_child_id_taken(d: Driver) -> None:
    await d.start("child", task_queue=queue("other"))
    await d.start()
    await d.turn(start_child())
    await d.settle()
    assert (await d.names())[-2:] == ["StartChildWorkflowExecutionFailed", "WorkflowTaskScheduled"]


async def test_only_the_end_of_a_childs_chain_reaches_the_parent(d: Driver) -> None:
    await d.start()
    await d.turn(start_child())
    await d.settle()
    await d.advance(2)
    await child_turn(d, continue_as_new())
    assert (await d.names())[-1] == "WorkflowTaskScheduled"
    await child_turn(d, complete(b"9"))
    completed = (await d.history())[-1].attributes
    assert completed.result == payloads(b"9")


@pytest.mark.parametrize(
    ("policy", "status", "event"),
    [
        (ParentClosePolicy.PARENT_CLOSE_POLICY_TERMINATE, 5, "WorkflowExecutionTerminated"),
        (ParentClosePolicy.PARENT_CLOSE_POLICY_REQUEST_CANCEL, 1, "WorkflowExecutionCancelRequested"),
        (ParentClosePolicy.PARENT_CLOSE_POLICY_ABANDON, 1, None),
    ],
)
async def test_parent_close_policies(d: Driver, policy: int, status: int, event: str | None) -> None:
    await d.start()
    await d.turn(start_child(parent_close_policy=int(policy)))
    await d.settle()
    await d.turn(complete())
    await d.settle()
    assert await d.status("child") == status
    if event is not None:
        assert event in await d.names("child")


async def test_a_child_whose_parent_closes_first_never_runs(d: Driver) -> None:
    await d.start()
    await d.turn(start_child(), complete())
    await d.settle()
    assert not await d.has_workflow_task("cq")


# ---- queries


async def test_a_query_without_a_pending_task_goes_out_by_itself(d: Driver) -> None:
    await d.start()
    await d.turn(start_timer("t", 100))
    asking = asyncio.ensure_future(d.query())
    task = await d.poll()
    assert task.query is not None and task.query.query_type == "state"
    await d.engine.respond_query_task_completed(ws.RespondQueryTaskCompletedRequest(task.task_token, 1, payloads(b"5")))
    assert (await asking).query_result == payloads(b"5")
    with pytest.raises(RPCError):
        await d.engine.respond_query_task_completed(ws.RespondQueryTaskCompletedRequest(task.task_token, 1))


async def test_a_query_rides_on_the_pending_task(d: Driver) -> None:
    await d.start()
    asking = asyncio.ensure_future(d.query())
    await asyncio.sleep(0)
    task = await d.poll()
    (query_id,) = task.queries
    result = query_v1.WorkflowQueryResult(1, payloads(b"6"))
    await d.answer(task, start_timer(), query_results={query_id: result})
    assert (await asking).query_result == payloads(b"6")


async def test_a_failed_query_and_rejections(d: Driver) -> None:
    await d.start()
    await d.turn(complete())
    rejected = await d.query(query_reject_condition=2)
    assert rejected.query_rejected == query_v1.QueryRejected(2)
    asking = asyncio.ensure_future(d.query())
    task = await d.poll()
    assert task.history is not None and len(task.history.events) == 5
    await d.engine.respond_query_task_completed(
        ws.RespondQueryTaskCompletedRequest(task.task_token, 2, error_message="unknown query")
    )
    with pytest.raises(RPCError) as failed:
        await asking
    assert (failed.value.status, failed.value.message) == (RPCStatusCode.INVALID_ARGUMENT, "unknown query")


async def test_queries_nobody_can_answer(d: Driver) -> None:
    await d.start(workflow_start_delay=60 * S)
    with pytest.raises(RPCError) as delayed:
        await d.query()
    assert delayed.value.status is RPCStatusCode.FAILED_PRECONDITION
    await d.start("x")
    await d.turn(start_timer("t", 100))
    with pytest.raises(RPCError) as alone:
        await d.engine.query_workflow(
            ws.QueryWorkflowRequest("default", common_v1.WorkflowExecution("x"), query_v1.WorkflowQuery("state")),
            timeout=timedelta(milliseconds=20),
        )
    assert alone.value.status is RPCStatusCode.DEADLINE_EXCEEDED


# ---- histories and lists


async def test_history_pages_and_reverse(d: Driver) -> None:
    await d.start()
    for _ in range(30):
        await d.signal()
    execution = common_v1.WorkflowExecution("w")
    seen: list[int] = []
    token = b""
    while True:
        page = await d.engine.get_workflow_execution_history(
            ws.GetWorkflowExecutionHistoryRequest("default", execution, 7, token)
        )
        assert page.history is not None
        seen += [event.event_id for event in page.history.events]
        token = page.next_page_token
        if not token:
            break
    assert seen == list(range(1, 33))
    assert await d.reverse_ids(7) == list(range(32, 0, -1))


async def test_history_long_poll_sees_new_events_and_the_close(d: Driver) -> None:
    run_id = await d.start()
    execution = common_v1.WorkflowExecution("w")
    first = await d.engine.get_workflow_execution_history(
        ws.GetWorkflowExecutionHistoryRequest("default", execution, wait_new_event=True)
    )
    assert first.history is not None and len(first.history.events) == 2 and first.next_page_token
    waiting = asyncio.ensure_future(
        d.engine.get_workflow_execution_history(
            ws.GetWorkflowExecutionHistoryRequest("default", execution, 0, first.next_page_token, True)
        )
    )
    await asyncio.sleep(0)
    await d.signal()
    more = await waiting
    assert more.history is not None and [event.event_id for event in more.history.events] == [3]
    close = asyncio.ensure_future(
        d.engine.get_workflow_execution_history(
            ws.GetWorkflowExecutionHistoryRequest("default", execution, 0, b"", True, 2)
        )
    )
    await asyncio.sleep(0)
    await d.turn(complete(b"3"))
    closed = await close
    assert closed.history is not None
    assert [name(event) for event in closed.history.events] == ["WorkflowExecutionCompleted"]
    assert closed.next_page_token == b""
    assert await d.status(run_id=run_id) == 2


async def test_lists_read_their_writes(d: Driver) -> None:
    for i in range(5):
        await d.start(f"w{i}")
    await d.turn(complete())
    assert len(await d.list()) == 5
    assert len(await d.list("ExecutionStatus = 'Running'")) == 4
    assert await d.list("WorkflowId = 'w3'") == ["w3"]
    assert len(await d.list("WorkflowType = 'W' AND StartTime > '2020-01-01T00:00:00Z'")) == 5
    counted = await d.engine.count_workflow_executions(
        ws.CountWorkflowExecutionsRequest("default", "GROUP BY ExecutionStatus")
    )
    assert counted.count == 5
    assert sorted(group.count for group in counted.groups) == [1, 4]
    with pytest.raises(RPCError) as refused:
        await d.list("WorkflowId LIKE 'x'")
    assert refused.value.status is RPCStatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("run_id", ["nonsense", "00000000-0000-4000-8000-000000000000"])
async def test_wrong_run_ids(d: Driver, run_id: str) -> None:
    await d.start()
    with pytest.raises(RPCError) as refused:
        await d.signal(run_id=run_id)
    assert refused.value.status in (RPCStatusCode.INVALID_ARGUMENT, RPCStatusCode.NOT_FOUND)


# ---- reset, delete, retention


async def reset(d: Driver, finish_id: int, **options: Any) -> str:
    response = await d.engine.reset_workflow_execution(
        ws.ResetWorkflowExecutionRequest(
            "default", common_v1.WorkflowExecution("w"), "again", finish_id, request_id=f"r{finish_id}", **options
        )
    )
    return response.run_id


async def test_reset_takes_a_run_back_and_reapplies_signals(d: Driver) -> None:
    first = await d.start()
    await d.turn(start_timer("t", 60))
    await d.signal(signal="kept")
    await d.turn(start_timer("u", 60))
    second = await reset(d, 4)
    assert second != first
    assert await d.status(run_id=first) == 5
    assert (await d.history(run_id=first))[-1].attributes.identity == "history-resetter"
    assert await d.names() == [
        "WorkflowExecutionStarted",
        "WorkflowTaskScheduled",
        "WorkflowTaskStarted",
        "WorkflowTaskFailed",
        "WorkflowExecutionSignaled",
        "WorkflowTaskScheduled",
    ]
    failed = (await d.history())[3].attributes
    assert (failed.cause, failed.base_run_id, failed.new_run_id) == (20, first, second)
    started = (await d.history())[0].attributes
    assert started.original_execution_run_id == first
    assert await reset(d, 4) == second
    await d.turn(complete())
    assert await d.status() == 2


async def test_reset_reschedules_what_was_pending(d: Driver) -> None:
    await d.start()
    await d.turn(schedule_activity(), start_timer("t", 30))
    await d.signal()
    await d.turn(complete())
    await reset(d, 9)
    activity = await d.poll_activity()
    await d.complete_activity(activity)
    await d.advance(30)
    assert "TimerFired" in await d.names()


@pytest.mark.parametrize("finish_id", [0, 1, 2, 100])
async def test_bad_reset_points(d: Driver, finish_id: int) -> None:
    await d.start()
    await d.turn(start_timer())
    with pytest.raises(RPCError) as refused:
        await reset(d, finish_id)
    assert refused.value.status is RPCStatusCode.INVALID_ARGUMENT


async def test_delete_open_and_closed(d: Driver) -> None:
    await d.start("open")
    await d.start("closed", task_queue=queue("cq"))
    await child_turn(d, complete())
    for workflow_id in ("open", "closed"):
        await d.engine.delete_workflow_execution(
            ws.DeleteWorkflowExecutionRequest("default", common_v1.WorkflowExecution(workflow_id))
        )
        with pytest.raises(RPCError) as gone:
            await d.describe(workflow_id)
        assert gone.value.status is RPCStatusCode.NOT_FOUND
    assert await d.list() == []


async def test_retention_forgets_closed_runs(d: Driver) -> None:
    await d.engine.namespaces.set_retention("default", 60_000)
    await d.start()
    await d.turn(complete())
    await d.advance(59)
    assert await d.status() == 2
    await d.advance(2)
    await d.settle()
    assert await d.list() == []
    reject = int(WorkflowIdReusePolicy.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE)
    await d.start(workflow_id_reuse_policy=reject)


# ---- restart


async def test_everything_goes_on_after_a_restart(open_store: Callable[[], Awaitable[Store]]) -> None:
    store = await open_store()
    if Capability.PERSISTENT not in store.capabilities:
        await store.close()
        return
    clock = Clock()
    async with driving(store, clock) as d:
        await d.start("timer")
        await d.turn(start_timer("t", 30))
        await d.start("activity")
        await d.turn(schedule_activity())
        await d.start("lost")
        await d.turn(schedule_activity(task_queue=queue("lq")))
        lost = await d.poll_activity("lq")
        assert lost.attempt == 1
        await d.start("fresh", task_queue=queue("fq"))
        await d.start("parent")
        await d.turn(start_child())
        await d.settle()
    async with driving(await open_store(), clock) as d:
        assert (await d.describe("lost")).pending_activities[0].attempt == 2
        assert await d.has_workflow_task("fq")
        assert await d.has_workflow_task("cq")
        assert (await d.poll_activity()).workflow_execution == (
            await d.describe("activity")
        ).workflow_execution_info.execution  # type: ignore[union-attr]
        await child_turn(d, complete())
        assert (await d.names("parent"))[-1] == "ChildWorkflowExecutionCompleted"
        await d.advance(30)
        assert "TimerFired" in await d.names("timer")
        await d.poll_activity("lq")
