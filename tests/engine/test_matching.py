"""Polls that find nothing end empty, in time and without a timer each."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from perdure.api.workflowservice import v1 as ws
from perdure.engine import deadlines
from tests.engine.driver import Driver, queue


async def poll(d: Driver, seconds: float) -> ws.PollWorkflowTaskQueueResponse:
    return await d.engine.poll_workflow_task_queue(
        ws.PollWorkflowTaskQueueRequest("default", queue(), "w"), timeout=timedelta(seconds=seconds)
    )


async def test_a_short_poll_ends_empty(d: Driver) -> None:
    assert (await poll(d, 1.01)).task_token == b""


async def test_long_polls_share_a_timer(d: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadlines, "COARSENESS", 0.01)
    first, second = await asyncio.gather(poll(d, 1.05), poll(d, 1.06))
    assert first.task_token == second.task_token == b""
    waiting = asyncio.ensure_future(poll(d, 60))
    await asyncio.sleep(0)
    await d.start()
    assert (await waiting).task_token
