"""Whether a failed attempt is tried again, and which timeouts an activity gets: plain readings of Temporal's rules.

The reference twin of ``perdure._native.activities.decide_retry`` and of the timeout derivation in
``perdure._native.commands``, one rule after the other.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

MS = 1_000_000
IN_PROGRESS, NON_RETRYABLE, TIMEOUT, MAXIMUM_ATTEMPTS, NO_POLICY = 1, 2, 3, 4, 5
START_TO_CLOSE, SCHEDULE_TO_START, SCHEDULE_TO_CLOSE, HEARTBEAT = 1, 2, 3, 4


def round_up_ms(duration_ns: int) -> int:
    """Milliseconds, rounded up."""
    return -(-duration_ns // MS)


def decide_retry(
    policy: Any, failure: Any, attempt: int, now_ms: int, expiration_ms: int, is_workflow: bool
) -> tuple[int, int]:
    """``(retry state, backoff in ms)``; the backoff is 0 unless there is another attempt."""
    if policy is None:
        return NO_POLICY, 0
    initial = round_up_ms(policy.initial_interval or 1000 * MS)
    maximum = round_up_ms(policy.maximum_interval) if policy.maximum_interval else 100 * initial
    coefficient = policy.backoff_coefficient or 2.0
    timeout = None if failure is None else failure.timeout_failure_info
    if timeout is not None and timeout.timeout_type in (SCHEDULE_TO_START, SCHEDULE_TO_CLOSE):
        return TIMEOUT, 0
    if failure is not None and _is_final(failure, policy.non_retryable_error_types):
        return NON_RETRYABLE, 0
    if policy.maximum_attempts and attempt >= policy.maximum_attempts:
        return MAXIMUM_ATTEMPTS, 0
    interval = min(int(initial * Fraction(coefficient) ** (attempt - 1)), maximum)
    application = None if failure is None else failure.application_failure_info
    if application is not None and application.next_retry_delay is not None:
        interval = round_up_ms(application.next_retry_delay)
        if is_workflow:
            interval = min(interval, maximum)
    if expiration_ms and now_ms + interval > expiration_ms:
        return TIMEOUT, 0
    return IN_PROGRESS, interval


def _is_final(failure: Any, listed: list[str]) -> bool:
    if failure.canceled_failure_info or failure.terminated_failure_info:
        return True
    if failure.timeout_failure_info:
        word = {START_TO_CLOSE: "StartToClose", HEARTBEAT: "Heartbeat"}.get(failure.timeout_failure_info.timeout_type)
        return word is None or f"TemporalTimeout:{word}" in listed
    if failure.server_failure_info:
        return bool(failure.server_failure_info.non_retryable)
    if failure.application_failure_info:
        info = failure.application_failure_info
        return bool(info.non_retryable) or info.type in listed
    return False


def activity_timeouts(
    run: int, schedule_to_close: int, schedule_to_start: int, start_to_close: int, heartbeat: int
) -> tuple[int, int, int, int] | None:
    """(schedule-to-close, schedule-to-start, start-to-close, heartbeat) as they will hold; None: refused. 0: unset."""
    unlimited = 10**30

    def given(value: int) -> int:
        return value or unlimited

    if not schedule_to_close and not start_to_close:
        return None
    whole = given(run)
    if schedule_to_close:
        close = min(schedule_to_close, whole)
        start = min(given(schedule_to_start), schedule_to_close, whole)
        attempt = min(given(start_to_close), schedule_to_close, whole)
    else:
        close = whole
        start = min(given(schedule_to_start), whole)
        attempt = min(start_to_close, whole)
    values = [close, start, attempt, min(heartbeat, attempt)]
    return tuple(0 if value == unlimited else value for value in values)  # type: ignore[return-value]
