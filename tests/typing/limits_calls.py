"""What a type checker must accept and refuse in calls of ``perdure.limits``. Checked by mypy, never run."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, assert_type

from perdure import limits, workflow
from perdure.client import Client, WorkflowHandle

SECOND = timedelta(seconds=1)


@workflow.defn
class Reindex:
    @workflow.run
    async def run(self, text: str) -> int:
        return len(text)


async def debounces(client: Client) -> None:
    handle = await limits.debounce(client, Reindex.run, "a", id="i", task_queue="q", period=SECOND)
    assert_type(handle, WorkflowHandle[Reindex, int])
    named = await limits.debounce(client, "Reindex", "a", id="i", task_queue="q", period=SECOND, timeout=SECOND)
    assert_type(named, WorkflowHandle[Any, Any])
    await limits.debounce(client, Reindex.run, 3, id="i", task_queue="q", period=SECOND)  # type: ignore[misc]
    await limits.debounce(client, Reindex.run, "a", id="i", task_queue="q")  # type: ignore[call-overload]


async def holds() -> None:
    async with limits.concurrency("k", limit=2, on_conflict="cancel_old"):
        await limits.rate_limit("k", limit=2, per=SECOND)
    limits.concurrency("k", limit="2")  # type: ignore[arg-type]
    limits.concurrency("k", limit=2, on_conflict="wait")  # type: ignore[arg-type]
