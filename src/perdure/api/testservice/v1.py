"""Temporal's ``temporal.api.testservice.v1``: requests and responses of TestService."""

from __future__ import annotations

from perdure.api._message import Message


class GetCurrentTimeResponse(Message):
    """Temporal's ``temporal.api.testservice.v1.GetCurrentTimeResponse``."""

    time: int | None = None


class LockTimeSkippingRequest(Message):
    """Temporal's ``temporal.api.testservice.v1.LockTimeSkippingRequest``."""


class LockTimeSkippingResponse(Message):
    """Temporal's ``temporal.api.testservice.v1.LockTimeSkippingResponse``."""


class SleepRequest(Message):
    """Temporal's ``temporal.api.testservice.v1.SleepRequest``."""

    duration: int | None = None


class SleepResponse(Message):
    """Temporal's ``temporal.api.testservice.v1.SleepResponse``."""


class SleepUntilRequest(Message):
    """Temporal's ``temporal.api.testservice.v1.SleepUntilRequest``."""

    timestamp: int | None = None


class UnlockTimeSkippingRequest(Message):
    """Temporal's ``temporal.api.testservice.v1.UnlockTimeSkippingRequest``."""


class UnlockTimeSkippingResponse(Message):
    """Temporal's ``temporal.api.testservice.v1.UnlockTimeSkippingResponse``."""
