"""What code inside an activity uses: the decorator, the attempt's info, heartbeats and cancellation.

An activity is where side effects belong. It runs at least once: after a crash, a timeout or a failure the engine starts
another attempt, so make it safe to repeat (``info().attempt`` and ``info().heartbeat_details`` help).
"""

from perdure.activity._context import (
    cancellation_details,
    client,
    heartbeat,
    in_activity,
    info,
    is_cancelled,
    is_worker_shutdown,
    metric_meter,
    payload_converter,
    raise_complete_async,
    shield_thread_cancel_exception,
    wait_for_cancelled,
    wait_for_cancelled_sync,
    wait_for_worker_shutdown,
    wait_for_worker_shutdown_sync,
)
from perdure.activity._definition import defn
from perdure.activity._info import ActivityCancellationDetails, Info
from perdure.activity._logger import LoggerAdapter, logger

__all__ = [
    "ActivityCancellationDetails",
    "Info",
    "LoggerAdapter",
    "cancellation_details",
    "client",
    "defn",
    "heartbeat",
    "in_activity",
    "info",
    "is_cancelled",
    "is_worker_shutdown",
    "logger",
    "metric_meter",
    "payload_converter",
    "raise_complete_async",
    "shield_thread_cancel_exception",
    "wait_for_cancelled",
    "wait_for_cancelled_sync",
    "wait_for_worker_shutdown",
    "wait_for_worker_shutdown_sync",
]
