"""What a type checker must accept and refuse in calls about standalone activities. Checked, never run.

Every refused call has its ``type: ignore``; both checkers report one that is not needed.
"""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from datetime import timedelta
from typing import Any, assert_type

from perdure import activity
from perdure.client import ActivityHandle, Client

SOON = timedelta(seconds=10)


@activity.defn
async def charge(amount: int) -> str:
    return str(amount)


@activity.defn
def count(name: str) -> int:
    return len(name)


@activity.defn
async def tick() -> float:
    return 1.0


@activity.defn
async def add(first: int, second: int) -> int:
    return first + second


class Bank:
    @activity.defn
    async def pay(self, amount: int) -> str:
        return str(amount)


async def accepted(client: Client) -> None:
    handle = await client.start_activity(charge, 1, id="a", task_queue="q", start_to_close_timeout=SOON)
    assert_type(handle, ActivityHandle[str])
    assert_type(await handle.result(), str)
    assert_type(await client.execute_activity(count, "x", id="a", task_queue="q"), int)
    assert_type(await client.execute_activity(tick, id="a", task_queue="q"), float)
    assert_type(await client.execute_activity(add, args=[1, 2], id="a", task_queue="q"), int)
    assert_type(await client.execute_activity("named", 1, id="a", task_queue="q", result_type=int), Any)
    assert_type(await client.execute_activity_method(Bank.pay, 1, id="a", task_queue="q"), str)
    assert_type(client.get_activity_handle("a"), ActivityHandle[Any])


async def refused(client: Client) -> None:
    await client.execute_activity(charge, "1", id="a", task_queue="q")  # type: ignore
    await client.execute_activity(charge, id="a", task_queue="q")  # type: ignore
    await client.execute_activity(tick, 1, id="a", task_queue="q")  # type: ignore
    await client.execute_activity(charge, 1, task_queue="q")  # type: ignore
    await client.execute_activity(charge, 1, id="a", task_queue="q", start_to_close_timeout=10)  # type: ignore
    await client.execute_activity_method(Bank.pay, "1", id="a", task_queue="q")  # type: ignore
