"""Replay of one history of 10,001 events: 1,666 activities, one after the other. Run with pytest-benchmark."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from perdure import activity, workflow
from perdure._native.events import decode_batch, encode_batch
from perdure.worker._workflow_runtime import RunOptions
from tests.workflow.mini_server import MiniServer

ACTIVITIES = 1_666


@activity.defn
async def add_one(number: int) -> int:
    return number + 1


@workflow.defn
class Chain:
    @workflow.run
    async def run(self, count: int) -> int:
        number = 0
        for _ in range(count):
            number = await workflow.execute_activity(add_one, number, start_to_close_timeout=timedelta(seconds=5))
        return number


def test_replay_10k_events(benchmark: Any) -> None:
    """From events as the store gives them: attributes undecoded."""
    server = MiniServer(Chain, ACTIVITIES, options=RunOptions(task_queue="queue"))
    server.turn()
    for number in range(ACTIVITIES):
        server.complete_activity(number + 1)
        server.turn()
    assert server.result == ACTIVITIES
    data = encode_batch(server.events)
    benchmark.pedantic(server.replay, setup=lambda: ((decode_batch(data),), {}), rounds=10)
    benchmark.extra_info["events"] = len(server.events)
    benchmark.extra_info["events_per_second"] = len(server.events) / benchmark.stats.stats.min
