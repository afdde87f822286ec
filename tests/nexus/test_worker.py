"""Nexus as workflows and handlers see it: one worker calls, and handles."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import nexusrpc
import pytest
from nexusrpc.handler import (
    CancelOperationContext,
    OperationHandler,
    StartOperationContext,
    StartOperationResultAsync,
    StartOperationResultSync,
    operation_handler,
    service_handler,
    sync_operation,
)

from perdure import Client, Worker, activity, nexus, workflow
from perdure.client import WorkflowFailureError
from perdure.common import NexusOperationExecutionStatus, WorkflowIDConflictPolicy
from perdure.exceptions import (
    ApplicationError,
    CancelledError,
    NexusOperationError,
    TimeoutError,
)
from perdure.service import RPCError
from perdure.testing import WorkflowEnvironment
from perdure.worker import (
    ExecuteNexusOperationCancelInput,
    ExecuteNexusOperationStartInput,
    Interceptor,
    NexusOperationInboundInterceptor,
    StartNexusOperationInput,
    WorkerTuner,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)

SOON = timedelta(seconds=20)


@nexusrpc.service
class Shop:
    greet: nexusrpc.Operation[str, str]
    block: nexusrpc.Operation[str, str]
    order: nexusrpc.Operation[str, str]
    refuse: nexusrpc.Operation[str, str]
    broken: nexusrpc.Operation[str, str]
    where: nexusrpc.Operation[None, list[str]]


@workflow.defn
class Order:
    """What an order goes on as."""

    def __init__(self) -> None:
        self.paid = ""

    @workflow.run
    async def run(self, item: str) -> str:
        await workflow.wait_condition(lambda: bool(self.paid))
        return f"{item} for {self.paid}"

    @workflow.signal
    def pay(self, price: str) -> None:
        self.paid = price


@service_handler(service=Shop)
class ShopHandler:
    @sync_operation
    async def greet(self, ctx: StartOperationContext, name: str) -> str:
        return f"hello {name}"

    @sync_operation
    def block(self, ctx: StartOperationContext, name: str) -> str:
        return f"{name} in {threading.current_thread().name.split('_')[0]}"

    @nexus.workflow_run_operation
    async def order(self, ctx: nexus.WorkflowRunOperationContext, item: str) -> nexus.WorkflowHandle[str]:
        return await ctx.start_workflow(
            Order.run, item, id=f"order-{item}", id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING
        )

    @sync_operation
    async def refuse(self, ctx: StartOperationContext, why: str) -> str:
        raise nexusrpc.HandlerError(why, type=nexusrpc.HandlerErrorType.BAD_REQUEST)

    @sync_operation
    async def broken(self, ctx: StartOperationContext, why: str) -> str:
        raise ApplicationError(why, type="Broken", non_retryable=True)

    @sync_operation
    async def where(self, ctx: StartOperationContext, nothing: None) -> list[str]:
        info = nexus.info()
        assert nexus.in_operation()
        assert not nexus.is_worker_shutdown()
        assert nexus.client().namespace == info.namespace
        nexus.logger.info("asked")
        nexus.metric_meter().create_counter("asked").add(1)
        return [info.endpoint, info.namespace, info.task_queue]


@workflow.defn
class Caller:
    @workflow.run
    async def run(self, operation: str, given: Any) -> Any:
        shop = workflow.create_nexus_client(service=Shop, endpoint="shop")
        return await shop.execute_operation(operation, given, schedule_to_close_timeout=SOON)


@workflow.defn
class Buyer:
    """Orders, and pays once the order is taken."""

    @workflow.run
    async def run(self, item: str) -> str:
        shop = workflow.create_nexus_client(service=Shop, endpoint="shop")
        order = await shop.start_operation(Shop.order, item)
        assert order.operation_token
        await workflow.get_external_workflow_handle_for(Order.run, f"order-{item}").signal(Order.pay, "10")
        return await order


@workflow.defn
class Ditherer:
    """Orders, and cancels."""

    @workflow.run
    async def run(self, item: str, kind: str) -> str:
        shop = workflow.create_nexus_client(service=Shop, endpoint="shop")
        order = await shop.start_operation(
            Shop.order, item, cancellation_type=workflow.NexusOperationCancellationType[kind]
        )
        order.cancel()
        try:
            await order
        except NexusOperationError as error:
            return type(error.__cause__).__name__
        return "bought"


@asynccontextmanager
async def shop(url: str, *handlers: Any, **options: Any) -> AsyncIterator[Client]:
    """A worker with the shop, under the endpoint of that name."""
    options.setdefault("workflows", [Caller, Buyer, Ditherer, Order])
    with ThreadPoolExecutor(1, "mine") as executor:
        async with await WorkflowEnvironment.start_local(url=url) as env:
            await env.create_nexus_endpoint("shop", "q")
            async with Worker(
                env.client,
                task_queue="q",
                nexus_service_handlers=handlers or [ShopHandler()],
                nexus_task_executor=executor,
                max_concurrent_nexus_tasks=1,
                **options,
            ):
                yield env.client


async def ask(client: Client, operation: str, given: Any = None) -> Any:
    return await client.execute_workflow(Caller.run, args=[operation, given], id=f"caller-{operation}", task_queue="q")


async def test_a_workflow_calls_an_operation(url: str) -> None:
    async with shop(url) as client:
        assert await ask(client, "greet", "ada") == "hello ada"
        assert await ask(client, "block", "ada") == "ada in mine"


async def test_a_handler_knows_where_it_is(url: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "perdure.nexus"):
        async with shop(url) as client:
            assert await ask(client, "where") == ["shop", "default", "q"]
    [record] = [record for record in caplog.records if record.message.startswith("asked")]
    assert (record.__dict__["service"], record.__dict__["operation"]) == ("Shop", "where")


async def test_an_operation_goes_on_as_a_workflow(url: str) -> None:
    async with shop(url) as client:
        assert await client.execute_workflow(Buyer.run, "tea", id="b", task_queue="q") == "tea for 10"


async def test_callers_share_an_order(url: str) -> None:
    async with shop(url) as client:
        buyers = [
            await client.start_workflow(Caller.run, args=["order", "tea"], id=f"c{i}", task_queue="q") for i in range(3)
        ]
        order = client.get_workflow_handle("order-tea")
        while len((await started(client, "order-tea")).callbacks) < 3:
            await asyncio.sleep(0.005)
        await order.signal(Order.pay, "10")
        assert [await buyer.result() for buyer in buyers] == ["tea for 10"] * 3


async def started(client: Client, workflow_id: str) -> Any:
    """The workflow's description, as soon as it is there."""
    while True:
        try:
            return (await client.get_workflow_handle(workflow_id).describe()).raw_description
        except RPCError:
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("kind", ["WAIT_COMPLETED", "WAIT_REQUESTED", "TRY_CANCEL", "ABANDON"])
async def test_cancelling_an_operation(url: str, kind: str) -> None:
    async with shop(url) as client:
        said = await client.execute_workflow(Ditherer.run, args=["tea", kind], id="d", task_queue="q")
        assert said == "CancelledError"
        order = client.get_workflow_handle("order-tea")
        if kind == "ABANDON":
            await order.signal(Order.pay, "10")
            assert await order.result() == "tea for 10"
        elif kind == "WAIT_COMPLETED":
            with pytest.raises(WorkflowFailureError) as caught:
                await order.result()
            assert isinstance(caught.value.cause, CancelledError)


