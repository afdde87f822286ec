"""What people write with asyncio: gather, wait, as_completed, task groups, timeouts, queues, locks, shields."""

import asyncio
from datetime import timedelta
from typing import Any

from sdk import activity, workflow


@activity.defn
async def echo(value: int) -> int:
    return value


def act(value: int) -> Any:
    return workflow.execute_activity(echo, value, start_to_close_timeout=timedelta(seconds=20))


@workflow.defn
class Asyncio:
    def __init__(self) -> None:
        self.queue: asyncio.Queue[str] = asyncio.Queue()

    @workflow.run
    async def run(self) -> list[Any]:
        seen: list[Any] = [await asyncio.gather(act(1), act(2), asyncio.sleep(0.01, "slept"))]

        done, pending = await workflow.wait(
            [asyncio.create_task(act(3)), asyncio.create_task(asyncio.sleep(60, 0))],
            return_when=asyncio.FIRST_COMPLETED,
        )
        for task in pending:
            task.cancel()
        seen.append([task.result() for task in done])

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(act(number)) for number in (4, 5)]
        seen.append([task.result() for task in tasks])

        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.sleep(60))
                group.create_task(self.break_soon())
        except* ValueError as errors:
            seen.append([str(error) for error in errors.exceptions])

        try:
            async with asyncio.timeout(0.05):
                await asyncio.sleep(60)
        except TimeoutError:
            seen.append("timeout")
        try:
            await asyncio.wait_for(asyncio.Event().wait(), 0.05)
        except TimeoutError:
            seen.append("wait_for")

        seen.append(sorted([await one for one in workflow.as_completed([asyncio.create_task(act(n)) for n in (6, 7)])]))

        lock, turns = asyncio.Lock(), []

        async def take_turn(number: int) -> None:
            async with lock:
                turns.append(await act(number))

        await asyncio.gather(*(take_turn(number) for number in range(3)))
        seen.append(turns)
        seen.append([await self.queue.get(), await self.queue.get()])
        return seen

    async def break_soon(self) -> None:
        await asyncio.sleep(0.01)
        raise ValueError("broken")

    @workflow.signal
    def put(self, word: str) -> None:
        self.queue.put_nowait(word)


WORKFLOWS = [Asyncio]
ACTIVITIES = [echo]


async def drive(d: Any) -> None:
    async with d.worker():
        handle = await d.start(Asyncio.run)
        await handle.signal(Asyncio.put, "first")
        await handle.signal(Asyncio.put, "second")
        outcome = await handle.result()
        assert outcome[1:] == [[3], [4, 5], ["broken"], "timeout", "wait_for", [6, 7], [0, 1, 2], ["first", "second"]]
        d.keep("history", handle)
