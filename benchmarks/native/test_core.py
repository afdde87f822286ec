"""The engine's natives, one by one: ``pytest benchmarks/native/test_core.py``."""

from __future__ import annotations

from typing import Any

import pytest

from perdure._native import activities, commands, transitions
from perdure._native.events import decode_batch, encode_batch
from perdure._native.mutable_state import MutableState
from perdure._native.timers import TimerWheel
from perdure.api.command import v1 as command_v1
from perdure.api.common import v1 as common_v1
from perdure.api.history import v1 as history_v1
from perdure.api.taskqueue import v1 as taskqueue_v1
from perdure.engine import wiring

assert wiring.encode  # configures the natives
NOW = 1_800_000_000 * 10**9
INPUT = common_v1.Payloads([common_v1.Payload({"encoding": b"json/plain"}, b'"hello"')])


def one_activity_run() -> MutableState:
    """A run with one activity, from start to close: eleven events."""
    s = MutableState("n", "w", "r")
    transitions.start(
        s,
        history_v1.WorkflowExecutionStartedEventAttributes(
            workflow_type=common_v1.WorkflowType("W"), task_queue=taskqueue_v1.TaskQueue("q", 1), input=INPUT, attempt=1
        ),
        NOW,
    )
    transitions.schedule_workflow_task(s, NOW)
    transitions.start_workflow_task(s, NOW, "1", "worker", False)
    completed = transitions.complete_workflow_task(s, NOW, "worker")
    batch: list[Any] = [
        command_v1.Command(
            1,
            attributes=command_v1.ScheduleActivityTaskCommandAttributes(
                "1", common_v1.ActivityType("A"), input=INPUT, start_to_close_timeout=10**10
            ),
        )
    ]
    commands.check(s, batch, "default")
    commands.apply(s, batch, completed, NOW, "default")
    activity = s.activity_ids["1"]
    activities.start_activity(activity, NOW, "2", "worker", 1)
    activities.complete_activity(s, activity, NOW, INPUT, "worker")
    transitions.start_workflow_task(s, NOW, "3", "worker", False)
    completed = transitions.complete_workflow_task(s, NOW, "worker")
    transitions.close_run(s, 2, history_v1.WorkflowExecutionCompletedEventAttributes(INPUT, completed), NOW)
    return s


def test_one_activity_run(benchmark: Any) -> None:
    assert benchmark(one_activity_run).next_event_id == 12


def test_encode_state(benchmark: Any) -> None:
    assert benchmark(one_activity_run().encode)


def test_decode_state(benchmark: Any) -> None:
    data = one_activity_run().encode()
    assert benchmark(MutableState.decode, data).run_id == "r"


def test_encode_batch(benchmark: Any) -> None:
    assert benchmark(encode_batch, one_activity_run().new_events)


def test_decode_batch(benchmark: Any) -> None:
    data = encode_batch(one_activity_run().new_events)
    assert len(benchmark(decode_batch, data)) == 11


@pytest.mark.parametrize("armed", [0, 1_000_000])
def test_arm_and_cancel(benchmark: Any, armed: int) -> None:
    wheel = TimerWheel(0)
    for i in range(armed):
        wheel.arm(1000 + i % 3_600_000, None)
    assert benchmark(lambda: wheel.cancel(wheel.arm(1_234_567, None)))


def test_fire_100_000(benchmark: Any) -> None:
    def arm() -> tuple[tuple[TimerWheel], dict[str, Any]]:
        wheel = TimerWheel(0)
        for i in range(100_000):
            wheel.arm(1 + i % 60_000, i)
        return (wheel,), {}

    assert len(benchmark.pedantic(lambda wheel: wheel.advance(60_000), setup=arm, rounds=5)) == 100_000
