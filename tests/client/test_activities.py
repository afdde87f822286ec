"""Standalone activities, end to end: a client, a worker and an engine over both stores."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from perdure import Client, Worker, activity
from perdure.client import (
    ActivityExecutionStatus,
    ActivityFailureError,
    ActivityOptionsKeys,
    BuildIdOpAddNewDefault,
    BuildIdOpMergeSets,
    Interceptor,
    OutboundInterceptor,
    PendingActivityState,
    StartActivityInput,
    TaskReachabilityType,
)
from perdure.common import (
    ActivityIDConflictPolicy,
    ActivityIDReusePolicy,
    RetryPolicy,
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
)
from perdure.exceptions import ActivityAlreadyStartedError, ApplicationError, CancelledError, TerminatedError
from perdure.service import RPCError, RPCStatusCode
from tests.support.homes import STORES, home_url

QUEUE = "queue"
LONG = timedelta(seconds=60)
ONCE = RetryPolicy(maximum_attempts=1)
KIND = SearchAttributeKey.for_keyword("Kind")
started: asyncio.Queue[activity.Info]
stopped: asyncio.Queue[activity.ActivityCancellationDetails | None]


@activity.defn
async def double(value: int) -> int:
    return 2 * value


@activity.defn
def shout(value: str) -> str:
    return value.upper()


@activity.defn
async def nothing() -> None:
    pass


@activity.defn
async def told() -> dict[str, Any]:
    info = activity.info()
    return {
        "id": info.activity_id,
        "run": info.activity_run_id,
        "workflow": [info.workflow_id, info.workflow_run_id, info.workflow_type, info.workflow_namespace],
        "namespace": info.namespace,
        "in_workflow": info.in_workflow,
    }


@activity.defn
async def refuse() -> None:
    raise ApplicationError("no", type="Refused", non_retryable=True)


@activity.defn
async def third_time_lucky() -> int:
    attempt = activity.info().attempt
    if attempt < 3:
        raise ApplicationError("not yet")
    return attempt


@activity.defn
async def wait() -> None:
    await started.put(activity.info())
    try:
        while True:
            activity.heartbeat("beat")
            await asyncio.sleep(0.01)
    except asyncio.CancelledError:
        await stopped.put(activity.cancellation_details())
        raise


class Greeter:
    @activity.defn
    async def greet(self, name: str) -> str:
        return f"hello {name}"


@activity.defn
class Callable_:
    async def __call__(self, value: int) -> int:
        return value + 1


@pytest.fixture(params=STORES)
async def client(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Client]:
    global started, stopped
    started, stopped = asyncio.Queue(), asyncio.Queue()
    async with await Client.connect(home_url(request.param, tmp_path)) as connected:
        yield connected


@pytest.fixture
async def worker(client: Client) -> AsyncIterator[Worker]:
    with ThreadPoolExecutor(4) as executor:
        async with Worker(
            client,
            task_queue=QUEUE,
            activities=[double, shout, nothing, told, refuse, third_time_lucky, wait, Greeter().greet, Callable_()],
            activity_executor=executor,
            max_concurrent_activities=4,
            max_heartbeat_throttle_interval=timedelta(milliseconds=10),
            default_heartbeat_throttle_interval=timedelta(milliseconds=10),
        ) as running:
            yield running


async def test_results(client: Client, worker: Worker) -> None:
    options: Any = {"task_queue": QUEUE, "start_to_close_timeout": LONG}
    assert await client.execute_activity(double, 21, id="1", **options) == 42
    assert await client.execute_activity(shout, "hi", id="2", **options) == "HI"
    assert await client.execute_activity(nothing, id="3", **options) is None
    assert await client.execute_activity("double", args=[4], id="4", result_type=int, **options) == 8
    assert await client.execute_activity_method(Greeter.greet, "you", id="5", **options) == "hello you"
    assert await client.execute_activity_class(Callable_, 1, id="6", **options) == 2
    handle = await client.start_activity_method(Greeter.greet, "me", id="7", **options)
    assert await handle.result() == "hello me"
    assert await handle.result() == "hello me"
    assert await (await client.start_activity_class(Callable_, 2, id="8", **options)).result() == 3


async def test_info_names_no_workflow(client: Client, worker: Worker) -> None:
    handle = await client.start_activity(told, id="a", task_queue=QUEUE, start_to_close_timeout=LONG)
    assert await handle.result() == {
        "id": "a",
        "run": handle.run_id,
        "workflow": [None, None, None, None],
        "namespace": "default",
        "in_workflow": False,
    }


async def test_failures(client: Client, worker: Worker) -> None:
    options: Any = {"task_queue": QUEUE, "start_to_close_timeout": LONG}
    with pytest.raises(ActivityFailureError) as failed:
        await client.execute_activity(refuse, id="a", **options)
    assert isinstance(failed.value.cause, ApplicationError) and failed.value.cause.type == "Refused"
    retry = RetryPolicy(initial_interval=timedelta(milliseconds=1))
    assert await client.execute_activity(third_time_lucky, id="b", retry_policy=retry, **options) == 3


async def test_cancel_and_terminate(client: Client, worker: Worker) -> None:
    options: Any = {"task_queue": QUEUE, "start_to_close_timeout": LONG}
    handle = await client.start_activity(wait, id="a", **options)
    await started.get()
    description = await handle.describe()
    assert (description.status, description.run_state) == (
        ActivityExecutionStatus.RUNNING,
        PendingActivityState.STARTED,
    )
    await handle.cancel(reason="enough")
    details = await stopped.get()
    assert details is not None and details.cancel_requested
    with pytest.raises(ActivityFailureError) as ended:
        await handle.result()
    assert isinstance(ended.value.cause, CancelledError)
    assert (await handle.describe()).canceled_reason == "enough"

    handle = await client.start_activity(wait, id="b", **options)
    await started.get()
    await handle.terminate(reason="enough")
    with pytest.raises(ActivityFailureError) as ended:
        await handle.result()
    assert isinstance(ended.value.cause, TerminatedError)
    details = await stopped.get()
    assert details is not None and details.not_found


async def test_pause_and_changed_options(client: Client, worker: Worker) -> None:
    handle = await client.start_activity(
        wait, id="a", task_queue=QUEUE, start_to_close_timeout=LONG, retry_policy=RetryPolicy(maximum_attempts=2)
    )
    await started.get()
    await handle.pause(reason="hold")
    details = await stopped.get()
    assert details is not None and details.paused
    while (await handle.describe()).status is not ActivityExecutionStatus.PAUSED:
        await asyncio.sleep(0.01)
    options = await handle.update_options(
        [
            ActivityOptionsKeys.start_to_close_timeout.value_set(timedelta(seconds=30)),
            ActivityOptionsKeys.heartbeat_timeout.value_unset(),
        ]
    )
    assert options.start_to_close_timeout == timedelta(seconds=30)
    assert (await handle.restore_original_options()).start_to_close_timeout == LONG
    with pytest.raises(ValueError):
        await handle.update_options([])
    with pytest.raises(ValueError):
        await handle.update_options([ActivityOptionsKeys.task_queue.value_set("x")] * 2)
    await handle.unpause()
    assert (await started.get()).attempt == 2
    await handle.terminate()


async def test_ids_conflict_as_the_policies_say(client: Client) -> None:
    options: Any = {"id": "a", "task_queue": "nobody", "start_to_close_timeout": LONG}
    handle = await client.start_activity(nothing, **options)
    with pytest.raises(ActivityAlreadyStartedError) as taken:
        await client.start_activity(nothing, **options)
    assert (taken.value.activity_id, taken.value.activity_type, taken.value.run_id) == ("a", "nothing", handle.run_id)
    again = await client.start_activity(nothing, **options, id_conflict_policy=ActivityIDConflictPolicy.USE_EXISTING)
    assert again.run_id == handle.run_id
    await handle.terminate()
    with pytest.raises(ActivityAlreadyStartedError):
        await client.start_activity(nothing, **options, id_reuse_policy=ActivityIDReusePolicy.REJECT_DUPLICATE)
    assert (await client.start_activity(nothing, **options)).run_id != handle.run_id


async def test_describe_list_and_count(client: Client, worker: Worker) -> None:
    options: Any = {"start_to_close_timeout": LONG}
    await client.execute_activity(double, 21, id="done", task_queue=QUEUE, **options)
    await client.start_activity(
        double,
        1,
        id="open",
        task_queue="nobody",
        search_attributes=TypedSearchAttributes([SearchAttributePair(KIND, "small")]),
        summary="why",
        start_delay=timedelta(hours=1),
        **options,
    )
    handle = client.get_activity_handle("done", result_type=int)
    description = await handle.describe(include_input=True, include_outcome=True)
    assert (description.status, description.attempt) == (ActivityExecutionStatus.COMPLETED, 1)
    assert await description.input() == [21]
    assert description.has_result() and await description.result(int) == 42
    assert not description.has_outcome_failure() and await description.outcome_failure() is None
    assert await handle.result() == 42
    assert [item.activity_id async for item in client.list_activities(None)] == ["open", "done"]
    [found] = [item async for item in client.list_activities("Kind = 'small'", limit=1)]
    assert (found.activity_id, found.activity_type, found.typed_search_attributes[KIND]) == ("open", "double", "small")
    assert found.schedule_time is not None and found.execution_time is not None
    assert found.execution_time - found.schedule_time == timedelta(hours=1)
    assert found.scheduled_time == found.schedule_time
    count = await client.count_activities("GROUP BY ExecutionStatus")
    assert (count.count, sorted((g.group_values[0], g.count) for g in count.groups)) == (
        2,
        [("Completed", 1), ("Running", 1)],
    )
    with pytest.raises(RPCError) as unknown:
        await client.get_activity_handle("nobody").describe()
    assert unknown.value.status is RPCStatusCode.NOT_FOUND


async def test_interceptors_see_the_start(client: Client, worker: Worker) -> None:
    class Adding(Interceptor):
        def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
            class Outbound(OutboundInterceptor):
                async def start_activity(self, input: StartActivityInput) -> Any:
                    input.args = [input.args[0] + 1]
                    return await super().start_activity(input)

            return Outbound(next)

    config = client.config()
    config["interceptors"] = [Adding()]
    other = Client(**config)
    assert await other.execute_activity(double, 1, id="a", task_queue=QUEUE, start_to_close_timeout=LONG) == 4


async def test_async_completion_by_id(client: Client) -> None:
    handle = await client.start_activity("any", id="a", task_queue="nobody", start_to_close_timeout=LONG)
    await client.get_async_activity_handle(activity_id="a", workflow_id=None, run_id=None).complete("late")
    assert await handle.result() == "late"


async def test_a_timeout_is_needed(client: Client) -> None:
    with pytest.raises(ValueError, match="start_to_close_timeout"):
        await client.start_activity(nothing, id="a", task_queue=QUEUE)


async def test_one_survives_its_process(tmp_path: Path) -> None:
    url = f"lmdb:{tmp_path / 'store'}?durability=process"
    async with await Client.connect(url) as first:
        await first.start_activity(double, 21, id="a", task_queue=QUEUE, start_to_close_timeout=LONG)
    async with await Client.connect(url) as second, Worker(second, task_queue=QUEUE, activities=[double]):
        assert await second.get_activity_handle("a").result() == 42


async def test_versioning_by_build_id_sets_is_refused(client: Client) -> None:
    for call in (
        client.update_worker_build_id_compatibility(QUEUE, BuildIdOpAddNewDefault("1")),
        client.update_worker_build_id_compatibility(QUEUE, BuildIdOpMergeSets("1", "2")),
        client.get_worker_build_id_compatibility(QUEUE, max_sets=1),
        client.get_worker_task_reachability(["1"], [QUEUE], TaskReachabilityType.OPEN_WORKFLOWS),
    ):
        with pytest.raises(RPCError, match="deployments") as refused:
            await call
        assert refused.value.status is RPCStatusCode.PERMISSION_DENIED
