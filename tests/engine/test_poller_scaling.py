"""What workers elsewhere are told of how much they poll."""

from __future__ import annotations

from time import monotonic

import pytest

from perdure.api.workflowservice import v1 as ws
from perdure.engine import poller_scaling
from perdure.engine.matching import Matching
from perdure.engine.poller_scaling import PollerScaling
from perdure.store.api import TaskKind
from tests.engine.driver import Driver, S, queue


def advice(response: ws.PollWorkflowTaskQueueResponse) -> int | None:
    assert response.task_token
    decision = response.poller_scaling_decision
    return None if decision is None else decision.poll_request_delta_suggestion


async def poll(d: Driver) -> int | None:
    return advice(await d.engine.remote.poll_workflow_task_queue(ws.PollWorkflowTaskQueueRequest("default", queue())))


async def test_more_polls_where_tasks_wait(d: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poller_scaling, "_PAUSE", 0.0)
    for number in range(3):
        await d.start(f"w{number}")
    d.clock.now += S
    assert await poll(d) == 1
    monkeypatch.setattr(poller_scaling, "_PAUSE", 3600.0)
    assert await poll(d) is None  # It has just been said.


async def test_polls_of_this_process_are_told_nothing(d: Driver) -> None:
    for number in range(2):
        await d.start(f"w{number}")
    d.clock.now += S
    response = await d.engine.poll_workflow_task_queue(ws.PollWorkflowTaskQueueRequest("default", queue()))
    assert advice(response) is None


async def test_fewer_polls_where_they_wait() -> None:
    async def age(*_: object) -> int:
        return 0

    scaling = PollerScaling(Matching.__new__(Matching), age)
    decision = await scaling.decide("namespace", TaskKind.ACTIVITY, "queue", monotonic() - 2)
    assert decision is not None
    assert decision.poll_request_delta_suggestion == -1
