"""When a refused call is made again, and after how long: as the SDKs' core does it."""

from __future__ import annotations

import random

from perdure.service import RetryConfig, RPCError, RPCStatusCode

_RETRYABLE = frozenset(
    (
        RPCStatusCode.DATA_LOSS,
        RPCStatusCode.INTERNAL,
        RPCStatusCode.UNKNOWN,
        RPCStatusCode.RESOURCE_EXHAUSTED,
        RPCStatusCode.ABORTED,
        RPCStatusCode.OUT_OF_RANGE,
        RPCStatusCode.UNAVAILABLE,
    )
)
_TOO_LARGE = ("larger than max", "message size exceeds", "trying to send message larger")
_THROTTLED = RetryConfig(
    initial_interval_millis=1000, multiplier=2, max_interval_millis=10000, max_elapsed_time_millis=None, max_retries=0
)


class Backoff:
    """The retries of one call."""

    def __init__(self, config: RetryConfig, started: float) -> None:
        self._config = config
        self._started = started
        self._failures = 0
        self._interval = config.initial_interval_millis / 1000
        self._throttle = _THROTTLED.initial_interval_millis / 1000

    def delay(self, error: RPCError, now: float) -> float | None:
        """Seconds until the next attempt, or None: the error is the answer."""
        config = self._config
        self._failures += 1
        if error.status not in _RETRYABLE or 0 < config.max_retries <= self._failures:
            return None
        if error.status is RPCStatusCode.RESOURCE_EXHAUSTED:
            if any(text in error.message for text in _TOO_LARGE):
                return None
            throttle = self._throttle
            self._throttle = min(throttle * _THROTTLED.multiplier, _THROTTLED.max_interval_millis / 1000)
        else:
            throttle = 0.0
        jitter = 1 + config.randomization_factor * random.uniform(-1, 1)
        delay = max(self._interval * jitter, throttle)
        self._interval = min(self._interval * config.multiplier, config.max_interval_millis / 1000)
        if (
            config.max_elapsed_time_millis is not None
            and now + delay - self._started > config.max_elapsed_time_millis / 1000
        ):
            return None
        return delay
