"""Guests of an LMDB folder: served by its owner, and its owners next."""

from __future__ import annotations

import asyncio
import contextlib
import os
import struct
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from perdure import activity, workflow
from perdure.api.common.v1 import WorkflowExecution
from perdure.api.enums.v1 import EventType
from perdure.api.query.v1 import WorkflowQuery
from perdure.api.taskqueue.v1 import TaskQueue
from perdure.api.workflowservice import v1 as ws
from perdure.client import Client
from perdure.common import RetryPolicy, SearchAttributeKey, SearchAttributePair, TypedSearchAttributes
from perdure.connect import _open_and_host, parse
from perdure.engine import Engine
from perdure.service import RPCError, RPCStatusCode
from perdure.service._packing import encode
from perdure.sharing._frames import Hello, Kind, pack
from perdure.sharing._guest import Guest, NoOwnerError, RefusedError
from perdure.sharing._host import SOCKET_NAME, Host
from perdure.store.api import StoreOwnedError
from perdure.worker import Worker
from tests.sharing.conftest import MakeGuest

QUEUE = "shared"


@activity.defn
async def shout(text: str) -> str:
    return text.upper()


@workflow.defn
class Talk:
    """Shouts what it is told, until it is told to stop."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.is_done = False

    @workflow.run
    async def run(self, text: str) -> list[str]:
        await self._shout(text)
        await workflow.wait_condition(lambda: self.is_done)
        return self.said

    async def _shout(self, text: str) -> None:
        self.said.append(await workflow.execute_activity(shout, text, start_to_close_timeout=timedelta(seconds=30)))

    @workflow.signal
    def stop(self) -> None:
        self.is_done = True

    @workflow.query
    def heard(self) -> list[str]:
        return self.said

    @workflow.update
    async def say(self, text: str) -> int:
        await self._shout(text)
        return len(self.said)


@workflow.defn
class Once:
    """One activity that may take long."""

    @workflow.run
    async def run(self) -> str:
        return await workflow.execute_activity(
            shout,
            "a",
            start_to_close_timeout=timedelta(hours=1),
            retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=1)),
        )


async def test_a_guest_does_what_the_owner_does(owner: Engine, make_guest: MakeGuest) -> None:
    client = Client(await make_guest())
    async with Worker(client, task_queue=QUEUE, workflows=[Talk], activities=[shout]):
        key = SearchAttributeKey.for_keyword("Room")
        handle = await client.start_workflow(
            Talk.run,
            "a",
            id="talk",
            task_queue=QUEUE,
            search_attributes=TypedSearchAttributes([SearchAttributePair(key, "kitchen")]),
        )
        assert await handle.execute_update(Talk.say, "b") == 2
        assert await handle.query(Talk.heard) == ["A", "B"]
        await handle.signal(Talk.stop)
        assert await handle.result() == ["A", "B"]
        assert [found.id async for found in client.list_workflows("Room = 'kitchen'")] == ["talk"]
    with pytest.raises(RPCError) as refused:
        await client.get_workflow_handle("nobody").describe()
    assert refused.value.status is RPCStatusCode.NOT_FOUND
    assert [found.id async for found in Client(owner).list_workflows("")] == ["talk"]


async def test_owner_and_guests_work_on_one_task_queue(owner: Engine, make_guest: MakeGuest) -> None:
    clients = [Client(owner), Client(await make_guest()), Client(await make_guest())]
    workers = [Worker(clients[0], task_queue=QUEUE, workflows=[Talk], activities=[])]
    workers += [Worker(client, task_queue=QUEUE, workflows=[], activities=[shout]) for client in clients[1:]]
    async with workers[0], workers[1], workers[2]:
        handles = [
            await clients[n % 3].start_workflow(Talk.run, str(n), id=f"talk-{n}", task_queue=QUEUE) for n in range(30)
        ]
        await asyncio.gather(*(handle.signal(Talk.stop) for handle in handles))
        assert await asyncio.gather(*(handle.result() for handle in handles)) == [[str(n)] for n in range(30)]


async def test_a_guest_takes_over_and_loses_nothing(owner: Engine, make_guest: MakeGuest, folder: Path) -> None:
    guests = [await make_guest() for _ in range(3)]
    client = Client(guests[0])
    async with Worker(client, task_queue=QUEUE, workflows=[Talk], activities=[shout]):
        handle = await client.start_workflow(Talk.run, "a", id="talk", task_queue=QUEUE)
        assert await handle.execute_update(Talk.say, "b") == 2
        await handle.signal(Talk.stop)
        result = asyncio.ensure_future(handle.result())
        await owner.close()
        assert await result == ["A", "B"]
        described = await asyncio.gather(*(Client(g).get_workflow_handle("talk").describe() for g in guests))
        assert [it.id for it in described] == ["talk"] * 3
    owning = [guest for guest in guests if guest._owned is not None]
    assert len(owning) == 1
    assert (folder / "owner").read_text().startswith(f"{os.getpid()}\n")


async def test_what_a_dead_guest_held_goes_out_again_at_once(owner: Engine, make_guest: MakeGuest) -> None:
    started = asyncio.Event()

    @activity.defn(name="shout")
    async def hang(text: str) -> str:
        started.set()
        await asyncio.Event().wait()
        return text

    dying = await make_guest()
    here = Client(owner)
    worker = Worker(Client(dying), task_queue=QUEUE, workflows=[Once], activities=[hang])
    running = asyncio.ensure_future(worker.run())
    handle = await here.start_workflow(Once.run, id="once", task_queue=QUEUE)
    await started.wait()
    # The process dies: its connection ends, nothing is answered any more.
    assert dying._link is not None
    dying._link.close()
    dying._is_closed = True
    async with Worker(here, task_queue=QUEUE, workflows=[Once], activities=[shout]):
        assert await handle.result() == "A"
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    kinds = [event.event_type async for event in handle.fetch_history_events()]
    assert EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT not in kinds  # the sticky queue went with its worker


async def test_a_cancelled_poll_loses_no_task(owner: Engine, make_guest: MakeGuest) -> None:
    guest = await make_guest()
    poll = ws.PollWorkflowTaskQueueRequest("default", TaskQueue(QUEUE), identity="me")
    client = Client(owner)
    for n in range(20):
        polling = asyncio.ensure_future(guest.poll_workflow_task_queue(poll))
        for _ in range(n):
            await asyncio.sleep(0)
        await client.start_workflow("Any", id=f"run-{n}", task_queue=QUEUE)
        for _ in range(n % 4):
            await asyncio.sleep(0)
        polling.cancel()
        task: Any = (await asyncio.gather(polling, return_exceptions=True))[0]
        if isinstance(task, BaseException):
            assert isinstance(task, asyncio.CancelledError)
            task = await guest.poll_workflow_task_queue(poll)
        assert task.workflow_execution.workflow_id == f"run-{n}"
        await client.get_workflow_handle(f"run-{n}").terminate()


async def test_a_deadline_ends_a_call(owner: Engine, make_guest: MakeGuest) -> None:
    guest = await make_guest()
    await Client(owner).start_workflow("Any", id="run", task_queue=QUEUE)
    with pytest.raises(RPCError) as refused:
        await guest.query_workflow(
            ws.QueryWorkflowRequest("default", WorkflowExecution("run"), WorkflowQuery("q")),
            timeout=timedelta(milliseconds=20),
        )
    assert refused.value.status is RPCStatusCode.DEADLINE_EXCEEDED


async def test_another_durability_is_refused(owner: Engine, folder: Path) -> None:
    target = parse(f"lmdb:{folder}")
    guest: Any = Guest(folder, "full", lambda: _open_and_host(target), StoreOwnedError)
    with pytest.raises(RefusedError, match=rf"owner, process {os.getpid()}, has it open with durability='process'"):
        await guest.connect()


async def test_another_version_is_refused(owner: Engine, folder: Path) -> None:
    reader, writer = await asyncio.open_unix_connection(str(folder / SOCKET_NAME))
    writer.write(pack(Kind.HELLO, body=encode(Hello(1, "0.0.0", "process"))))
    answer = await reader.read()
    assert answer[8] == Kind.REFUSED
    assert b"this process 0.0.0: run the same version in both, or stop one of them" in answer
    writer.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        pack(Kind.CALL, 1, 0, b""),
        pack(Kind.HELLO, body=b"\x00"),
        struct.pack("<IIBH", 1 << 31, 0, 0, 0),
    ],
)
async def test_the_owner_hangs_up_on_nonsense_and_lives(
    owner: Engine, make_guest: MakeGuest, folder: Path, sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    reader, writer = await asyncio.open_unix_connection(str(folder / SOCKET_NAME))
    writer.write(sent)
    with contextlib.suppress(ConnectionError):
        assert await reader.read() == b""
    writer.close()
    assert "no frame" in caplog.text
    assert await Client(await make_guest()).count_workflows("") is not None


async def test_nobody_answers(folder: Path) -> None:
    async def refuse() -> Engine:
        raise StoreOwnedError("in use by process 1", 1)

    guest: Any = Guest(folder, "full", refuse, StoreOwnedError)
    with pytest.raises(NoOwnerError, match="in use by process 1"):
        await guest.connect(patience=0.01)


async def test_a_long_path_has_a_socket_too(tmp_path: Path) -> None:
    folder = tmp_path / ("deep" * 30)
    folder.mkdir()
    engine = await _open_and_host(parse("memory:"))
    host = await Host.open(engine.guests, folder, "full")
    guest: Any = Guest(folder, "full", lambda: _open_and_host(parse("memory:")), StoreOwnedError)
    await guest.connect()
    assert await Client(guest).count_workflows("") is not None
    await guest.close()
    await host.close()
    await engine.close()
