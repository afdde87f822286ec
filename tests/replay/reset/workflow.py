"""A reset: the run that was reset, and the new one that goes on from its second workflow task."""

from datetime import timedelta
from typing import Any

from sdk import activity, workflow


@activity.defn
async def step(number: int) -> int:
    return number


@workflow.defn
class Steps:
    def __init__(self) -> None:
        self.words: list[str] = []

    @workflow.run
    async def run(self) -> list[Any]:
        seen: list[Any] = []
        for number in range(3):
            seen.append(await workflow.execute_activity(step, number, start_to_close_timeout=timedelta(seconds=20)))
        await workflow.wait_condition(lambda: bool(self.words))
        return [*seen, *self.words]

    @workflow.signal
    def word(self, word: str) -> None:
        self.words.append(word)


WORKFLOWS = [Steps]
ACTIVITIES = [step]


async def drive(d: Any) -> None:
    async with d.worker():
        handle = await d.start(Steps.run)
        await handle.signal(Steps.word, "hello")
        assert await handle.result() == [0, 1, 2, "hello"]
        d.keep("history", handle)
        completed = await d.until(handle, "WORKFLOW_TASK_COMPLETED", 2)
        run_id = await d.reset(handle, handle.result_run_id, completed.event_id)
        again = d.client.get_workflow_handle(handle.id, run_id=run_id)
        assert await again.result() == [0, 1, 2, "hello"]
        d.keep_run("second", handle.id, run_id)

        waiting = await d.start(Steps.run, case="running")
        await d.until(waiting, "ACTIVITY_TASK_COMPLETED", 3)
        completed = await d.until(waiting, "WORKFLOW_TASK_COMPLETED", 1)
        first = (await waiting.describe()).run_id
        run_id = await d.reset(waiting, first, completed.event_id)
        await waiting.signal(Steps.word, "later")
        assert await d.client.get_workflow_handle(waiting.id, run_id=run_id).result() == [0, 1, 2, "later"]
        d.keep_run("running", waiting.id, first)
        d.keep_run("running_second", waiting.id, run_id)
