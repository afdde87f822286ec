"""The heart of the engine: runs in memory, the commit pipeline, timers, and what transitions ask for.

*Output commit.* A transition changes a run in memory and puts it into the *forming* batch. The batch is handed to the
store as one commit once the loop has run what was ready, and while it travels the next one forms. Whatever leaves the
engine because of a transition (a reply, an activity's dispatch, another run's event) waits in the batch's deliveries
until the commit is durable. Workflow tasks do not wait: workflow code has no side effects.

A failed commit fails everything that waited for it and drops its runs from memory; they are read again from the store.

Compiled as it is by the native build; ``core.pxd`` declares the attributes.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any

from perdure._native import transitions
from perdure._native.activities import lose_activity
from perdure._native.events import HistoryEvent, decode_batch
from perdure._native.mutable_state import Effect, MutableState, RunState
from perdure.engine import wiring  # noqa: F401  (configures the native core)
from perdure.engine.alarms import Alarms
from perdure.engine.deadlines import Deadlines
from perdure.engine.errors import unavailable, unreadable
from perdure.engine.ids import RunIds
from perdure.engine.limits import MAX_HISTORY_EVENTS, MAX_HISTORY_SIZE, MAX_STATE_SIZE
from perdure.engine.matching import Matching, StartedActivity, Task
from perdure.engine.run import TRANSFER_QUEUE, Run
from perdure.engine.run_timers import RunTimers
from perdure.engine.updates import make_update
from perdure.service import RPCError
from perdure.store.api import Document, RunKey, RunUpdate, Store, StoreError, TaskKind, TaskRow

if TYPE_CHECKING:
    from perdure.engine.routing import Router

_CLOSED = int(RunState.CLOSED)
_WORKFLOW = TaskKind.WORKFLOW
# Plain numbers: looking a member of an enumeration up costs more than the comparison.
_DISPATCH_WORKFLOW_TASK = int(Effect.DISPATCH_WORKFLOW_TASK)
_DISPATCH_ACTIVITY = int(Effect.DISPATCH_ACTIVITY)
_DROP_ACTIVITY = int(Effect.DROP_ACTIVITY)
_SHOW_RUN = int(Effect.SHOW_RUN)
_RUN_TIMED_OUT = int(Effect.RUN_TIMED_OUT)
_DELETE_RUN = int(Effect.DELETE_RUN)
_CALL_NEXUS = int(Effect.CALL_NEXUS)

logger = logging.getLogger("perdure.engine")

#: Commits handed to the store and not durable yet; while so many travel, the next batch keeps forming.
MAX_TRAVELLING = 2
#: For how many seconds a run may be left out of commits because its workflow task is about to be answered.
MAX_LEFT_OUT = 0.05
#: A batch that still grows is kept back for up to this many turns of the loop, and this many seconds.
MAX_LOOKS = 8
MAX_FORMING = 0.02
RECOVERY_PAGE = 10_000


class Batch:
    """What one commit makes durable, and what waits for it."""

    def __init__(self, began: float) -> None:
        #: Loop time of the first change; how many changes there were; how often it was looked at, and how many then.
        self.began = began
        self.marks = 0
        self.looks = 0
        self.looked_at = 0
        self.runs: list[Run] = []
        #: What changes beside runs.
        self.documents: list[Document] = []
        #: Whether every run of it goes with this commit; else some may be left for the next one.
        self.is_whole = False
        #: Attempts that their polls get once durable, and what else is called then.
        self.started: list[StartedActivity] = []
        self.deliveries: list[Callable[[], object]] = []
        #: Called with the error when the commit failed.
        self.failures: list[Callable[[Exception], None]] = []
        self.waiters: list[asyncio.Future[None]] = []


class Core:
    """Runs, commits and timers of one engine. Everything happens on one event loop."""

    def __init__(
        self, store: Store, loop: asyncio.AbstractEventLoop, clock: Callable[[], int], cache_bytes: int
    ) -> None:
        self.store = store
        self.loop = loop
        self.now = clock
        self.epoch = store.epoch
        self.run_ids = RunIds()
        self.deadlines = Deadlines(loop)
        self.matching = Matching(loop, self.deadlines)
        self.is_closed = False
        #: What other modules of the engine do for the core: set by the engine when it is put together.
        self.on_run_timed_out: Callable[[Run], Coroutine[Any, Any, None]]
        self.on_delete_run: Callable[[Run], Coroutine[Any, Any, None]]
        self.on_transfer: Callable[[Run, TaskRow], Coroutine[Any, Any, None]]
        self.on_dispatch_activity: Callable[[Run, int], None]
        self.on_dispatch_workflow_task: Callable[[Run], None]
        self.router: Router
        self.on_forced_close: Callable[[Run], None]
        self.on_limit_exceeded: Callable[[Run], Coroutine[Any, Any, None]]
        self.on_call_nexus: Callable[[Run, int], None]
        self.on_chain_closed: Callable[[Run], None]
        self.is_calling_nexus: Callable[[], bool]
        #: Whether any worker deployment is known: then every task is routed, see ``routing``.
        self.is_routing = False
        self._cache_limit = cache_bytes
        self._cached_bytes = 0
        self._is_eviction_scheduled = False
        #: Seconds after its last use during which a run is not dropped from memory.
        self.eviction_grace = 1.0
        #: (namespace id, workflow id) -> who is told, once it is durable, that a run of it closed.
        self.close_listeners: dict[tuple[str, str], Callable[[Run], None]] = {}
        self._runs: OrderedDict[str, Run] = OrderedDict()
        self._loading: dict[str, asyncio.Future[Run | None]] = {}
        self._current: dict[tuple[str, str], str] = {}
        self._forming: Batch | None = None
        self._travelling: list[Batch] = []
        self._is_flush_scheduled = False
        self._failures_in_row = 0
        self.timers = RunTimers(self)
        self.alarms = Alarms(loop, clock)
        self._next_task_id = self.epoch << 40
        self._tasks: set[asyncio.Task[None]] = set()

    # ---- background work

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run work in the background; an unexpected error is logged, never lost."""
        if self.is_closed:
            work.close()
            return
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._work_done)

    def _work_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.error("engine work failed", exc_info=task.exception())

    def next_task_id(self) -> int:
        """A task id greater than every earlier one of this store."""
        self._next_task_id += 1
        return self._next_task_id

    # ---- runs

    def cached(self, run_id: str) -> Run | None:
        """The run, if it is in memory."""
        return self._runs.get(run_id)

    def at_hand(self, key: RunKey) -> Run | None:
        """The run, if it is in memory; it counts as used."""
        return self.find(key[0], key[1], key[2])

    def find(self, namespace_id: str, workflow_id: str, run_id: str) -> Run | None:
        """As :meth:`at_hand`."""
        run = self._runs.get(run_id)
        if run is None:
            return None
        now = self.loop.time()
        if run.used_at != now:
            run.used_at = now
            self._runs.move_to_end(run_id)
        s = run.state
        return run if s.workflow_id == workflow_id and s.namespace_id == namespace_id else None

    async def load(self, key: RunKey) -> Run | None:
        """The run, from memory or the store; None when there is none."""
        if key[2] in self._runs:
            return self.at_hand(key)
        waiting = self._loading.get(key.run_id)
        if waiting is not None:
            return await asyncio.shield(waiting)
        loading = self._loading[key.run_id] = self.loop.create_future()
        try:
            stored = await self.store.load_run(key)
            run = None
            if stored is not None:
                run = Run.restore(key, MutableState.decode(stored.state), stored.version)
                run.used_at = self.loop.time()
                self._runs[key.run_id] = run
                self._count(run, len(stored.state))
            loading.set_result(run)
        except BaseException as error:
            answer = unreadable(error) if isinstance(error, StoreError) else error
            loading.set_exception(answer)
            loading.exception()
            raise answer from None
        finally:
            del self._loading[key.run_id]
        if self._cached_bytes > self._cache_limit and not self._is_eviction_scheduled:
            self._is_eviction_scheduled = True
            self.loop.call_soon(self._evict)
        return run

    async def current(self, namespace_id: str, workflow_id: str) -> Run | None:
        """The current run of a workflow id, open or closed."""
        name = (namespace_id, workflow_id)
        run_id = self._current.get(name)
        if run_id is None:
            try:
                run_id = await self.store.current_run(namespace_id, workflow_id)
            except StoreError as error:
                raise unreadable(error) from None
            run_id = self._current.get(name, run_id)
            if run_id is None:
                return None
        run = await self.load(RunKey(namespace_id, workflow_id, run_id))
        newer = self._current.get(name)
        if newer is not None and newer != run_id:
            return await self.load(RunKey(namespace_id, workflow_id, newer))
        if run is not None:
            self._current[name] = run_id
        return run

    def known_current(self, namespace_id: str, workflow_id: str) -> str | None:
        """The run id of the current run of a workflow id, if it is in memory."""
        return self._current.get((namespace_id, workflow_id))

    def add(self, run: Run) -> None:
        """Take in a run that was just created; it is the current one of its workflow id."""
        run.used_at = self.loop.time()
        self._runs[run.key.run_id] = run
        run.is_new_current = True
        self._current[run.key[:2]] = run.key.run_id

    def forget(self, run: Run) -> None:
        """Take a run out of memory."""
        run.is_gone = True
        if self._runs.pop(run.key.run_id, None) is not None:
            self._cached_bytes -= run.counted
            run.counted = 0
        if self._current.get(run.key[:2]) == run.key.run_id:
            del self._current[run.key[:2]]

    def _count(self, run: Run, state_bytes: int) -> None:
        size = run.size(state_bytes)
        self._cached_bytes += size - run.counted
        run.counted = size

    def _evict(self) -> None:
        """Drop idle runs, the longest unused first, until the cache is within its bytes.

        A run used a moment ago stays: whoever asked for it may be waiting for something else before changing it.
        """
        self._is_eviction_scheduled = False
        if self._cached_bytes <= self._cache_limit:
            return
        before = self.loop.time() - self.eviction_grace
        surplus = self._cached_bytes - self._cache_limit
        victims = []
        for run in self._runs.values():
            if run.used_at > before or surplus <= 0:
                break
            if run.is_idle:
                victims.append(run)
                surplus -= run.counted
        for run in victims:
            self.forget(run)

    # ---- transitions

    def absorb(self, run: Run) -> None:
        """Take over what a transition wrote and asked for, without making a commit necessary."""
        s = run.state
        if s.new_events:
            events = s.take_events()
            run.tail += events
            run.unwritten += events
        if s.effects:
            self._apply_effects(run, s.take_effects())

    def touch(self, run: Run) -> None:
        """Take over what a transition wrote and asked for; the forming batch makes it durable."""
        self.forming(run)
        self.absorb(run)

    def touch_alone(self, run: Run) -> None:
        """As :meth:`touch`, for what concerns no other run and leaves the engine only as an answer.

        If a worker of this process takes the run's workflow task this moment, a later commit may hold both.
        """
        may_be_left_out = not run.is_dirty or run.may_be_left_out
        was_dirty = run.is_dirty
        self.forming(run)
        run.may_be_left_out = may_be_left_out
        run.is_task_at_worker = False
        self.absorb(run)
        if not was_dirty:
            run.changed_at = self.loop.time()
            if not run.is_task_at_worker:
                run.may_be_left_out = False

    def forming(self, run: Run) -> Batch:
        """The batch that will hold the run's newest change; the run goes with it."""
        if run.is_gone:
            raise unavailable("The run left memory while it was being changed. It is safe to try again.")
        batch = self._form()
        run.batch = batch
        run.may_be_left_out = False
        if not run.is_dirty:
            run.is_dirty = True
            batch.runs.append(run)
        return batch

    def put_document(self, document: Document) -> Batch:
        """Keep a document; it becomes durable with the runs of the batch that is returned."""
        batch = self._form()
        batch.documents.append(document)
        batch.is_whole = True
        return batch

    def _form(self) -> Batch:
        """The forming batch, which is about to grow."""
        batch = self._forming
        if batch is None:
            batch = self._forming = Batch(self.loop.time())
        batch.marks += 1
        if not self._is_flush_scheduled and len(self._travelling) < MAX_TRAVELLING:
            self._is_flush_scheduled = True
            self.loop.call_soon(self._flush)
        return batch

    def _apply_effects(self, run: Run, effects: list[tuple[int, int]]) -> None:
        for kind, argument in effects:
            if kind == _DISPATCH_WORKFLOW_TASK:
                self.dispatch_workflow_task(run)
            elif kind == _DISPATCH_ACTIVITY:
                self.on_dispatch_activity(run, argument)
            elif kind == _DROP_ACTIVITY:
                run.touched.add(argument)
            elif kind == _SHOW_RUN:
                run.visibility_changed = True
            elif kind == _RUN_TIMED_OUT:
                self.spawn(self.on_run_timed_out(run))
            elif kind == _DELETE_RUN:
                self.spawn(self.on_delete_run(run))
            elif kind == _CALL_NEXUS:
                self.on_call_nexus(run, argument)
            else:
                self.add_transfer(run, argument)

    def dispatch_workflow_task(self, run: Run) -> None:
        """Put the pending workflow task into its queue: the sticky one while its worker polls, else the normal one."""
        s = run.state
        key = run.key
        if self.is_routing or s.extra is not None:
            self.on_dispatch_workflow_task(run)
            return
        if s.sticky_queue:
            queue = self.matching.known(key[0], _WORKFLOW, s.sticky_queue)
            if queue is not None and queue.has_recent_poller(self.loop.time()):
                run.is_task_at_worker = queue.add(Task(key, s.task_scheduled_id))
                return
        queue = self.matching.queue(key[0], _WORKFLOW, s.task_queue)
        run.is_task_at_worker = queue.add(Task(key, s.task_scheduled_id))

    def add_transfer(self, run: Run, transfer_id: int, body: bytes = b"") -> None:
        """Owe another run something: recorded with this run's commit, carried out after it, repeated until done."""
        row = run.task_row(TaskKind.TRANSFER, TRANSFER_QUEUE, self.next_task_id(), transfer_id, 0, body)
        run.transfers[transfer_id] = row
        run.rows_due.append(row)
        s = run.state
        item = s.children.get(transfer_id) or s.signals.get(transfer_id) or s.cancels.get(transfer_id)
        if item is not None:
            item.task_id = row.task_id
        elif transfer_id:
            if s.extra is None:
                s.extra = {}
            s.extra.setdefault("owed", {})[transfer_id] = row.task_id
        else:
            s.close_task_id = row.task_id
            s.close_body = body
        self.forming(run).deliveries.append(lambda: self.spawn(self.on_transfer(run, row)))

    def finish_transfer(self, run: Run, transfer_id: int) -> None:
        """A transfer is done; its row goes with the run's next commit."""
        row = run.transfers.pop(transfer_id, None)
        if row is not None:
            s = run.state
            item = s.children.get(transfer_id) or s.signals.get(transfer_id) or s.cancels.get(transfer_id)
            if item is not None:
                item.task_id = 0
            elif row.task_id == s.close_task_id:
                s.close_task_id = 0
                s.close_body = b""
            elif s.extra is not None and "owed" in s.extra:
                s.extra["owed"].pop(transfer_id, None)
            if row in run.rows_due:
                run.rows_due.remove(row)
            else:
                run.transfers_done.append(row)
            self.forming(run)

    # ---- durability

    async def durable(self, run: Run) -> None:
        """Wait until everything the run did so far is durable. Raises UNAVAILABLE when that failed."""
        waiter = self.waiter(run)
        if waiter is not None:
            await waiter

    def waiter(self, run: Run) -> asyncio.Future[None] | None:
        """What :meth:`durable` waits for; None: nothing."""
        if run.batch is None:
            if not run.unwritten:
                return None
            self.forming(run)
        if run.is_gone:
            raise unavailable("The store did not keep the change. It is safe to try again.")
        waiter: asyncio.Future[None] = self.loop.create_future()
        if run.is_dirty:
            run.waiters.append(waiter)
        else:
            batch: Batch = run.batch  # type: ignore[assignment]  # the one it had, or forming() gave it
            batch.waiters.append(waiter)
        return waiter

    async def settle(self) -> None:
        """Wait until everything that happened so far is durable; listing after it reads what was written."""
        batch = self._forming or (self._travelling[-1] if self._travelling else None)
        if batch is not None:
            batch.is_whole = True
            waiter: asyncio.Future[None] = self.loop.create_future()
            batch.waiters.append(waiter)
            await waiter

    @property
    def is_settled(self) -> bool:
        """Whether everything that happened so far is durable."""
        return self._forming is None and not self._travelling

    def _flush(self) -> None:
        self._is_flush_scheduled = False
        batch = self._forming
        if batch is None or len(self._travelling) >= MAX_TRAVELLING:
            return
        if batch.marks != batch.looked_at and batch.looks < MAX_LOOKS and self.loop.time() - batch.began < MAX_FORMING:
            # Whoever is ready now (a worker with its next workflow task, above all) may still add to it.
            batch.looks += 1
            batch.looked_at = batch.marks
            self._is_flush_scheduled = True
            self.loop.call_soon(self._flush)
            return
        self._forming = None
        self._travelling.append(batch)
        try:
            updates = self._take_updates(batch, batch.is_whole or batch.marks == batch.looked_at)
        except Exception as error:
            logger.exception("a commit could not be formed")
            self._failed(batch, error)
            return
        if not (updates or batch.documents or batch.waiters or batch.started or batch.deliveries):
            self._settled(batch)
            return
        task = self.loop.create_task(self._commit(batch, updates))
        self._tasks.add(task)
        task.add_done_callback(self._work_done)

    def _take_updates(self, batch: Batch, is_whole: bool) -> list[RunUpdate]:
        """What the batch makes durable: all of it, or what is not about to change again."""
        now = self.loop.time()
        updates: list[RunUpdate] = []
        taken: list[Run] = []
        left: list[Run] = []
        for run in batch.runs:
            if run.may_be_left_out and not is_whole and not run.is_gone and now - run.changed_at < MAX_LEFT_OUT:
                left.append(run)
                continue
            run.may_be_left_out = False
            taken.append(run)
            if run.waiters:
                batch.waiters += run.waiters
                run.waiters = []
            if not run.is_gone:
                updates.append(self._take_update(run))
        if left:
            batch.runs = taken
            self._keep_forming(left)
        return updates

    def _keep_forming(self, runs: list[Run]) -> None:
        """Put runs that are dirty still into the next batch."""
        batch = self._form()
        for run in runs:
            run.batch = batch
        batch.runs += runs

    async def _commit(self, batch: Batch, updates: list[RunUpdate]) -> None:
        try:
            if batch.documents:
                await self.store.commit(updates, batch.documents)
            else:
                await self.store.commit(updates)
        except StoreError as error:
            self._failed(batch, error)
            return
        except BaseException as error:
            self._failed(batch, error if isinstance(error, Exception) else RuntimeError("the engine was stopped"))
            raise
        self._settled(batch)

    def _settled(self, batch: Batch) -> None:
        """The batch is durable: let go what waited for it, and send the next one off."""
        self._travelling.remove(batch)
        self._failures_in_row = 0
        for run in batch.runs:
            run.in_flight -= 1
            if run.batch is batch:
                run.batch = None
                if run.state.state == _CLOSED:
                    for waiter in run.close_waiters:
                        if not waiter.done():
                            waiter.set_result(None)
                    run.close_waiters.clear()
                    if self.close_listeners:
                        self._tell_closed(run)
                else:
                    run.trim_tail()
            if run.event_waiters:
                for waiter in run.event_waiters:
                    if not waiter.done():
                        waiter.set_result(None)
                run.event_waiters.clear()
        for started in batch.started:
            started.deliver()
        for deliver in batch.deliveries:
            deliver()
        for waiter in batch.waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._evict()
        if self._forming is not None and not self._is_flush_scheduled:
            self._is_flush_scheduled = True
            self.loop.call_soon(self._flush)

    def _tell_closed(self, run: Run) -> None:
        listener = self.close_listeners.get(run.key[:2])
        if listener is not None:
            listener(run)

    def _failed(self, batch: Batch, error: Exception) -> None:
        """The commit failed: so did all that waited, and all that was built on it."""
        self._travelling.remove(batch)
        self._failures_in_row += 1
        batches = [batch]
        if self._forming is not None:
            batches.append(self._forming)
            self._forming = None
        answer = unavailable(f"The store did not keep the change: {error}. It is safe to try again.")
        lost: list[RunKey] = []
        for failed in batches:
            self._fail_batch(failed, answer, lost)
        if not self.is_closed:
            logger.error("commit of %d runs failed: %s", len(lost), error)
            self.spawn(self.reload(lost))

    def _fail_batch(self, batch: Batch, answer: RPCError, lost: list[RunKey]) -> None:
        """Tell all that waited for a batch; runs of it that are in memory leave it, and ``lost`` gets their keys."""
        for run in batch.runs:
            if not run.is_gone:
                self.forget(run)
                lost.append(run.key)
            run.fail_waiters(answer)
        for started in batch.started:
            started.fail()
        for fail in batch.failures:
            fail(answer)
        for waiter in batch.waiters:
            if not waiter.done():
                waiter.set_exception(answer)

    async def reload(self, keys: Iterable[RunKey]) -> None:
        """Pick dropped runs up again from what the store has of them; later and later while commits keep failing."""
        if self._failures_in_row > 1:
            await asyncio.sleep(min(0.01 * 2 ** min(self._failures_in_row, 10), 5.0))
        for key in keys:
            delay = 0.05
            while True:
                try:
                    run = await self.load(key)
                    break
                except RPCError:
                    await asyncio.sleep(delay)
                    delay = min(delay * 2, 5.0)
            if run is not None:
                self._take_from_the_dead(run)
                self._redispatch(run)
                self.timers.arm(run.key, run.state.next_deadline())

    def _redispatch(self, run: Run) -> None:
        if run.workflow_task_row is not None and run.state.task_started_id == 0:
            self.dispatch_workflow_task(run)
        for event_id, row in run.persisted.items():
            activity = run.state.activities.get(event_id)
            if activity is not None and not activity.started_ns:
                self.matching.queue(row.key.namespace_id, TaskKind.ACTIVITY, row.task_queue).add(
                    Task(row.key, event_id, activity.stamp)
                )
        for row in list(run.transfers.values()):
            self.spawn(self.on_transfer(run, row))

    def _take_update(self, run: Run) -> RunUpdate:
        """The run's update; the timers and the cache learn from it what changed."""
        update, due = make_update(run, self.next_task_id)
        s = run.state
        self.timers.arm(run.key, due)
        if s.state != _CLOSED and (
            len(update.state) > MAX_STATE_SIZE
            or s.history_size > MAX_HISTORY_SIZE
            or s.next_event_id > MAX_HISTORY_EVENTS + 1
        ):
            self.spawn(self.on_limit_exceeded(run))
        self._count(run, len(update.state))
        return update

    # ---- history

    async def read_events(self, run: Run, first: int, next_event_id: int) -> list[HistoryEvent]:
        """Events ``first <= id < next_event_id`` of a run, from memory where it has them, else from the store."""
        tail = run.tail_from(first)
        if tail is not None:
            return tail[: next_event_id - first]
        try:
            page = await self.store.read_history(run.key, first, next_event_id)
        except StoreError as error:
            raise unreadable(error) from None
        events: list[HistoryEvent] = []
        for batch in page.batches:
            events += decode_batch(batch)
        if events and events[0].event_id < first:
            events = events[first - events[0].event_id :]
        have = first + len(events)
        if have < next_event_id:
            events += run.tail_from(have) or []
        return events[: next_event_id - first]

    async def event(self, run: Run, event_id: int) -> HistoryEvent:
        """One event of a run."""
        events = await self.read_events(run, event_id, event_id + 1)
        return events[0]

    # ---- life

    async def open(self) -> None:
        """Take up what the store holds: pending tasks, transfers under way, and the timers that come next."""
        after: TaskRow | None = None
        while True:
            rows = await self.store.pending_tasks(RECOVERY_PAGE, after)
            for row in rows:
                await self._recover(row)
            if len(rows) < RECOVERY_PAGE:
                break
            after = rows[-1]
        await self.timers.load_horizon()
        self.spawn(self.timers.watch_horizon())

    async def _recover(self, row: TaskRow) -> None:
        """A row found at start-up. What a worker of an earlier epoch of this store held is lost for certain."""
        if row.kind == TaskKind.TRANSFER:
            run = await self.load(row.key)
            if run is not None:
                run.transfers[row.scheduled_event_id] = row
                self.spawn(self.on_transfer(run, row))
            return
        if row.owner_epoch == 0:
            self.matching.queue(row.key.namespace_id, TaskKind(row.kind), row.task_queue).add(
                Task(row.key, row.scheduled_event_id)
            )
            return
        run = await self.load(row.key)
        if run is not None:
            self._take_from_the_dead(run)

    def _take_from_the_dead(self, run: Run) -> None:
        """End what workers of an earlier process hold of the run."""
        s = run.state
        if s.state == _CLOSED:
            return
        if s.task_started_id and s.task_owner_epoch not in (0, self.epoch):
            transitions.time_out_workflow_task(s, self.now())
            self.touch(run)
        lost = [a for a in s.activities.values() if a.started_ns and a.owner_epoch not in (0, self.epoch)]
        for activity in lost:
            lose_activity(s, activity, self.now())
            run.touched.add(activity.scheduled_event_id)
        if lost:
            self.touch(run)

    async def close(self) -> None:
        """Make durable what happened, then stop everything."""
        if self.is_closed:
            return
        try:
            while self._forming is not None or self._travelling:
                await self.settle()
        finally:
            self.is_closed = True
            self.timers.close()
            self.alarms.close()
            self.deadlines.close()
            gone = unavailable("The engine is closed.")
            self.matching.close(gone)
            for run in self._runs.values():
                run.fail_waiters(gone)
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self.store.close()
