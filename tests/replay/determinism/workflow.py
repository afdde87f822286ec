"""Clock, random numbers and UUIDs, each fed to an activity so that a replay that differs is seen."""

from datetime import timedelta
from typing import Any

from sdk import activity, workflow


@activity.defn
async def note(value: str) -> str:
    return value


@workflow.defn
class Determinism:
    @workflow.run
    async def run(self) -> bool:
        before = workflow.now()
        values = [
            workflow.random().randint(1, 6),
            round(workflow.random().random(), 6),
            str(workflow.uuid4()),
            workflow.random().choice("abcdef"),
        ]
        order = list(range(5))
        workflow.random().shuffle(order)
        for index in order:
            await workflow.execute_activity(
                note,
                f"{index} {values}",
                activity_id=f"{workflow.uuid4()}-{index}",
                start_to_close_timeout=timedelta(seconds=20),
            )
        if workflow.random().random() < 0.5:
            await workflow.sleep(0.01)
        return workflow.now() >= before


WORKFLOWS = [Determinism]
ACTIVITIES = [note]


async def drive(d: Any) -> None:
    async with d.worker():
        for case in ("history", "second", "third"):
            assert await d.run(Determinism.run, case=case) is True
