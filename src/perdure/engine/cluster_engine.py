"""The engine as one of several over one store.

Requests come in here as they do to :class:`Engine`; around each is what other nodes make necessary: what memory has of the
workflow is compared with the store first, what another node's commit made void is done again, and what only another node
can answer is asked there.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from perdure.engine import collector, deployments, nexus_endpoints, queue_limits
from perdure.engine.cluster import Cluster
from perdure.engine.cluster_calls import NEXUS_CALL, Calls, Method
from perdure.engine.cluster_core import ClusterCore, StaleError
from perdure.engine.cluster_documents import NAMESPACE, Rereads
from perdure.engine.cluster_outbox import Outbox
from perdure.engine.engine import DEFAULT_CACHE_BYTES, Engine
from perdure.engine.ids import decode_token
from perdure.engine.lookup import find_run
from perdure.engine.matching import Task
from perdure.engine.namespaces import Namespace, Namespaces
from perdure.engine.nexus_tasks import NexusTask
from perdure.service import RPCError, RPCStatusCode, WorkflowService
from perdure.store.api import NamespaceRecord, RunKey, Store, StoreError, TaskKind

if TYPE_CHECKING:
    from perdure.store.postgres import SharedPostgresStore

logger = logging.getLogger("perdure.engine")
#: After that long a Nexus call that another node was given is looked at again: longer than a worker may take for it.
_GIVE_CALL_AGAIN = 15_000_000_000

#: How often something is done again before the caller is told.
MAX_TRIES = 30
_TOKENS = frozenset(
    (
        "respond_workflow_task_completed",
        "respond_workflow_task_failed",
        "respond_activity_task_completed",
        "respond_activity_task_failed",
        "respond_activity_task_canceled",
        "record_activity_task_heartbeat",
    )
)
_START = "start_workflow_execution"
#: Requests that a worker answers.
_TO_POLLERS = frozenset(("query_workflow", "update_workflow_execution", "poll_workflow_execution_update"))
#: Requests of what one node does for all.
_TO_LEADER = ("schedule", "batch_operation")
_NOT_RPCS = frozenset(("close", "detach_activity_task", "get_system_info"))


class ClusterNamespaces(Namespaces):
    """Namespaces that other nodes change, too."""

    on_change: Callable[[], None] = staticmethod(lambda: None)
    _store: SharedPostgresStore
    #: Counts the beginnings and ends of changes that this node makes.
    _writes = 0

    async def open(self, default_retention_ms: int | None) -> None:
        """As :meth:`Namespaces.open`; another node may be the one that makes ``default``."""
        for _ in range(MAX_TRIES):
            with contextlib.suppress(StaleError):
                return await super().open(default_retention_ms)
        raise StaleError

    async def _put(self, namespace: Namespace) -> None:
        """Keep the next version of a namespace; :class:`StaleError` where another node made it."""
        namespace.version += 1
        self._writes += 1
        record = NamespaceRecord(namespace.namespace_id, namespace.name, msgspec.msgpack.encode(namespace))
        if not await self._store.replace_namespace(record, namespace.version):
            await self.read_again()
            raise StaleError
        self._writes += 1
        self._take(namespace)
        self.on_change()

    def _stale(self) -> RPCError:
        return StaleError()

    async def forget(self, namespace: Namespace) -> None:
        """As :meth:`Namespaces.forget`."""
        await super().forget(namespace)
        self._writes += 1
        self.on_change()

    async def read_again(self) -> None:
        """Take over what other nodes changed."""
        writes = -1
        found: dict[str, NamespaceRecord] = {}
        while writes != self._writes:
            writes = self._writes
            found = {record.namespace_id: record for record in await self._store.load_namespaces()}
        for namespace in self.all():
            if namespace.namespace_id not in found:
                self._drop(namespace)
        for record in found.values():
            self._take(msgspec.msgpack.decode(record.body, type=Namespace))


class ClusterEngine(Engine):
    """One node. Made by :meth:`open`."""

    cluster: Cluster

    @classmethod
    async def open(
        cls,
        store: Store,
        *,
        clock: Callable[[], int] = time.time_ns,
        retention: timedelta | None = None,
        cache_bytes: int = DEFAULT_CACHE_BYTES,
        callback_addresses: Sequence[str] = (),
        nexus_callback_url: str = "",
    ) -> ClusterEngine:
        """Join the nodes over a store. As :meth:`Engine.open`."""
        # The store is a shared one; the signature is Engine.open's.
        core = ClusterCore(store, asyncio.get_running_loop(), clock, cache_bytes)  # type: ignore[arg-type]
        namespaces = ClusterNamespaces(store)
        await namespaces.open(None if retention is None else int(retention.total_seconds() * 1000))
        engine = cls(core, namespaces, callback_addresses)
        engine._external_endpoints.callback_url = nexus_callback_url
        engine._wrap(core, namespaces)
        await engine._nexus_endpoints.open()
        await engine.cluster.open()
        await core.open()
        await engine._queue_limits.open()
        await engine._deployments.open()
        await engine._lead()
        collector.engine_opened()
        return engine

    def _wrap(self, core: ClusterCore, namespaces: ClusterNamespaces) -> None:
        self._cluster_core = core
        self._is_leading = False
        self.cluster = cluster = Cluster(core)
        local: dict[str, Method] = {}
        self._calls = Calls(core, cluster, local)
        self._calls.on_nexus_call = self._take_call
        self._nexus_operations.refresh = lambda key: cluster.refresh(*key)
        outbox = Outbox(core, local)
        cluster.on_outbox = lambda: outbox.look() if cluster.is_leader else None
        cluster.on_membership = self._members_changed
        self._archival.is_mine = lambda: cluster.is_leader
        cluster.on_slow_poll = self._look_slowly
        cluster.on_stranded = self._strand
        self._rereads = Rereads(
            core,
            {
                NAMESPACE: namespaces.read_again,
                deployments.KIND: self._deployments.read_again,
                queue_limits.KIND: self._queue_limits.read_again,
                nexus_endpoints.KIND: self._nexus_endpoints.open,
            },
        )
        cluster.on_change = self._rereads.begin
        cluster.on_missed = self._rereads.begin_all
        core.is_reading = self._rereads.is_running
        core.on_document = lambda kind: cluster.tell(f"d{kind}")
        core.on_stale_documents = self._documents_stale
        namespaces.on_change = lambda: cluster.tell(f"d{NAMESPACE}")
        for name in dir(self):
            method = getattr(type(self), name, None)
            if name.startswith("_") or name in _NOT_RPCS or not callable(method):
                continue
            is_one_more = asyncio.iscoroutinefunction(method) and "request" in method.__code__.co_varnames[:2]
            if hasattr(WorkflowService, name) or is_one_more:
                wrapped = self._wrapped(name, getattr(self, name))
                local[name] = wrapped
                setattr(self, name, self._routed(name, wrapped))

    # ---- around each request

    def _wrapped(self, name: str, method: Method) -> Method:
        """The method, done again while other nodes come in between."""
        core, cluster = self._cluster_core, self.cluster
        is_completion = name == "respond_workflow_task_completed"
        has_token = name in _TOKENS

        async def call(request: Any, *, metadata: Any = None, timeout: timedelta | None = None) -> Any:
            tries = 0
            while True:
                core.begin()
                try:
                    response = await method(request, metadata=metadata, timeout=timeout)
                    if is_completion:
                        batch = core.section_batch()
                        if batch is not None:
                            batch.failures.append(lambda error: self._completion_failed(error, request))
                    return response
                except StaleError:
                    tries += 1
                    if tries == MAX_TRIES:
                        raise
                    if core.rejoining is not None:
                        await asyncio.wait([core.rejoining])
                    await self._rereads.wait()
                    await asyncio.sleep(random.uniform(0, 0.002) * tries)
                except RPCError as error:
                    if not has_token or error.status is not RPCStatusCode.NOT_FOUND or tries:
                        raise
                    tries += 1
                    if not await self._refresh_by_token(request.task_token):
                        raise
                finally:
                    core.end()

        if name == _START:

            async def start(request: Any, *, metadata: Any = None, timeout: timedelta | None = None) -> Any:
                names = self._namespaces.ids.get(request.namespace, ""), request.workflow_id
                if not cluster.is_alone:
                    await self._refresh(request)
                core.expect_absent(*names)
                try:
                    return await call(request, metadata=metadata, timeout=timeout)
                finally:
                    core.expect_nothing(*names)

            return start

        if has_token or name.startswith(("poll_workflow_task", "poll_activity_task")):
            return call

        async def fresh_call(request: Any, *, metadata: Any = None, timeout: timedelta | None = None) -> Any:
            if not cluster.is_alone:
                await self._refresh(request)
            return await call(request, metadata=metadata, timeout=timeout)

        return fresh_call

    def _completion_failed(self, error: Exception, request: Any) -> None:
        if isinstance(error, StaleError) and not self._core.is_closed:
            self._core.spawn(self._complete_again(request))

    async def _complete_again(self, request: Any) -> None:
        """A workflow task was answered on a state that is not: answer it on the one that is, if it is still open."""
        request.return_new_workflow_task = False
        try:
            await self.respond_workflow_task_completed(request)
        except RPCError:
            return  # what it answered is gone; whoever has the run now hands out another one

    async def _refresh_by_token(self, task_token: bytes) -> bool:
        try:
            token = decode_token(task_token)
        except RPCError:
            return False
        return await self.cluster.refresh(token.namespace_id, token.workflow_id, token.run_id)

    async def _refresh(self, request: Any) -> None:
        """Compare what memory has of the workflow that a request names."""
        workflow_id = getattr(request, "workflow_id", "")
        run_id = getattr(request, "run_id", "")
        if not isinstance(workflow_id, str) or not workflow_id:
            execution = getattr(request, "workflow_execution", None) or getattr(request, "execution", None)
            if execution is None:
                reference = getattr(request, "update_ref", None)
                execution = None if reference is None else reference.workflow_execution
            workflow_id, run_id = getattr(execution, "workflow_id", ""), getattr(execution, "run_id", "")
        if not workflow_id or not isinstance(workflow_id, str):
            return
        try:
            namespace_id = self._namespaces.get(request.namespace).namespace_id
        except RPCError:
            return
        await self.cluster.refresh(namespace_id, workflow_id, run_id if isinstance(run_id, str) else "")

    # ---- what another node answers

    def _routed(self, name: str, method: Method) -> Method:
        if name in _TO_POLLERS:

            async def to_poller(request: Any, *, metadata: Any = None, timeout: timedelta | None = None) -> Any:
                for _ in range(MAX_TRIES):
                    node = None if self.cluster.is_alone else await self._poller_of(request)
                    try:
                        if node is None:
                            return await method(request, metadata=metadata, timeout=timeout)
                        return await self._calls.ask(node, name, request, timeout)
                    except StaleError:
                        continue
                return await method(request, metadata=metadata, timeout=timeout)

            return to_poller
        if any(word in name for word in _TO_LEADER):

            async def to_leader(request: Any, *, metadata: Any = None, timeout: timedelta | None = None) -> Any:
                for _ in range(MAX_TRIES):
                    self._check()
                    node = self.cluster.leader
                    try:
                        if node == self._core.epoch:
                            await self._lead()
                            return await method(request, metadata=metadata, timeout=timeout)
                        return await self._calls.ask(node, name, request, timeout)
                    except StaleError:
                        continue
                raise StaleError

            return to_leader
        return method

    async def _poller_of(self, request: Any) -> int | None:
        """The node whose worker is to answer for a workflow; None: this one, or nobody knows."""
        core = self._core
        execution = getattr(request, "workflow_execution", None) or getattr(request, "execution", None)
        if execution is None:
            reference = getattr(request, "update_ref", None)
            execution = None if reference is None else reference.workflow_execution
        try:
            await self._refresh(request)
            namespace_id = self._namespaces.get(request.namespace).namespace_id
            run = await find_run(core, namespace_id, execution)
        except RPCError:
            return None
        queue = core.matching.known(namespace_id, TaskKind.WORKFLOW, run.state.task_queue)
        if queue is not None and queue.has_recent_poller(core.loop.time()):
            return None
        others = self.cluster.other_pollers(namespace_id, TaskKind.WORKFLOW, run.state.task_queue)
        if not others:
            return None
        ((_, _, home),) = await self._cluster_core.store.versions([run.key])
        return home if home in others else random.choice(others)

    def _strand(self, task: Task) -> None:
        """What waits for a worker here and cannot be given away: it is asked for again, elsewhere."""
        core = self._cluster_core
        call = self._nexus_tasks.give_up(task.query) if task.query else None
        if call is not None:
            core.spawn(self._give_call(call))
            return
        if task.query:
            pending = self._queries._direct.get(task.query)
            if pending is not None and not pending.future.done():
                pending.future.set_exception(StaleError())
            return
        run = core.cached(task.key.run_id)
        if run is not None and run.updates is not None and not run.is_dirty and not run.in_flight:
            core.forget(run)
            run.fail_waiters(StaleError())

    async def _give_call(self, call: NexusTask) -> None:
        """Have a worker of another node make a Nexus call; again, as long as it is owed."""
        core = self._cluster_core

        def again() -> None:
            core.spawn(self._take_call(body))

        body = msgspec.msgpack.encode((call.key, call.transfer_id))
        core.alarms.set((call.key.run_id, call.transfer_id), core.now() + _GIVE_CALL_AGAIN, again)
        nodes = self.cluster.other_pollers(call.namespace_id, TaskKind.NEXUS, call.task_queue)
        if not nodes:
            again()
            return
        try:
            await core.store.send(nodes[0], NEXUS_CALL, body)
        except StoreError as error:
            logger.debug("a Nexus call was not given away: %s", error)
        else:
            self.cluster.tell(f"m{nodes[0]}")

    async def _take_call(self, body: bytes) -> None:
        """Make a Nexus call here, for a worker of this node."""
        key, transfer_id = msgspec.msgpack.decode(body, type=tuple[RunKey, int])
        try:
            await self.cluster.refresh(*key)
            run = await self._cluster_core.load(key)
            if run is not None:
                await self._nexus_tasks.call(run, transfer_id)
        except (RPCError, StoreError) as error:
            logger.debug("a Nexus call of run %s was not made: %s", key.run_id, error)

    def _documents_stale(self, kinds: set[str]) -> None:
        """Another node changed what this one was about to change."""
        for kind in kinds:
            self._rereads.begin(kind)

    async def _members_changed(self) -> None:
        """Nodes came or went; one that died may not have told of what it changed last."""
        self._rereads.begin_all()
        await self._lead()

    # ---- what only one node does

    async def _lead(self) -> None:
        """Begin with what one node does for all, when this is the one."""
        is_leader = self.cluster.is_leader
        if not is_leader or self._is_leading:
            self._is_leading = is_leader
            return
        self._is_leading = True
        await self._schedules.open()
        await self._open_namespace_rpcs()

    async def _look_slowly(self) -> None:
        """Tell those who wait for workflows to close of closes on other nodes, and read what those changed."""
        await self._rereads.look()
        core = self._core
        for (namespace_id, workflow_id), listener in list(core.close_listeners.items()):
            await self.cluster.refresh(namespace_id, workflow_id)
            run = await core.current(namespace_id, workflow_id)
            if run is not None and not run.is_open and run.batch is None:
                listener(run)
