"""The plain twin of the timer wheel: a sorted list."""

from __future__ import annotations

from typing import Any


class TimersTwin:
    """The same interface, by sorting."""

    def __init__(self, now_ms: int) -> None:
        self.now_ms = now_ms
        self.armed: dict[int, tuple[int, Any]] = {}
        self.handles = 0

    def __len__(self) -> int:
        return len(self.armed)

    def arm(self, due_ms: int, key: Any) -> int:
        self.handles += 1
        self.armed[self.handles] = (due_ms, key)
        return self.handles

    def cancel(self, handle: int) -> bool:
        return self.armed.pop(handle, None) is not None

    def advance(self, now_ms: int, limit: int = 0) -> list[tuple[int, Any]]:
        self.now_ms = max(self.now_ms, now_ms)
        due = sorted((due, handle) for handle, (due, _) in self.armed.items() if due <= self.now_ms)
        if limit:
            del due[limit:]
        return [self.armed.pop(handle) for _, handle in due]

    def next_due(self) -> int:
        return min((due for due, _ in self.armed.values()), default=0)
