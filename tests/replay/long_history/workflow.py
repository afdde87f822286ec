"""A few hundred events: activities, timers and signals mixed by the workflow's own random numbers."""

import asyncio
from datetime import timedelta
from typing import Any

from sdk import activity, workflow


@activity.defn
async def work(number: int) -> int:
    return number


@workflow.defn
class Long:
    def __init__(self) -> None:
        self.words: list[str] = []

    @workflow.run
    async def run(self, rounds: int) -> int:
        random = workflow.random()
        total = 0
        for _ in range(rounds):
            width = random.randint(1, 4)
            kind = random.random()
            if kind < 0.3:
                await asyncio.gather(*(asyncio.sleep(0.01 * n) for n in range(width)))
            else:
                total += sum(
                    await asyncio.gather(
                        *(
                            workflow.execute_activity(work, n, start_to_close_timeout=timedelta(seconds=20))
                            for n in range(width)
                        )
                    )
                )
        await workflow.wait_condition(lambda: len(self.words) >= 5)
        return total

    @workflow.signal
    def word(self, word: str) -> None:
        self.words.append(word)


WORKFLOWS = [Long]
ACTIVITIES = [work]


async def drive(d: Any) -> None:
    async with d.worker():
        handle = await d.start(Long.run, 12)
        for index in range(5):
            await d.until(handle, "WORKFLOW_TASK_COMPLETED", 2 * index + 1)
            await handle.signal(Long.word, f"{index}")
        await handle.result()
        d.keep("history", handle)