async def test_cancelling_the_workflow_cancels_the_operation(url: str) -> None:
    async with shop(url) as client:
        caller = await client.start_workflow(Caller.run, args=["order", "tea"], id="c", task_queue="q")
        while not [found for found in (await started(client, "c")).pending_nexus_operations if found.operation_token]:
            await asyncio.sleep(0.005)
        await caller.cancel()
        with pytest.raises(WorkflowFailureError) as caught:
            await caller.result()
        assert isinstance(caught.value.cause, (CancelledError, NexusOperationError))
        with pytest.raises(WorkflowFailureError):
            await client.get_workflow_handle("order-tea").result()


async def failure(client: Client, operation: str, given: Any) -> NexusOperationError:
    with pytest.raises(WorkflowFailureError) as caught:
        await ask(client, operation, given)
    error = caught.value.cause
    assert isinstance(error, NexusOperationError)
    assert (error.endpoint, error.service, error.operation) == ("shop", "Shop", operation)
    return error


async def test_a_handler_refuses(url: str) -> None:
    async with shop(url) as client:
        cause = (await failure(client, "refuse", "no tea")).__cause__
        assert isinstance(cause, nexusrpc.HandlerError)
        assert (cause.type, cause.message) == (nexusrpc.HandlerErrorType.BAD_REQUEST, "no tea")


async def test_a_handler_breaks(url: str) -> None:
    async with shop(url) as client:
        cause = (await failure(client, "broken", "no tea")).__cause__
        assert isinstance(cause, nexusrpc.HandlerError)
        assert not cause.retryable
        assert isinstance(cause.__cause__, ApplicationError)
        assert (cause.__cause__.type, cause.__cause__.message) == ("Broken", "no tea")


