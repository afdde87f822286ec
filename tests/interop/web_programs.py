"""What the Web UI is shown: workflows with something on each of its pages."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from perdure import activity, workflow
from perdure.client import Client
from perdure.common import RetryPolicy
from perdure.exceptions import ApplicationError
from perdure.worker import Worker

HOUR = timedelta(hours=1)


@activity.defn
async def greet(name: str) -> str:
    return f"Hello, {name}!"


@activity.defn
async def flaky(name: str) -> str:
    activity.heartbeat("halfway")
    raise ApplicationError("card declined", name, type="Declined")


@workflow.defn
class Hello:
    @workflow.run
    async def run(self, name: str) -> str:
        await workflow.execute_local_activity(greet, "nearby", start_to_close_timeout=HOUR)
        return await workflow.execute_activity(greet, name, start_to_close_timeout=HOUR, summary="greets")


@workflow.defn
class Order:
    """Has an activity that waits for its second attempt, a timer and a child that is done; ends by a signal."""

    def __init__(self) -> None:
        self.sum = 0
        self.how: str | None = None
        self.is_ready = False

    @workflow.run
    async def run(self, order: dict[str, Any]) -> str:
        workflow.set_current_details("**waiting** for payment")
        never = RetryPolicy(initial_interval=HOUR)
        paying = asyncio.ensure_future(
            workflow.execute_activity(flaky, "Ann", start_to_close_timeout=HOUR, retry_policy=never)
        )
        child = f"{workflow.info().workflow_id}-child"
        await workflow.execute_child_workflow(Hello.run, "child", id=child)
        resting = asyncio.ensure_future(workflow.sleep(24 * HOUR, summary="one day"))
        self.is_ready = True
        await workflow.wait_condition(lambda: self.how is not None)
        resting.cancel()
        paying.cancel()
        return f"shipped {self.how}"

    @workflow.signal
    def finish(self, how: str) -> None:
        self.how = how

    @workflow.query
    def payment(self) -> str:
        return "paid: never"

    @workflow.query
    def total(self) -> int:
        return self.sum

    @workflow.update
    async def ready(self) -> None:
        await workflow.wait_condition(lambda: self.is_ready)

    @workflow.update
    async def add(self, number: int) -> int:
        self.sum += number
        return self.sum


def working(client: Client) -> Worker:
    """A worker for everything here."""
    return Worker(
        client, task_queue="shop", workflows=[Hello, Order], activities=[greet, flaky], identity="the shop's worker"
    )
