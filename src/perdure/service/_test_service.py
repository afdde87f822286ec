"""The test service protocol. Requests and responses are the structs of ``perdure.api.testservice.v1``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Protocol

from perdure.api.testservice import v1 as ts


class TestService(Protocol):
    """Temporal's TestService: the clock of a time-skipping environment, which alone has one.

    A counter that starts at one locks time skipping; time skips by itself while it is zero.
    """

    async def lock_time_skipping(
        self,
        req: ts.LockTimeSkippingRequest,
        retry: bool = False,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ts.LockTimeSkippingResponse:
        """Count up."""
        ...

    async def unlock_time_skipping(
        self,
        req: ts.UnlockTimeSkippingRequest,
        retry: bool = False,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ts.UnlockTimeSkippingResponse:
        """Count down."""
        ...

    async def sleep(
        self,
        req: ts.SleepRequest,
        retry: bool = False,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ts.SleepResponse:
        """Return when so much of the environment's time has passed, without skipping it."""
        ...

    async def sleep_until(
        self,
        req: ts.SleepUntilRequest,
        retry: bool = False,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ts.SleepResponse:
        """Return when the environment's clock has reached a time, without skipping."""
        ...

    async def unlock_time_skipping_with_sleep(
        self,
        req: ts.SleepRequest,
        retry: bool = False,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ts.SleepResponse:
        """Skip so much time."""
        ...

    async def get_current_time(
        self,
        req: object = None,
        retry: bool = False,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: timedelta | None = None,
    ) -> ts.GetCurrentTimeResponse:
        """The environment's time."""
        ...
