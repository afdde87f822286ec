"""Rules of workflow tasks and commands that are easy to get wrong: attempts, buffers, forced ends, refusals."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure.api.command import v1 as command_v1
from perdure.api.common import v1 as common_v1
from perdure.api.taskqueue import v1 as taskqueue_v1
from perdure.api.workflowservice import v1 as ws
from perdure.service import RPCError, RPCStatusCode
from tests.engine.driver import (
    Driver,
    S,
    application_failure,
    cancel_activity,
    cancel_external,
    cancel_timer,
    command,
    complete,
    continue_as_new,
    name,
    payloads,
    queue,
    schedule_activity,
    signal_external,
    start_child,
    start_timer,
)

STICKY = taskqueue_v1.StickyExecutionAttributes(queue("sticky", 2, "q"), 10 * S)
TOO_LARGE = payloads(b"x" * (2 * 1024 * 1024 + 1))
JSON = {"encoding": b"json/plain"}


async def make_sticky(d: Driver) -> None:
    """A run whose next workflow task goes to the sticky queue first."""
    await d.start()
    waiting = asyncio.ensure_future(d.poll(queue("sticky", 2, "q")))
    await asyncio.sleep(0)
    await d.turn(start_timer("t", 1000), sticky_attributes=STICKY)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await d.signal()


# ---- attempts


async def test_a_failure_on_the_sticky_queue_does_not_count(d: Driver) -> None:
    await make_sticky(d)
    await d.fail_task(await d.poll(queue("sticky", 2, "q")))
    assert (await d.names())[-2:] == ["WorkflowTaskFailed", "WorkflowTaskScheduled"]
    task = await d.poll()
    assert task.attempt == 1
    assert task.history is not None and task.history.events[0].event_id == 1


async def test_a_failure_counts_when_a_poller_of_the_normal_queue_took_a_sticky_task(d: Driver) -> None:
    await make_sticky(d)
    response = await d.engine.shutdown_worker(ws.ShutdownWorkerRequest("default", sticky_task_queue="sticky"))
    assert response is not None
    await d.fail_task(await d.poll())
    await d.advance(1)
    assert (await d.names())[-1] == "WorkflowTaskFailed"
    assert (await d.poll()).attempt == 2


async def test_resetting_stickiness_sends_the_task_to_the_normal_queue(d: Driver) -> None:
    await make_sticky(d)
    await d.engine.reset_sticky_task_queue(
        ws.ResetStickyTaskQueueRequest("default", (await d.describe()).workflow_execution_info.execution)  # type: ignore[union-attr]
    )
    task = await d.poll()
    assert task.history is not None and task.history.events[0].event_id == 1


async def test_a_heartbeat_timeout_starts_a_new_heartbeat_chain(d: Driver) -> None:
    await d.start(workflow_task_timeout=120 * S)
    task = await d.poll()
    d.clock.now += 1801 * S
    with pytest.raises(RPCError) as refused:
        await d.answer(task, force_create_new_workflow_task=True)
    assert refused.value.message == "workflow task heartbeat timeout"
    timed_out = (await d.history())[3]
    assert (name(timed_out), timed_out.attributes.timeout_type) == ("WorkflowTaskTimedOut", 1)
    await d.answer(await d.poll(), force_create_new_workflow_task=True)
    await d.answer(await d.poll(), force_create_new_workflow_task=True)
    await d.turn(complete())
    assert await d.status() == 2


async def test_failing_for_an_hour_is_no_heartbeat_timeout(d: Driver) -> None:
    await d.start()
    await d.fail_task(await d.poll())
    await d.advance(3600)
    await d.fail_task(await d.poll())
    await d.advance(1)
    await d.answer(await d.poll(), force_create_new_workflow_task=True)
    await d.turn(complete())
    assert await d.status() == 2


async def test_terminate_of_a_started_retry_leaves_no_trace_of_it(d: Driver) -> None:
    await d.start()
    await d.fail_task(await d.poll())
    await d.advance(1)
    await d.poll()
    await d.signal()
    await d.terminate()
    assert (await d.names())[3:] == [
        "WorkflowTaskFailed",
        "WorkflowExecutionSignaled",
        "WorkflowExecutionTerminated",
    ]


async def test_timed_out_tasks_are_reported_after_five_in_a_row(d: Driver) -> None:
    await d.start()
    for _ in range(5):
        assert await d.list("TemporalReportedProblems IS NOT NULL") == []
        await d.poll()
        await d.advance(700)
    assert await d.list("TemporalReportedProblems = 'category=WorkflowTaskTimedOut'") == ["w"]
    assert await d.list("TemporalReportedProblems = 'cause=WorkflowTaskTimedOutCauseStartToClose'") == ["w"]
    await d.turn(start_timer())
    assert await d.list("TemporalReportedProblems IS NOT NULL") == []


# ---- buffers


async def test_a_close_beside_nothing_but_the_firing_it_cancels_is_accepted(d: Driver) -> None:
    await d.start()
    await d.turn(start_timer("t", 5))
    await d.signal()
    task = await d.poll()
    await d.advance(5)
    await d.answer(task, cancel_timer("t"), complete())
    assert (await d.names())[-2:] == ["TimerCanceled", "WorkflowExecutionCompleted"]


async def test_any_flood_of_events_fails_the_started_task(d: Driver) -> None:
    await d.start()
    await d.turn(*(start_timer(str(i), 5) for i in range(101)))
    await d.signal()
    await d.poll()
    await d.advance(5)
    events = await d.history()
    failed = next(event for event in events if name(event) == "WorkflowTaskFailed")
    assert failed.attributes.cause == 17
    assert [name(event) for event in events].count("TimerFired") == 101
    assert name(events[-1]) == "WorkflowTaskScheduled"


async def test_two_megabytes_of_buffered_events_fail_the_started_task(d: Driver) -> None:
    await d.start()
    await d.poll()
    for _ in range(3):
        await d.signal(input=payloads(b"x" * 1024 * 1024))
    assert (await d.names())[3:] == [
        "WorkflowTaskFailed",
        "WorkflowExecutionSignaled",
        "WorkflowExecutionSignaled",
        "WorkflowTaskScheduled",
        "WorkflowExecutionSignaled",
    ]


# ---- refused commands

FIXED_UUID = "00000000-0000-4000-8000-000000000000"


@pytest.mark.parametrize(
    ("bad", "cause"),
    [
        (cancel_activity(7), 3),
        (cancel_activity(100), 3),
        (command("SCHEDULE_ACTIVITY_TASK", None), 2),
        (command("START_TIMER", None), 4),
        (command("RECORD_MARKER", None), 6),
        (command("COMPLETE_WORKFLOW_EXECUTION", None), 7),
        (command("FAIL_WORKFLOW_EXECUTION", command_v1.FailWorkflowExecutionCommandAttributes()), 8),
        (command("CANCEL_WORKFLOW_EXECUTION", None), 9),
        (cancel_external("x", run_id="not a uuid"), 10),
        (continue_as_new(workflow_run_timeout=-1), 11),
        (continue_as_new(cron_schedule="every now and then"), 11),
        (command("RECORD_MARKER", command_v1.RecordMarkerCommandAttributes("")), 6),
        (signal_external("x", ""), 15),
        (
            command(
                "SIGNAL_EXTERNAL_WORKFLOW_EXECUTION",
                command_v1.SignalExternalWorkflowExecutionCommandAttributes(
                    execution=common_v1.WorkflowExecution("x", "not a uuid"), signal_name="s"
                ),
            ),
            15,
        ),
        (start_child(""), 16),
        (start_child(cron_schedule="every now and then"), 16),
        (start_child(namespace="another"), 16),
        (command("UPSERT_WORKFLOW_SEARCH_ATTRIBUTES", None), 23),
        (command("MODIFY_WORKFLOW_PROPERTIES", command_v1.ModifyWorkflowPropertiesCommandAttributes()), 25),
        (command("PROTOCOL_MESSAGE", command_v1.ProtocolMessageCommandAttributes("nobody sent this")), 30),
    ],
)
async def test_the_cause_of_a_refused_command(d: Driver, bad: Any, cause: int) -> None:
    await d.start()
    task = await d.poll()
    with pytest.raises(RPCError) as refused:
        await d.answer(task, bad)
    assert refused.value.status is RPCStatusCode.INVALID_ARGUMENT
    events = await d.history()
    assert [name(event) for event in events[3:]] == ["WorkflowTaskFailed"]
    assert events[3].attributes.cause == cause
    message = events[3].attributes.failure.message
    assert message.endswith(": " + refused.value.message)


async def test_an_activity_of_the_same_batch_can_be_cancelled_by_the_id_it_will_have(d: Driver) -> None:
    await d.start()
    await d.turn(start_timer(), schedule_activity(), cancel_activity(6))
    assert (await d.names())[4:] == [
        "TimerStarted",
        "ActivityTaskScheduled",
        "ActivityTaskCancelRequested",
        "ActivityTaskCanceled",
        "WorkflowTaskScheduled",
    ]


async def test_an_activity_between_attempts_is_cancelled_at_once(d: Driver) -> None:
    await d.start()
    await d.turn(schedule_activity())
    await d.fail_activity(await d.poll_activity())
    pending = (await d.describe()).pending_activities[0]
    assert pending.last_worker_identity == "activity worker"
    await d.signal()
    await d.turn(cancel_activity(5))
    canceled = next(event for event in await d.history() if name(event) == "ActivityTaskCanceled").attributes
    assert (canceled.started_event_id, canceled.identity) == (0, "history-service")
    await d.advance(100)
    assert not await d.has_activity_task()


@pytest.mark.parametrize(
    "big",
    [
        schedule_activity(input=TOO_LARGE),
        start_child(input=TOO_LARGE),
        signal_external("x", input=TOO_LARGE),
        continue_as_new(input=TOO_LARGE),
        continue_as_new(memo=common_v1.Memo({"m": TOO_LARGE.payloads[0]})),
        command("RECORD_MARKER", command_v1.RecordMarkerCommandAttributes("m", {"d": TOO_LARGE})),
        command(
            "FAIL_WORKFLOW_EXECUTION",
            command_v1.FailWorkflowExecutionCommandAttributes(application_failure("x" * (2 * 1024 * 1024 + 1))),
        ),
        command("CANCEL_WORKFLOW_EXECUTION", command_v1.CancelWorkflowExecutionCommandAttributes(TOO_LARGE)),
        command(
            "MODIFY_WORKFLOW_PROPERTIES",
            command_v1.ModifyWorkflowPropertiesCommandAttributes(common_v1.Memo({"m": TOO_LARGE.payloads[0]})),
        ),
        command(
            "UPSERT_WORKFLOW_SEARCH_ATTRIBUTES",
            command_v1.UpsertWorkflowSearchAttributesCommandAttributes(
                common_v1.SearchAttributes(
                    {"City": common_v1.Payload({**JSON, "type": b"Keyword"}, b'"' + b"x" * 2048 + b'"')}
                )
            ),
        ),
    ],
)
async def test_oversize_commands_terminate_the_run(d: Driver, big: Any) -> None:
    await d.start()
    with pytest.raises(RPCError) as refused:
        await d.turn(big)
    assert refused.value.status is RPCStatusCode.INVALID_ARGUMENT
    last = (await d.history())[-1]
    assert name(last) == "WorkflowExecutionTerminated"
    assert last.attributes.identity == "history-service"


async def test_an_oversize_transaction_terminates_the_run(d: Driver) -> None:
    await d.start()
    with pytest.raises(RPCError):
        await d.turn(*(schedule_activity(str(i), input=payloads(b"x" * 1024 * 1024)) for i in range(5)))
    assert (await d.history())[-1].attributes.reason == "Transaction size exceeds limit."


async def test_memo_values_that_look_empty_are_kept(d: Driver) -> None:
    await d.start(
        memo=common_v1.Memo({"list": common_v1.Payload(JSON, b"[]"), "null": common_v1.Payload(JSON, b"null")})
    )
    info = (await d.describe()).workflow_execution_info
    assert info is not None and info.memo is not None
    assert {key: payload.data for key, payload in info.memo.fields.items()} == {"list": b"[]", "null": b"null"}
    await d.turn(
        command(
            "MODIFY_WORKFLOW_PROPERTIES",
            command_v1.ModifyWorkflowPropertiesCommandAttributes(
                common_v1.Memo({"list": common_v1.Payload({"encoding": b"binary/null"})})
            ),
        )
    )
    info = (await d.describe()).workflow_execution_info
    assert info is not None and info.memo is not None
    assert list(info.memo.fields) == ["null"]


async def test_durations_beyond_a_century_are_capped(d: Driver) -> None:
    forever = 10**22
    await d.start(workflow_execution_timeout=forever, workflow_task_timeout=forever)
    await d.turn(
        schedule_activity(start_to_close_timeout=forever, schedule_to_close_timeout=forever, heartbeat_timeout=forever),
        command("START_TIMER", command_v1.StartTimerCommandAttributes("t", forever)),
        start_child(workflow_execution_timeout=forever),
    )
    await d.settle()
    assert "ChildWorkflowExecutionStarted" in await d.names()
    await d.advance(3600)
    assert await d.status() == 1


async def test_a_completed_task_says_what_the_worker_said_of_itself(d: Driver) -> None:
    await d.start()
    stamp = common_v1.WorkerVersionStamp("build 7")
    metering = common_v1.MeteringMetadata(3)
    await d.turn(start_timer(), binary_checksum="abc", worker_version_stamp=stamp, metering_metadata=metering)
    completed = (await d.history())[3].attributes
    assert (completed.binary_checksum, completed.worker_version) == ("abc", stamp)
    assert completed.metering_metadata == metering


async def test_an_answer_that_waited_is_refused_when_its_task_ended_meanwhile(
    d: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    await d.start()
    task = await d.poll()
    learn = d.engine.namespaces.learn

    async def slowly(*arguments: Any) -> None:
        d.clock.now += 10 * S
        d.engine.poke()
        await d.poll()
        await learn(*arguments)

    monkeypatch.setattr(d.engine.namespaces, "learn", slowly)
    city = common_v1.SearchAttributes({"City": common_v1.Payload({**JSON, "type": b"Keyword"}, b'"Bern"')})
    with pytest.raises(RPCError) as refused:
        await d.answer(
            task,
            command(
                "UPSERT_WORKFLOW_SEARCH_ATTRIBUTES",
                command_v1.UpsertWorkflowSearchAttributesCommandAttributes(city),
            ),
        )
    assert (refused.value.status, refused.value.message) == (RPCStatusCode.NOT_FOUND, "Workflow task not found.")
    assert "WorkflowTaskCompleted" not in await d.names()
