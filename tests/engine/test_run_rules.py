"""Rules about whole runs that are easy to get wrong: queries, resets, chains, histories, deletion, limits."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from perdure.api.common import v1 as common_v1
from perdure.api.enums.v1 import ParentClosePolicy, ResetReapplyExcludeType
from perdure.api.query import v1 as query_v1
from perdure.api.workflowservice import v1 as ws
from perdure.engine import queries
from perdure.service import RPCError, RPCStatusCode
from perdure.store.api import StoreUnavailableError
from tests.engine.driver import (
    Driver,
    S,
    cancel_external,
    complete,
    continue_as_new,
    fail,
    name,
    payloads,
    queue,
    schedule_activity,
    signal_external,
    start_child,
    start_timer,
)

EXECUTION = common_v1.WorkflowExecution("w")


async def reset(d: Driver, finish_id: int, request_id: str = "r", **options: Any) -> str:
    response = await d.engine.reset_workflow_execution(
        ws.ResetWorkflowExecutionRequest("default", EXECUTION, "again", finish_id, request_id=request_id, **options)
    )
    await d.settle()
    return response.run_id


async def answer_query(d: Driver, task: ws.PollWorkflowTaskQueueResponse) -> None:
    await d.engine.respond_query_task_completed(ws.RespondQueryTaskCompletedRequest(task.task_token, 1, payloads(b"5")))


# ---- queries


async def test_terminate_releases_a_waiting_query(d: Driver) -> None:
    await d.start()
    await d.turn(start_timer("t", 100))
    await d.signal()
    asking = asyncio.ensure_future(d.query())
    await asyncio.sleep(0)
    await d.terminate()
    task = await d.poll()
    assert task.query is not None
    await answer_query(d, task)
    assert (await asking).query_result == payloads(b"5")


async def test_a_run_timeout_releases_a_waiting_query(d: Driver) -> None:
    await d.start(workflow_run_timeout=50 * S)
    await d.turn(start_timer("t", 100))
    await d.signal()
    asking = asyncio.ensure_future(d.query())
    await asyncio.sleep(0)
    await d.advance(50)
    await answer_query(d, await d.poll())
    assert (await asking).query_result == payloads(b"5")


async def test_a_query_of_a_run_that_never_ran_ends_with_it(d: Driver) -> None:
    await d.start()
    asking = asyncio.ensure_future(d.query())
    await asyncio.sleep(0)
    await d.terminate()
    with pytest.raises(RPCError) as refused:
        await asking
    assert refused.value.status is RPCStatusCode.FAILED_PRECONDITION
    assert refused.value.message == "Workflow execution closed before WorkflowTaskStarted event"


async def test_a_query_waits_for_a_first_task_that_comes_in_time(d: Driver) -> None:
    await d.start(workflow_start_delay=5 * S)
    asking = asyncio.ensure_future(d.query())
    await asyncio.sleep(0)
    await d.advance(5)
    task = await d.poll()
    (query_id,) = task.queries
    await d.answer(task, start_timer(), query_results={query_id: query_v1.WorkflowQueryResult(1, payloads(b"6"))})
    assert (await asking).query_result == payloads(b"6")


async def test_a_failed_task_keeps_its_query_for_the_next(d: Driver) -> None:
    await d.start()
    asking = asyncio.ensure_future(d.query())
    await asyncio.sleep(0)
    first = await d.poll()
    await d.fail_task(first)
    await d.advance(1)
    second = await d.poll()
    assert list(second.queries) == list(first.queries)
    (query_id,) = second.queries
    await d.answer(second, query_results={query_id: query_v1.WorkflowQueryResult(1, payloads(b"7"))})
    assert (await asking).query_result == payloads(b"7")


async def test_a_query_without_workers_says_so(d: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    await d.start()
    await d.turn()
    for polled in d.engine._core.matching._queues.values():
        polled.last_poll -= 30
    request = ws.QueryWorkflowRequest("default", common_v1.WorkflowExecution("w"), query_v1.WorkflowQuery("state"))
    for window, status in ((20.0, RPCStatusCode.FAILED_PRECONDITION), (60.0, RPCStatusCode.DEADLINE_EXCEEDED)):
        monkeypatch.setattr(queries, "_POLLER_WINDOW", window)
        with pytest.raises(RPCError) as refused:
            await d.engine.query_workflow(request, timeout=timedelta(seconds=1.05))
        assert refused.value.status is status


async def test_stuck_runs_refuse_queries(d: Driver) -> None:
    await d.start()
    for _ in range(2):
        await d.fail_task(await d.poll())
        await d.advance(20)
    with pytest.raises(RPCError) as refused:
        await d.query()
    assert refused.value.message == "Unable to query workflow due to Workflow Task in failed state."


# ---- reset


async def test_a_reset_counts_the_timeouts_anew(d: Driver) -> None:
    await d.start(workflow_run_timeout=10 * S)
    await d.turn(start_timer("t", 100))
    await d.advance(10)
    assert await d.status() == 7
    await reset(d, 4)
    assert await d.status() == 1
    described = await d.describe()
    extended = described.workflow_extended_info
    assert extended is not None and described.workflow_execution_info is not None
    assert extended.run_expiration_time == d.clock.now + 10 * S
    assert extended.original_start_time == d.clock.now - 10 * S
    assert extended.last_reset_time == described.workflow_execution_info.start_time == d.clock.now
    await d.advance(10)
    assert await d.status() == 7


async def test_a_reset_links_the_base_run_and_reapplies_what_was_buffered(d: Driver) -> None:
    first = await d.start()
    await d.turn(start_timer("t", 100))
    await d.signal(signal="one")
    await d.poll()
    await d.signal(signal="two")
    second = await reset(d, 4)
    extended = (await d.describe(run_id=first)).workflow_extended_info
    assert extended is not None and extended.reset_run_id == second
    signals = [e.attributes.signal_name for e in await d.history() if name(e) == "WorkflowExecutionSignaled"]
    assert signals == ["one", "two"]


async def test_excluded_signals_are_not_reapplied_but_children_are(d: Driver) -> None:
    await d.start()
    await d.turn(start_child(task_queue=queue("cq")))
    await d.settle()
    await d.signal()
    task = await d.poll()
    await d.answer(task)
    child = await d.poll(queue("cq"))
    await d.answer(child, complete())
    await d.settle()
    finish = next(e.event_id for e in await d.history() if name(e) == "WorkflowTaskScheduled" and e.event_id > 5) + 1
    exclude = int(ResetReapplyExcludeType.RESET_REAPPLY_EXCLUDE_TYPE_SIGNAL)
    await reset(d, finish, reset_reapply_exclude_types=[exclude])
    names = await d.names()
    assert "WorkflowExecutionSignaled" not in names[finish:]
    assert "ChildWorkflowExecutionCompleted" in names[finish:]


async def test_a_reset_run_hears_of_the_children_of_its_base(d: Driver) -> None:
    await d.start()
    await d.turn(start_child(task_queue=queue("cq")))
    await d.settle()
    await d.turn(start_timer("t", 100))
    finish = [e.event_id for e in await d.history() if name(e) == "WorkflowTaskCompleted"][-1]
    await reset(d, finish)
    assert await d.status("child") == 1
    await d.answer(await d.poll(queue("cq")), complete(b"1"))
    await d.settle()
    assert "ChildWorkflowExecutionCompleted" in await d.names()


async def test_parent_close_policies_follow_a_reset(d: Driver) -> None:
    await d.start()
    await d.turn(start_child(task_queue=queue("cq")))
    await d.settle()
    await d.turn(start_timer("t", 100))
    finish = [e.event_id for e in await d.history() if name(e) == "WorkflowTaskCompleted"][-1]
    await reset(d, finish)
    await d.turn(complete())
    await d.settle()
    assert await d.status("child") == 5


async def test_a_reset_carries_out_what_the_base_run_had_not(d: Driver) -> None:
    await d.start("other", task_queue=queue("oq"))
    await d.start()
    transfers = d.engine._core.on_transfer

    async def never(run: Any, row: Any) -> None:
        return

    d.engine._core.on_transfer = never
    await d.turn(
        signal_external("other"),
        cancel_external("other"),
        start_child(task_queue=queue("cq")),
        force_create_new_workflow_task=True,
    )
    await d.turn(start_timer("t", 100))
    await d.settle()
    d.engine._core.on_transfer = transfers
    finish = [e.event_id for e in await d.history() if name(e) == "WorkflowTaskCompleted"][-1]
    await reset(d, finish)
    names = await d.names()
    assert "ExternalWorkflowExecutionSignaled" in names
    assert "ExternalWorkflowExecutionCancelRequested" in names
    assert "ChildWorkflowExecutionStarted" in names


async def test_reset_follows_the_chain_of_continued_runs(d: Driver) -> None:
    first = await d.start()
    await d.advance(2)
    await d.turn(continue_as_new())
    await d.signal(signal="late")
    response = await d.engine.reset_workflow_execution(
        ws.ResetWorkflowExecutionRequest("default", common_v1.WorkflowExecution("w", first), "again", 4, request_id="r")
    )
    names = await d.names(run_id=response.run_id)
    assert names[3:] == ["WorkflowTaskFailed", "WorkflowExecutionSignaled", "WorkflowTaskScheduled"]


# ---- chains


@pytest.mark.parametrize("how", ["continue-as-new", "retry", "cron"])
async def test_children_do_not_outlive_their_run_in_a_chain(d: Driver, how: str) -> None:
    options: dict[str, Any] = {}
    if how == "retry":
        options["retry_policy"] = common_v1.RetryPolicy(initial_interval=S)
    elif how == "cron":
        options["cron_schedule"] = "@every 10s"
    await d.start(**options)
    await d.advance(10)
    await d.turn(
        start_child(task_queue=queue("cq")),
        start_child(
            "kept", parent_close_policy=int(ParentClosePolicy.PARENT_CLOSE_POLICY_ABANDON), task_queue=queue("kq")
        ),
    )
    await d.settle()
    await d.turn(continue_as_new() if how == "continue-as-new" else fail() if how == "retry" else complete())
    await d.settle()
    terminated = (await d.history("child"))[-1].attributes
    assert (terminated.reason, terminated.identity) == ("by parent close policy", "history-service")
    assert await d.status("kept") == 1
    assert await d.status() == 1


async def test_continue_as_new_takes_what_the_command_says_and_the_previous_timeouts(d: Driver) -> None:
    first = await d.start(
        workflow_execution_timeout=100 * S,
        workflow_run_timeout=50 * S,
        retry_policy=common_v1.RetryPolicy(),
        memo=common_v1.Memo({"m": common_v1.Payload({"encoding": b"json/plain"}, b"1")}),
        header=common_v1.Header({"h": common_v1.Payload(data=b"1")}),
    )
    expiration = (await d.history())[0].attributes.workflow_execution_expiration_time
    await d.advance(2)
    await d.turn(continue_as_new(workflow_run_timeout=500 * S, retry_policy=common_v1.RetryPolicy(maximum_attempts=3)))
    started = (await d.history())[0].attributes
    assert started.workflow_run_timeout == 100 * S
    assert started.workflow_execution_expiration_time == expiration
    assert (started.memo, started.header, started.cron_schedule, started.identity) == (None, None, "", "")
    assert (started.retry_policy.initial_interval, started.retry_policy.maximum_attempts) == (S, 3)
    assert (started.first_execution_run_id, started.continued_execution_run_id) == (first, first)
    assert started.attempt == 1


async def test_an_execution_timeout_ends_a_cron_chain(d: Driver) -> None:
    await d.start(cron_schedule="@every 10s", workflow_execution_timeout=15 * S)
    await d.advance(10)
    await d.turn(complete())
    assert await d.status() == 1
    await d.advance(5)
    assert await d.status() == 7


async def test_a_transfer_survives_that_its_run_leaves_memory(d: Driver) -> None:
    await d.start()
    await d.turn(start_child(task_queue=queue("cq")))
    await d.settle()
    core = d.engine._core
    carry_out = core.on_transfer
    held: list[Any] = []

    async def hold(run: Any, row: Any) -> None:
        held.append((run, row))

    core.on_transfer = hold
    child = await d.poll(queue("cq"))
    await d.answer(child, complete())
    await d.settle()
    ((run, row),) = held
    core.forget(run)
    await carry_out(run, row)
    await d.settle()
    assert "ChildWorkflowExecutionCompleted" in await d.names()
    assert not await core.store.pending_tasks(10) or await d.has_workflow_task()


# ---- histories


async def test_a_reader_that_gave_up_leaves_nothing_behind(d: Driver) -> None:
    run_id = await d.start()
    for event_filter in (2, 0):
        page = await d.engine.get_workflow_execution_history(
            ws.GetWorkflowExecutionHistoryRequest(
                "default", EXECUTION, wait_new_event=True, history_event_filter_type=event_filter
            ),
            timeout=timedelta(milliseconds=1),
        )
        if page.history is not None and page.history.events:
            page = await d.engine.get_workflow_execution_history(
                ws.GetWorkflowExecutionHistoryRequest(
                    "default", EXECUTION, next_page_token=page.next_page_token, wait_new_event=True
                ),
                timeout=timedelta(milliseconds=1),
            )
        assert page.next_page_token and page.history is not None and not page.history.events
    run = d.engine._core.cached(run_id)
    assert run is not None and not run.close_waiters and not run.event_waiters


async def test_heartbeats_do_not_end_a_long_poll(d: Driver) -> None:
    await d.start()
    await d.turn(schedule_activity(heartbeat_timeout=5 * S))
    activity = await d.poll_activity()
    first = await d.engine.get_workflow_execution_history(
        ws.GetWorkflowExecutionHistoryRequest("default", EXECUTION, wait_new_event=True)
    )
    waiting = asyncio.ensure_future(
        d.engine.get_workflow_execution_history(
            ws.GetWorkflowExecutionHistoryRequest("default", EXECUTION, 0, first.next_page_token, True)
        )
    )
    await asyncio.sleep(0)
    await d.engine.record_activity_task_heartbeat(ws.RecordActivityTaskHeartbeatRequest(activity.task_token))
    await d.settle()
    assert not waiting.done()
    await d.signal()
    page = await waiting
    assert page.history is not None
    assert [name(event) for event in page.history.events] == ["WorkflowExecutionSignaled", "WorkflowTaskScheduled"]


async def test_reverse_pages_of_big_batches(d: Driver) -> None:
    await d.start()
    await d.turn(*(start_timer(str(i), 100) for i in range(300)))
    assert await d.reverse_ids(10) == list(range(304, 0, -1))


async def test_a_page_token_belongs_to_its_run(d: Driver) -> None:
    await d.start()
    other = await d.start("other")
    page = await d.engine.get_workflow_execution_history(ws.GetWorkflowExecutionHistoryRequest("default", EXECUTION, 1))
    with pytest.raises(RPCError) as refused:
        await d.engine.get_workflow_execution_history(
            ws.GetWorkflowExecutionHistoryRequest(
                "default", common_v1.WorkflowExecution("w", other), 1, page.next_page_token
            )
        )
    assert refused.value.status is RPCStatusCode.INVALID_ARGUMENT


# ---- stores that fail


async def test_a_delete_the_store_refuses_is_unavailable(d: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    await d.start()
    await d.turn(complete())
    await d.settle()
    store = d.engine._core.store
    commit = store.commit

    async def refuse(updates: Any) -> None:
        raise StoreUnavailableError("no room")

    monkeypatch.setattr(store, "commit", refuse)
    with pytest.raises(RPCError) as refused:
        await d.engine.delete_workflow_execution(ws.DeleteWorkflowExecutionRequest("default", EXECUTION))
    assert refused.value.status is RPCStatusCode.UNAVAILABLE
    monkeypatch.setattr(store, "commit", commit)
    assert await d.status() == 2
    await d.engine.delete_workflow_execution(ws.DeleteWorkflowExecutionRequest("default", EXECUTION))
    assert await d.list() == []


async def test_state_beyond_its_limit_terminates_the_run(d: Driver) -> None:
    await d.start()
    await d.turn(*(schedule_activity(str(i), heartbeat_timeout=5 * S) for i in range(6)))
    for _ in range(6):
        activity = await d.poll_activity()
        await d.engine.record_activity_task_heartbeat(
            ws.RecordActivityTaskHeartbeatRequest(activity.task_token, payloads(b"x" * 1_500_000))
        )
    await d.settle()
    assert (await d.history())[-1].attributes.reason == "Workflow mutable state size exceeds limit."


# ---- what the chain and the parent see


async def test_cancel_of_a_child_in_backoff_wakes_it(d: Driver) -> None:
    await d.start()
    await d.turn(start_child(task_queue=queue("cq"), cron_schedule="@every 100s"))
    await d.settle()
    assert not await d.has_workflow_task("cq")
    await d.turn(cancel_external("child", child_workflow_only=True))
    await d.settle()
    assert (await d.names("child"))[-2:] == ["WorkflowExecutionCancelRequested", "WorkflowTaskScheduled"]
    requested = (await d.history("child"))[1].attributes
    assert (requested.identity, requested.external_workflow_execution.workflow_id) == ("history-service", "w")
    assert requested.external_initiated_event_id


async def test_only_the_parent_may_signal_a_child_as_its_child(d: Driver) -> None:
    await d.start("stranger", task_queue=queue("sq"))
    await d.start()
    await d.turn(signal_external("stranger", child_workflow_only=True))
    await d.settle()
    failed = next(e for e in await d.history() if name(e) == "SignalExternalWorkflowExecutionFailed").attributes
    assert failed.cause == 1


async def test_continue_as_new_records_the_backoff_it_was_given(d: Driver) -> None:
    """The next run waits longer where it has to: that is its own event's to say."""
    run_id = await d.start()
    await d.turn(continue_as_new(backoff_start_interval=S // 1000))
    event = (await d.history(run_id=run_id))[-1]
    assert event.attributes.backoff_start_interval == S // 1000
    started = (await d.history())[0]
    assert started.attributes.first_workflow_task_backoff == S
