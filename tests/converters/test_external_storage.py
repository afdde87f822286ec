"""External storage: what goes out, what comes back, for whom, and what is said when it cannot be had."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from perdure import activity, workflow
from perdure.api.common.v1 import Payload
from perdure.client import Client, WorkflowFailureError
from perdure.common import RetryPolicy
from perdure.contrib.compression import ZlibCodec
from perdure.contrib.file_storage import FileStorageDriver
from perdure.converter import (
    DataConverter,
    ExternalStorage,
    StorageDriver,
    StorageDriverActivityInfo,
    StorageDriverClaim,
    StorageDriverRetrieveContext,
    StorageDriverSelectContext,
    StorageDriverStoreContext,
    StorageDriverWorkflowInfo,
)
from perdure.exceptions import ActivityError, ApplicationError
from perdure.worker import Replayer, UnsandboxedWorkflowRunner, Worker
from tests.converters.conftest import Connect

SOON = timedelta(seconds=30)
BIG = "x" * 3000


class Memory(StorageDriver):
    """Keeps payloads in a list, and who they are for."""

    def __init__(self, name: str = "memory") -> None:
        self._name = name
        self.kept: list[bytes] = []
        self.targets: list[Any] = []
        self.error: BaseException | None = None

    def name(self) -> str:
        return self._name

    async def store(self, context: StorageDriverStoreContext, payloads: Sequence[Payload]) -> list[StorageDriverClaim]:
        await asyncio.sleep(0)
        claims = []
        for payload in payloads:
            claims.append(StorageDriverClaim({"at": str(len(self.kept))}))
            self.kept.append(payload.SerializeToString())
            self.targets.append(context.target)
        return claims

    async def retrieve(
        self, context: StorageDriverRetrieveContext, claims: Sequence[StorageDriverClaim]
    ) -> list[Payload]:
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return [Payload.FromString(self.kept[int(claim.claim_data["at"])]) for claim in claims]


def storage_of(*drivers: StorageDriver, **options: Any) -> DataConverter:
    options.setdefault("payload_size_threshold", 1000)
    return DataConverter(external_storage=ExternalStorage(drivers, **options))


# --- the converter


async def test_large_payloads_are_exchanged_for_references() -> None:
    driver = Memory()
    converter = storage_of(driver)
    small, large = await converter.encode(["small", BIG])
    assert small.data == b'"small"'
    assert large.metadata == {
        "encoding": b"json/protobuf",
        "messageType": b"temporal.api.sdk.v1.ExternalStorageReference",
    }
    assert large.data == b'{"claimData":{"at":"0"},"driverName":"memory"}'
    assert large.external_payloads[0].size_bytes == len(driver.kept[0])
    assert await converter.decode([small, large, small]) == ["small", BIG, "small"]


async def test_the_reference_is_temporals() -> None:
    from temporalio.api.common.v1 import Payload as TheirPayload
    from temporalio.converter import ExternalStorage as TheirStorage
    from temporalio.converter import StorageDriver as TheirDriver

    class Theirs(TheirDriver):
        def name(self) -> str:
            return "memory"

        async def store(self, context: Any, payloads: Any) -> Any:
            raise NotImplementedError

        async def retrieve(self, context: Any, claims: Any) -> Any:
            return [TheirPayload(data=claim.claim_data["at"].encode()) for claim in claims]

    [reference] = await storage_of(Memory()).encode([BIG])
    sent = TheirPayload.FromString(reference.SerializeToString())
    [there] = await TheirStorage([Theirs()])._retrieve_payload_sequence([sent])
    assert there.data == b"0"


async def test_references_that_older_and_newer_sdks_write() -> None:
    driver = Memory()
    converter = DataConverter(
        payload_codec=ZlibCodec(), external_storage=ExternalStorage([driver], payload_size_threshold=0)
    )
    await converter.encode([BIG])
    legacy = Payload(
        {"encoding": b"json/external-storage-reference"},
        b'{"driver_claim":{"claim_data":{"at":"0"}},"driver_name":"memory"}',
    )
    assert await converter.decode([legacy]) == [BIG]
    [encoded] = await ZlibCodec(min_size=0).encode([legacy])
    encoded.metadata["__temporal_external_storage_reference"] = b"true"
    assert await converter.decode([encoded]) == [BIG]
    with pytest.raises(RuntimeError, match="TMPRL1106"):
        await storage_of(driver).decode([encoded])
    with pytest.raises(RuntimeError, match="TMPRL1105"):
        await DataConverter().decode([encoded])
    with pytest.raises(ValueError, match="damaged"):
        await converter.decode([Payload(legacy.metadata, b"[]")])


async def test_without_storage_a_reference_is_an_error() -> None:
    [reference] = await storage_of(Memory()).encode([BIG])
    with pytest.raises(RuntimeError, match="TMPRL1105"):
        await DataConverter().decode([reference])
    with pytest.raises(RuntimeError, match="could not be converted") as caught:
        DataConverter().payload_converter.from_payloads([reference])
    assert "TMPRL1105" in str(caught.value.__cause__)
    with pytest.raises(ValueError, match="No driver found with name 'memory'"):
        await storage_of(Memory("other")).decode([reference])


async def test_a_selector_chooses_the_driver() -> None:
    one, two = Memory("one"), Memory("two")
    seen: list[StorageDriverSelectContext] = []

    def select(context: StorageDriverSelectContext, payload: Payload) -> StorageDriver | None:
        seen.append(context)
        return {b'"1': one, b'"2': two}.get(payload.data[:2])

    converter = storage_of(one, two, driver_selector=select)
    encoded = await converter.encode(["1" + BIG, "2" + BIG, "3" + BIG, "1" + BIG])
    assert [len(one.kept), len(two.kept), len(seen)] == [2, 1, 4]
    assert encoded[2].metadata == {"encoding": b"json/plain"}
    assert await converter.decode(encoded) == ["1" + BIG, "2" + BIG, "3" + BIG, "1" + BIG]
    with pytest.raises(ValueError, match="is not registered"):
        await storage_of(one, driver_selector=lambda _context, _payload: Memory("one")).encode([BIG])


def test_bad_configurations() -> None:
    with pytest.raises(ValueError, match="at least one driver"):
        ExternalStorage([])
    with pytest.raises(ValueError, match="greater than or equal to zero"):
        ExternalStorage([Memory()], payload_size_threshold=-1)
    with pytest.raises(ValueError, match="driver_selector must be specified"):
        ExternalStorage([Memory("a"), Memory("b")])
    with pytest.raises(ValueError, match="multiple drivers with name 'a'"):
        ExternalStorage([Memory("a"), Memory("a")], driver_selector=lambda _context, _payload: None)


async def test_a_driver_that_miscounts() -> None:
    class Forgetful(Memory):
        async def store(self, context: StorageDriverStoreContext, payloads: Any) -> list[StorageDriverClaim]:
            return []

        async def retrieve(self, context: StorageDriverRetrieveContext, claims: Any) -> list[Payload]:
            return []

    [reference] = await storage_of(Memory()).encode([BIG])
    with pytest.raises(ValueError, match="returned 0 claims, expected 1"):
        await storage_of(Forgetful()).encode([BIG])
    with pytest.raises(ValueError, match="returned 0 payloads, expected 1"):
        await storage_of(Forgetful()).decode([reference])


async def test_one_failure_stops_the_other_drivers() -> None:
    stopped = asyncio.Event()

    class Slow(Memory):
        async def store(self, context: StorageDriverStoreContext, payloads: Any) -> list[StorageDriverClaim]:
            try:
                await asyncio.Event().wait()
            finally:
                stopped.set()
            raise AssertionError

    class Failing(Memory):
        async def store(self, context: StorageDriverStoreContext, payloads: Any) -> list[StorageDriverClaim]:
            await asyncio.sleep(0)
            raise OSError("full")

    slow, failing = Slow("slow"), Failing("failing")
    choices = iter([slow, failing])
    converter = storage_of(slow, failing, driver_selector=lambda _context, _payload: next(choices))
    with pytest.raises(OSError, match="full"):
        await converter.encode([BIG, BIG])
    assert stopped.is_set()


# --- workflows


@activity.defn
async def enlarge(value: str) -> str:
    activity.heartbeat(value * 2)
    return value * 2


@activity.defn
async def refuse(value: str) -> str:
    raise ApplicationError("no", value, non_retryable=True)


@workflow.defn
class Child:
    def __init__(self) -> None:
        self.said = ""

    @workflow.run
    async def run(self, value: str) -> str:
        await workflow.wait_condition(lambda: bool(self.said))
        return value + self.said

    @workflow.signal
    def say(self, value: str) -> None:
        self.said = value


@workflow.defn
class Parent:
    def __init__(self) -> None:
        self.said = ""

    @workflow.run
    async def run(self, value: str) -> str:
        value = await workflow.execute_activity(enlarge, value, start_to_close_timeout=SOON)
        value = await workflow.execute_local_activity(enlarge, value, start_to_close_timeout=SOON)
        child = await workflow.start_child_workflow(Child.run, value, id=workflow.info().workflow_id + "-child")
        await child.signal(Child.say, value)
        value = await child
        try:
            await workflow.execute_activity(refuse, value, start_to_close_timeout=SOON)
        except ActivityError as error:
            assert isinstance(error.cause, ApplicationError)
            assert error.cause.details == (value,)
        workflow.upsert_memo({"value": value})
        await workflow.wait_condition(lambda: bool(self.said))
        return value + self.said

    @workflow.signal
    def say(self, value: str) -> None:
        self.said = value

    @workflow.query
    def echo(self, value: str) -> str:
        return value * 2

    @workflow.update
    def change(self, value: str) -> str:
        return value * 3


@workflow.defn
class Calls:
    @workflow.run
    async def run(self) -> int:
        policy = RetryPolicy(initial_interval=timedelta(milliseconds=1), maximum_attempts=3)
        result = await workflow.execute_activity(enlarge, "y" * 2000, start_to_close_timeout=SOON, retry_policy=policy)
        return len(result)


@workflow.defn
class Many:
    @workflow.run
    async def run(self) -> int:
        calls = [workflow.execute_activity(enlarge, f"{i} {BIG}", start_to_close_timeout=SOON) for i in range(12)]
        return len(set(await asyncio.gather(*calls)))


@workflow.defn
class Waits:
    @workflow.run
    async def run(self) -> str:
        return await workflow.execute_activity(
            "elsewhere", result_type=str, start_to_close_timeout=SOON, activity_id="a"
        )


async def test_every_way_a_payload_can_go(connect: Connect, tmp_path: Path) -> None:
    driver = FileStorageDriver(tmp_path / "payloads")
    converter = storage_of(driver)
    client: Client = await connect(data_converter=converter)
    options: dict[str, Any] = {"workflow_runner": UnsandboxedWorkflowRunner(), "max_cached_workflows": 0}
    async with Worker(client, task_queue="q", workflows=[Parent, Child], activities=[enlarge, refuse], **options):
        handle = await client.start_workflow(Parent.run, BIG, id="p", task_queue="q", memo={"first": BIG})
        assert await handle.query(Parent.echo, BIG) == BIG * 2
        assert await handle.execute_update(Parent.change, BIG) == BIG * 3
        await handle.signal(Parent.say, BIG)
        assert await handle.result() == BIG * 9
        description = await handle.describe()
        assert await description.memo() == {"first": BIG, "value": BIG * 8}
    history = await handle.fetch_history()
    assert BIG not in history.to_json()
    replayer = Replayer(workflows=[Parent], data_converter=converter)
    assert (await replayer.replay_workflow(history)).replay_failure is None
    with pytest.raises(RuntimeError, match="TMPRL1105"):
        await Replayer(workflows=[Parent], data_converter=DataConverter()).replay_workflow(history)


async def test_drivers_are_told_who_will_read(connect: Connect) -> None:
    driver = Memory()
    client: Client = await connect(data_converter=storage_of(driver))
    async with Worker(client, task_queue="q", workflows=[Parent, Child], activities=[enlarge, refuse]):
        handle = await client.start_workflow(Parent.run, BIG, id="p", task_queue="q")
        run_id = handle.result_run_id
        await handle.signal(Parent.say, BIG)
        await handle.result()
    parent = StorageDriverWorkflowInfo(namespace="default", id="p", run_id=run_id, type="Parent")
    targets = driver.targets
    assert targets[0] == StorageDriverWorkflowInfo(namespace="default", id="p", type="Parent")
    assert StorageDriverWorkflowInfo(namespace="default", id="p") in targets  # the client's signal
    assert targets.count(parent) >= 5  # arguments and results of activities, the marker, the memo, the result
    assert StorageDriverWorkflowInfo(namespace="default", id="p-child", type="Child") in targets
    assert StorageDriverWorkflowInfo(namespace="default", id="p-child") in targets  # the parent's signal
    assert StorageDriverWorkflowInfo(namespace="default", id="p", run_id=run_id) in targets  # the child's result
    assert not any(isinstance(target, StorageDriverActivityInfo) for target in targets)


async def test_what_a_driver_cannot_give_fails_the_task_until_it_can(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    driver = Memory()
    driver.error = OSError("away")
    client: Client = await connect(data_converter=storage_of(driver))
    async with Worker(client, task_queue="q", workflows=[Child], activities=[enlarge]):
        handle = await client.start_workflow(
            Child.run,
            BIG,
            id="c",
            task_queue="q",
            task_timeout=timedelta(seconds=1),
            start_signal="say",
            start_signal_args=["!"],
        )
        async with asyncio.timeout(20):
            while "away" not in caplog.text:
                await asyncio.sleep(0)
        driver.error = None
        assert await handle.result() == BIG + "!"


async def test_a_driver_can_fail_the_workflow(connect: Connect) -> None:
    driver = Memory()
    driver.error = ApplicationError("gone for good", non_retryable=True)
    client: Client = await connect(data_converter=storage_of(driver))
    async with Worker(client, task_queue="q", workflows=[Child], activities=[enlarge]):
        handle = await client.start_workflow(Child.run, BIG, id="c", task_queue="q")
        with pytest.raises(WorkflowFailureError) as caught:
            await handle.result()
    assert "gone for good" in str(caught.value.cause)


async def test_an_activity_whose_input_cannot_be_had_is_tried_again(connect: Connect) -> None:
    class Flaky(Memory):
        failures = 2

        async def retrieve(self, context: StorageDriverRetrieveContext, claims: Any) -> list[Payload]:
            if self.failures:
                self.failures -= 1
                raise OSError("away")
            return await super().retrieve(context, claims)

    driver = Flaky()
    client: Client = await connect(data_converter=storage_of(driver))
    async with Worker(client, task_queue="q", workflows=[Calls], activities=[enlarge]):
        assert await client.execute_workflow(Calls.run, id="c", task_queue="q") == 4000


async def test_only_so_many_payloads_are_on_their_way(connect: Connect) -> None:
    class Counting(Memory):
        now = most = 0

        async def store(self, context: StorageDriverStoreContext, payloads: Any) -> list[StorageDriverClaim]:
            self.now += 1
            self.most = max(self.most, self.now)
            try:
                for _ in range(5):
                    await asyncio.sleep(0)
                return await super().store(context, payloads)
            finally:
                self.now -= 1

    driver = Counting()
    client: Client = await connect(data_converter=storage_of(driver))
    async with Worker(
        client,
        task_queue="q",
        workflows=[Many],
        activities=[enlarge],
        max_concurrent_activities=1,
        max_workflow_task_external_storage_concurrency=2,
    ):
        assert await client.execute_workflow(Many.run, id="m", task_queue="q") == 12
    assert driver.most in (2, 3)  # of the workflow task, and perhaps one of the activity


# --- files


async def test_equal_payloads_are_one_file(tmp_path: Path) -> None:
    driver = FileStorageDriver(tmp_path / "payloads", name="mine")
    converter = storage_of(driver)
    encoded = await converter.encode([BIG, BIG, BIG + "!"])
    assert encoded[0] == encoded[1] != encoded[2]
    files = [path for path in (tmp_path / "payloads").rglob("*") if path.is_file()]
    assert len(files) == 2
    assert await converter.decode(encoded) == [BIG, BIG, BIG + "!"]
    assert (driver.name(), driver.type()) == ("mine", "perdure.file")
    assert await storage_of(FileStorageDriver(tmp_path / "fast", name="mine", sync=False)).encode([BIG]) == [encoded[0]]


async def test_damage_and_loss_are_named(tmp_path: Path) -> None:
    driver = FileStorageDriver(tmp_path)
    converter = storage_of(driver)
    [reference] = await converter.encode([BIG])
    [file] = [path for path in tmp_path.rglob("*") if path.is_file()]
    data = file.read_bytes()
    file.write_bytes(data[:-1] + b"?")
    with pytest.raises(RuntimeError, match="damaged"):
        await converter.decode([reference])
    file.write_bytes(data[:-1])
    assert await converter.encode([BIG]) == [reference]  # a file of the wrong size is written again
    assert await converter.decode([reference]) == [BIG]
    file.unlink()
    with pytest.raises(RuntimeError, match="it was removed as unused, or this is another directory"):
        await converter.decode([reference])
    for claim in ({}, {"hash_algorithm": "sha256", "hash_value": "../" * 21 + "x"}):
        with pytest.raises(RuntimeError, match="no claim of a FileStorageDriver"):
            await driver.retrieve(StorageDriverRetrieveContext(), [StorageDriverClaim(claim)])


async def test_only_what_nobody_uses_is_removed(tmp_path: Path) -> None:
    driver = FileStorageDriver(tmp_path / "payloads")
    converter = storage_of(driver)
    assert await driver.remove_unused(timedelta(0)) == 0
    encoded = await converter.encode([f"{i} {BIG}" for i in range(4)])
    files = [path for path in (tmp_path / "payloads").rglob("*") if path.is_file()]
    long_ago = time.time() - 1000
    for path in files:
        os.utime(path, (long_ago, long_ago))
    left_over = files[0].with_name(".tmp-left")
    left_over.touch()
    os.utime(left_over, (long_ago - 10_000,) * 2)
    await converter.decode(encoded[:1])
    await converter.encode([f"1 {BIG}"])
    assert await driver.remove_unused(timedelta(seconds=500)) == 2
    assert not left_over.exists()
    assert await converter.decode(encoded[:2]) == [f"0 {BIG}", f"1 {BIG}"]
    with pytest.raises(RuntimeError, match="removed as unused"):
        await converter.decode(encoded[2:3])


async def test_async_completion_stores_for_the_workflow(connect: Connect) -> None:
    driver = Memory()
    client: Client = await connect(data_converter=storage_of(driver))
    started = asyncio.Event()

    @activity.defn
    async def elsewhere() -> str:
        started.set()
        activity.raise_complete_async()

    async with Worker(client, task_queue="q", workflows=[Waits], activities=[elsewhere]):
        handle = await client.start_workflow(Waits.run, id="w", task_queue="q")
        await started.wait()
        run_id = handle.result_run_id
        reference = client.get_async_activity_handle(workflow_id="w", run_id=run_id, activity_id="a")
        await reference.complete(BIG)
        assert await handle.result() == BIG
    assert StorageDriverWorkflowInfo(namespace="default", id="w", run_id=run_id) in driver.targets
