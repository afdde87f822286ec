"""The workflow loop in plain Python, slow and obvious: what perdure._native.loop must behave like."""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from typing import Any


class NumberedTask(asyncio.Task):
    number = 0

    def __hash__(self) -> int:
        return self.number or object.__hash__(self)


class NumberedFuture(asyncio.Future):
    number = 0

    def __hash__(self) -> int:
        return self.number or object.__hash__(self)


class TwinHandle:
    def __init__(self, callback: Any, args: tuple[Any, ...], context: contextvars.Context | None) -> None:
        self.callback, self.args = callback, args
        self.context = context or contextvars.copy_context()
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True

    def cancelled(self) -> bool:
        return self.is_cancelled


class TwinTimerHandle(TwinHandle):
    loop: TwinLoop
    timer: Any = None
    due = 0.0

    def when(self) -> float:
        return self.due

    def fire(self) -> None:
        if not self.is_cancelled:
            self.timer = None
            self.loop.ready.append(self)

    def cancel(self) -> None:
        if not self.is_cancelled:
            super().cancel()
            if self.timer is not None:
                self.timer.cancel()


class TwinLoop(asyncio.AbstractEventLoop):
    def __init__(self, owner: Any) -> None:
        self.owner = owner
        self.time_ns = 0
        self.ready: deque[TwinHandle] = deque()
        self.numbers = 0
        self.task_count = 0

    def run_until_idle(self) -> None:
        outer = asyncio._get_running_loop()
        asyncio._set_running_loop(self)
        try:
            while self.ready:
                handle = self.ready.popleft()
                if handle.is_cancelled:
                    continue
                try:
                    handle.context.run(handle.callback, *handle.args)
                except (SystemExit, KeyboardInterrupt):
                    raise
                except BaseException as error:
                    self.call_exception_handler({"exception": error})
        finally:
            asyncio._set_running_loop(outer)

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> Any:
        handle = TwinHandle(callback, args, context)
        self.ready.append(handle)
        return handle

    def call_later(self, delay: float, callback: Any, *args: Any, context: Any = None) -> Any:
        return self._timer(round(delay * 1e9), self.time() + delay, callback, args, context)

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> Any:
        delay_ms = int(max(when - self.time(), 0.0) * 1000 + 0.5)
        return self._timer(delay_ms * 1_000_000, when, callback, args, context)

    def _timer(self, delay_ns: int, when: float, callback: Any, args: tuple[Any, ...], context: Any) -> Any:
        handle = TwinTimerHandle(callback, args, context)
        handle.loop, handle.due = self, when
        handle.timer = self.owner._loop_timer(delay_ns, handle)
        return handle

    def time(self) -> float:
        return self.time_ns / 1e9

    def create_task(self, coro: Any, *, name: str | None = None, context: Any = None) -> Any:
        self.task_count += 1
        task = NumberedTask(coro, loop=self, name=name or f"Task-{self.task_count}", context=context)
        self.numbers += 1
        task.number = self.numbers
        return task

    def create_future(self) -> Any:
        future = NumberedFuture(loop=self)
        self.numbers += 1
        future.number = self.numbers
        return future

    def get_debug(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.owner._loop_exception(context)
