"""What nodes over one store have to do with each other: who lives, who has which task, what changed where.

News travel by NOTIFY, gathered for as long as the last ones are on their way: which runs were committed, where polls
wait in vain, where tasks are to be had. None of it need arrive: everything that waits for news looks by itself, too,
every ``SLOW_POLL`` seconds.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import uuid
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import msgspec

from perdure.engine.cluster_core import ClusterCore
from perdure.engine.cluster_matching import ClusterMatching, ClusterTaskQueue, QueueName
from perdure.engine.limits import NS_PER_MS
from perdure.engine.matching import Task
from perdure.engine.run import Run
from perdure.engine.run_timers import HORIZON_MS
from perdure.store.api import RunKey, StoreClosedError, StoreError, TaskKind, TaskRow

if TYPE_CHECKING:
    from perdure.store.postgres import SharedPostgresStore

logger = logging.getLogger("perdure.engine")

#: The kind of messages that are news.
NEWS = "news"
SLOW_POLL = 1.0
#: How often news are looked for where LISTEN hears nothing.
NEWS_POLL = 0.1
#: For how long a node that said its polls wait is believed.
WANT_LASTS = 5.0
CLAIM_PAGE = 500
#: Runs in one notification: it holds 8000 bytes.
_RUNS_A_PAYLOAD = 300
_MAX_CLAIM = 100


class Cluster:
    """The others, as one node sees them."""

    def __init__(self, core: ClusterCore) -> None:
        self._core = core
        self._store: SharedPostgresStore = core.store
        self._loop = core.loop
        matching = core.matching
        assert isinstance(matching, ClusterMatching)
        self._matching = matching
        matching.on_poll = self._poll_waits
        matching.on_waiting = self._task_waits
        core.on_committed = self._committed
        core.on_fenced = self._rejoin_soon
        #: Queue -> node -> until when it is believed that polls wait there.
        self._wants: dict[QueueName, dict[int, float]] = {}
        #: Queues in which polls wait that the others were told of, and when.
        self._told: dict[QueueName, float] = {}
        #: Queues that may have tasks in the store.
        self._hints: set[QueueName] = set()
        self._to_claim: set[QueueName] = set()
        self._is_claiming = False
        self._to_give: set[QueueName] = set()
        self._is_giving = False
        self._touched: set[bytes] = set()
        self._news: list[str] = []
        self._is_telling = False
        #: Told when nodes came or went.
        self.on_membership: Callable[[], Awaitable[None]] | None = None
        #: Told when there may be messages, and when a document or a namespace changed elsewhere.
        self.on_message: Callable[[], None] = lambda: None
        self.on_change: Callable[[str], None] = lambda what: None
        #: Told when such news may have been missed.
        self.on_missed: Callable[[], None] = lambda: None
        #: Told when a transaction of a user asked for something.
        self.on_outbox: Callable[[], None] = lambda: None
        #: Told of a task that waits here while others poll, and that is in memory alone.
        self.on_stranded: Callable[[Task], None] = lambda task: None
        #: What looks by itself every now and then.
        self.on_slow_poll: Callable[[], Awaitable[None]] | None = None

    # ---- membership

    @property
    def is_alone(self) -> bool:
        """Whether there is no other node."""
        return len(self._core.live) < 2

    @property
    def leader(self) -> int:
        """The node that does what only one may do: the one that has lived longest."""
        return min(self._core.live)

    @property
    def is_leader(self) -> bool:
        """Whether that is this node."""
        return self.leader == self._core.epoch

    async def open(self) -> None:
        """Get to know the others, and take what nobody has."""
        await self._look()
        await self._adopt()
        core = self._core
        core.spawn(self._store.listen(self.hear, self._missed))
        core.spawn(self._watch())
        core.spawn(self._poll_slowly())
        if self._store.settings.is_pooled:
            core.spawn(self._poll_news())
        self.tell("j")

    async def _look(self) -> bool:
        live, dead = await self._store.sweep()
        if self._core.epoch not in live:
            self._rejoin_soon()
        before = set(self._core.live)
        self._core.live = live | {self._core.epoch}
        if before - live:
            logger.info("nodes %s are gone", sorted(before - live))
        return bool(dead or before - live)

    async def _watch(self) -> None:
        """Look who lives, again and again; take over from those that do not."""
        turns = 0
        while True:
            await asyncio.sleep(self._store.settings.lease / 4)
            turns += 1
            try:
                before = set(self._core.live)
                is_less = await self._look()
                if is_less or turns % 8 == 0:
                    await self._adopt()
                if self._core.live != before and self.on_membership is not None:
                    await self.on_membership()
            except StoreClosedError:
                return
            except StoreError as error:
                logger.warning("the nodes cannot be looked at: %s", error)

    def _rejoin_soon(self) -> None:
        core = self._core
        if core.rejoining is None and not core.is_closed:
            core.rejoining = self._loop.create_task(self._rejoin())

    async def _rejoin(self) -> None:
        """This node was taken for dead: begin anew, as one that has nothing."""
        core = self._core
        logger.warning("this node did not answer in time and was taken for dead; it joins again")
        live: set[int] | None = None
        try:
            while live is None:
                if core.is_closed:
                    return
                try:
                    await self._store.rejoin()
                    live, _ = await self._store.sweep()
                except StoreClosedError:
                    return
                except StoreError as error:
                    logger.warning("this node cannot join again yet: %s", error)
                    await asyncio.sleep(SLOW_POLL)
            core.renew(self._store.epoch, live)
            self._told.clear()
            self.tell("j")
            await self._adopt()
            if self.on_membership is not None:
                await self.on_membership()
        except StoreError as error:
            logger.warning("taking over after joining again failed: %s", error)
        finally:
            core.rejoining = None

    async def _adopt(self) -> None:
        """Take tasks and timers of nodes that are gone."""
        core = self._core
        while True:
            rows = await self._store.claim_orphans(core.live, CLAIM_PAGE)
            for row in rows:
                await core.take_over(row)
            if len(rows) < CLAIM_PAGE:
                break
        until = core.now() // NS_PER_MS + HORIZON_MS
        while True:
            entries = await self._store.claim_timers(core.live, until, CLAIM_PAGE)
            for due_ms, key in entries:
                core.timers.arm(key, due_ms)
            if len(entries) < CLAIM_PAGE:
                break

    # ---- tasks

    def _poll_waits(self, queue: ClusterTaskQueue) -> None:
        """A poll found nothing here: look in the store if there may be something, besides every now and then."""
        key = queue.key
        if key not in self._told or (key in self._hints and not self.is_alone):
            self._claim(key)

    def _claim(self, key: QueueName) -> None:
        self._to_claim.add(key)
        if not self._is_claiming and not self._core.is_closed:
            self._is_claiming = True
            self._core.spawn(self._claim_all())

    async def _claim_all(self) -> None:
        try:
            # The poll that asked is about to wait: then it counts.
            await asyncio.sleep(0)
            while self._to_claim:
                await self._claim_one(self._to_claim.pop())
        except StoreError as error:
            logger.debug("no task could be claimed: %s", error)
        finally:
            self._is_claiming = False

    async def _claim_one(self, key: QueueName) -> None:
        queue = self._matching.known(key[0], TaskKind(key[1]), key[2])
        if not isinstance(queue, ClusterTaskQueue) or queue.tasks:
            return
        wanted = queue.waiting_polls
        self._told[key] = self._loop.time()
        if not wanted:
            self._hints.add(key)
            return
        self._hints.discard(key)
        namespaces = [key[0], *(alias for alias, owner in self._matching.aliases.items() if owner == key[0])]
        limit = min(wanted, _MAX_CLAIM)
        rows = await self._store.claim_tasks(namespaces, key[1], key[2], limit)
        for row in rows:
            await self._core.take_over(row)
        if len(rows) == limit:
            self._hints.add(key)  # there may be more
        elif not self.is_alone:
            self.tell(f"w{_encode(key)}")

    def _task_waits(self, queue: ClusterTaskQueue) -> None:
        """A task found no poll here: another node may have one."""
        if self._wants and self._is_wanted(queue.key):
            self._give(queue.key)

    def _is_wanted(self, key: QueueName) -> bool:
        nodes = self._wants.get(key)
        if not nodes:
            return False
        now = self._loop.time()
        for node, until in list(nodes.items()):
            if until < now or node not in self._core.live:
                del nodes[node]
        return bool(nodes)

    def _give(self, key: QueueName) -> None:
        self._to_give.add(key)
        if not self._is_giving and not self._core.is_closed:
            self._is_giving = True
            self._core.spawn(self._give_all())

    async def _give_all(self) -> None:
        try:
            await asyncio.sleep(0)
            while self._to_give:
                await self._give_one(self._to_give.pop())
        except StoreError as error:
            logger.debug("no task could be given away: %s", error)
        finally:
            self._is_giving = False

    async def _give_one(self, key: QueueName) -> None:
        """Let other nodes claim what waits in a queue of this one."""
        queue = self._matching.known(key[0], TaskKind(key[1]), key[2])
        if not isinstance(queue, ClusterTaskQueue) or not queue.tasks:
            return
        rows: dict[int, tuple[TaskRow, Task]] = {}
        for task in list(queue.tasks)[:CLAIM_PAGE]:
            row = await self._row_of(task, key[1])
            if row is None and self._is_stranded(task):
                self.on_stranded(task)
            if row is not None:
                rows[row.task_id] = (row, task)
        # Those that a poll of this node got meanwhile stay.
        waiting = {id(task) for task in queue.tasks}
        offered = [(row, task) for row, task in rows.values() if id(task) in waiting]
        if not offered:
            return
        for _, task in offered:
            queue.tasks.remove(task)
        try:
            given = await self._store.give_away([row for row, _ in offered])
        except StoreError:
            queue.tasks.extendleft(task for _, task in reversed(offered))
            raise
        if given:
            self.tell(f"t{_encode((key[0], key[1], offered[0][0].task_queue))}")

    def _is_stranded(self, task: Task) -> bool:
        """Whether a task is in memory alone."""
        if task.query:
            return True
        run = self._core.cached(task.key.run_id)
        return run is not None and run.state.speculative is not None

    async def _row_of(self, task: Task, kind: int) -> TaskRow | None:
        """The task row, once durable, that a waiting task stands for."""
        if task.query:
            return None
        core = self._core
        try:
            run = await core.load(task.key)
            if run is None:
                return None
            await core.durable(run)
        except Exception:
            return None
        if kind == TaskKind.WORKFLOW:
            row = run.workflow_task_row
            return row if row is not None and row.owner_epoch == 0 and not run.state.task_started_id else None
        row = run.persisted.get(task.scheduled_event_id)
        return row if row is not None and row.owner_epoch == 0 else None

    def other_pollers(self, namespace_id: str, kind: TaskKind, name: str) -> list[int]:
        """The nodes that are believed to have polls waiting in a queue."""
        key = (namespace_id, int(kind), name)
        return list(self._wants.get(key, ())) if self._is_wanted(key) else []

    # ---- news

    def _committed(self, runs: list[Run]) -> None:
        if self.is_alone:
            return
        for run in runs:
            self._touched.add(uuid.UUID(run.key.run_id).bytes)
        self._tell_soon()

    def tell(self, news: str) -> None:
        """Tell the others, some time soon."""
        self._news.append(news)
        self._tell_soon()

    def _tell_soon(self) -> None:
        if not self._is_telling and not self._core.is_closed:
            self._is_telling = True
            self._core.spawn(self._tell_all())

    async def _tell_all(self) -> None:
        try:
            while self._news or self._touched:
                news, self._news = self._news, []
                touched, self._touched = list(self._touched), set()
                payloads = [f"{self._core.epoch} {item}" for item in dict.fromkeys(news)]
                for start in range(0, len(touched), _RUNS_A_PAYLOAD):
                    text = base64.b64encode(b"".join(touched[start : start + _RUNS_A_PAYLOAD])).decode()
                    payloads.append(f"{self._core.epoch} r{text}")
                await self._store.notify(payloads, self._core.live - {self._core.epoch}, NEWS)
        except StoreError as error:
            logger.debug("news were not told: %s", error)
        finally:
            self._is_telling = False

    def hear(self, payload: str) -> None:
        """Take in what a node told."""
        sender, _, news = payload.partition(" ")
        core = self._core
        if news == "o":
            self.on_outbox()
            return
        node = int(sender)
        if node == core.epoch or core.is_closed:
            return
        if node not in core.live:
            core.live.add(node)
            if self.on_membership is not None:
                core.spawn(_call(self.on_membership))
            self._retell()
        kind, text = news[:1], news[1:]
        if kind == "r":
            data = base64.b64decode(text)
            for start in range(0, len(data), 16):
                run = core.cached(str(uuid.UUID(bytes=data[start : start + 16])))
                if run is not None:
                    core.drop(run)
        elif kind == "w":
            key = _decode(text)
            self._wants.setdefault(key, {})[node] = self._loop.time() + WANT_LASTS
            queue = self._matching.known(key[0], TaskKind(key[1]), key[2])
            if queue is not None and queue.tasks:
                self._give(key)
        elif kind == "t":
            self._claim(_decode(text))
        elif kind == "m":
            if text == str(core.epoch):
                self.on_message()
        elif kind == "d":
            self.on_change(text)
        elif kind == "j":
            self._retell()

    def _retell(self) -> None:
        """A node is new: it knows of nobody's polls."""
        for queue in self._matching.all():
            if queue.waiting_polls and not queue.tasks:
                self.tell(f"w{_encode(queue.key)}")

    def _missed(self) -> None:
        """News may have been missed: nothing in memory is trusted."""
        self._core.spawn(self._check_cached())
        self.on_missed()

    async def _check_cached(self) -> None:
        """Drop runs that other nodes changed."""
        core = self._core
        if self.is_alone:
            return
        runs = [run for run in list(core._runs.values()) if not run.is_dirty and not run.in_flight]
        for start in range(0, len(runs), CLAIM_PAGE):
            await self._check_runs(runs[start : start + CLAIM_PAGE])

    async def _check_runs(self, runs: list[Run]) -> None:
        seen = [run.version for run in runs]
        found = await self._store.versions([run.key for run in runs])
        for run, version, (now, _, _) in zip(runs, seen, found, strict=True):
            if run.version == version and now != version:
                self._core.drop(run)

    async def _poll_slowly(self) -> None:
        """Look for what news should have told."""
        core = self._core
        while True:
            await asyncio.sleep(SLOW_POLL)
            try:
                for queue in self._matching.all():
                    if queue.waiting_polls and not queue.tasks:
                        self._claim(queue.key)
                self.on_outbox()
                if self.is_alone:
                    continue
                self.on_message()
                waiting = [
                    run
                    for run in list(core._runs.values())
                    if (run.close_waiters or run.event_waiters or run.queries or run.updates is not None)
                    and not run.is_dirty
                    and not run.in_flight
                ]
                if waiting:
                    await self._check_runs(waiting)
                if self.on_slow_poll is not None:
                    await self.on_slow_poll()
            except StoreClosedError:
                return
            except StoreError as error:
                logger.debug("the slow poll failed: %s", error)

    async def _poll_news(self) -> None:
        """Where nobody can listen, news are messages."""
        while True:
            await asyncio.sleep(NEWS_POLL)
            if not self.is_alone:
                self.on_message()

    # ---- freshness

    async def refresh(self, namespace_id: str, workflow_id: str, run_id: str = "") -> bool:
        """See to it that what memory has of a workflow is what the store has now; whether it was not."""
        if self.is_alone:
            return False
        core = self._core
        name = (namespace_id, workflow_id)
        core._absent.discard(name)
        current = core.known_current(namespace_id, workflow_id)
        wanted = run_id or current
        if wanted is None:
            return False
        run = core.cached(wanted)
        version = 0 if run is None else run.version
        ((now, newest, _),) = await self._store.versions([RunKey(namespace_id, workflow_id, wanted)])
        is_old = False
        if current is not None and newest != current and core.known_current(namespace_id, workflow_id) == current:
            found = core.cached(current)
            if found is None or not (found.is_dirty or found.in_flight):
                core._current.pop(name, None)
                is_old = True
        if run is not None and run.version == version and now != version and not run.is_gone:
            core.drop(run)
            is_old = True
        return is_old


async def _call(what: Callable[[], Awaitable[None]]) -> None:
    await what()


def _encode(key: QueueName) -> str:
    return msgspec.json.encode(key).decode()


def _decode(text: str) -> QueueName:
    key: QueueName = msgspec.json.decode(text, type=QueueName)
    return key
