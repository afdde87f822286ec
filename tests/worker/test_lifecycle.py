"""Making, running and shutting down workers."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest

from perdure import activity
from perdure.api.workflowservice import v1 as ws
from perdure.client import Client
from perdure.common import RawValue
from perdure.service import ConnectConfig, RPCError, RPCStatusCode, ServiceClient
from perdure.worker import Worker, WorkerTuner
from tests.support.fake_service import FakeService

Running = Callable[..., Any]


@activity.defn
async def add(a: int, b: int) -> int:
    return a + b


@activity.defn
def sync_add(a: int, b: int) -> int:
    return a + b


async def undecorated() -> None: ...


@activity.defn(name="add")
async def another_add() -> None: ...


@activity.defn(dynamic=True)
async def dynamic_one(args: Sequence[RawValue]) -> None: ...


@activity.defn(dynamic=True)
async def dynamic_two(args: Sequence[RawValue]) -> None: ...


class Unbound:
    @activity.defn
    async def method(self) -> None: ...


@activity.defn(name="callable")
class CallableActivity:
    async def __call__(self) -> None: ...


@pytest.mark.parametrize(
    ("error", "message", "arguments"),
    [
        (ValueError, "At least one activity", {}),
        (ValueError, "task_queue must be a non-empty string", {"task_queue": "", "activities": [add]}),
        (TypeError, "was it decorated with @activity.defn", {"activities": [undecorated]}),
        (ValueError, "More than one activity named add", {"activities": [add, another_add]}),
        (TypeError, "More than one dynamic activity", {"activities": [dynamic_one, dynamic_two]}),
        (TypeError, "Activity named callable is a class instead of an instance", {"activities": [CallableActivity]}),
        (TypeError, "activities must be a sequence", {"activities": add}),
        (ValueError, "max_concurrent_activities must be", {"activities": [add], "max_concurrent_activities": 0}),
        (ValueError, "max_cached_workflows must be 0 or more", {"activities": [add], "max_cached_workflows": -1}),
        (ValueError, "disable_eager_activity_execution", {
            "activities": [add], "max_eager_activity_reservations_per_workflow_task": 0}),
        (ValueError, "max_activities_per_second must", {"activities": [add], "max_activities_per_second": 0}),
        (ValueError, "graceful_shutdown_timeout must", {"activities": [add], "graceful_shutdown_timeout": 5}),
        (ValueError, "Cannot specify max_concurrent_workflow_tasks", {
            "activities": [add], "tuner": WorkerTuner.create_fixed(), "max_concurrent_activities": 5}),
        (ValueError, "build_id must be specified", {"activities": [add], "use_worker_versioning": True}),
        (RuntimeError, "does not have a service definition", {
            "activities": [add], "nexus_service_handlers": [object()]}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
async def test_refused_arguments(
    fake_client: Client, error: type[Exception], message: str, arguments: dict[str, Any]
) -> None:
    with pytest.raises(error, match=message):
        Worker(fake_client, **{"task_queue": "tq", **arguments})


async def test_process_pools_need_a_shared_state_manager(fake_client: Client) -> None:
    with concurrent.futures.ProcessPoolExecutor(1) as executor:
        with pytest.raises(ValueError, match="shared_state_manager"):
            Worker(fake_client, task_queue="tq", activities=[sync_add], activity_executor=executor)
        Worker(fake_client, task_queue="tq", activities=[add], activity_executor=executor)


async def test_warnings(fake_client: Client) -> None:
    with pytest.warns(UserWarning, match="first parameter named self"):
        Worker(fake_client, task_queue="tq", activities=[Unbound.method])
    with (
        concurrent.futures.ThreadPoolExecutor(1) as executor,
        pytest.warns(UserWarning, match="max_workers is only 1"),
    ):
        Worker(
            fake_client, task_queue="tq", activities=[sync_add], activity_executor=executor, max_concurrent_activities=2
        )


async def test_config(fake_client: Client) -> None:
    worker = Worker(fake_client, task_queue="tq", activities=(add,), max_concurrent_activities=7)
    config = worker.config()
    assert config["activities"] == [add] and config["max_concurrent_activities"] == 7
    assert config["client"] is worker.client is fake_client
    assert Worker(**config).task_queue == "tq"  # type: ignore[arg-type]


async def test_run_and_shutdown(service: FakeService, fake_client: Client) -> None:
    worker = Worker(fake_client, task_queue="tq", activities=[add])
    assert not worker.is_running and not worker.is_shutdown
    run = asyncio.create_task(worker.run())
    assert await service.schedule(add, 1, 2).result() == 3
    assert worker.is_running
    with pytest.raises(RuntimeError, match="Already started"):
        await worker.run()
    await asyncio.gather(worker.shutdown(), worker.shutdown())
    assert worker.is_shutdown and not worker.is_running
    await run
    await worker.shutdown()


async def test_shutdown_before_run(fake_client: Client) -> None:
    worker = Worker(fake_client, task_queue="tq", activities=[add])
    shutdown = asyncio.create_task(worker.shutdown())
    await asyncio.sleep(0)
    await worker.run()
    await shutdown
    assert worker.is_shutdown


async def test_cancelling_run_shuts_down(service: FakeService, fake_client: Client) -> None:
    worker = Worker(fake_client, task_queue="tq", activities=[add])
    run = asyncio.create_task(worker.run())
    await service.schedule(add, 1, 2).result()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert worker.is_shutdown


async def test_shutdown_waits_for_activities_within_their_grace(service: FakeService, fake_client: Client) -> None:
    started = asyncio.Event()

    @activity.defn
    async def until_shutdown() -> str:
        started.set()
        await activity.wait_for_worker_shutdown()
        assert activity.is_worker_shutdown() and not activity.is_cancelled()
        return "tidied up"

    async with Worker(
        fake_client, task_queue="tq", activities=[until_shutdown], graceful_shutdown_timeout=timedelta(minutes=1)
    ):
        scheduled = service.schedule(until_shutdown)
        await started.wait()
    assert await scheduled.result() == "tidied up"


async def test_shutdown_cancels_activities_after_their_grace(service: FakeService, fake_client: Client) -> None:
    started = asyncio.Event()
    details: list[activity.ActivityCancellationDetails | None] = []

    @activity.defn
    async def stubborn() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            details.append(activity.cancellation_details())

    @activity.defn
    def in_thread() -> None:
        activity.wait_for_worker_shutdown_sync()
        activity.wait_for_cancelled_sync()

    async with Worker(fake_client, task_queue="tq", activities=[stubborn, in_thread]):
        scheduled = service.schedule(stubborn)
        scheduled_thread = service.schedule(in_thread)
        await started.wait()
    answer = await scheduled.failure()
    assert answer.failure is not None and answer.failure.application_failure_info is not None
    assert answer.failure.application_failure_info.type == "WorkerShutdown"
    assert details == [activity.ActivityCancellationDetails(worker_shutdown=True)]
    assert scheduled_thread.answered.done()


async def test_a_closed_service_ends_the_worker_with_a_clear_error(service: FakeService, fake_client: Client) -> None:
    told: list[BaseException] = []

    async def on_fatal_error(error: BaseException) -> None:
        told.append(error)
        raise ValueError("is logged and ignored")

    worker = Worker(fake_client, task_queue="tq", activities=[add], on_fatal_error=on_fatal_error)
    run = asyncio.create_task(worker.run())
    await service.schedule(add, 1, 2).result()
    await service.close()
    with pytest.raises(RuntimeError, match="The service closed while the worker of activity task queue 'tq'"):
        await run
    assert len(told) == 1 and worker.is_shutdown


async def test_an_unexpected_poll_error_ends_the_worker(service: FakeService, fake_client: Client) -> None:
    service.poll_error = ZeroDivisionError("a bug")
    with pytest.raises(ZeroDivisionError, match="a bug"):
        await Worker(fake_client, task_queue="tq", activities=[add]).run()


async def test_a_failing_worker_cancels_its_block(service: FakeService, fake_client: Client) -> None:
    service.poll_error = ZeroDivisionError("a bug")
    with pytest.raises(ZeroDivisionError, match="a bug"):
        async with Worker(fake_client, task_queue="tq", activities=[add]):
            await asyncio.Event().wait()
    current = asyncio.current_task()
    assert current is not None and not current.cancelling()


async def test_a_failing_worker_raises_from_a_block_that_swallows_its_cancellation(
    service: FakeService, fake_client: Client
) -> None:
    service.poll_error = ZeroDivisionError("a bug")
    with pytest.raises(ZeroDivisionError, match="a bug"):
        async with Worker(fake_client, task_queue="tq", activities=[add]):
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
    current = asyncio.current_task()
    assert current is not None and not current.cancelling()


async def test_a_worker_that_fails_while_its_block_ends(service: FakeService, fake_client: Client) -> None:
    service.poll_error = ZeroDivisionError("a bug")
    with pytest.raises(ZeroDivisionError, match="a bug"):
        async with Worker(fake_client, task_queue="tq", activities=[add]) as worker:
            while worker._failure is None:
                await asyncio.sleep(0)
    current = asyncio.current_task()
    assert current is not None and not current.cancelling()


async def test_a_broken_executor_ends_the_worker(service: FakeService, fake_client: Client) -> None:
    class Broken(concurrent.futures.ThreadPoolExecutor):
        def submit(self, *args: Any, **kwargs: Any) -> Any:
            raise concurrent.futures.BrokenExecutor("broken")

    worker = Worker(fake_client, task_queue="tq", activities=[sync_add], activity_executor=Broken())
    scheduled = service.schedule(sync_add, 1, 2)
    with pytest.raises(RuntimeError, match=r"^Activity worker failed$") as raised:
        await worker.run()
    assert isinstance(raised.value.__cause__, concurrent.futures.BrokenExecutor)
    await scheduled.failure()


async def test_transient_poll_errors_are_retried(
    service: FakeService, fake_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perdure.worker._pollers._RETRY_SECONDS", (0.0,))
    service.poll_error = RPCError("busy", RPCStatusCode.RESOURCE_EXHAUSTED)
    async with Worker(fake_client, task_queue="tq", activities=[add]):
        while service.polls < 3:
            await asyncio.sleep(0)
        service.poll_error = None
        assert await service.schedule(add, 1, 2).result() == 3


async def test_an_unknown_namespace_is_refused(service: FakeService) -> None:
    client = Client(service, namespace="other")  # type: ignore[arg-type]
    worker = Worker(client, task_queue="tq", activities=[add])
    with pytest.raises(RuntimeError, match="Worker validation failed: namespace 'other' does not exist"):
        await worker.run()
    await worker.shutdown()


async def test_a_closed_client_is_refused(service: FakeService) -> None:
    client = Client(service)  # type: ignore[arg-type]
    await client.close()
    with pytest.raises(RuntimeError, match="closed"):
        Worker(client, task_queue="tq", activities=[add])


def test_a_worker_belongs_to_its_clients_loop() -> None:
    async def make() -> Client:
        return Client(FakeService())  # type: ignore[arg-type]

    client = asyncio.run(make())

    async def use() -> None:
        Worker(client, task_queue="tq", activities=[add])

    with pytest.raises(RuntimeError, match="loop"):
        asyncio.run(use())


def test_the_end_of_the_loop_ends_a_worker_in_the_middle_of_an_activity() -> None:
    entered: list[str] = []

    async def main() -> None:
        service = FakeService()

        @activity.defn
        async def endless() -> None:
            entered.append("in")
            await asyncio.Event().wait()

        worker = Worker(Client(service), task_queue="tq", activities=[endless])  # type: ignore[arg-type]
        running = asyncio.create_task(worker.run())
        service.schedule(endless)
        while not entered:
            await asyncio.sleep(0)
        assert not running.done()

    asyncio.run(asyncio.wait_for(main(), 10))


async def test_pollers_grow_on_demand_up_to_the_slots(service: FakeService, running: Running) -> None:
    release = asyncio.Event()
    now = most = 0

    @activity.defn
    async def hold() -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await release.wait()
        now -= 1

    async with running(hold, add, max_concurrent_activities=3) as worker:
        for _ in range(10):
            await service.schedule(add, 1, 1).result()
        [group] = worker._groups
        assert group.size <= 3
        scheduled = [service.schedule(hold) for _ in range(5)]
        while now < 3:
            await asyncio.sleep(0)
        for _ in range(10):
            await asyncio.sleep(0)
        assert now == 3 and group.size == 3
        release.set()
        for one in scheduled:
            await one.result()
        assert most == 3


async def test_many_pollers_wait_from_the_first_task_on(service: FakeService, running: Running) -> None:
    async with running(add, max_concurrent_activities=50) as worker:
        await service.schedule(add, 1, 1).result()
        [group] = worker._groups
        assert group.size == 50


async def test_a_burst_does_not_starve_the_loop(service: FakeService, running: Running) -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    async with running(add, max_concurrent_activities=1):
        scheduled = [service.schedule(add, 1, 1) for _ in range(200)]
        ticking = asyncio.create_task(tick())
        for one in scheduled:
            await one.result()
        ticking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await ticking
    assert ticks >= 5


async def test_remote_homes_get_a_bounded_number_of_polls(running: Running) -> None:
    service = FakeService(in_process=False)
    client = Client(service)  # type: ignore[arg-type]
    release = asyncio.Event()
    entered = 0

    @activity.defn
    async def hold(number: int) -> int:
        nonlocal entered
        entered += 1
        await release.wait()
        return number

    async with running(hold, client=client, max_concurrent_activity_task_polls=2, max_concurrent_activities=4):
        scheduled = [service.schedule(hold, number) for number in range(6)]
        while entered < 4:
            await asyncio.sleep(0)
        for _ in range(10):
            await asyncio.sleep(0)
        assert entered == 4
        cancelled = service.schedule(hold, 9)
        release.set()
        assert [await one.result() for one in scheduled] == list(range(6))
        assert await cancelled.result() == 9
    assert service.most_waiting <= 2


async def test_replacing_the_client(service: FakeService, fake_client: Client, running: Running) -> None:
    seen: list[Client] = []

    @activity.defn
    async def look() -> None:
        seen.append(activity.client())

    other = Client(service)  # type: ignore[arg-type]
    async with running(look) as worker:
        await service.schedule(look).result()
        worker.client = other
        await service.schedule(look).result()
        with pytest.raises(ValueError, match="share the home"):
            worker.client = Client(FakeService())  # type: ignore[arg-type]
        elsewhere = Client(ServiceClient(ConnectConfig("", runtime=object()), service))  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="not on the same runtime"):
            worker.client = elsewhere
    assert seen == [fake_client, other]


async def test_a_worker_goes_on_with_another_connection_to_its_home() -> None:
    seen: list[Client] = []

    @activity.defn
    async def look() -> None:
        seen.append(activity.client())

    first, second = [await Client.connect("memory:two-connections") for _ in range(2)]
    async with second, Worker(first, task_queue="tq", activities=[look]) as worker:
        worker.client = second
        await first.close()
        await second.execute_activity(look, id="look", task_queue="tq", start_to_close_timeout=timedelta(seconds=30))
    assert seen == [second]


async def test_timed_out_attempts_are_cancelled_locally(
    service: FakeService, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perdure.worker._activity_worker._SWEEP_SECONDS", 0.005)
    monkeypatch.setattr("perdure.worker._activity_worker._TIMEOUT_GRACE_SECONDS", 0.0)
    details: list[activity.ActivityCancellationDetails | None] = []

    @activity.defn
    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            details.append(activity.cancellation_details())

    async with running(hang):
        for timeout in ("start_to_close_timeout", "schedule_to_close_timeout", "heartbeat_timeout"):
            answer = await service.schedule(hang, **{timeout: 1_000_000}).failure()
            assert isinstance(answer, ws.RespondActivityTaskFailedRequest)
    assert details == [activity.ActivityCancellationDetails(timed_out=True)] * 3
