"""A run in memory: its state, what of it is not durable yet, and who waits for it.

Compiled as it is by the native build; ``run.pxd`` declares the attributes.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from perdure._native.events import HistoryEvent
from perdure._native.mutable_state import MutableState, RunState, Status
from perdure.store.api import RunKey, TaskKind, TaskRow, VisibilityRecord

if TYPE_CHECKING:
    from perdure.api.query import v1 as query_v1
    from perdure.engine.core import Batch
    from perdure.engine.update_registry import UpdateRegistry

_CLOSED = int(RunState.CLOSED)
_PAUSED = int(Status.PAUSED)
_encode = msgspec.msgpack.Encoder().encode

#: Rows of transfers carry no queue of a user.
TRANSFER_QUEUE = ""
#: The id of the transfer that closing a run owes its parent and its children.
CLOSE_TRANSFER = 0
#: What a run costs in the cache besides its state and events, and how much larger those are as objects than as bytes.
BASE_SIZE = 2000
EVENT_SIZE = 200
OBJECT_FACTOR = 3
#: Events of the tail beyond this many are dropped once durable.
MAX_TAIL = 512


def activity_status(state: MutableState) -> int:
    """The status of a standalone activity: it is paused once no attempt runs."""
    if state.state != _CLOSED:
        for activity in state.activities.values():
            if activity.is_paused and not activity.started_ns:
                return _PAUSED
    return state.status


class PendingQuery:
    """A query that waits for the pending workflow task."""

    def __init__(self, query: query_v1.WorkflowQuery, future: asyncio.Future[object]) -> None:
        self.query = query
        self.future = future


class Run:
    """One run. Everything that changes it happens on the event loop, between two awaits."""

    def __init__(self, key: RunKey, state: MutableState, version: int) -> None:
        self.key = key
        self.state = state
        #: Version of the newest commit that was handed to the store.
        self.version = version
        #: Events of the history's end, from ``tail[0].event_id`` on.
        self.tail: list[HistoryEvent] = []
        #: Events that no commit holds yet.
        self.unwritten: list[HistoryEvent] = []
        #: The forming or travelling batch that holds the newest change; None: all of it is durable.
        self.batch: Batch | None = None
        self.in_flight = 0
        self.is_dirty = False
        #: Who waits for the commit that will hold the newest change, while no batch has left with it.
        self.waiters: list[asyncio.Future[None]] = []
        #: Whether that commit may be the next but one, when (loop time) the change came, and whether a worker of this
        #: process was about to take the workflow task then: see ``Core.touch_alone``.
        self.may_be_left_out = False
        self.changed_at = 0.0
        self.is_task_at_worker = False
        self.is_gone = False
        self.is_new_current = False
        self.visibility_changed = False
        #: Activities (scheduled event ids) whose task row may have to change.
        self.touched: set[int] = set()
        #: scheduled event id -> the activity task row the store has.
        self.persisted: dict[int, TaskRow] = {}
        self.workflow_task_row: TaskRow | None = None
        #: transfer id -> row; the ids are those of the initiating events, 0 for what closing the run owes others, below 0
        #: for completion callbacks.
        self.transfers: dict[int, TaskRow] = {}
        self.transfers_done: list[TaskRow] = []
        self.rows_due: list[TaskRow] = []
        self.stored_timer = 0
        #: The stored timer was found to be earlier than need be: the next update moves it on.
        self.is_timer_early = False
        self.stored_visibility: VisibilityRecord | None = None
        #: Bytes of the tail's events, and what of this run the cache has counted.
        self.tail_bytes = 0
        self.counted = 0
        #: Loop time of the last use.
        self.used_at = 0.0
        self.close_waiters: list[asyncio.Future[None]] = []
        self.event_waiters: list[asyncio.Future[None]] = []
        self.queries: dict[str, PendingQuery] = {}
        #: Updates on their way to the workflow and who waits for one; None while there are none.
        self.updates: UpdateRegistry | None = None

    @classmethod
    def restore(cls, key: RunKey, state: MutableState, version: int) -> Run:
        """A run as the store has it: what the store holds besides the state follows from the state."""
        run = cls(key, state, version)
        run.stored_visibility = run.visibility_record()
        run.stored_timer = state.timer_ms
        if state.close_task_id:
            run.transfers[CLOSE_TRANSFER] = run.task_row(
                TaskKind.TRANSFER, TRANSFER_QUEUE, state.close_task_id, CLOSE_TRANSFER, 0, state.close_body
            )
        if state.task_row_id:
            run.workflow_task_row = run.task_row(
                TaskKind.WORKFLOW, state.task_queue, state.task_row_id, state.task_scheduled_id, state.task_owner_epoch
            )
        for activity in state.activities.values():
            if activity.task_id:
                run.persisted[activity.scheduled_event_id] = run.task_row(
                    TaskKind.ACTIVITY,
                    activity.task_queue,
                    activity.task_id,
                    activity.scheduled_event_id,
                    activity.owner_epoch,
                )
        for table in (state.children, state.signals, state.cancels):
            for item in table.values():
                if item.task_id:
                    run.transfers[item.initiated_event_id] = run.task_row(
                        TaskKind.TRANSFER, TRANSFER_QUEUE, item.task_id, item.initiated_event_id
                    )
        if state.extra is not None:
            for transfer_id, task_id in state.extra.get("owed", {}).items():
                run.transfers[transfer_id] = run.task_row(TaskKind.TRANSFER, TRANSFER_QUEUE, task_id, transfer_id)
        return run

    @property
    def is_open(self) -> bool:
        """Whether the run has not closed."""
        return self.state.state != _CLOSED

    @property
    def is_idle(self) -> bool:
        """Whether the run may leave memory: durable, and nobody holds on to it."""
        return not (
            self.is_dirty
            or self.in_flight
            or self.unwritten
            or self.close_waiters
            or self.event_waiters
            or self.queries
            or self.updates is not None
            or self.state.task_started_id
        )

    def size(self, state_bytes: int) -> int:
        """Roughly how many bytes the run takes in memory, given the length of its encoded state."""
        return BASE_SIZE + OBJECT_FACTOR * (state_bytes + self.tail_bytes) + EVENT_SIZE * len(self.tail)

    def task_row(
        self, kind: int, queue: str, task_id: int, event_id: int, owner_epoch: int = 0, body: bytes = b""
    ) -> TaskRow:
        """A task row of this run."""
        return TaskRow(self.key, int(kind), queue, task_id, event_id, owner_epoch, body)

    def visibility_record(self) -> VisibilityRecord:
        """What listing shows of the run now."""
        s = self.state
        return VisibilityRecord(
            key=self.key,
            workflow_type=s.workflow_type,
            task_queue=s.task_queue,
            status=activity_status(s) if s.is_activity else s.status,
            start_time=s.start_ns,
            execution_time=s.execution_ns,
            close_time=max(s.close_ns, s.start_ns) if s.close_ns else 0,
            history_length=s.next_event_id - 1 if s.state == _CLOSED else 0,
            history_size_bytes=s.history_size if s.state == _CLOSED else 0,
            state_transition_count=s.transition_count,
            parent_workflow_id=s.parent_workflow_id,
            parent_run_id=s.parent_run_id,
            root_workflow_id=s.root_workflow_id or s.workflow_id,
            root_run_id=s.root_run_id or s.run_id,
            memo=_encode({name: msgspec.Raw(value) for name, value in s.memo.items()}) if s.memo else b"",
            search_attributes=(
                _encode({name: msgspec.Raw(value) for name, value in s.search_attributes.items()})
                if s.search_attributes
                else b""
            ),
        )

    def fail_waiters(self, error: Exception) -> None:
        """Tell everybody who waits for this run that it will not come."""
        waiters: list[asyncio.Future[Any]] = [*self.waiters, *self.close_waiters, *self.event_waiters]
        waiters += [query.future for query in self.queries.values()]
        for waiter in waiters:
            if not waiter.done():
                waiter.set_exception(error)
        if self.updates is not None:
            self.updates.fail(error)

    def trim_tail(self) -> None:
        """Drop durable events nobody in this process is likely to ask for."""
        if len(self.tail) > MAX_TAIL and not self.unwritten and not self.in_flight:
            keep_from = self.state.previous_started_id
            first = self.tail[0].event_id
            if keep_from > first:
                self.tail_bytes = self.tail_bytes * (len(self.tail) - keep_from + first) // len(self.tail)
                del self.tail[: keep_from - first]

    def tail_from(self, first_event_id: int) -> list[HistoryEvent] | None:
        """Events from an id on, when memory has them all."""
        tail = self.tail
        if not tail:
            return [] if first_event_id >= self.state.next_event_id else None
        offset = first_event_id - tail[0].event_id
        if offset < 0:
            return None
        return tail[offset:] if offset else list(tail)
