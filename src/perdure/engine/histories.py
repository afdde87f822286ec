"""Reading histories: pages, long polls, close events, reverse.

Compiled as it is by the native build; ``histories.pxd`` declares the attributes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import msgspec

from perdure._native.events import HistoryEvent, decode_batch
from perdure._native.mutable_state import RunState
from perdure._native.transitions import unwritten_events
from perdure.api.enums.v1 import HistoryEventFilterType
from perdure.api.history import v1 as history_v1
from perdure.api.workflowservice import v1 as ws
from perdure.engine.core import Core
from perdure.engine.errors import invalid_argument, not_found
from perdure.engine.limits import DEFAULT_PAGE_SIZE, LONG_POLL
from perdure.engine.lookup import check_run_id, find_run
from perdure.engine.namespaces import Namespaces
from perdure.engine.run import Run
from perdure.store.api import RunKey

#: What Temporal's tools for people call themselves.
_TOOLS = ("temporal-cli", "temporal-ui")
_CLOSED = int(RunState.CLOSED)
_CLOSE_EVENT = int(HistoryEventFilterType.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT)


class PageToken(msgspec.Struct, array_like=True):
    """Where a reader of a history stands."""

    run_id: str
    next_event_id: int
    #: The end the reader saw on the first page; 0: it waits for new events.
    last_event_id: int
    #: Whether a worker reads the history of its workflow task, with events that no history holds at its end.
    is_task: bool = False


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(PageToken).decode


def _read_token(token: bytes, run_id: str) -> PageToken:
    try:
        position = _decode(token)
    except (msgspec.DecodeError, msgspec.ValidationError):
        raise invalid_argument("Invalid NextPageToken: these bytes are not a page token of this service.") from None
    if run_id and run_id != position.run_id:
        raise invalid_argument("RunId does not match the NextPageToken.")
    return position


def first_page(run: Run, first: int) -> tuple[int, bytes]:
    """How much of a run's history, from ``first`` on, goes with a task to a worker elsewhere.

    Returns the first event id that does not, and the page token with which the worker reads on: b"" when all goes.
    """
    end = run.state.next_event_id
    if end - first <= DEFAULT_PAGE_SIZE:
        return end, b""
    stop = first + DEFAULT_PAGE_SIZE
    return stop, _encode(PageToken(run.key.run_id, stop, end - 1, True))


class Histories:
    """Temporal's GetWorkflowExecutionHistory and its reverse."""

    def __init__(self, core: Core, namespaces: Namespaces) -> None:
        self._core = core
        self._namespaces = namespaces
        self._ids = namespaces.ids

    async def read(
        self,
        request: ws.GetWorkflowExecutionHistoryRequest,
        timeout: float | None,
        metadata: Mapping[str, str | bytes] | None = None,
    ) -> ws.GetWorkflowExecutionHistoryResponse:
        """Temporal's GetWorkflowExecutionHistory. Only durable events are shown.

        Workers also get the events of a retried workflow task, which no history holds; people's tools do not.
        """
        core = self._core
        wait = LONG_POLL if timeout is None else max(min(LONG_POLL, timeout - 1), 0.01)
        closing = self._that_closes(request)
        if closing is not None:
            return await self._close_event(closing, request.wait_new_event, wait)
        namespace_id = self._namespaces.get(request.namespace).namespace_id
        execution = request.execution
        position: PageToken | None = None
        if request.next_page_token:
            position = _read_token(request.next_page_token, execution.run_id if execution is not None else "")
            workflow_id = "" if execution is None else execution.workflow_id
            run = await core.load(RunKey(namespace_id, workflow_id, position.run_id))
            if run is None:
                raise not_found(f"workflow not found for ID: {workflow_id} and RunID: {position.run_id}")
        else:
            run = await find_run(core, namespace_id, execution)
        if request.history_event_filter_type == _CLOSE_EVENT:
            return await self._close_event(run, request.wait_new_event, wait)
        first = 1 if position is None else position.next_event_id
        deadline = core.loop.time() + wait
        while request.wait_new_event and run.is_open and first >= run.state.next_event_id:
            if core.loop.time() >= deadline:
                return ws.GetWorkflowExecutionHistoryResponse(
                    history=history_v1.History(), next_page_token=_encode(PageToken(run.key.run_id, first, 0))
                )
            await self._wait_for_events(run, deadline - core.loop.time())
            run = await core.load(run.key) or run
        is_tool = metadata is not None and metadata.get("client-name") in _TOOLS
        return await self._page(run, request, first, position, is_tool)

    def _that_closes(self, request: ws.GetWorkflowExecutionHistoryRequest) -> Run | None:
        """The run in memory whose close event is asked for; None when the request is another."""
        execution = request.execution
        if request.history_event_filter_type != _CLOSE_EVENT or request.next_page_token or execution is None:
            return None
        namespace_id = self._ids.get(request.namespace)
        if namespace_id is None or not execution.run_id:
            return None
        return self._core.find(namespace_id, execution.workflow_id, execution.run_id)

    async def _page(
        self,
        run: Run,
        request: ws.GetWorkflowExecutionHistoryRequest,
        first: int,
        position: PageToken | None,
        is_tool: bool,
    ) -> ws.GetWorkflowExecutionHistoryResponse:
        page_size = min(request.maximum_page_size or DEFAULT_PAGE_SIZE, DEFAULT_PAGE_SIZE)
        is_waiting = request.wait_new_event
        # What is shown is what there was when the call came: it is durable after the wait, newer events may not be.
        was_open = run.is_open
        end = run.state.next_event_id
        is_task = position is not None and position.is_task
        suffix = unwritten_events(run.state) if was_open and (is_task or run.state.speculative is None) else []
        await self._core.durable(run)
        first_unseen = end
        if position is not None and position.last_event_id and not is_waiting:
            end = min(end, position.last_event_id + 1)
        stop = min(end, first + page_size)
        events = await self._core.read_events(run, first, stop)
        token = b""
        if stop < end:
            token = _encode(PageToken(run.key.run_id, stop, 0 if is_waiting else end - 1, is_task))
        elif is_waiting and was_open:
            token = _encode(PageToken(run.key.run_id, stop, 0))
        elif stop == first_unseen and not is_tool:
            events = events + suffix
        return ws.GetWorkflowExecutionHistoryResponse(history=history_v1.History(events), next_page_token=token)

    async def _close_event(self, run: Run, wait_new_event: bool, wait: float) -> ws.GetWorkflowExecutionHistoryResponse:
        core = self._core
        if wait_new_event:
            waiter = self._wait_for_close(run)
            if waiter is not None:
                watch = core.deadlines.watch(waiter, wait)
                try:
                    await waiter
                finally:
                    core.deadlines.unwatch(watch)
                    if waiter in run.close_waiters:
                        run.close_waiters.remove(waiter)
                if run.is_open:
                    return ws.GetWorkflowExecutionHistoryResponse(
                        history_v1.History(), [], _encode(PageToken(run.key.run_id, 1, 0))
                    )
        if run.is_open:
            return ws.GetWorkflowExecutionHistoryResponse(history_v1.History())
        waiter = core.waiter(run)
        if waiter is not None:
            await waiter
        event = self._close_event_at_hand(run)
        if event is None:
            event = await core.event(run, run.state.close_event_id)
        return ws.GetWorkflowExecutionHistoryResponse(history_v1.History([event]))

    def _wait_for_close(self, run: Run) -> asyncio.Future[None] | None:
        """A future that is done when the run's end is durable; None when the run has ended."""
        if run.state.state == _CLOSED:
            return None
        waiter: asyncio.Future[None] = self._core.loop.create_future()
        run.close_waiters.append(waiter)
        return waiter

    def _close_event_at_hand(self, run: Run) -> HistoryEvent | None:
        """The event that closed the run, if memory has it."""
        tail = run.tail
        if not tail:
            return None
        event: HistoryEvent = tail[-1]
        return event if event.event_id == run.state.close_event_id else None

    async def _wait_for_events(self, run: Run, wait: float) -> None:
        waiter: asyncio.Future[None] = self._core.loop.create_future()
        run.event_waiters.append(waiter)
        await self._core.deadlines.wait(waiter, wait)
        if waiter in run.event_waiters:
            run.event_waiters.remove(waiter)

    async def read_reverse(
        self, request: ws.GetWorkflowExecutionHistoryReverseRequest
    ) -> ws.GetWorkflowExecutionHistoryReverseResponse:
        """Temporal's GetWorkflowExecutionHistoryReverse: newest first."""
        core = self._core
        namespace_id = self._namespaces.get(request.namespace).namespace_id
        execution = request.execution
        last = 0
        if request.next_page_token:
            position = _read_token(request.next_page_token, execution.run_id if execution is not None else "")
            last = position.next_event_id
            check_run_id(position.run_id)
            workflow_id = "" if execution is None else execution.workflow_id
            found = await core.load(RunKey(namespace_id, workflow_id, position.run_id))
            if found is None:
                raise not_found(f"workflow not found for ID: {workflow_id} and RunID: {position.run_id}")
            run = found
        else:
            run = await find_run(core, namespace_id, execution)
        await core.durable(run)
        page_size = min(request.maximum_page_size or DEFAULT_PAGE_SIZE, DEFAULT_PAGE_SIZE)
        page = await core.store.read_history_reverse(run.key, last, max_events=page_size)
        events: list[HistoryEvent] = []
        for batch in page.batches:
            events += [event for event in reversed(decode_batch(batch)) if not last or event.event_id <= last]
        token = b""
        if events and events[-1].event_id > 1:
            token = _encode(PageToken(run.key.run_id, events[-1].event_id - 1, 0))
        return ws.GetWorkflowExecutionHistoryReverseResponse(history=history_v1.History(events), next_page_token=token)
