"""How environments are made, what they take, and what goes with them."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from perdure import activity, testing, workflow
from perdure.api.common.v1 import Payload
from perdure.api.operatorservice.v1 import AddSearchAttributesRequest
from perdure.api.testservice import v1 as ts
from perdure.client import (
    Client,
    Interceptor,
    OutboundInterceptor,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleIntervalSpec,
    ScheduleSpec,
    StartWorkflowInput,
    WorkflowHandle,
)
from perdure.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes
from perdure.converter import DataConverter, PayloadCodec
from perdure.service import RPCError, RPCStatusCode
from perdure.testing import WorkflowEnvironment
from perdure.worker import Worker
from tests.support.homes import STORES, home_url

DAY = timedelta(days=1)
COLOR = SearchAttributeKey.for_keyword("Color")


@activity.defn(name="charge")
async def charge(amount: int) -> str:
    raise AssertionError("the real one must not be called")


@activity.defn(name="charge")
async def charge_mocked(amount: int) -> str:
    return f"charged {amount}"


@workflow.defn
class Pays:
    @workflow.run
    async def run(self, amount: int) -> str:
        await asyncio.sleep(DAY.total_seconds())
        return await workflow.execute_activity(charge, amount, start_to_close_timeout=DAY)


@workflow.defn
class Quick:
    @workflow.run
    async def run(self) -> str:
        return workflow.info().namespace


async def test_activities_are_mocked_by_name() -> None:
    async with await WorkflowEnvironment.start_time_skipping() as env:
        async with Worker(env.client, task_queue="tq", workflows=[Pays], activities=[charge_mocked]):
            assert await env.client.execute_workflow(Pays.run, 7, id="w", task_queue="tq") == "charged 7"


@pytest.mark.parametrize("store", STORES)
async def test_a_local_environment_has_the_real_clock(store: str, tmp_path: Path) -> None:
    url = None if store == "memory" else home_url(store, tmp_path)
    async with await WorkflowEnvironment.start_local(url=url) as env:
        assert not env.supports_time_skipping
        before = datetime.now(UTC)
        await env.sleep(timedelta(0))
        assert before <= await env.get_current_time() <= datetime.now(UTC)
        with env.auto_time_skipping_disabled(), env.with_time_skipping_disabled():
            async with Worker(env.client, task_queue="tq", workflows=[Quick]):
                assert await env.client.execute_workflow(Quick.run, id="w", task_queue="tq") == "default"
        async with await env.connect_client() as other:
            assert await other.get_workflow_handle("w").result() == "default"
    with pytest.raises(RuntimeError, match="closed"):
        await env.client.get_workflow_handle("w").describe()


async def test_from_client_closes_nothing() -> None:
    async with await Client.connect("memory:") as client:
        async with WorkflowEnvironment.from_client(client) as env:
            assert not env.supports_time_skipping
            async with Worker(env.client, task_queue="tq", workflows=[Quick]):
                await env.client.execute_workflow(Quick.run, id="w", task_queue="tq")
            with pytest.raises(RuntimeError, match="private engine"):
                await env.connect_client()
        assert await client.get_workflow_handle("w").result() == "default"
        for asked in (env.fast_forward, env.get_time_skipping_info):
            with pytest.raises(RuntimeError, match="one clock for all its workflows"):
                await asked(client.get_workflow_handle("w"))


@pytest.mark.parametrize("start", [WorkflowEnvironment.start_local, WorkflowEnvironment.start_time_skipping])
async def test_namespace_and_search_attributes(start: Any) -> None:
    async with await start(namespace="team-a", search_attributes=[COLOR]) as env:
        assert env.client.namespace == "team-a"
        async with Worker(env.client, task_queue="tq", workflows=[Quick]):
            red = TypedSearchAttributes([SearchAttributePair(COLOR, "red")])
            assert [run async for run in env.client.list_workflows("Color = 'red'")] == []
            run = env.client.execute_workflow(Quick.run, id="w", task_queue="tq", search_attributes=red)
            assert await run == "team-a"
            assert [run.id async for run in env.client.list_workflows("Color = 'red'")] == ["w"]


@pytest.mark.parametrize("home", ["memory", "lmdb"])
async def test_search_attributes_have_to_be_named_first_locally(home: str, tmp_path: Path) -> None:
    red = TypedSearchAttributes([SearchAttributePair(COLOR, "red")])
    url = None if home == "memory" else f"lmdb:{tmp_path}"
    async with await WorkflowEnvironment.start_local(url=url) as env:
        with pytest.raises(RPCError, match="no mapping defined for search attribute Color") as refused:
            await env.client.start_workflow(Quick.run, id="w", task_queue="tq", search_attributes=red)
        assert refused.value.status is RPCStatusCode.INVALID_ARGUMENT
        action = ScheduleActionStartWorkflow(Quick.run, id="w", task_queue="tq", typed_search_attributes=red)
        with pytest.raises(RPCError, match="no mapping defined for search attribute Color"):
            await env.client.create_schedule("s", Schedule(action=action, spec=ScheduleSpec()))
        assert [run async for run in env.client.list_workflows()] == []
        types = {COLOR.name: int(COLOR.indexed_value_type)}
        await env.client.operator_service.add_search_attributes(AddSearchAttributesRequest(types, "default"))
        await env.client.start_workflow(Quick.run, id="w", task_queue="tq", search_attributes=red)
        assert [run.id async for run in env.client.list_workflows("Color = 'red'")] == ["w"]


async def test_a_namespace_that_exists_is_used(tmp_path: Path) -> None:
    for _ in range(2):
        async with await WorkflowEnvironment.start_local(url=f"lmdb:{tmp_path}", namespace="team-a") as env:
            assert env.client.namespace == "team-a"


class Shifted(PayloadCodec):
    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [Payload(payload.metadata | {"x": b"1"}, payload.data[::-1]) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [Payload(payload.metadata, payload.data[::-1]) for payload in payloads]


class Counts(Interceptor):
    def __init__(self) -> None:
        self.started: list[str] = []

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        counts = self

        class Outbound(OutboundInterceptor):
            async def start_workflow(self, input: StartWorkflowInput) -> WorkflowHandle[Any, Any]:
                counts.started.append(input.id)
                return await super().start_workflow(input)

        return Outbound(next)


async def test_codecs_and_interceptors_with_skipped_time() -> None:
    counts = Counts()
    async with await WorkflowEnvironment.start_time_skipping(
        data_converter=DataConverter(payload_codec=Shifted()), interceptors=[counts], identity="me"
    ) as env:
        assert env.client.identity == "me"
        async with Worker(env.client, task_queue="tq", workflows=[Pays], activities=[charge_mocked]):
            assert await env.client.execute_workflow(Pays.run, 7, id="w", task_queue="tq") == "charged 7"
    assert counts.started == ["w"]


async def test_schedules_follow_the_clock() -> None:
    async with await WorkflowEnvironment.start_time_skipping() as env:
        async with Worker(env.client, task_queue="tq", workflows=[Quick]):
            action = ScheduleActionStartWorkflow(Quick.run, id="scheduled", task_queue="tq")
            spec = ScheduleSpec(intervals=[ScheduleIntervalSpec(every=timedelta(hours=1))])
            handle = await env.client.create_schedule("hourly", Schedule(action=action, spec=spec))
            await env.sleep(DAY)
            runs = [run async for run in env.client.list_workflows("WorkflowType = 'Quick'")]
            assert len(runs) == 24
            description = await handle.describe()
            assert description.info.num_actions == 24
            now = await env.get_current_time()
            assert now <= description.info.next_action_times[0] <= now + timedelta(hours=1)


async def test_temporals_test_service() -> None:
    def at(time: datetime) -> int:
        return round(time.timestamp() * 1e9)

    async with await WorkflowEnvironment.start_time_skipping() as env, await env.connect_client() as other:
        service = other.test_service
        before = (await service.get_current_time()).time
        assert before is not None and abs(before - at(await env.get_current_time())) < 60e9
        await service.unlock_time_skipping_with_sleep(ts.SleepRequest(int(DAY.total_seconds() * 1e9)))
        assert await env.get_current_time() > datetime.fromtimestamp(before / 1e9, UTC) + DAY / 2
        waiting = asyncio.create_task(service.sleep_until(ts.SleepUntilRequest(at(await env.get_current_time() + DAY))))
        sleeping = asyncio.create_task(service.sleep(ts.SleepRequest(int(2 * DAY.total_seconds() * 1e9))))
        for _ in range(300):
            await asyncio.sleep(0)
        assert not waiting.done()
        await service.lock_time_skipping(ts.LockTimeSkippingRequest())
        await service.unlock_time_skipping(ts.UnlockTimeSkippingRequest())
        for _ in range(300):
            await asyncio.sleep(0)
        assert not waiting.done()
        await service.unlock_time_skipping(ts.UnlockTimeSkippingRequest())
        await waiting
        await sleeping
        await service.lock_time_skipping(ts.LockTimeSkippingRequest())
    async with await WorkflowEnvironment.start_local() as env:
        with pytest.raises(RuntimeError, match="time cannot be skipped in this home"):
            env.client.test_service  # noqa: B018


async def test_a_file_name_for_a_database_is_refused() -> None:
    with pytest.raises(ValueError, match="give url='lmdb:FOLDER'"):
        await WorkflowEnvironment.start_local(dev_server_database_filename="x.db")


async def test_a_failed_start_leaves_nothing_open() -> None:
    with pytest.raises(TypeError, match="an interceptor"):
        await WorkflowEnvironment.start_time_skipping(interceptors=[object()])  # type: ignore[list-item]
    with pytest.raises(RPCError):
        await WorkflowEnvironment.start_time_skipping(namespace="not a name!")


def test_every_parameter_of_temporals_sdk_is_taken() -> None:
    theirs = pytest.importorskip("temporalio.testing")
    for kind, names in {
        "WorkflowEnvironment": ["start_local", "start_time_skipping", "from_client", "get_current_time", "sleep"],
        "ActivityEnvironment": ["__init__", "run", "cancel", "worker_shutdown", "default_info"],
    }.items():
        for name in names:
            wanted = inspect.signature(getattr(getattr(theirs, kind), name)).parameters
            ours = inspect.signature(getattr(getattr(testing, kind), name)).parameters
            assert set(wanted) <= set(ours), (name, set(wanted) - set(ours))
            for parameter in wanted.values():
                assert ours[parameter.name].kind == parameter.kind
                if isinstance(parameter.default, (str, int, type(None))):
                    assert ours[parameter.name].default == parameter.default, (name, parameter)
