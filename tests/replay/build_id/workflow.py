"""A worker with a build id of its own: stamps on its workflow tasks, and a search attribute."""

from datetime import timedelta
from typing import Any

from sdk import activity, workflow


@activity.defn
async def echo(value: int) -> int:
    return value


@workflow.defn
class Stamped:
    @workflow.run
    async def run(self) -> str:
        await workflow.execute_activity(echo, 1, start_to_close_timeout=timedelta(seconds=20))
        return workflow.info().get_current_build_id()


WORKFLOWS = [Stamped]
ACTIVITIES = [echo]


async def drive(d: Any) -> None:
    async with d.worker(build_id="replay-1.0"):
        assert await d.run(Stamped.run) == "replay-1.0"
