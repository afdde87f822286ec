"""Cancelling activities: the three cancellation types, before the command left, and one that ends regardless."""

import asyncio
from datetime import timedelta
from typing import Any

from sdk import activity, exceptions, workflow


@activity.defn
async def wait_for_cancel() -> str:
    try:
        while True:
            activity.heartbeat()
            await asyncio.sleep(0.05)
    except asyncio.CancelledError:
        raise


@activity.defn
async def ignore_cancel() -> str:
    try:
        while True:
            activity.heartbeat()
            await asyncio.sleep(0.05)
    except asyncio.CancelledError:
        return "ignored"


async def settle(handle: Any) -> str:
    try:
        return f"result {await handle}"
    except exceptions.ActivityError as error:
        return type(error.cause).__name__
    except asyncio.CancelledError:
        return "before it left"


@workflow.defn
class Cancels:
    @workflow.run
    async def run(self) -> list[str]:
        seen = []
        kinds = workflow.ActivityCancellationType
        for function, kind in (
            (wait_for_cancel, kinds.TRY_CANCEL),
            (wait_for_cancel, kinds.WAIT_CANCELLATION_COMPLETED),
            (ignore_cancel, kinds.WAIT_CANCELLATION_COMPLETED),
            (wait_for_cancel, kinds.ABANDON),
        ):
            handle = workflow.start_activity(
                function,
                start_to_close_timeout=timedelta(seconds=30),
                heartbeat_timeout=timedelta(seconds=1),
                cancellation_type=kind,
            )
            await workflow.sleep(0.2)
            handle.cancel()
            seen.append(await settle(handle))
        return seen


@workflow.defn
class CancelAtOnce:
    @workflow.run
    async def run(self) -> str:
        handle = workflow.start_activity(wait_for_cancel, start_to_close_timeout=timedelta(seconds=30))
        handle.cancel()
        return await settle(handle)


WORKFLOWS = [Cancels, CancelAtOnce]
ACTIVITIES = [wait_for_cancel, ignore_cancel]


async def drive(d: Any) -> None:
    async with d.worker():
        await d.run(Cancels.run)
        await d.run(CancelAtOnce.run, case="at_once")
