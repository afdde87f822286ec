"""Completion callbacks: who is told that a workflow has closed."""

from __future__ import annotations

import asyncio
import http.server
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from perdure.api.common import v1 as common_v1
from perdure.api.enums.v1 import CallbackState, WorkflowIdConflictPolicy
from perdure.api.nexus import links
from perdure.api.workflow import v1 as workflow_v1
from perdure.service import RPCError, RPCStatusCode
from perdure.store.api import Store
from tests.engine.driver import S, cancel, complete, continue_as_new, fail, name, payloads, queue
from tests.engine.update_driver import ACCEPTED, acceptance, response, said, update_request
from tests.nexus.driver import URL, NexusDriver, call, driving

STANDBY = int(CallbackState.CALLBACK_STATE_STANDBY)
BACKING_OFF = int(CallbackState.CALLBACK_STATE_BACKING_OFF)
FAILED = int(CallbackState.CALLBACK_STATE_FAILED)
SUCCEEDED = int(CallbackState.CALLBACK_STATE_SUCCEEDED)
USE_EXISTING = int(WorkflowIdConflictPolicy.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING)


async def calling(d: NexusDriver, **options: Any) -> None:
    """A workflow ``w`` that waits for ``h``."""
    await d.start()
    await d.turn(call())
    task = await d.poll_nexus()
    await d.run_behind(task, **options)
    await d.answer_later(task)


async def outcome(d: NexusDriver) -> Any:
    await d.settle()
    return next(event for event in reversed(await d.history()) if name(event).startswith("NexusOperation"))


# ---- how a run's end is told


async def test_a_callback_waits_for_the_end(d: NexusDriver) -> None:
    await calling(d)
    [callback] = await d.callbacks("h")
    assert (callback.state, callback.attempt) == (STANDBY, 0)
    assert callback.callback is not None
    assert callback.callback.nexus is not None
    assert callback.callback.nexus.url == URL
    assert callback.trigger is not None
    assert callback.trigger.workflow_closed is not None
    await d.answer(await d.poll(queue("hq")), complete(b"9"))
    event = await outcome(d)
    assert (name(event), event.attributes.result) == ("NexusOperationCompleted", payloads(b"9").payloads[0])
    [callback] = await d.callbacks("h")
    assert (callback.state, callback.attempt) == (SUCCEEDED, 1)


async def test_a_failure_is_told(d: NexusDriver) -> None:
    await calling(d)
    await d.answer(await d.poll(queue("hq")), fail())
    event = await outcome(d)
    assert (name(event), event.attributes.failure.cause.message) == ("NexusOperationFailed", "no")


async def test_a_cancellation_is_told(d: NexusDriver) -> None:
    await calling(d)
    await d.request_cancel("h")
    await d.answer(await d.poll(queue("hq")), cancel())
    event = await outcome(d)
    assert name(event) == "NexusOperationCanceled"
    assert event.attributes.failure.cause.canceled_failure_info is not None


async def test_a_termination_is_told(d: NexusDriver) -> None:
    await calling(d)
    await d.terminate("h")
    event = await outcome(d)
    assert (name(event), event.attributes.failure.cause.message) == ("NexusOperationFailed", "operation terminated")


async def test_a_timeout_is_told(d: NexusDriver) -> None:
    await calling(d, workflow_run_timeout=5 * S)
    await d.advance(5)
    event = await outcome(d)
    assert name(event) == "NexusOperationFailed"
    assert event.attributes.failure.cause.message == "operation exceeded internal timeout"


async def test_callbacks_follow_the_chain(d: NexusDriver) -> None:
    await calling(d)
    await d.answer(await d.poll(queue("hq")), continue_as_new())
    assert name(await outcome(d)) == "NexusOperationStarted"
    await d.advance(1)  # a run that goes on so soon is held back
    await d.answer(await d.poll(queue("hq")), complete(b"9"))
    assert name(await outcome(d)) == "NexusOperationCompleted"


async def test_callbacks_follow_retries(d: NexusDriver) -> None:
    await calling(d, retry_policy=common_v1.RetryPolicy(initial_interval=S, maximum_attempts=2))
    await d.answer(await d.poll(queue("hq")), fail())
    assert name(await outcome(d)) == "NexusOperationStarted"
    await d.advance(1)
    await d.answer(await d.poll(queue("hq")), fail())
    assert name(await outcome(d)) == "NexusOperationFailed"


async def test_the_end_may_come_before_the_answer(d: NexusDriver) -> None:
    await d.start()
    await d.turn(call())
    task = await d.poll_nexus()
    await d.run_behind(task)
    await d.answer(await d.poll(queue("hq")), complete(b"9"))
    await d.settle()
    assert await d.pending()
    await d.answer_later(task)
    await d.settle()
    names = await d.names()
    assert names[names.index("NexusOperationScheduled") :][:3] == [
        "NexusOperationScheduled",
        "NexusOperationStarted",
        "WorkflowTaskScheduled",
    ]
    assert names[-1] == "NexusOperationCompleted"


