"""Workflow tasks: buffering, retries that leave no trace, stickiness, refusals."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure.api.common import v1 as common_v1
from perdure.api.taskqueue import v1 as taskqueue_v1
from perdure.service import RPCError, RPCStatusCode
from tests.engine.driver import (
    Driver,
    S,
    application_failure,
    cancel_activity,
    cancel_timer,
    command,
    complete,
    fail,
    name,
    queue,
    schedule_activity,
    start_timer,
)


async def test_signals_during_a_task_are_buffered_behind_its_commands(d: Driver) -> None:
    await d.start()
    task = await d.poll()
    await d.signal()
    assert (await d.names())[-1] == "WorkflowTaskStarted"
    await d.answer(task, start_timer())
    assert (await d.names())[3:] == [
        "WorkflowTaskCompleted",
        "TimerStarted",
        "WorkflowExecutionSignaled",
        "WorkflowTaskScheduled",
    ]


async def test_buffered_completions_move_behind_other_events(d: Driver) -> None:
    await d.start()
    await d.turn(schedule_activity(), start_timer("t", 5))
    activity = await d.poll_activity()
    await d.signal()
    task = await d.poll()
    await d.complete_activity(activity)
    await d.signal(signal="late")
    await d.advance(5)
    await d.answer(task)
    names = await d.names()
    tail = names[names.index("WorkflowTaskStarted", 4) :]
    assert tail == [
        "WorkflowTaskStarted",
        "WorkflowTaskCompleted",
        "ActivityTaskStarted",
        "WorkflowExecutionSignaled",
        "TimerFired",
        "ActivityTaskCompleted",
        "WorkflowTaskScheduled",
    ]
    events = await d.history()
    started = next(event for event in events if name(event) == "ActivityTaskStarted")
    completed = next(event for event in events if name(event) == "ActivityTaskCompleted")
    assert completed.attributes.started_event_id == started.event_id
    assert [event.event_id for event in events] == list(range(1, len(events) + 1))


async def test_a_close_with_buffered_events_is_unhandled(d: Driver) -> None:
    await d.start()
    task = await d.poll()
    await d.signal()
    with pytest.raises(RPCError) as refused:
        await d.answer(task, complete())
    assert refused.value.status is RPCStatusCode.INVALID_ARGUMENT
    names = await d.names()
    assert names[3:] == ["WorkflowTaskFailed", "WorkflowExecutionSignaled", "WorkflowTaskScheduled"]
    assert (await d.history())[3].attributes.cause == 1
    task = await d.poll()
    with pytest.raises(RPCError) as busy:
        await d.signal()
    assert busy.value.status is RPCStatusCode.RESOURCE_EXHAUSTED
    await d.answer(task, complete())
    assert await d.status() == 2


async def test_a_failed_task_is_retried_without_a_trace_until_it_succeeds(d: Driver) -> None:
    await d.start()
    await d.fail_task(await d.poll())
    assert (await d.names())[3:] == ["WorkflowTaskFailed"]
    pending = (await d.describe()).pending_workflow_task
    assert pending is not None and pending.attempt == 2
    await d.advance(1)
    second = await d.poll()
    assert second.attempt == 2
    assert second.history is not None
    assert [name(event) for event in second.history.events[-2:]] == ["WorkflowTaskScheduled", "WorkflowTaskStarted"]
    await d.fail_task(second)
    await d.advance(5)
    third = await d.poll()
    assert third.attempt == 3
    # Readers of an open run see the unwritten pair of the attempt under way, as workers do.
    assert (await d.names())[3:] == ["WorkflowTaskFailed", "WorkflowTaskScheduled", "WorkflowTaskStarted"]
    await d.answer(third, complete())
    assert (await d.names())[3:] == [
        "WorkflowTaskFailed",
        "WorkflowTaskScheduled",
        "WorkflowTaskStarted",
        "WorkflowTaskCompleted",
        "WorkflowExecutionCompleted",
    ]


async def test_new_events_turn_a_retry_into_a_normal_task(d: Driver) -> None:
    await d.start()
    await d.fail_task(await d.poll())
    await d.signal()
    await d.advance(1)
    task = await d.poll()
    assert task.attempt == 1
    assert (await d.names())[3:] == [
        "WorkflowTaskFailed",
        "WorkflowExecutionSignaled",
        "WorkflowTaskScheduled",
        "WorkflowTaskStarted",
    ]


async def test_problems_are_visible_from_the_first_attempt_and_go_away(d: Driver) -> None:
    await d.start()
    await d.fail_task(await d.poll())
    assert await d.list("TemporalReportedProblems = 'category=WorkflowTaskFailed'") == ["w"]
    await d.advance(1)
    await d.turn(start_timer())
    assert await d.list("TemporalReportedProblems IS NOT NULL") == []


async def test_start_to_close_timeout_schedules_the_next_attempt(d: Driver) -> None:
    await d.start()
    task = await d.poll()
    await d.advance(10)
    assert (await d.names())[3:] == ["WorkflowTaskTimedOut"]
    assert (await d.history())[3].attributes.timeout_type == 1
    with pytest.raises(RPCError) as late:
        await d.answer(task, complete())
    assert late.value.status is RPCStatusCode.NOT_FOUND
    assert (await d.poll()).attempt == 2


def sticky(name: str = "sticky") -> taskqueue_v1.StickyExecutionAttributes:
    return taskqueue_v1.StickyExecutionAttributes(queue(name, 2, "q"), 10 * S)


async def test_sticky_tasks_carry_only_new_events(d: Driver) -> None:
    await d.start()
    waiting = asyncio.ensure_future(d.poll(queue("sticky", 2, "q")))
    await asyncio.sleep(0)
    await d.turn(start_timer(), sticky_attributes=sticky())
    await d.signal()
    task = await waiting
    assert task.history is not None
    assert [name(event) for event in task.history.events] == [
        "WorkflowTaskCompleted",
        "TimerStarted",
        "WorkflowExecutionSignaled",
        "WorkflowTaskScheduled",
        "WorkflowTaskStarted",
    ]
    assert task.previous_started_event_id == 3
    scheduled = (await d.history())[6].attributes
    assert (scheduled.task_queue.name, scheduled.task_queue.normal_name) == ("sticky", "q")


async def test_without_a_sticky_poller_the_normal_queue_gets_the_whole_history(d: Driver) -> None:
    await d.start()
    await d.turn(start_timer(), sticky_attributes=sticky("gone"))
    await d.signal()
    task = await d.poll()
    assert task.history is not None
    assert task.history.events[0].event_id == 1


async def test_a_sticky_task_nobody_takes_times_out_to_the_normal_queue(d: Driver) -> None:
    await d.start()
    waiting = asyncio.ensure_future(d.poll(queue("sticky", 2, "q")))
    await asyncio.sleep(0)
    await d.turn(start_timer("t", 100), sticky_attributes=sticky())
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await d.signal()
    await d.advance(10)
    assert (await d.names())[-2:] == ["WorkflowTaskTimedOut", "WorkflowTaskScheduled"]
    task = await d.poll()
    assert task.attempt == 1


async def test_return_new_workflow_task(d: Driver) -> None:
    await d.start()
    task = await d.poll()
    await d.signal()
    response = await d.answer(task, return_new_workflow_task=True, sticky_attributes=sticky())
    assert response.workflow_task is not None
    await d.answer(response.workflow_task, complete())
    assert await d.status() == 2


async def test_heartbeat_makes_a_new_task_and_ends_after_half_an_hour(d: Driver) -> None:
    await d.start()
    task = await d.poll()
    await d.answer(task, force_create_new_workflow_task=True)
    task = await d.poll()
    pending = (await d.describe()).pending_workflow_task
    assert pending is not None and pending.original_scheduled_time == d.clock.now
    d.clock.now += 1801 * S
    with pytest.raises(RPCError) as refused:
        await d.answer(task, force_create_new_workflow_task=True)
    assert refused.value.status is RPCStatusCode.NOT_FOUND


BAD = [
    (schedule_activity("a", start_to_close_timeout=-1), 2),
    (command("SCHEDULE_ACTIVITY_TASK", schedule_activity("").attributes), 2),
    (start_timer("t", -1), 4),
    (cancel_timer("nope"), 5),
    (cancel_activity(3), 3),
    (fail(None), None),
]


@pytest.mark.parametrize(("bad", "cause"), BAD[:5])
async def test_a_bad_command_fails_the_task_and_nothing_of_it_stays(d: Driver, bad: Any, cause: int) -> None:
    await d.start()
    task = await d.poll()
    with pytest.raises(RPCError) as refused:
        await d.answer(task, start_timer("good"), bad)
    assert refused.value.status is RPCStatusCode.INVALID_ARGUMENT
    events = await d.history()
    assert [name(event) for event in events[3:]] == ["WorkflowTaskFailed"]
    assert events[3].attributes.cause == cause
    assert events[3].attributes.failure.server_failure_info is not None


async def test_duplicate_ids_are_refused(d: Driver) -> None:
    await d.start()
    task = await d.poll()
    with pytest.raises(RPCError):
        await d.answer(task, start_timer("t"), start_timer("t"))
    assert (await d.history())[3].attributes.cause == 12
    await d.advance(1)
    task = await d.poll()
    with pytest.raises(RPCError):
        await d.answer(task, schedule_activity("a"), schedule_activity("a"))


async def test_a_bad_sequence_is_not_recorded(d: Driver) -> None:
    await d.start()
    task = await d.poll()
    for batch in ([complete(), start_timer()], [command("UNSPECIFIED", None)]):
        with pytest.raises(RPCError) as refused:
            await d.answer(task, *batch)
        assert refused.value.status is RPCStatusCode.INVALID_ARGUMENT
    assert (await d.names())[-1] == "WorkflowTaskStarted"
    await d.answer(task, complete())


async def test_garbage_tokens(d: Driver) -> None:
    await d.start()
    task = await d.poll()
    task.task_token = b"garbage"
    with pytest.raises(RPCError) as refused:
        await d.answer(task)
    assert refused.value.status is RPCStatusCode.INVALID_ARGUMENT


async def test_terminate_during_a_task_fails_it_first(d: Driver) -> None:
    await d.start()
    task = await d.poll()
    await d.signal()
    await d.terminate(reason="enough")
    assert (await d.names())[3:] == [
        "WorkflowTaskFailed",
        "WorkflowExecutionSignaled",
        "WorkflowExecutionTerminated",
    ]
    assert (await d.history())[3].attributes.cause == 17
    with pytest.raises(RPCError):
        await d.answer(task, complete())


async def test_a_flood_of_signals_fails_the_started_task(d: Driver) -> None:
    await d.start()
    await d.poll()
    for _ in range(101):
        await d.signal()
    names = await d.names()
    assert names[3] == "WorkflowTaskFailed"
    assert names.count("WorkflowExecutionSignaled") == 101
    assert names[-1] == "WorkflowTaskScheduled"


async def test_an_oversize_result_terminates(d: Driver) -> None:
    await d.start()
    task = await d.poll()
    big = complete()
    big.attributes.result = common_v1.Payloads([common_v1.Payload(data=b"x" * (2 * 1024 * 1024 + 1))])  # type: ignore[union-attr]
    with pytest.raises(RPCError):
        await d.answer(task, big)
    assert await d.status() == 5


async def test_markers_and_upserts(d: Driver) -> None:
    from perdure.api.command import v1 as command_v1

    await d.start(memo=common_v1.Memo({"a": common_v1.Payload({"encoding": b"json/plain"}, b"1")}))
    await d.turn(
        command("RECORD_MARKER", command_v1.RecordMarkerCommandAttributes("m")),
        command(
            "UPSERT_WORKFLOW_SEARCH_ATTRIBUTES",
            command_v1.UpsertWorkflowSearchAttributesCommandAttributes(
                common_v1.SearchAttributes(
                    {"City": common_v1.Payload({"encoding": b"json/plain", "type": b"Keyword"}, b'"Bern"')}
                )
            ),
        ),
        command(
            "MODIFY_WORKFLOW_PROPERTIES",
            command_v1.ModifyWorkflowPropertiesCommandAttributes(
                common_v1.Memo({"b": common_v1.Payload({"encoding": b"json/plain"}, b"2")})
            ),
        ),
    )
    assert (await d.names())[4:] == [
        "MarkerRecorded",
        "UpsertWorkflowSearchAttributes",
        "WorkflowPropertiesModified",
    ]
    assert await d.list("City = 'Bern'") == ["w"]
    info = (await d.describe()).workflow_execution_info
    assert info is not None and info.memo is not None
    assert {key: payload.data for key, payload in info.memo.fields.items()} == {"a": b"1", "b": b"2"}


async def test_a_worker_failure_keeps_its_failure(d: Driver) -> None:
    await d.start()
    await d.fail_task(await d.poll(), 24)
    failed = (await d.history())[3].attributes
    assert failed.cause == 24
    assert failed.failure == application_failure()
