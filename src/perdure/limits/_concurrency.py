"""At most so many holders per key.

Three workflows take part. The *holder* is the user's; entering the block starts a *lease* as its child. The lease puts
itself into the queue of the *semaphore*, one per key, and tells the holder when its turn has come. A cancelled lease gives
its place back; and since a child is cancelled by its parent's close policy however the parent closes (completed, failed,
terminated, timed out), a place never outlives its holder.
"""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType
from typing import Any, Literal, Self

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

    Args:
        key: what is limited.
        limit: how many may be inside.
        on_conflict: what happens when there is no place left. ``"queue"``: wait in line. ``"cancel_new"``: raise
            :class:`LimitExceededError`, which fails the workflow if nobody catches it. ``"cancel_old"``: the workflow that
            has been inside or in line the longest is asked to cancel, and this one gets its place.

    Replay: deterministic; a child workflow, a signal from it, and its cancellation.
    """

    def __init__(
        self, key: str, *, limit: int, on_conflict: Literal["queue", "cancel_new", "cancel_old"] = "queue"
    ) -> None:
        """Name the limit; nothing happens before the block is entered."""
        check_key("limits.concurrency", key)
        check_limit("limits.concurrency", limit)
        if on_conflict not in ("queue", "cancel_new", "cancel_old"):
            raise ValueError(
                f"limits.concurrency: on_conflict must be 'queue', 'cancel_new' or 'cancel_old', not {on_conflict!r}"
            )
        self._key = key
        self._limit = limit
        self._on_conflict = on_conflict
        self._granted: bool | None = None
        self._lease: workflow.ChildWorkflowHandle[Lease, None] | None = None

    async def __aenter__(self) -> Self:
        """Wait for a place."""
        if self._lease is not None:
            raise RuntimeError("limits.concurrency: this block was entered before; make a new one each time")
        lease_id = f"perdure-limits/lease/{self._key}/{workflow.uuid4()}"
        workflow.set_signal_handler(answer_signal(lease_id), self._answer)
        self._lease = await workflow.start_child_workflow(
            Lease.run,
            args=[self._key, self._limit, self._on_conflict],
            id=lease_id,
            parent_close_policy=workflow.ParentClosePolicy.REQUEST_CANCEL,
            cancellation_type=workflow.ChildWorkflowCancellationType.TRY_CANCEL,
        )
        lease = self._lease
        try:
            await workflow.wait_condition(lambda: self._granted is not None or lease.done())
            if self._granted is None:
                await lease  # raises why it ended
            if not self._granted:
                raise LimitExceededError(self._key, self._limit)
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
            workflow.set_signal_handler(answer_signal(self._lease.id), None)

    def _answer(self, granted: bool) -> None:
        self._granted = granted


class LimitExceededError(ApplicationError):
    """There was no place left, and the caller did not want to wait."""

    def __init__(self, key: str, limit: int) -> None:
        """Name the limit."""
        super().__init__(f"all {limit} places of {key!r} are taken", type="LimitExceeded", non_retryable=True)


def answer_signal(lease_id: str) -> str:
    """The signal that tells a holder whether it may come in."""
    return f"perdure-lease/{lease_id}"


def semaphore_id(key: str) -> str:
    """The workflow that keeps the places of a key."""
    return f"perdure-limits/concurrency/{key}"


@workflow.defn(name=f"{PREFIX}Lease", versioning_behavior=VersioningBehavior.AUTO_UPGRADE)
class Lease:
    """Holds one place for its parent, until it is cancelled."""

    def __init__(self) -> None:
        self._answer: bool | None = None
        self._is_evicted = False

    @workflow.run
    async def run(self, key: str, limit: int, on_conflict: str) -> None:
        info = workflow.info()
        me, holder = info.workflow_id, info.parent
        assert holder is not None
        request = [me, limit, on_conflict]
        ask = asyncio.create_task(_ask(key, request))
        try:
            while self._answer is None and not self._is_evicted:
                await asyncio.shield(ask)
                try:
                    await workflow.wait_condition(
                        lambda: self._answer is not None or self._is_evicted, timeout=ASK_AGAIN.total_seconds()
                    )
                except TimeoutError:
                    ask = asyncio.create_task(_ask(key, request))
            if self._answer is not None:
                answer = asyncio.create_task(tell(holder.workflow_id, answer_signal(me), self._answer))
                if await asyncio.shield(answer) and self._answer:
                    await workflow.wait_condition(lambda: self._is_evicted)
            if self._is_evicted:
                await _cancel(holder.workflow_id, f"somebody newer takes the place of {key!r}")
                await workflow.wait_condition(lambda: False)
        except asyncio.CancelledError:
            await ask
        await tell(semaphore_id(key), "release", me)

    @workflow.signal
    def answer(self, granted: bool) -> None:
        """Its turn has come, or never will."""
        self._answer = granted

    @workflow.signal
    def evict(self) -> None:
        """Somebody newer takes the place."""
        self._is_evicted = True

    @workflow.signal
    def probe(self) -> None:
        """Nothing: that this could be delivered says that the lease is there."""


async def _ask(key: str, request: list[Any]) -> None:
    lease, limit, _ = request
    await reach(semaphore_id(key), "acquire", request, Semaphore.run, [[], [lease], limit])


async def _cancel(workflow_id: str, reason: str) -> None:
    with contextlib.suppress(ApplicationError):  # it is over already
        await workflow.get_external_workflow_handle(workflow_id).cancel(reason=reason)


@workflow.defn(name=f"{PREFIX}Semaphore", versioning_behavior=VersioningBehavior.AUTO_UPGRADE)
class Semaphore:
    """Who holds the places of one key, and who waits. Ends when nobody does."""

    @workflow.init
    def __init__(self, held: list[str], waiting: list[str], limit: int) -> None:
        self._held = dict.fromkeys(held)
        self._waiting = dict.fromkeys(waiting)
        self._limit = limit
        self._refused: list[str] = []
        self._evicted: dict[str, None] = {}
        self._to_evict: list[str] = []

    @workflow.run
    async def run(self, held: list[str], waiting: list[str], limit: int) -> None:
        while self._held or self._waiting or self._has_work():
            while self._has_work():
                await self._work()
            if workflow.info().is_continue_as_new_suggested():
                workflow.continue_as_new(args=[[*self._held], [*self._waiting], self._limit])
            try:
                await workflow.wait_condition(
                    lambda: self._has_work() or not (self._held or self._waiting), timeout=ASK_AGAIN.total_seconds()
                )
            except TimeoutError:
                await self._probe()

    def _has_work(self) -> bool:
        return bool(self._refused or self._to_evict) or self._has_room()

    def _has_room(self) -> bool:
        return bool(self._waiting) and len(self._held) < self._limit

    async def _work(self) -> None:
        """Refuse and evict, and give free places to those that wait longest."""
        refused, self._refused = self._refused, []
        evicted, self._to_evict = self._to_evict, []
        turn = list(self._waiting)[: max(self._limit - len(self._held), 0)]
        for lease in turn:
            del self._waiting[lease]
            self._held[lease] = None
        await asyncio.gather(
            *(tell(lease, "answer", False) for lease in refused),
            *(tell(lease, "evict") for lease in evicted),
            self._drop_gone(turn, "answer", True),
        )

    async def _probe(self) -> None:
        """A lease ends by giving its place back; one that was terminated by hand could not."""
        await self._drop_gone(list(self._held), "probe")

    async def _drop_gone(self, leases: list[str], signal: str, *args: Any) -> None:
        there = await asyncio.gather(*(tell(lease, signal, *args) for lease in leases))
        for lease, is_there in zip(leases, there, strict=True):
            if not is_there:
                self._held.pop(lease, None)

    @workflow.signal
    def acquire(self, lease: str, limit: int, on_conflict: str) -> None:
        """Ask for a place. Safe to repeat."""
        self._limit = limit
        if lease in self._held or lease in self._waiting:
            return
        others = [other for other in (*self._held, *self._waiting) if other not in self._evicted]
        if on_conflict == "cancel_new" and len(self._held) + len(self._waiting) >= limit:
            self._refused.append(lease)
            return
        self._waiting[lease] = None
        if on_conflict == "cancel_old":
            for other in others[: max(len(others) + 1 - limit, 0)]:
                self._evicted[other] = None
                self._to_evict.append(other)

    @workflow.signal
    def release(self, lease: str) -> None:
        """Leave the line, or give the place back."""
        self._held.pop(lease, None)
        self._waiting.pop(lease, None)
        self._evicted.pop(lease, None)

    @workflow.query
    def holders(self) -> list[str]:
        """The leases that hold a place."""
        return [*self._held]

    @workflow.query
    def waiters(self) -> list[str]:
        """The leases in line, the next first."""
        return [*self._waiting]
