"""The core of an engine that is one of several over one store.

Every node runs the whole engine, and any node may change any run: a commit holds only if its runs are as they were read.
One that does not hold must not take others with it, so here a batch is what one request did, not all that was done
in a tick: each is a commit of its own, and the store sends those that are ready in one round trip. What was refused is
done again on what the store has now (``cluster_engine``); nobody outside sees it.

See ``docs/postgresql.md``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from perdure._native import transitions
from perdure._native.activities import lose_activity
from perdure._native.mutable_state import RunState
from perdure.engine.cluster_matching import ClusterMatching
from perdure.engine.core import MAX_FORMING, MAX_LOOKS, MAX_TRAVELLING, Batch, Core
from perdure.engine.errors import unavailable
from perdure.engine.matching import Task
from perdure.engine.run import Run
from perdure.service import RPCError, RPCStatusCode
from perdure.store.api import (
    Document,
    FencedError,
    RunKey,
    RunUpdate,
    StaleRunError,
    StoreClosedError,
    TaskKind,
    TaskRow,
)

if TYPE_CHECKING:
    from perdure.store.postgres import SharedPostgresStore

logger = logging.getLogger("perdure.engine")

_CLOSED = int(RunState.CLOSED)
#: That many starts must have found their workflow ids free before one does not look, ...
_TRUST_AFTER = 8
#: ... and so many more after one was wrong.
_DISTRUST = 100


class StaleError(RPCError):
    """What was built on is not what the store has any more: to be done again."""

    def __init__(self) -> None:
        super().__init__(
            "The workflow changed on another node meanwhile. It is safe to try again.", RPCStatusCode.UNAVAILABLE
        )


class ClusterCore(Core):
    """A :class:`Core` that is not alone."""

    store: SharedPostgresStore

    def __init__(
        self, store: SharedPostgresStore, loop: asyncio.AbstractEventLoop, clock: Callable[[], int], cache_bytes: int
    ) -> None:
        super().__init__(store, loop, clock, cache_bytes)
        self.matching = ClusterMatching(loop, self.deadlines)
        #: Forming batches, in the order they began, and which of them belongs to a request: see :meth:`begin`.
        self._batches: dict[int, Batch] = {}
        self._of_section: dict[tuple[int, int], Batch] = {}
        self._sections: dict[int, int] = {}
        self._section = 0
        #: How often anything changed, as ``Batch.marks`` and its siblings count for one batch.
        self._marks = self._looked_at = self._looks = 0
        self._began = 0.0
        self._waves = 0
        #: Workflow ids of which the store has no run, and by new run the one it replaces.
        self._absent: set[tuple[str, str]] = set()
        self._replaces: dict[str, str] = {}
        #: Starts that do not ask whether their workflow id is taken, by task: see :meth:`expect_absent`.
        self._expected: dict[tuple[str, str], asyncio.Task[Any] | None] = {}
        #: How many starts in a row found their workflow id free.
        self._free_in_row = 0
        #: The epochs of the nodes that live, this one among them.
        self.live: set[int] = {self.epoch}
        #: While this node, which was taken for dead, joins again.
        self.rejoining: asyncio.Task[None] | None = None
        self.on_fenced: Callable[[], None] = lambda: None
        #: Told of the kind of a document that was committed.
        self.on_document: Callable[[str], None] = lambda kind: None
        #: Told of kinds of documents that another node changed first.
        self.on_stale_documents: Callable[[set[str]], None] = lambda kinds: None
        #: Whether documents of a kind are being read again.
        self.is_reading: Callable[[str], bool] = lambda kind: False
        #: By kind of document how many commits of this node travel.
        self.documents_in_flight: dict[str, int] = {}
        self.on_committed: Callable[[list[Run]], None] = lambda runs: None

    # ---- sections: what stands or falls together

    def begin(self) -> None:
        """A request begins in the current task: what it does is apart from what the task did before."""
        self._section += 1
        self._sections[id(asyncio.current_task())] = self._section

    def end(self) -> None:
        """The request is over."""
        self._sections.pop(id(asyncio.current_task()), None)

    def section_batch(self) -> Batch | None:
        """The forming batch of the current request, if it changed anything that is still forming."""
        task = id(asyncio.current_task())
        return self._of_section.get((task, self._sections.get(task, 0)))

    def _new_batch(self) -> Batch:
        batch = Batch(self.loop.time())
        if not self._batches:
            self._began = batch.began
        self._batches[id(batch)] = batch
        return batch

    def _form(self) -> Batch:
        """The forming batch of the current request, which is about to grow."""
        current = asyncio.current_task(self.loop)
        if current is None:
            batch = self._new_batch()  # a timer: one run each
        else:
            name = (id(current), self._sections.get(id(current), 0))
            found = self._of_section.get(name)
            if found is None:
                found = self._of_section[name] = self._new_batch()
            batch = found
        self._grow()
        return batch

    def _grow(self) -> None:
        self._marks += 1
        if not self._is_flush_scheduled and self._waves < MAX_TRAVELLING:
            self._is_flush_scheduled = True
            self.loop.call_soon(self._flush)

    def forming(self, run: Run) -> Batch:
        """As :meth:`Core.forming`; a run that two requests changed binds them together."""
        if run.is_gone:
            raise StaleError
        current = asyncio.current_task(self.loop)
        if run.is_dirty and run.batch is not None and current is None:
            self._grow()
            return run.batch
        batch = self._form()
        if run.is_dirty and run.batch is not None and run.batch is not batch:
            self._bind(batch, run.batch)
        run.batch = batch
        if not run.is_dirty:
            run.is_dirty = True
            batch.runs.append(run)
        return batch

    def put_document(self, document: Document) -> Batch:
        """As :meth:`Core.put_document`.

        What is being read again is not changed meanwhile: the change is :class:`StaleError`, and done again on what was
        read. It must not have been made in memory for longer than that.
        """
        if document.version and self.is_reading(document.kind):
            self.on_stale_documents({document.kind})
            raise StaleError
        batch = self._form()
        batch.documents.append(document)
        kind = document.kind
        self.documents_in_flight[kind] = self.documents_in_flight.get(kind, 0) + 1

        def ended(error: Exception | None = None) -> None:
            self.documents_in_flight[kind] -= 1
            if error is None:
                self.on_document(kind)

        batch.deliveries.append(ended)
        batch.failures.append(ended)
        return batch

    def _bind(self, batch: Batch, other: Batch) -> None:
        """Make two forming batches one. Who still holds the other one adds to the same lists."""
        del self._batches[id(other)]
        for run in other.runs:
            run.batch = batch
        batch.runs[:0] = other.runs
        batch.documents[:0] = other.documents
        batch.started[:0] = other.started
        batch.deliveries[:0] = other.deliveries
        batch.failures[:0] = other.failures
        batch.waiters[:0] = other.waiters
        other.runs, other.documents, other.started = batch.runs, batch.documents, batch.started
        other.deliveries, other.failures, other.waiters = batch.deliveries, batch.failures, batch.waiters
        for name, found in self._of_section.items():
            if found is other:
                self._of_section[name] = batch

    # ---- the pipeline

    def _flush(self) -> None:
        self._is_flush_scheduled = False
        if not self._batches or self._waves >= MAX_TRAVELLING:
            return
        is_growing = self._marks != self._looked_at
        if is_growing and self._looks < MAX_LOOKS and self.loop.time() - self._began < MAX_FORMING:
            self._looks += 1
            self._looked_at = self._marks
            self._is_flush_scheduled = True
            self.loop.call_soon(self._flush)
            return
        batches = list(self._batches.values())
        self._batches = {}
        self._of_section = {}
        self._looks = 0
        self._waves += 1
        left = [len(batches)]
        for batch in batches:
            self._travelling.append(batch)
            try:
                updates = [self._replacing(self._take_update(run)) for run in batch.runs if not run.is_gone]
                future = self.store.submit(updates, batch.documents, self.epoch)
            except Exception as error:
                if not isinstance(error, StoreClosedError):
                    logger.exception("a commit could not be formed")
                future = self.loop.create_future()
                future.set_exception(error)
            future.add_done_callback(partial(self._ended, batch, left))

    def _replacing(self, update: RunUpdate) -> RunUpdate:
        # What was loaded is some node's, what follows is built on this node's own.
        update.base = self.store.writers.pop(update.key.run_id, self.epoch)
        if update.make_current:
            update.replaces = self._replaces.pop(update.key.run_id, None)
        return update

    def _ended(self, batch: Batch, left: list[int], future: asyncio.Future[None]) -> None:
        left[0] -= 1
        if not left[0]:
            self._waves -= 1
        error = RuntimeError("the engine was stopped") if future.cancelled() else future.exception()
        if error is None:
            self._settled(batch)
            if batch.runs:
                self.on_committed(batch.runs)
        else:
            self._failed(batch, error if isinstance(error, Exception) else RuntimeError(str(error)))
        if self._batches and not self._is_flush_scheduled:
            self._is_flush_scheduled = True
            self.loop.call_soon(self._flush)

    def _failed(self, batch: Batch, error: Exception) -> None:
        """The commit failed: so did what was built on it, and nothing else."""
        self._travelling.remove(batch)
        is_fenced = isinstance(error, FencedError)
        is_stale = isinstance(error, StaleRunError) or is_fenced
        if is_fenced:
            self.on_fenced()
        elif is_stale and any(run.version == 1 for run in batch.runs):
            self._free_in_row = -_DISTRUST
        answer = StaleError() if is_stale else unavailable(f"The store did not keep the change: {error}. Try again.")
        if not is_stale:
            self._failures_in_row += 1
        if batch.documents:
            self.on_stale_documents({document.kind for document in batch.documents})
        lost: list[RunKey] = []
        self._fail_batch(batch, answer, lost)
        while True:
            built_on = [one for one in self._batches.values() if any(run.is_gone for run in one.runs)]
            if not built_on:
                break
            for one in built_on:
                del self._batches[id(one)]
                self._of_section = {name: found for name, found in self._of_section.items() if found is not one}
                self._fail_batch(one, answer, lost)
        if not self.is_closed:
            if not is_stale:
                logger.error("commit of %d runs failed: %s", len(lost), error)
            self.spawn(self.reload(lost))

    def _fail_batch(self, batch: Batch, answer: RPCError, lost: list[RunKey]) -> None:
        """As :meth:`Core._fail_batch`; whether the store has runs of their ids is to be asked again."""
        for run in batch.runs:
            self._absent.discard(run.key[:2])
        super()._fail_batch(batch, answer, lost)

    def touch_alone(self, run: Run) -> None:
        """As :meth:`Core.touch`: no run is left out of its request's commit."""
        self.touch(run)

    def waiter(self, run: Run) -> asyncio.Future[None] | None:
        """As :meth:`Core.waiter`."""
        if run.is_gone:
            raise StaleError
        if run.batch is None:
            if not run.unwritten:
                return None
            self.forming(run)
        waiter: asyncio.Future[None] = self.loop.create_future()
        run.batch.waiters.append(waiter)  # type: ignore[union-attr]  # the one it had, or forming() gave it
        return waiter

    async def settle(self) -> None:
        """As :meth:`Core.settle`."""
        waiters = []
        for batch in (*self._travelling, *self._batches.values()):
            waiter: asyncio.Future[None] = self.loop.create_future()
            batch.waiters.append(waiter)
            waiters.append(waiter)
        results = await asyncio.gather(*waiters, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, StaleError):
                raise result

    @property
    def is_settled(self) -> bool:
        """As :attr:`Core.is_settled`."""
        return not self._batches and not self._travelling

    async def close(self) -> None:
        """As :meth:`Core.close`."""
        if not self.is_closed:
            try:
                while self._batches or self._travelling:
                    await self.settle()
            finally:
                if self.rejoining is not None:
                    self.rejoining.cancel()
                await super().close()

    # ---- runs

    async def current(self, namespace_id: str, workflow_id: str) -> Run | None:
        """As :meth:`Core.current`; that there is none is remembered for the start that follows."""
        name = (namespace_id, workflow_id)
        is_start = name in self._expected and self._expected[name] is asyncio.current_task(self.loop)
        if is_start and self._expected.pop(name) and name not in self._current and self._free_in_row >= _TRUST_AFTER:
            self._absent.add(name)
            return None
        run = await super().current(namespace_id, workflow_id)
        if run is None and name not in self._current:
            self._absent.add(name)
        if is_start:
            self._free_in_row = self._free_in_row + 1 if run is None else min(self._free_in_row, 0)
        return run

    def expect_absent(self, namespace_id: str, workflow_id: str) -> None:
        """The current task is about to start a workflow, whose id is most likely new.

        While such starts find their ids free, they do not look: the commit refuses one whose id is taken, and it is
        done again with a look. After that :data:`_DISTRUST` starts look.
        """
        self._expected[namespace_id, workflow_id] = asyncio.current_task(self.loop)

    def expect_nothing(self, namespace_id: str, workflow_id: str) -> None:
        """The start is over."""
        self._expected.pop((namespace_id, workflow_id), None)

    def add(self, run: Run) -> None:
        """As :meth:`Core.add`."""
        name = run.key[:2]
        known = self._current.get(name)
        if known is not None:
            self._replaces[run.key.run_id] = known
        elif name in self._absent:
            self._replaces[run.key.run_id] = ""
        self._absent.discard(name)
        super().add(run)

    def forget(self, run: Run) -> None:
        """As :meth:`Core.forget`."""
        super().forget(run)
        self.store.writers.pop(run.key.run_id, None)

    def drop(self, run: Run) -> None:
        """Another node changed the run: what is here of it is old. What this node is about to commit will tell."""
        if run.is_gone or run.is_dirty or run.in_flight:
            return
        has_tasks = run.workflow_task_row is not None or run.persisted or run.transfers
        self.forget(run)
        run.fail_waiters(StaleError())
        if has_tasks:
            self.spawn(self.reload([run.key]))

    async def reload(self, keys: Iterable[RunKey]) -> None:
        """Pick dropped runs up again from what the store has of them, with the tasks that are this node's."""
        if self._failures_in_row > 1:
            await asyncio.sleep(min(0.01 * 2 ** min(self._failures_in_row, 10), 5.0))
        for key in keys:
            delay = 0.05
            while True:
                try:
                    run = await self.load(key)
                    if run is None:
                        break
                    rows = [*run.persisted.values(), *run.transfers.values()]
                    if run.workflow_task_row is not None:
                        rows.append(run.workflow_task_row)
                    held = await self.store.hold_tasks(rows, self.live)
                    ((_, _, node),) = await self.store.versions([key])
                    if run.is_gone:
                        continue
                    self._take_from_the_dead(run)
                    self._redispatch_held(run, held)
                    if node not in self.live or node == self.epoch:
                        self.timers.arm(run.key, run.state.next_deadline())
                    break
                except StoreClosedError:
                    return
                except Exception as error:
                    if self.is_closed:
                        return
                    logger.warning("run %s cannot be read again yet: %s", key.run_id, error)
                    await asyncio.sleep(delay)
                    delay = min(delay * 2, 5.0)

    def _redispatch_held(self, run: Run, held: set[int]) -> None:
        row = run.workflow_task_row
        if row is not None and row.task_id in held and run.state.task_started_id == 0:
            self.dispatch_workflow_task(run)
        for event_id, row in run.persisted.items():
            activity = run.state.activities.get(event_id)
            if row.task_id in held and activity is not None and not activity.started_ns:
                self.matching.queue(row.key.namespace_id, TaskKind.ACTIVITY, row.task_queue).add(
                    Task(row.key, event_id, activity.stamp)
                )
        for row in list(run.transfers.values()):
            if row.task_id in held:
                self.spawn(self.on_transfer(run, row))

    def renew(self, epoch: int, live: set[int]) -> None:
        """Go on under another epoch: nothing in memory is this node's any more."""
        self.epoch = epoch
        self.live = live
        self._next_task_id = epoch << 40
        batches, self._batches, self._of_section = list(self._batches.values()), {}, {}
        for batch in batches:
            self._fail_batch(batch, StaleError(), [])
        for run in list(self._runs.values()):
            self.forget(run)
            run.fail_waiters(StaleError())
        self._current.clear()
        self._absent.clear()
        matching = self.matching
        assert isinstance(matching, ClusterMatching)
        for queue in matching.all():
            queue.tasks.clear()

    async def take_over(self, row: TaskRow) -> None:
        """A task row that became this node's: do with it what is to be done."""
        await self._recover(row)

    def is_dead(self, epoch: int) -> bool:
        """Whether what a node of this epoch had in memory is lost."""
        return epoch not in self.live

    def _take_from_the_dead(self, run: Run) -> None:
        """End what workers of nodes that are gone hold of the run."""
        s = run.state
        if s.state == _CLOSED:
            return
        if s.task_started_id and s.task_owner_epoch and self.is_dead(s.task_owner_epoch):
            transitions.time_out_workflow_task(s, self.now())
            self.touch(run)
        lost: list[Any] = [
            activity
            for activity in s.activities.values()
            if activity.started_ns and activity.owner_epoch and self.is_dead(activity.owner_epoch)
        ]
        for activity in lost:
            lose_activity(s, activity, self.now())
            run.touched.add(activity.scheduled_event_id)
        if lost:
            self.touch(run)
