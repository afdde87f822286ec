"""A nondeterminism error shows the lines, the cause and the patch."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from perdure import activity, workflow
from perdure.client import Client, WorkflowHistory
from perdure.worker import Replayer, Worker

TIMEOUT = timedelta(seconds=10)


@activity.defn
async def charge() -> None: ...


@activity.defn
async def ship() -> None: ...


@activity.defn
async def bill() -> None: ...


@workflow.defn(name="Order")
class Recorded:
    @workflow.run
    async def run(self) -> None:
        await workflow.execute_activity(charge, start_to_close_timeout=TIMEOUT)
        await workflow.execute_activity(ship, start_to_close_timeout=TIMEOUT)
        await asyncio.sleep(0.001)


@workflow.defn(name="Order")
class Added:
    @workflow.run
    async def run(self) -> None:
        await workflow.execute_activity(charge, start_to_close_timeout=TIMEOUT)
        await asyncio.sleep(60)  # added
        await workflow.execute_activity(ship, start_to_close_timeout=TIMEOUT)


@workflow.defn(name="Order")
class Replaced:
    @workflow.run
    async def run(self) -> None:
        await workflow.execute_activity(charge, start_to_close_timeout=TIMEOUT)
        await workflow.execute_activity(
            bill,
            start_to_close_timeout=TIMEOUT,
        )


@workflow.defn(name="Order")
class Reordered:
    @workflow.run
    async def run(self) -> None:
        await self.step(ship)  # first now
        await workflow.execute_activity(charge, start_to_close_timeout=TIMEOUT)
        await workflow.execute_activity(ship, start_to_close_timeout=TIMEOUT)

    async def step(self, what: Callable[..., Any]) -> None:
        await workflow.execute_activity(what, start_to_close_timeout=TIMEOUT)


@workflow.defn(name="Order")
class Removed:
    @workflow.run
    async def run(self) -> None:
        await workflow.execute_activity("charge", start_to_close_timeout=TIMEOUT)
        await asyncio.sleep(0.001)  # too early


@workflow.defn(name="Order")
class WaitsForNothing:
    @workflow.run
    async def run(self) -> None:
        await workflow.execute_activity(charge, start_to_close_timeout=TIMEOUT)
        await workflow.wait_condition(lambda: False)


@workflow.defn(name="Order")
class Longer:
    @workflow.run
    async def run(self) -> None:
        await workflow.execute_activity(charge, start_to_close_timeout=TIMEOUT)
        await workflow.execute_activity(ship, start_to_close_timeout=TIMEOUT)
        await asyncio.gather(asyncio.sleep(0.001), self.also())

    async def also(self) -> None:
        await workflow.execute_activity(bill, start_to_close_timeout=TIMEOUT)


@workflow.defn(name="Order")
class Gathered:
    @workflow.run
    async def run(self) -> None:
        await asyncio.gather(
            workflow.execute_activity(bill, start_to_close_timeout=TIMEOUT),  # as a task
            workflow.execute_activity(charge, start_to_close_timeout=TIMEOUT),
        )


@workflow.defn(name="Local")
class Patched:
    @workflow.run
    async def run(self) -> None:
        if workflow.patched("faster"):
            await workflow.execute_local_activity(ship, start_to_close_timeout=TIMEOUT)
        await workflow.execute_local_activity(charge, start_to_close_timeout=TIMEOUT)


@workflow.defn(name="Local")
class PatchRemoved:
    @workflow.run
    async def run(self) -> None:
        await workflow.execute_local_activity(ship, start_to_close_timeout=TIMEOUT)
        await workflow.execute_local_activity(charge, start_to_close_timeout=TIMEOUT)


@workflow.defn(name="Local")
class LocalReplaced:
    @workflow.run
    async def run(self) -> None:
        if workflow.patched("faster"):
            await workflow.execute_local_activity(bill, start_to_close_timeout=TIMEOUT)


@workflow.defn(name="Waiting")
class Before:
    @workflow.run
    async def run(self) -> None:
        await workflow.execute_activity(charge, start_to_close_timeout=TIMEOUT)
        await asyncio.sleep(3600)


@workflow.defn(name="Waiting")
class After:
    @workflow.run
    async def run(self) -> None:
        await workflow.execute_activity(bill, start_to_close_timeout=TIMEOUT)
        await asyncio.sleep(3600)

    @workflow.signal
    def wake(self) -> None: ...


@pytest.fixture
async def history() -> WorkflowHistory:
    async with (
        await Client.connect("memory:") as client,
        Worker(client, task_queue="q", workflows=[Recorded], activities=[charge, ship]),
    ):
        handle = await client.start_workflow(Recorded.run, id="order", task_queue="q")
        await handle.result()
        return await handle.fetch_history()


@pytest.fixture
async def local_history() -> WorkflowHistory:
    async with (
        await Client.connect("memory:") as client,
        Worker(client, task_queue="q", workflows=[Patched], activities=[charge, ship]),
    ):
        handle = await client.start_workflow(Patched.run, id="local", task_queue="q")
        await handle.result()
        return await handle.fetch_history()


def line_of(text: str) -> int:
    with open(__file__) as lines:
        return next(number for number, line in enumerate(lines, 1) if text in line)


async def test_a_removed_patch(local_history: WorkflowHistory) -> None:
    found = parts(await told(PatchRemoved, local_history))
    assert found["history"].endswith("MarkerRecorded (patch 'faster')")
    assert found["probable cause"].startswith("the call workflow.patched('faster') was removed")
    assert found["patch to write"].startswith("workflow.deprecate_patch('faster')")


async def test_a_replaced_local_activity(local_history: WorkflowHistory) -> None:
    found = parts(await told(LocalReplaced, local_history))
    assert "in LocalReplaced.run: await workflow.execute_local_activity(bill" in found["code now"]
    assert found["probable cause"] == "ship was replaced by bill, or renamed."


async def told(cls: type, history: WorkflowHistory) -> Iterator[str]:
    with pytest.raises(workflow.NondeterminismError) as caught:
        await Replayer(workflows=[cls]).replay_workflow(history)
    return iter(str(caught.value).splitlines())


def parts(lines: Iterator[str]) -> dict[str, str]:
    first = next(lines)
    assert "nondeterminism in workflow" in first
    found: dict[str, str] = {}
    name = ""
    for line in lines:
        if line.startswith("      "):
            found[name] += line.removeprefix("      ") + "\n"
        else:
            name, _, rest = line.strip().partition(":")
            found[name] = rest.strip()
    return found


async def test_an_added_command(history: WorkflowHistory) -> None:
    found = parts(await told(Added, history))
    code = "await asyncio.sleep(60)  # added"
    assert found["code now"] == f"tests/workflow/test_nondeterminism.py:{line_of(code)} in Added.run: {code}"
    assert found["history"].startswith(
        "event 11, ActivityTaskScheduled (activity id '2', type 'ship'); the code asks for"
    )
    assert found["last match"].startswith(
        "event 5, ActivityTaskScheduled (activity id '1', type 'charge'), made at tests"
    )
    assert "in Added.run: await workflow.execute_activity(charge" in found["last match"]
    assert found["probable cause"] == "timer was added before ship."
    assert found["patch to write"] == f'if workflow.patched("add-timer"):\n    {code}\n'


async def test_a_replaced_command(history: WorkflowHistory) -> None:
    found = parts(await told(Replaced, history))
    assert found["code now"].endswith("in Replaced.run: await workflow.execute_activity(")
    assert found["probable cause"] == "ship was replaced by bill, or renamed."
    assert found["patch to write"].startswith(
        'if workflow.patched("ship-becomes-bill"):\n'
        "    await workflow.execute_activity(\n"
        "        bill,\n"
        "        start_to_close_timeout=TIMEOUT,\n"
        "    )\n"
        "else:\n"
    )


async def test_reordered_commands(history: WorkflowHistory) -> None:
    found = parts(await told(Reordered, history))
    assert f":{line_of('execute_activity(what')} in Reordered.step" in found["code now"]
    assert found["probable cause"].startswith("ship and charge changed their order")
    assert found["patch to write"].startswith('if workflow.patched("ship-before-charge"):\n    ')


async def test_a_removed_command(history: WorkflowHistory) -> None:
    found = parts(await told(Removed, history))
    assert f":{line_of('# too early')} in Removed.run" in found["code now"]
    assert "nothing in the code asks for that" in found["history"]
    assert found["probable cause"] == "ship was removed: timer comes after it in the history."


async def test_code_that_makes_no_command(history: WorkflowHistory) -> None:
    found = parts(await told(WaitsForNothing, history))
    assert found["code now"].startswith("makes no command after tests/workflow/test_nondeterminism.py:")
    assert found["probable cause"] == "ship was removed, or a condition before it changed."
    assert found["patch to write"].startswith('if not workflow.patched("remove-ship"):\n    ')


async def test_more_than_the_history_has(history: WorkflowHistory) -> None:
    found = parts(await told(Longer, history))
    assert "in Longer.also: await workflow.execute_activity(bill" in found["code now"]
    assert found["probable cause"] == "bill was added: the history ends its task without it."


async def test_a_call_that_became_a_task(history: WorkflowHistory) -> None:
    found = parts(await told(Gathered, history))
    assert f":{line_of('# as a task')} in " in found["code now"]
    assert found["probable cause"] == "bill was added before charge."


async def test_the_failed_task_says_so(tmp_path: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Over a restart with changed code: in the log, and in what describe() shows."""

    url = f"lmdb:{tmp_path}/data?durability=process"
    async with (
        await Client.connect(url) as client,
        Worker(client, task_queue="q", workflows=[Before], activities=[charge, bill]),
    ):
        handle = await client.start_workflow("Waiting", id="w", task_queue="q")
        while not any(event.event_type == 17 for event in (await handle.fetch_history()).events):
            await asyncio.sleep(0)
    async with (
        await Client.connect(url) as client,
        Worker(client, task_queue="q", workflows=[After], activities=[charge, bill]),
    ):
        await client.get_workflow_handle("w").signal("wake")
        while not caplog.records:
            await asyncio.sleep(0)
        assert "probable cause: charge was replaced by bill" in caplog.text
        assert "in After.run: await workflow.execute_activity(bill" in caplog.text
