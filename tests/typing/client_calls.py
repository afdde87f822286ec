"""What a type checker must accept and refuse in client calls. Checked by mypy and pyright, never run.

Every refused call has its ``type: ignore``; both checkers report one that is not needed.
"""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import assert_type

from perdure import activity, workflow
from perdure.client import (
    Client,
    WithStartWorkflowOperation,
    WorkflowHandle,
    WorkflowUpdateStage,
)
from perdure.common import WorkflowIDConflictPolicy

SOON = timedelta(seconds=10)
FAIL = WorkflowIDConflictPolicy.FAIL


@dataclass
class Order:
    item: str


@workflow.defn
class Shop:
    @workflow.run
    async def run(self, order: Order) -> int:
        return 1

    @workflow.signal
    async def add(self, item: str) -> None: ...

    @workflow.signal
    def close(self) -> None: ...

    @workflow.query
    def total(self) -> float:
        return 1.0

    @workflow.query
    def price(self, item: str, amount: int) -> float:
        return 1.0

    @workflow.update
    async def pay(self, amount: int) -> str:
        return ""


@workflow.defn
class Empty:
    @workflow.run
    async def run(self) -> None: ...


@workflow.defn
class Many:
    @workflow.run
    async def run(self, first: int, second: str) -> bool:
        return True


async def starts(client: Client) -> None:
    handle = await client.start_workflow(Shop.run, Order("tea"), id="a", task_queue="q")
    assert_type(handle, WorkflowHandle[Shop, int])
    assert_type(await handle.result(), int)
    assert_type(await client.execute_workflow(Shop.run, Order("tea"), id="a", task_queue="q"), int)
    assert_type(await client.execute_workflow(Empty.run, id="a", task_queue="q", start_signal="s"), None)
    assert_type(await client.execute_workflow(Many.run, args=[1, "a"], id="a", task_queue="q"), bool)
    await client.start_workflow("Shop", Order("tea"), id="a", task_queue="q", result_type=int)

    await client.start_workflow(Shop.run, "tea", id="a", task_queue="q")  # type: ignore[misc]
    await client.start_workflow(Shop.run, Order("tea"), task_queue="q")  # type: ignore[call-overload]
    await client.start_workflow(Shop.run, Order("tea"), id="a")  # type: ignore[call-overload]
    await client.start_workflow(Shop.run, Order("tea"), id=5, task_queue="q")  # type: ignore[call-overload]
    await client.start_workflow(Shop.run, Order("tea"), id="a", task_queue="q", timeout=5)  # type: ignore[call-overload]
    await client.start_workflow(Empty.run, 5, id="a", task_queue="q")  # type: ignore[arg-type]


async def talks(client: Client) -> None:
    handle = client.get_workflow_handle_for(Shop.run, "a")
    assert_type(handle, WorkflowHandle[Shop, int])
    await handle.signal(Shop.add, "tea")
    await handle.signal(Shop.close)
    await handle.signal("anything", 1, rpc_metadata={})
    assert_type(await handle.query(Shop.total), float)
    assert_type(await handle.query(Shop.price, args=["tea", 1]), float)
    assert_type(await handle.execute_update(Shop.pay, 5), str)
    update = await handle.start_update(Shop.pay, 5, wait_for_stage=WorkflowUpdateStage.ACCEPTED)
    assert_type(await update.result(), str)

    await handle.signal(Shop.add, 5)  # type: ignore[call-overload]
    await handle.signal(Shop.add)  # type: ignore[call-overload]
    await handle.query(Shop.total, 5)  # type: ignore[call-overload]
    await handle.execute_update(Shop.pay, "five")  # type: ignore[arg-type]
    await handle.start_update(Shop.pay, 5)  # type: ignore[call-overload]


@activity.defn
async def pack(order: Order) -> int:
    return 1


async def activities(client: Client) -> None:
    assert_type(
        await client.execute_activity(pack, Order("tea"), id="a", task_queue="q", start_to_close_timeout=SOON), int
    )
    await client.execute_activity(pack, "tea", id="a", task_queue="q", start_to_close_timeout=SOON)  # type: ignore[misc]


async def update_with_start(client: Client) -> None:
    start = WithStartWorkflowOperation(Shop.run, Order("tea"), id="a", task_queue="q", id_conflict_policy=FAIL)
    assert_type(await client.execute_update_with_start_workflow(Shop.pay, 5, start_workflow_operation=start), str)
    await client.execute_update_with_start_workflow(Shop.pay, "five", start_workflow_operation=start)  # type: ignore[arg-type]
    WithStartWorkflowOperation(Shop.run, "tea", id="a", task_queue="q", id_conflict_policy=FAIL)  # type: ignore[misc]
