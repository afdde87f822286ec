"""What a type checker must accept and refuse in the calls of workflow code. Checked by mypy and pyright, never run.

Every refused call has its ``type: ignore``; both checkers report one that is not needed.
"""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import assert_type

from perdure import activity, workflow

SOON = timedelta(seconds=10)


@dataclass
class Order:
    item: str


@activity.defn
async def pack(order: Order) -> int:
    return 1


@activity.defn
def weigh(order: Order) -> float:
    return 1.0


@activity.defn
async def sweep() -> None: ...


@activity.defn
async def ship(order: Order, address: str) -> str:
    return ""


@activity.defn
class Measure:
    async def __call__(self, order: Order) -> int:
        return 1


class Depot:
    @activity.defn
    async def pack(self, order: Order) -> int:
        return 1

    @activity.defn
    def weigh(self, order: Order) -> float:
        return 1.0


@workflow.defn
class Child:
    @workflow.run
    async def run(self, order: Order) -> int:
        return 1

    @workflow.signal
    async def add(self, item: str) -> None: ...

    @workflow.signal
    def close(self) -> None: ...


@workflow.defn
class Calls:
    @workflow.run
    async def run(self) -> None:
        order = Order("tea")

        # activities
        assert_type(await workflow.execute_activity(pack, order, start_to_close_timeout=SOON), int)
        assert_type(await workflow.execute_activity(weigh, order, start_to_close_timeout=SOON), float)
        assert_type(await workflow.execute_activity(ship, args=[order, "here"], start_to_close_timeout=SOON), str)
        assert_type(workflow.start_activity(pack, order, start_to_close_timeout=SOON), workflow.ActivityHandle[int])
        await workflow.execute_activity(sweep, start_to_close_timeout=SOON)
        await workflow.execute_activity("named", order, start_to_close_timeout=SOON, result_type=int)
        await workflow.execute_activity(pack, "tea", start_to_close_timeout=SOON)  # type: ignore[misc]
        await workflow.execute_activity(weigh, 1, start_to_close_timeout=SOON)  # type: ignore[arg-type]
        await workflow.execute_activity(pack, start_to_close_timeout=SOON)  # type: ignore[arg-type]
        await workflow.execute_activity(sweep, order, start_to_close_timeout=SOON)  # type: ignore[arg-type]
        await workflow.execute_activity(pack, order, start_to_close_timeout=10)  # type: ignore[call-overload]
        workflow.start_activity(pack, "tea", start_to_close_timeout=SOON)  # type: ignore[misc]

        # activities that are methods or classes
        assert_type(await workflow.execute_activity_method(Depot.pack, order, start_to_close_timeout=SOON), int)
        assert_type(await workflow.execute_activity_method(Depot.weigh, order, start_to_close_timeout=SOON), float)
        await workflow.execute_activity_method(Depot.pack, "tea", start_to_close_timeout=SOON)  # type: ignore[misc]
        assert_type(await workflow.execute_activity_class(Measure, order, start_to_close_timeout=SOON), int)
        await workflow.execute_activity_class(Measure, "tea", start_to_close_timeout=SOON)  # type: ignore[misc]

        # local activities
        assert_type(await workflow.execute_local_activity(pack, order, start_to_close_timeout=SOON), int)
        assert_type(
            workflow.start_local_activity(weigh, order, schedule_to_close_timeout=SOON), workflow.ActivityHandle[float]
        )
        assert_type(
            await workflow.execute_local_activity_method(Depot.weigh, order, start_to_close_timeout=SOON), float
        )
        await workflow.execute_local_activity(pack, "tea", start_to_close_timeout=SOON)  # type: ignore[misc]
        await workflow.execute_local_activity(pack, order, heartbeat_timeout=SOON)  # type: ignore[call-overload]
        await workflow.execute_local_activity_method(Depot.pack, 1, start_to_close_timeout=SOON)  # type: ignore[misc]
        await workflow.execute_local_activity_class(Measure, "tea", start_to_close_timeout=SOON)  # type: ignore[misc]

        # child workflows
        child = await workflow.start_child_workflow(Child.run, order)
        assert_type(child, workflow.ChildWorkflowHandle[Child, int])
        assert_type(await child, int)
        assert_type(await workflow.execute_child_workflow(Child.run, order, id="c"), int)
        await workflow.execute_child_workflow(Child.run, "tea")  # type: ignore[misc]
        await workflow.start_child_workflow(Child.run)  # type: ignore[arg-type]
        await workflow.start_child_workflow(Child.run, order, run_timeout=10)  # type: ignore[call-overload]

        # signals
        await child.signal(Child.add, "tea")
        await child.signal(Child.close)
        await child.signal(Child.add, 1)  # type: ignore[call-overload]
        await child.signal(Child.add)  # type: ignore[call-overload]
        other = workflow.get_external_workflow_handle_for(Child.run, "c")
        assert_type(other, workflow.ExternalWorkflowHandle[Child])
        await other.signal(Child.add, "tea")
        await other.signal(Child.add, 1)  # type: ignore[call-overload]
        await other.signal(Calls.poke, 1)  # type: ignore[call-overload]

        # timers and conditions
        await workflow.sleep(SOON, summary="wait")
        await workflow.sleep("10")  # type: ignore[arg-type]
        await workflow.wait_condition(lambda: True, timeout=SOON)
        await workflow.wait_condition(True)  # type: ignore[arg-type]

    @workflow.signal
    def poke(self, amount: int) -> None: ...


@workflow.signal  # type: ignore[type-var]
def answers(self: Calls) -> int:
    """A signal has no answer."""
    return 1