async def test_the_end_may_come_without_an_answer(d: NexusDriver) -> None:
    await d.start()
    await d.turn(call())
    task = await d.poll_nexus()
    await d.run_behind(task)
    await d.answer(await d.poll(queue("hq")), complete(b"9"))
    await d.advance(10)
    await d.advance(1)
    names = await d.names()
    assert "NexusOperationStarted" in names
    assert "NexusOperationCompleted" in names


# ---- what the two sides know of each other


async def test_each_side_links_to_the_other(d: NexusDriver) -> None:
    await d.start()
    await d.turn(call())
    task = await d.poll_nexus()
    assert task.request is not None
    assert task.request.start_operation is not None
    to_caller = links.all_from_nexus(task.request.start_operation.links)
    response = await d.run_behind(task, links=to_caller)
    assert response.link is not None
    await d.answer_later(task, links=links.all_to_nexus([response.link]))
    history = await d.history("h")
    assert history[0].links == to_caller
    started = next(event for event in await d.history() if name(event) == "NexusOperationStarted")
    [link] = started.links
    assert link.workflow_event is not None
    assert (link.workflow_event.workflow_id, link.workflow_event.run_id) == ("h", response.run_id)


# ---- attaching to a run that is there


async def test_a_second_caller_attaches(d: NexusDriver) -> None:
    await calling(d)
    await d.turn()
    await d.start("w2")
    await d.turn(call())
    task = await d.poll_nexus()
    options = workflow_v1.OnConflictOptions(attach_request_id=True, attach_completion_callbacks=True, attach_links=True)
    response = await d.run_behind(task, workflow_id_conflict_policy=USE_EXISTING, on_conflict_options=options)
    assert not response.started
    assert task.request is not None
    assert task.request.start_operation is not None
    request_id = task.request.start_operation.request_id
    assert response.link is not None
    assert response.link.workflow_event is not None
    assert response.link.workflow_event.request_id_ref is not None
    assert response.link.workflow_event.request_id_ref.request_id == request_id
    await d.answer_later(task)
    described = await d.describe("h")
    assert described.workflow_extended_info is not None
    assert request_id in described.workflow_extended_info.request_id_infos
    assert [callback.state for callback in described.callbacks] == [STANDBY, STANDBY]
    assert "WorkflowExecutionOptionsUpdated" in await d.names("h")
    # Whoever asks again with the same request gets the same answer, and nothing is attached twice.
    again = await d.run_behind(task, workflow_id_conflict_policy=USE_EXISTING, on_conflict_options=options)
    assert again.run_id == response.run_id
    assert len(await d.callbacks("h")) == 2
    await d.answer(await d.poll(queue("hq")), complete(b"9"))
    await d.settle()
    for caller in ("w", "w2"):
        assert "NexusOperationCompleted" in await d.names(caller)


# ---- updates


async def updating(d: NexusDriver) -> tuple[Any, common_v1.Link]:
    """A workflow ``w`` whose operation goes on as an accepted update of ``h``: the task of its start, and a link."""
    await d.start("h", task_queue=queue("hq"))
    await d.answer(await d.poll(queue("hq")))
    await d.start()
    await d.turn(call())
    task = await d.poll_nexus()
    assert task.request is not None
    start = task.request.start_operation
    assert start is not None
    asked = update_request(workflow_id="h", stage=ACCEPTED)
    assert asked.request is not None
    asked.request.request_id = start.request_id
    asked.request.links = links.all_from_nexus(start.links)
    header = {**start.callback_header, "nexus-operation-token": "t"}
    asked.request.completion_callbacks = [common_v1.Callback(nexus=common_v1.CallbackNexus(start.callback, header))]
    asking = asyncio.create_task(d.engine.update_workflow_execution(asked))
    carrier = await d.poll(queue("hq"))
    message = acceptance(carrier.messages[0])
    await d.answer(carrier, *said(message), messages=[message])
    link = (await asking).link
    assert link is not None
    return task, link


async def test_an_operation_goes_on_as_an_update(d: NexusDriver) -> None:
    task, link = await updating(d)
    await d.answer_later(task, links=links.all_to_nexus([link]))
    [callback] = await d.callbacks("h")
    assert callback.trigger is not None
    assert callback.trigger.update_workflow_execution_completed is not None
    assert (callback.state, callback.trigger.update_workflow_execution_completed.update_id) == (STANDBY, "u")
    [accepted] = [event for event in await d.history("h") if name(event) == "WorkflowExecutionUpdateAccepted"]
    [to_caller] = accepted.links
    assert (to_caller.workflow_event.workflow_id, to_caller.workflow_event.event_ref.event_id) == ("w", 5)
    await d.signal("h")
    done = response(result=b"9")
    await d.answer(await d.poll(queue("hq")), *said(done), messages=[done])
    event = await outcome(d)
    assert (name(event), event.attributes.result) == ("NexusOperationCompleted", payloads(b"9").payloads[0])
    assert (await d.callbacks("h"))[0].state == SUCCEEDED
    await d.terminate("h")
    assert (await d.callbacks("h"))[0].attempt == 1