async def test_an_operation_that_nobody_handles(url: str) -> None:
    async with shop(url) as client:
        cause = (await failure(client, "unheard", "of")).__cause__
        assert isinstance(cause, nexusrpc.HandlerError)
        assert cause.type == nexusrpc.HandlerErrorType.NOT_FOUND


async def test_an_argument_of_another_type(url: str) -> None:
    async with shop(url) as client:
        cause = (await failure(client, "greet", ["not", "a", "name"])).__cause__
        assert isinstance(cause, nexusrpc.HandlerError)
        assert cause.type == nexusrpc.HandlerErrorType.BAD_REQUEST


# ---- handlers that do it all themselves


@service_handler(name="Own")
class OwnHandler:
    """An operation with a token of its own, whose cancellation is seen."""

    def __init__(self) -> None:
        self.cancelled: list[str] = []
        self.seen = asyncio.Event()

    @operation_handler
    def forever(self) -> OperationHandler[str, str]:
        return Forever(self)


class Forever(OperationHandler[str, str]):
    def __init__(self, owner: OwnHandler) -> None:
        self.owner = owner

    async def start(
        self, ctx: StartOperationContext, input: str
    ) -> StartOperationResultSync[str] | StartOperationResultAsync:
        assert ctx.callback_url
        assert ctx.request_id
        return StartOperationResultAsync(f"token-{input}")

    async def cancel(self, ctx: CancelOperationContext, token: str) -> None:
        self.owner.cancelled.append(token)
        self.owner.seen.set()


@workflow.defn(sandboxed=False)
class OwnCaller:
    @workflow.run
    async def run(self) -> str:
        client = workflow.create_nexus_client(service="Own", endpoint="shop")
        handle = await client.start_operation(
            "forever",
            "a",
            cancellation_type=workflow.NexusOperationCancellationType.WAIT_REQUESTED,
            schedule_to_close_timeout=SOON,
        )
        handle.cancel()
        try:
            await handle
        except NexusOperationError as error:
            return f"{handle.operation_token} {type(error.__cause__).__name__}"
        return "never"


async def test_a_handler_has_its_own_tokens(url: str) -> None:
    handler = OwnHandler()
    async with shop(url, handler, workflows=[OwnCaller]) as client:
        said = await client.execute_workflow(OwnCaller.run, id="c", task_queue="q")
        assert said == "token-a CancelledError"
        assert handler.cancelled == ["token-a"]


# ---- operations that do what the client can


@workflow.defn
class Account:
    def __init__(self) -> None:
        self.balance = 0

    @workflow.run
    async def run(self) -> int:
        await workflow.wait_condition(lambda: self.balance >= 5)
        return self.balance

    @workflow.update
    async def add(self, amount: int) -> int:
        self.balance += amount
        return self.balance


@activity.defn
async def double(amount: int) -> int:
    return 2 * amount


@service_handler(name="Bank")
class BankHandler:
    @nexus.temporal_operation
    async def double(
        self, ctx: nexus.TemporalStartOperationContext, client: nexus.TemporalNexusClient, amount: int
    ) -> nexus.TemporalOperationResult[int]:
        return await client.start_activity(
            double, amount, id=f"double-{amount}", task_queue="q", start_to_close_timeout=SOON
        )


@workflow.defn
class BankCaller:
    @workflow.run
    async def run(self, amount: int) -> int:
        bank = workflow.create_nexus_client(service="Bank", endpoint="shop")
        result: int = await bank.execute_operation("double", amount, output_type=int, schedule_to_close_timeout=SOON)
        return result


async def test_an_operation_goes_on_as_an_activity(url: str) -> None:
    async with shop(url, BankHandler(), workflows=[BankCaller], activities=[double]) as client:
        assert await client.execute_workflow(BankCaller.run, 4, id="c", task_queue="q") == 8


# ---- timeouts


@workflow.defn
class Impatient:
    @workflow.run
    async def run(self) -> str:
        client = workflow.create_nexus_client(service=Shop, endpoint="shop")
        try:
            await client.execute_operation(Shop.order, "tea", schedule_to_close_timeout=timedelta(milliseconds=200))
        except NexusOperationError as error:
            assert isinstance(error.__cause__, TimeoutError)
            assert error.__cause__.type is not None
            return error.__cause__.type.name
        return "served"


async def test_an_operation_times_out(url: str) -> None:
    async with shop(url, workflows=[Impatient, Order]) as client:
        assert await client.execute_workflow(Impatient.run, id="i", task_queue="q") == "SCHEDULE_TO_CLOSE"


# ---- interceptors


