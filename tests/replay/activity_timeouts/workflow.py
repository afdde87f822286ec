"""The four activity timeouts, each caught by the workflow."""

import asyncio
from datetime import timedelta
from typing import Any

from sdk import activity, common, exceptions, workflow

ONCE = common.RetryPolicy(maximum_attempts=1)
SHORT = timedelta(milliseconds=300)
LONG = timedelta(seconds=30)


@activity.defn
async def hang() -> None:
    await asyncio.Event().wait()


@activity.defn
async def beat_once_and_hang() -> None:
    activity.heartbeat("alive", 1)
    await asyncio.Event().wait()


@workflow.defn
class Timeouts:
    @workflow.run
    async def run(self) -> list[list[str]]:
        seen = []
        for function, options in (
            (
                hang,
                {"task_queue": "nobody-polls-here", "schedule_to_start_timeout": SHORT, "start_to_close_timeout": LONG},
            ),
            (hang, {"start_to_close_timeout": SHORT, "retry_policy": ONCE}),
            (hang, {"schedule_to_close_timeout": SHORT}),
            (beat_once_and_hang, {"start_to_close_timeout": LONG, "heartbeat_timeout": SHORT, "retry_policy": ONCE}),
        ):
            try:
                await workflow.execute_activity(function, **options)
            except exceptions.ActivityError as error:
                seen.append([error.cause.type.name, error.retry_state.name])
        return seen


WORKFLOWS = [Timeouts]
ACTIVITIES = [hang, beat_once_and_hang]


async def drive(d: Any) -> None:
    async with d.worker():
        outcome = await d.run(Timeouts.run)
        assert [kind for kind, _ in outcome] == [
            "SCHEDULE_TO_START",
            "START_TO_CLOSE",
            "SCHEDULE_TO_CLOSE",
            "HEARTBEAT",
        ], outcome
