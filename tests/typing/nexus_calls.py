"""What a type checker must accept and refuse in calls of Nexus operations. Checked, never run.

Every refused call has its ``type: ignore``; both checkers report one that is not needed.
"""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from datetime import timedelta
from typing import Any, assert_type

import nexusrpc
from nexusrpc.handler import StartOperationContext, service_handler, sync_operation

from perdure import nexus, workflow
from perdure.client import Client
from perdure.client import NexusOperationHandle as ClientHandle

SOON = timedelta(seconds=10)


@nexusrpc.service
class Bank:
    balance: nexusrpc.Operation[str, int]
    transfer: nexusrpc.Operation[int, str]


@workflow.defn
class Transfer:
    @workflow.run
    async def run(self, amount: int) -> str:
        return str(amount)


@service_handler(service=Bank)
class BankHandler:
    @sync_operation
    async def balance(self, ctx: StartOperationContext, account: str) -> int:
        return len(account)

    @nexus.workflow_run_operation
    async def transfer(self, ctx: nexus.WorkflowRunOperationContext, amount: int) -> nexus.WorkflowHandle[str]:
        return await ctx.start_workflow(Transfer.run, amount, id="t")


async def in_a_workflow() -> None:
    bank = workflow.create_nexus_client(service=Bank, endpoint="bank")
    assert_type(await bank.execute_operation(Bank.balance, "a"), int)
    assert_type(await bank.execute_operation(Bank.transfer, 1, schedule_to_close_timeout=SOON), str)
    handle = await bank.start_operation(Bank.transfer, 1)
    assert_type(handle, workflow.NexusOperationHandle[str])
    assert_type(await handle, str)
    assert_type(handle.operation_token, str | None)
    assert_type(await bank.execute_operation("balance", "a", output_type=int), int)

    await bank.execute_operation(Bank.balance, 1)  # type: ignore[misc]
    await bank.execute_operation(Bank.balance)  # type: ignore[call-overload]
    await bank.execute_operation(Bank.balance, "a", timeout=SOON)  # type: ignore[call-overload]

    handled = workflow.create_nexus_client(service=BankHandler, endpoint="bank")
    assert_type(await handled.execute_operation(BankHandler.balance, "a"), int)
    assert_type(await handled.execute_operation(BankHandler.transfer, 1), str)

    by_name = workflow.create_nexus_client(service="Bank", endpoint="bank")
    result: Any = await by_name.execute_operation("balance", "a")
    assert result


async def outside(client: Client) -> None:
    bank = client.create_nexus_client(Bank, endpoint="bank")
    assert_type(await bank.execute_operation(Bank.balance, "a", id="1"), int)
    handle = await bank.start_operation(Bank.transfer, 1, id="2", schedule_to_close_timeout=SOON)
    assert_type(handle, ClientHandle[str])
    assert_type(await handle.result(), str)
    await bank.start_operation(Bank.transfer, 1)  # type: ignore[call-overload]
