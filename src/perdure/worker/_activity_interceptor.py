"""Interceptors around activities: inbound around the execution, outbound around ``activity.info`` and ``heartbeat``."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from perdure.activity import Info
from perdure.api.common.v1 import Payload


@dataclass
class ExecuteActivityInput:
    """What :meth:`ActivityInboundInterceptor.execute_activity` gets, and may change before it goes on."""

    fn: Callable[..., Any]
    args: Sequence[Any]
    #: Where a ``def`` activity runs; None for ``async def``.
    executor: concurrent.futures.Executor | None
    headers: Mapping[str, Payload]


class ActivityInboundInterceptor:
    """Wraps the execution of one attempt. Extend it and override what you need."""

    def __init__(self, next: ActivityInboundInterceptor) -> None:
        self.next = next

    def init(self, outbound: ActivityOutboundInterceptor) -> None:
        """Called once before the attempt; wrap ``outbound`` to intercept calls from within the activity."""
        self.next.init(outbound)

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        """Run the activity and return its result."""
        return await self.next.execute_activity(input)


class ActivityOutboundInterceptor:
    """Wraps calls that the activity makes. Extend it and override what you need."""

    def __init__(self, next: ActivityOutboundInterceptor) -> None:
        self.next = next

    def info(self) -> Info:
        """Called for every ``activity.info()``."""
        return self.next.info()

    def heartbeat(self, *details: Any) -> None:
        """Called for every ``activity.heartbeat()``; for ``def`` activities in the activity's thread."""
        self.next.heartbeat(*details)
