"""An order as people write them: payment, stock, a human's approval or a timeout, and undoing in reverse."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from sdk import activity, common, exceptions, workflow

OPTIONS: dict[str, Any] = {
    "start_to_close_timeout": timedelta(seconds=20),
    "retry_policy": common.RetryPolicy(initial_interval=timedelta(milliseconds=10), maximum_attempts=2),
}


@activity.defn
async def charge(order: str) -> str:
    return f"charge for {order}"


@activity.defn
async def refund(charge_id: str) -> None:
    activity.logger.debug("refund %s", charge_id)


@activity.defn
async def reserve(order: str) -> str:
    return f"stock for {order}"


@activity.defn
async def release(reservation: str) -> None:
    activity.logger.debug("release %s", reservation)


@activity.defn
async def ship(order: str) -> str:
    if order.startswith("bad"):
        raise exceptions.ApplicationError("no such address", type="BadAddress")
    return f"parcel of {order}"


@workflow.defn
class Order:
    def __init__(self) -> None:
        self.approved: bool | None = None
        self.status = "new"

    @workflow.run
    async def run(self, order: str) -> str:
        undo: list[tuple[Callable[..., Any], str]] = []
        try:
            self.status = "charging"
            charged = await workflow.execute_activity(charge, order, **OPTIONS)
            undo.append((refund, charged))
            reserved = await workflow.execute_activity(reserve, order, **OPTIONS)
            undo.append((release, reserved))
            self.status = "waiting for approval"
            await workflow.wait_condition(lambda: self.approved is not None, timeout=timedelta(seconds=0.3))
            if not self.approved:
                raise exceptions.ApplicationError("declined", non_retryable=True)
            self.status = "shipping"
            parcel = await workflow.execute_activity(ship, order, **OPTIONS)
        except (TimeoutError, exceptions.FailureError) as error:
            self.status = "undoing"
            for action, argument in reversed(undo):
                await workflow.execute_activity(action, argument, **OPTIONS)
            self.status = "undone"
            return f"undone: {type(error).__name__}"
        self.status = "done"
        return parcel

    @workflow.signal
    def approve(self, yes: bool) -> None:
        self.approved = yes

    @workflow.query
    def current_status(self) -> str:
        return self.status


WORKFLOWS = [Order]
ACTIVITIES = [charge, refund, reserve, release, ship]


async def drive(d: Any) -> None:
    async with d.worker():
        for case, order, answer in (
            ("history", "good", True),
            ("declined", "good", False),
            ("unshippable", "bad", True),
            ("forgotten", "good", None),
        ):
            handle = await d.start(Order.run, order, case=case)
            if answer is not None:
                await d.until(handle, "WORKFLOW_TASK_COMPLETED")
                await handle.signal(Order.approve, answer)
            await handle.result()
            d.keep(case, handle)
