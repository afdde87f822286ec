"""Cancelling workflows: unhandled, cleaned up after, swallowed, while an activity runs, before the first task."""

import asyncio
from datetime import timedelta
from typing import Any

from sdk import activity, workflow


@activity.defn
async def tidy() -> str:
    return "tidy"


@activity.defn
async def wait_for_cancel() -> None:
    while True:
        activity.heartbeat()
        await asyncio.sleep(0.05)


@workflow.defn
class Unhandled:
    @workflow.run
    async def run(self) -> None:
        await asyncio.sleep(600)


@workflow.defn
class CleansUp:
    @workflow.run
    async def run(self) -> None:
        try:
            await asyncio.sleep(600)
        finally:
            await workflow.execute_activity(tidy, start_to_close_timeout=timedelta(seconds=20))


@workflow.defn
class Swallows:
    @workflow.run
    async def run(self) -> str:
        try:
            await workflow.wait_condition(lambda: False)
        except asyncio.CancelledError:
            return f"swallowed: {workflow.cancellation_reason()}"
        return "never"


@workflow.defn
class WithActivity:
    @workflow.run
    async def run(self) -> None:
        await workflow.execute_activity(
            wait_for_cancel,
            start_to_close_timeout=timedelta(seconds=60),
            heartbeat_timeout=timedelta(seconds=1),
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        )


@workflow.defn
class WithChild:
    @workflow.run
    async def run(self) -> None:
        await workflow.execute_child_workflow(Unhandled.run, id=f"{workflow.info().workflow_id}/child")


WORKFLOWS = [Unhandled, CleansUp, Swallows, WithActivity, WithChild]
ACTIVITIES = [tidy, wait_for_cancel]


async def drive(d: Any) -> None:
    early = await d.start(Unhandled.run, case="before_start")
    await early.cancel()
    async with d.worker():
        await d.outcome(early)
        d.keep("before_start", early)
        for case, workflow_run, event in (
            ("history", Unhandled.run, "TIMER_STARTED"),
            ("cleanup", CleansUp.run, "TIMER_STARTED"),
            ("swallowed", Swallows.run, "WORKFLOW_TASK_COMPLETED"),
            ("activity", WithActivity.run, "ACTIVITY_TASK_SCHEDULED"),
            ("child", WithChild.run, "CHILD_WORKFLOW_EXECUTION_STARTED"),
        ):
            handle = await d.start(workflow_run, case=case)
            await d.until(handle, event)
            await handle.cancel()
            await d.outcome(handle)
            d.keep(case, handle)
