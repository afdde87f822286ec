"""Temporal's TestService over a time-skipping environment's clock."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from perdure.api.testservice import v1 as ts
from perdure.testing._time_skipping import TimeSkipping

Metadata = Mapping[str, str | bytes] | None


class TestServiceRpcs:
    """See :class:`perdure.service.TestService`."""

    __test__ = False  # no test class for pytest

    skipping: TimeSkipping

    async def lock_time_skipping(
        self,
        req: ts.LockTimeSkippingRequest,
        retry: bool = False,
        metadata: Metadata = None,
        timeout: timedelta | None = None,
    ) -> ts.LockTimeSkippingResponse:
        """Temporal's LockTimeSkipping."""
        self.skipping.lock()
        return ts.LockTimeSkippingResponse()

    async def unlock_time_skipping(
        self,
        req: ts.UnlockTimeSkippingRequest,
        retry: bool = False,
        metadata: Metadata = None,
        timeout: timedelta | None = None,
    ) -> ts.UnlockTimeSkippingResponse:
        """Temporal's UnlockTimeSkipping."""
        self.skipping.unlock()
        return ts.UnlockTimeSkippingResponse()

    async def sleep(
        self, req: ts.SleepRequest, retry: bool = False, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ts.SleepResponse:
        """Temporal's Sleep: at the pace of the lock."""
        await self.skipping.wait_until(self.skipping.now() + (req.duration or 0))
        return ts.SleepResponse()

    async def sleep_until(
        self,
        req: ts.SleepUntilRequest,
        retry: bool = False,
        metadata: Metadata = None,
        timeout: timedelta | None = None,
    ) -> ts.SleepResponse:
        """Temporal's SleepUntil: at the pace of the lock."""
        await self.skipping.wait_until(req.timestamp or 0)
        return ts.SleepResponse()

    async def unlock_time_skipping_with_sleep(
        self, req: ts.SleepRequest, retry: bool = False, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ts.SleepResponse:
        """Temporal's UnlockTimeSkippingWithSleep."""
        await self.skipping.sleep(req.duration or 0)
        return ts.SleepResponse()

    async def get_current_time(
        self, req: object = None, retry: bool = False, metadata: Metadata = None, timeout: timedelta | None = None
    ) -> ts.GetCurrentTimeResponse:
        """Temporal's GetCurrentTime."""
        return ts.GetCurrentTimeResponse(self.skipping.now())
