"""At most so many holders per key.

Three workflows take part. The *holder* is the user's; entering the block starts a *lease* as its child. The lease puts
itself into the queue of the *semaphore*, one per key, and tells the holder when its turn has come. A cancelled lease gives
its place back; and since a child is cancelled by its parent's close policy however the parent closes (completed, failed,
terminated, timed out), a place never outlives its holder.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from perdure import workflow
from perdure._native.loop import _WorkflowBeingEvictedError
from perdure.common import VersioningBehavior
from perdure.exceptions import ApplicationError
from perdure.limits._common import ASK_AGAIN, PREFIX, check_key, check_limit, reach, tell


class concurrency:
    """Let at most ``limit`` workflows into a block of code at the same time; the others wait in line.

    ::

        async with limits.concurrency("payment-provider", limit=5):
            await workflow.execute_activity(charge, order, start_to_close_timeout=timedelta(minutes=1))

    The place is given back when the block is left, or when the workflow closes in whatever way. Places are given in the
    order of asking. To wait for a while only, enter the block under ``asyncio.timeout()``. When callers name different
    limits for one key, the last named holds.

    Replay: deterministic; a child workflow, a signal from it, and its cancellation.
    """

    def __init__(self, key: str, *, limit: int) -> None:
        """Name the limit; nothing happens before the block is entered."""
        check_key("limits.concurrency", key)
        check_limit("limits.concurrency", limit)
        self._key = key
        self._limit = limit
        self._granted = False
        self._lease: workflow.ChildWorkflowHandle[Lease, None] | None = None

    async def __aenter__(self) -> Self:
        """Wait for a place."""
        if self._lease is not None:
            raise RuntimeError("limits.concurrency: this block was entered before; make a new one each time")
        lease_id = f"perdure-limits/lease/{self._key}/{workflow.uuid4()}"
        workflow.set_signal_handler(granted_signal(lease_id), self._grant)
        self._lease = await workflow.start_child_workflow(
            Lease.run,
            args=[self._key, self._limit],
            id=lease_id,
            parent_close_policy=workflow.ParentClosePolicy.REQUEST_CANCEL,
            cancellation_type=workflow.ChildWorkflowCancellationType.TRY_CANCEL,
        )
        lease = self._lease
        try:
            await workflow.wait_condition(lambda: self._granted or lease.done())
            if not self._granted:
                await lease  # raises why it ended
                raise ApplicationError(f"the lease of {self._key!r} ended before it was granted")
        except BaseException:
            lease.cancel()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Give the place back."""
        assert self._lease is not None
        self._lease.cancel()
        if kind not in (GeneratorExit, _WorkflowBeingEvictedError):
            workflow.set_signal_handler(granted_signal(self._lease.id), None)

    def _grant(self) -> None:
        self._granted = True


def granted_signal(lease_id: str) -> str:
    """The signal a holder gets when its turn has come."""
    return f"perdure-granted/{lease_id}"


def semaphore_id(key: str) -> str:
    """The workflow that keeps the places of a key."""
    return f"perdure-limits/concurrency/{key}"


@workflow.defn(name=f"{PREFIX}Lease", versioning_behavior=VersioningBehavior.AUTO_UPGRADE)
class Lease:
    """Holds one place for its parent, until it is cancelled."""

    def __init__(self) -> None:
        self._granted = False

    @workflow.run
    async def run(self, key: str, limit: int) -> None:
        info = workflow.info()
        me, holder = info.workflow_id, info.parent
        assert holder is not None
        ask = asyncio.create_task(self._ask(key, limit, me))
        try:
            while not self._granted:
                await asyncio.shield(ask)
                try:
                    await workflow.wait_condition(lambda: self._granted, timeout=ASK_AGAIN.total_seconds())
                except TimeoutError:
                    ask = asyncio.create_task(self._ask(key, limit, me))
            if await asyncio.shield(asyncio.create_task(tell(holder.workflow_id, granted_signal(me)))):
                await workflow.wait_condition(lambda: False)
        except asyncio.CancelledError:
            await ask
        await tell(semaphore_id(key), "release", me)

    async def _ask(self, key: str, limit: int, me: str) -> None:
        await reach(semaphore_id(key), "acquire", [me, limit], Semaphore.run, [[], [me], limit])

    @workflow.signal
    def grant(self) -> None:
        """Its turn has come."""
        self._granted = True

    @workflow.signal
    def probe(self) -> None:
        """Nothing: that this could be delivered says that the lease is there."""


@workflow.defn(name=f"{PREFIX}Semaphore", versioning_behavior=VersioningBehavior.AUTO_UPGRADE)
class Semaphore:
    """Who holds the places of one key, and who waits. Ends when nobody does."""

    @workflow.init
    def __init__(self, held: list[str], waiting: list[str], limit: int) -> None:
        self._held = dict.fromkeys(held)
        self._waiting = dict.fromkeys(waiting)
        self._limit = limit

    @workflow.run
    async def run(self, held: list[str], waiting: list[str], limit: int) -> None:
        while self._held or self._waiting:
            await self._grant()
            if workflow.info().is_continue_as_new_suggested():
                workflow.continue_as_new(args=[[*self._held], [*self._waiting], self._limit])
            try:
                await workflow.wait_condition(self._has_work, timeout=ASK_AGAIN.total_seconds())
            except TimeoutError:
                await self._probe()

    def _has_work(self) -> bool:
        return self._has_room() or not (self._held or self._waiting)

    def _has_room(self) -> bool:
        return bool(self._waiting) and len(self._held) < self._limit

    async def _grant(self) -> None:
        """Give free places to those that wait longest."""
        while self._has_room():
            turn = list(self._waiting)[: self._limit - len(self._held)]
            for lease in turn:
                del self._waiting[lease]
                self._held[lease] = None
            await self._drop_gone(turn, "grant")

    async def _probe(self) -> None:
        """A lease ends by giving its place back; one that was terminated by hand could not."""
        await self._drop_gone(list(self._held), "probe")

    async def _drop_gone(self, leases: list[str], signal: str) -> None:
        there = await asyncio.gather(*(tell(lease, signal) for lease in leases))
        for lease, is_there in zip(leases, there, strict=True):
            if not is_there:
                self._held.pop(lease, None)

    @workflow.signal
    def acquire(self, lease: str, limit: int) -> None:
        """Stand in line. Safe to repeat."""
        self._limit = limit
        if lease not in self._held:
            self._waiting[lease] = None

    @workflow.signal
    def release(self, lease: str) -> None:
        """Leave the line, or give the place back."""
        self._held.pop(lease, None)
        self._waiting.pop(lease, None)

    @workflow.query
    def holders(self) -> list[str]:
        """The leases that hold a place."""
        return [*self._held]

    @workflow.query
    def waiters(self) -> list[str]:
        """The leases in line, the next first."""
        return [*self._waiting]