class Noted(Interceptor):
    def __init__(self) -> None:
        self.seen: list[str] = []

    def intercept_nexus_operation(self, next: NexusOperationInboundInterceptor) -> NexusOperationInboundInterceptor:
        owner = self

        class Inbound(NexusOperationInboundInterceptor):
            async def execute_nexus_operation_start(self, input: ExecuteNexusOperationStartInput) -> Any:
                owner.seen.append(f"start {input.ctx.operation} {input.ctx.headers['who']}")
                return await super().execute_nexus_operation_start(input)

            async def execute_nexus_operation_cancel(self, input: ExecuteNexusOperationCancelInput) -> None:
                owner.seen.append(f"cancel {input.ctx.operation}")
                await super().execute_nexus_operation_cancel(input)

        return Inbound(next)

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[WorkflowInboundInterceptor] | None:
        class Outbound(WorkflowOutboundInterceptor):
            async def start_nexus_operation(self, input: StartNexusOperationInput[Any, Any]) -> Any:
                input.headers = {**(input.headers or {}), "who": "ada"}
                return await super().start_nexus_operation(input)

        class Inbound(WorkflowInboundInterceptor):
            def init(self, outbound: WorkflowOutboundInterceptor) -> None:
                super().init(Outbound(outbound))

        return Inbound


async def test_interceptors_see_operations(url: str) -> None:
    noted = Noted()
    async with shop(url, interceptors=[noted]) as client:
        said = await client.execute_workflow(Ditherer.run, args=["tea", "WAIT_COMPLETED"], id="d", task_queue="q")
        assert said == "CancelledError"
    assert noted.seen == ["start order ada", "cancel order"]


# ---- without a workflow


async def test_a_client_calls_an_operation(url: str) -> None:
    async with shop(url) as client:
        service = client.create_nexus_client(Shop, endpoint="shop")
        assert await service.execute_operation(Shop.greet, "ada", id="o1") == "hello ada"
        handle = await service.start_operation(Shop.order, "tea", id="o2")
        await started(client, "order-tea")
        assert (await handle.describe()).status is NexusOperationExecutionStatus.RUNNING
        await client.get_workflow_handle("order-tea").signal(Order.pay, "10")
        assert await handle.result() == "tea for 10"
        assert (await handle.describe()).status is NexusOperationExecutionStatus.COMPLETED
        again = client.get_nexus_operation_handle("o2", result_type=str)
        assert await again.result() == "tea for 10"
        listed = [found.operation_id async for found in client.list_nexus_operations("")]
        assert sorted(listed) == ["o1", "o2"]
        assert (await client.count_nexus_operations()).count == 2


# ---- workers


async def test_handlers_must_be_what_their_service_says(url: str) -> None:
    class Nothing:
        pass

    async with await Client.connect(url) as client:
        with pytest.raises(RuntimeError, match="service definition"):
            Worker(client, task_queue="q", nexus_service_handlers=[Nothing()])
        with pytest.raises(TypeError, match=r"instance|class"):
            Worker(client, task_queue="q", nexus_service_handlers=[ShopHandler])


async def test_blocking_handlers_need_an_executor(url: str) -> None:
    async with await Client.connect(url) as client:
        with pytest.raises(RuntimeError, match="executor"):
            Worker(client, task_queue="q", nexus_service_handlers=[ShopHandler()])


async def test_small_executors_are_told_of(url: str) -> None:
    async with await Client.connect(url) as client:
        with ThreadPoolExecutor(1) as executor, pytest.warns(UserWarning, match="max_concurrent_nexus_tasks is 9"):
            Worker(
                client,
                task_queue="q",
                nexus_service_handlers=[ShopHandler()],
                nexus_task_executor=executor,
                tuner=WorkerTuner.create_fixed(nexus_slots=9),
            )


@service_handler(name="Slow")
class Slow:
    def __init__(self) -> None:
        self.began = asyncio.Event()

    @sync_operation
    async def last(self, ctx: StartOperationContext, name: str) -> str:
        self.began.set()
        await nexus.wait_for_worker_shutdown()
        return f"{name} at last"


@workflow.defn(sandboxed=False)
class SlowCaller:
    @workflow.run
    async def run(self) -> str:
        client = workflow.create_nexus_client(service="Slow", endpoint="shop")
        return await client.execute_operation("last", "ada", output_type=str)


async def test_shutdown_waits_for_handlers(url: str) -> None:
    async with await WorkflowEnvironment.start_local(url=url) as env:
        await env.create_nexus_endpoint("shop", "nq")
        slow = Slow()
        async with Worker(env.client, task_queue="q", workflows=[SlowCaller]):
            async with Worker(
                env.client, task_queue="nq", nexus_service_handlers=[slow], graceful_shutdown_timeout=SOON
            ):
                handle = await env.client.start_workflow(SlowCaller.run, id="c", task_queue="q")
                await slow.began.wait()
            assert await handle.result() == "ada at last"
