"""Running one attempt of an activity: from its task to the answer, for what most activities do.

An ``async def`` activity runs inline in its poller, in a copied context of its own: no asyncio task is made for it, and
the poller survives its cancellation. A ``def`` activity runs on the executor while its poller waits.

Compiled as it is by the native build; ``_attempt_runner.pxd`` declares the attributes.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
from collections.abc import Awaitable, Coroutine, Generator, Sequence
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from perdure.activity._context import current_context
from perdure.api.common.v1 import Payload, Payloads
from perdure.api.workflowservice import v1 as ws
from perdure.common import RawValue
from perdure.exceptions import ApplicationError
from perdure.service import RPCError
from perdure.worker._running_activity import RunningActivity

if TYPE_CHECKING:
    from perdure.activity._definition import Definition
    from perdure.converter import PayloadConverter
    from perdure.service import WorkflowService
    from perdure.worker._activity_registry import ActivityRegistry


class AttemptRunner:
    """What :class:`~perdure.worker._activity_worker.ActivityWorker` is built on."""

    def __init__(
        self,
        service: WorkflowService,
        namespace: str,
        identity: str,
        registry: ActivityRegistry,
        payload_converter: PayloadConverter,
        is_plain: bool,
    ) -> None:
        self.service = service
        self.namespace = namespace
        self.identity = identity
        self.registry = registry
        self._payload_converter = payload_converter
        #: Whether payloads go through the payload converter alone, and calls through no interceptor.
        self._is_plain: bool = is_plain
        self._running: set[RunningActivity] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        #: Set when the worker starts; no attempt comes before.
        self.loop: asyncio.AbstractEventLoop = None  # type: ignore[assignment]

    # --- asked of the worker, which is not compiled: ``ActivityWorker`` (a compiled class cannot have abstract methods)

    def _start_sweeping(self) -> None:
        """From now on, look for attempts that outlived their timeouts."""
        raise NotImplementedError

    async def _refuse_unregistered(self, task: ws.PollActivityTaskQueueResponse) -> None:
        """Fail an attempt of a type that this worker does not have."""
        raise NotImplementedError

    async def _execute_in_full(self, running: RunningActivity) -> Any:
        """The activity's result, through interceptors, codec and executor."""
        raise NotImplementedError

    async def _answer_error(self, running: RunningActivity, error: BaseException) -> None:
        """Answer an attempt that raised."""
        raise NotImplementedError

    async def _not_completed(
        self,
        task: ws.PollActivityTaskQueueResponse,
        request: ws.RespondActivityTaskCompletedRequest,
        error: RPCError,
    ) -> None:
        """The service did not take a result."""
        raise NotImplementedError

    # --- an attempt

    async def handle(self, task: ws.PollActivityTaskQueueResponse, loop_task: asyncio.Task[None]) -> None:
        """Run one activity task in ``loop_task`` and answer it. Raises nothing that the activity raised."""
        activity_type = task.activity_type
        definition = self.registry.find(activity_type.name if activity_type is not None else "")
        if definition is None:
            await self._refuse_unregistered(task)
            return
        # This is a part of the worker.
        running = RunningActivity(self, task, definition, loop_task, self.loop.time())  # type: ignore[arg-type]
        payloads = await self.run_attempt(running)
        if isinstance(payloads, BaseException):
            await self._answer_error(running, payloads)
            running.ended()
            return
        running.ended()
        request = ws.RespondActivityTaskCompletedRequest(
            task.task_token, Payloads(list(payloads)), self.identity, self.namespace
        )
        try:
            await self.service.respond_activity_task_completed(request)
        except RPCError as error:
            await self._not_completed(task, request, error)

    async def run_attempt(self, running: RunningActivity) -> Sequence[Payload] | BaseException:
        """Run an attempt's code; returns what it returned, encoded, or what it raised."""
        self._running.add(running)
        if self._sweeper is None:
            self._start_sweeping()
        try:
            try:
                context, coroutine = self._begin(running)
                try:
                    step = context.run(coroutine.send, None)
                except StopIteration as stop:
                    result = stop.value
                else:
                    result = await _Resumed(context, coroutine, step)
            finally:
                running.done = True
                self._running.discard(running)
            payloads: Sequence[Payload] = (
                self._payload_converter.to_payloads((result,))
                if self._is_plain
                else await running.converter.encode((result,))
            )
        except (GeneratorExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            await _settle(running)
            return error
        if running.loop_task.cancelling():
            await _settle(running)
        return payloads

    def _begin(self, running: RunningActivity) -> tuple[contextvars.Context, Coroutine[Any, Any, Any]]:
        """The attempt's context and its code, not started yet."""
        task, definition = running.task, running.definition
        running.context = context = contextvars.copy_context()
        context.run(current_context.set, running)
        if task.heartbeat_details is None and self._is_plain and definition.is_async:
            coroutine = context.run(definition.fn, *self._decode_args(running))
            if type(coroutine) is not CoroutineType and not inspect.iscoroutine(coroutine):
                coroutine = _as_coroutine(coroutine)
            return context, coroutine
        return context, self._execute_in_full(running)

    def _decode_args(self, running: RunningActivity) -> Sequence[Any]:
        payloads = running.task.input
        if payloads is None or not payloads.payloads:
            return () if running.definition.name is not None else ([],)
        try:
            args = self._payload_converter.from_payloads(
                payloads.payloads, arg_types_for(running.definition, len(payloads.payloads))
            )
        except Exception as error:
            raise ApplicationError("Failed decoding arguments") from error
        return args if running.definition.name is not None else (args,)


class _Resumed:
    """Awaits the rest of a coroutine that was started in another context, step by step in that context."""

    def __init__(self, context: contextvars.Context, coroutine: Coroutine[Any, Any, Any], first: Any) -> None:
        self._context = context
        self._coroutine = coroutine
        self._first = first

    def __await__(self) -> Generator[Any, Any, Any]:
        run, coroutine, step = self._context.run, self._coroutine, self._first
        while True:
            try:
                sent = yield step
            except GeneratorExit:
                run(coroutine.close)
                raise
            except BaseException as error:
                try:
                    step = run(coroutine.throw, error)
                except StopIteration as stop:
                    return stop.value
            else:
                try:
                    step = run(coroutine.send, sent)
                except StopIteration as stop:
                    return stop.value


async def _as_coroutine(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


async def _settle(running: RunningActivity) -> None:
    """Take back every cancellation of the task that ran the activity: it goes on with other work.

    Somebody else's cancellation (the loop's teardown) is taken back too: the worker itself is told of that, and stops.
    """
    task = running.loop_task
    if not task.cancelling():
        return
    while task.cancelling():
        task.uncancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(0)  # a cancellation that the activity never saw comes here


def arg_types_for(definition: Definition, count: int) -> list[type] | None:
    if definition.name is None:
        return [RawValue] * count
    types = definition.arg_types
    if types is None or len(types) == count:
        return types
    return types[:count] if len(types) > count else None
