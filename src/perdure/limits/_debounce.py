"""A burst of calls becomes one run.

Each call signals a workflow of the id's own, started with the first signal; when nothing came for a while it starts the
workflow that was meant, with what came last.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Concatenate, overload

from perdure import workflow as wf
from perdure.common import RawValue, VersioningBehavior, _arg_unset
from perdure.exceptions import WorkflowAlreadyStartedError
from perdure.limits._common import PREFIX, check_duration, check_key
from perdure.types import MethodAsyncNoParam, MethodAsyncSingleParam, ParamType, ReturnType, SelfType
from perdure.workflow._definition import _Definition

if TYPE_CHECKING:
    from perdure.client import Client, WorkflowHandle


@overload
async def debounce(
    client: Client,
    workflow: MethodAsyncNoParam[SelfType, ReturnType],
    *,
    id: str,
    task_queue: str,
    period: timedelta,
    timeout: timedelta | None = None,
) -> WorkflowHandle[SelfType, ReturnType]: ...


@overload
async def debounce(
    client: Client,
    workflow: MethodAsyncSingleParam[SelfType, ParamType, ReturnType],
    arg: ParamType,
    *,
    id: str,
    task_queue: str,
    period: timedelta,
    timeout: timedelta | None = None,
) -> WorkflowHandle[SelfType, ReturnType]: ...


@overload
async def debounce(
    client: Client,
    workflow: str,
    arg: Any = ...,
    *,
    id: str,
    task_queue: str,
    period: timedelta,
    timeout: timedelta | None = None,
) -> WorkflowHandle[Any, Any]: ...


async def debounce(
    client: Client,
    workflow: str | Callable[Concatenate[Any, ...], Awaitable[Any]],
    arg: Any = _arg_unset,
    *,
    id: str,
    task_queue: str,
    period: timedelta,
    timeout: timedelta | None = None,
) -> WorkflowHandle[Any, Any]:
    """Start a workflow once no call for its id came for ``period``, with the argument of the last call.

    ::

        await limits.debounce(
            client, Reindex.run, document, id=f"reindex-{document.id}", task_queue="search", period=timedelta(seconds=5)
        )

    Returns when the call is durable, with a handle to the workflow of that id, which may not run yet. When a run of that
    id is still going on, the next one starts after it: no call is lost.

    Args:
        client: by which to call.
        workflow: the run method of a workflow of no or one argument, or its type as a string.
        arg: its argument; the last call's is taken.
        id: its workflow id; calls for the same id are one burst.
        task_queue: where it runs.
        period: how much quiet there has to be.
        timeout: how long a burst may put the run off, from its first call on; without it a burst may last for ever.
    """
    check_key("limits.debounce", id)
    quiet = check_duration("limits.debounce", "period", period)
    longest = None if timeout is None else check_duration("limits.debounce", "timeout", timeout)
    name = workflow if isinstance(workflow, str) else _Definition.must_from_run_fn(workflow).name
    if not name:
        raise TypeError("limits.debounce: name a dynamic workflow by its type, a string")
    call = Call(name, id, task_queue, quiet, longest)
    await client.start_workflow(
        Debouncer.run,
        args=[None, None],
        id=f"perdure-limits/debounce/{id}",
        task_queue=task_queue,
        start_signal="call_without" if arg is _arg_unset else "call",
        start_signal_args=[call] if arg is _arg_unset else [call, arg],
    )
    if isinstance(workflow, str):
        return client.get_workflow_handle(id)
    return client.get_workflow_handle_for(workflow, id)


@dataclass
class Call:
    """One call: what to start, and when."""

    workflow: str
    id: str
    task_queue: str
    period: float
    timeout: float | None


@dataclass
class Burst:
    """Where a burst stands when it goes on in a new run."""

    call: Call
    has_arg: bool
    first: float
    last: float


@wf.defn(name=f"{PREFIX}Debouncer", versioning_behavior=VersioningBehavior.AUTO_UPGRADE)
class Debouncer:
    """Waits for quiet, and starts what was called for."""

    @wf.init
    def __init__(self, burst: Burst | None, arg: RawValue) -> None:
        self._burst = burst
        self._arg: RawValue = arg

    @wf.run
    async def run(self, burst: Burst | None, arg: RawValue) -> None:
        while True:
            await wf.wait_condition(lambda: self._burst is not None)
            await self._quiet()
            if await self._start() and self._burst is None:
                return

    async def _quiet(self) -> None:
        """Wait until nothing was called for long enough."""
        while True:
            assert self._burst is not None
            if wf.info().is_continue_as_new_suggested():
                wf.continue_as_new(args=[self._burst, self._arg])
            call, until = self._burst.call, self._burst.last + self._burst.call.period
            if call.timeout is not None:
                until = min(until, self._burst.first + call.timeout)
            left = until - wf.time()
            if left <= 0:
                return
            await asyncio.sleep(left)

    async def _start(self) -> bool:
        burst, arg = self._burst, self._arg
        assert burst is not None
        self._burst = None
        call = burst.call
        try:
            await wf.start_child_workflow(
                call.workflow,
                args=[arg] if burst.has_arg else [],
                id=call.id,
                task_queue=call.task_queue,
                parent_close_policy=wf.ParentClosePolicy.ABANDON,
            )
        except WorkflowAlreadyStartedError:
            if self._burst is None:  # else a later call came, which counts
                self._burst = burst
                await asyncio.sleep(call.period)
            return False
        return True

    @wf.signal
    def call(self, call: Call, arg: RawValue) -> None:
        """One more call."""
        self._note(call, True)
        self._arg = arg

    @wf.signal
    def call_without(self, call: Call) -> None:
        """One more call, for a workflow that takes no argument."""
        self._note(call, False)

    def _note(self, call: Call, has_arg: bool) -> None:
        now = wf.time()
        self._burst = Burst(call, has_arg, now if self._burst is None else self._burst.first, now)