@pytest.mark.parametrize("close", [complete, continue_as_new])
async def test_an_update_may_never_be_answered(d: NexusDriver, close: Any) -> None:
    task, _ = await updating(d)
    await d.answer_later(task)
    await d.signal("h")
    await d.answer(await d.poll(queue("hq")), close())
    event = await outcome(d)
    assert name(event) == "NexusOperationFailed"
    assert "completed before the Update completed" in event.attributes.failure.cause.message


# ---- callbacks out of the service


class Receiver:
    """A server that remembers what it was told."""

    def __init__(self) -> None:
        self.statuses = [200]
        self.told: list[tuple[dict[str, str], bytes]] = []
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                receiver.told.append(({key.lower(): value for key, value in self.headers.items()}, body))
                status = receiver.statuses.pop(0) if len(receiver.statuses) > 1 else receiver.statuses[0]
                self.send_response(status)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}/"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


def to(url: str, **header: str) -> list[common_v1.Callback]:
    return [common_v1.Callback(nexus=common_v1.CallbackNexus(url, header))]


async def test_urls_must_be_allowed(d: NexusDriver) -> None:
    with pytest.raises(RPCError, match="does not match any configured callback address") as caught:
        await d.start(completion_callbacks=to("http://127.0.0.1:1/"))
    assert caught.value.status is RPCStatusCode.INVALID_ARGUMENT
    with pytest.raises(RPCError, match="unknown scheme"):
        await d.start(completion_callbacks=to("ftp://127.0.0.1:1/"))
    with pytest.raises(RPCError, match="url length"):
        await d.start(completion_callbacks=to("http://" + "a" * 1000))


async def state_of(d: NexusDriver, *states: int) -> workflow_v1.CallbackInfo:
    """The callback once it is in one of these states; a receiver is another thread, which nothing here can settle."""
    while True:
        [callback] = await d.callbacks()
        if callback.state in states:
            return callback
        await asyncio.sleep(0.005)


async def test_a_url_is_told_of_a_result(open_store: Callable[[], Awaitable[Store]], receiver: Receiver) -> None:
    async with driving(await open_store(), callback_addresses=[receiver.address]) as d:
        header = {"nexus-operation-token": "t", "x-mine": "1"}
        callback = common_v1.Callback(nexus=common_v1.CallbackNexus(receiver.address + "done", header))
        await d.start(completion_callbacks=[callback])
        await d.turn(complete(b'"r"'))
        assert (await state_of(d, SUCCEEDED, FAILED, BACKING_OFF)).state == SUCCEEDED
        [(headers, body)] = receiver.told
        assert (body, headers["content-type"], headers["x-mine"]) == (b'"r"', "application/json", "1")
        assert (headers["nexus-operation-state"], headers["nexus-operation-token"]) == ("succeeded", "t")


async def test_a_url_is_told_of_a_failure(open_store: Callable[[], Awaitable[Store]], receiver: Receiver) -> None:
    async with driving(await open_store(), callback_addresses=[receiver.address]) as d:
        await d.start(completion_callbacks=to(receiver.address))
        await d.turn(fail())
        await state_of(d, SUCCEEDED)
        [(headers, body)] = receiver.told
        assert headers["nexus-operation-state"] == "failed"
        assert b'"message":"no"' in body


@pytest.mark.parametrize(("status", "state"), [(400, FAILED), (404, FAILED), (503, BACKING_OFF), (429, BACKING_OFF)])
async def test_a_url_may_refuse(
    open_store: Callable[[], Awaitable[Store]], receiver: Receiver, status: int, state: int
) -> None:
    receiver.statuses = [status]
    async with driving(await open_store(), callback_addresses=[receiver.address]) as d:
        await d.start(completion_callbacks=to(receiver.address))
        await d.turn(complete())
        callback = await state_of(d, FAILED, BACKING_OFF, SUCCEEDED)
        assert callback.last_attempt_failure is not None
        assert (callback.state, callback.attempt) == (state, 1)
        assert callback.last_attempt_failure.message == f"unexpected response status: {status}"
        assert (callback.next_attempt_schedule_time == d.clock.now + S) is (state == BACKING_OFF)


async def test_a_url_is_told_again(open_store: Callable[[], Awaitable[Store]], receiver: Receiver) -> None:
    receiver.statuses = [503, 503, 200]
    async with driving(await open_store(), callback_addresses=[receiver.address]) as d:
        await d.start(completion_callbacks=to(receiver.address))
        await d.turn(complete())
        for attempt, wait in ((1, 1), (2, 2)):
            assert (await state_of(d, BACKING_OFF, SUCCEEDED)).attempt == attempt
            await d.advance(wait - 0.1)
            await d.advance(0.1)
            while (await d.callbacks())[0].attempt == attempt:
                await asyncio.sleep(0.005)
        callback = await state_of(d, SUCCEEDED)
        assert (callback.attempt, callback.last_attempt_failure, len(receiver.told)) == (3, None, 3)
