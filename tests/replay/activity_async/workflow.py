"""Activities completed from outside: by token, by id, with a failure."""

import asyncio
from datetime import timedelta
from typing import Any

from sdk import activity, common, exceptions, workflow

TOKENS: asyncio.Queue[bytes] | None = None


@activity.defn
async def later() -> str:
    assert TOKENS is not None
    TOKENS.put_nowait(activity.info().task_token)
    activity.raise_complete_async()


@workflow.defn
class Async:
    @workflow.run
    async def run(self) -> list[str]:
        seen = []
        for index in range(3):
            try:
                seen.append(
                    await workflow.execute_activity(
                        later,
                        activity_id=f"later-{index}",
                        start_to_close_timeout=timedelta(seconds=30),
                        retry_policy=common.RetryPolicy(maximum_attempts=1),
                    )
                )
            except exceptions.ActivityError as error:
                seen.append(f"{type(error.cause).__name__} {error.cause.message}")
        return seen


WORKFLOWS = [Async]
ACTIVITIES = [later]


async def drive(d: Any) -> None:
    global TOKENS
    TOKENS = asyncio.Queue()
    async with d.worker():
        handle = await d.start(Async.run)
        token = await TOKENS.get()
        await d.client.get_async_activity_handle(task_token=token).complete("by token")
        await TOKENS.get()
        by_id = d.client.get_async_activity_handle(workflow_id=handle.id, run_id=None, activity_id="later-1")
        await by_id.heartbeat("still here")
        await by_id.complete("by id")
        await TOKENS.get()
        await d.client.get_async_activity_handle(workflow_id=handle.id, run_id=None, activity_id="later-2").fail(
            exceptions.ApplicationError("from outside")
        )
        assert await handle.result() == ["by token", "by id", "ApplicationError from outside"]
        d.keep("history", handle)
