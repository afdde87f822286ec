from enum import IntFlag
from typing import Any, final

from perdure._native.events import HistoryEvent

EXECUTION_ROWS: tuple[tuple[int, str, int], ...]
PENDING_ROWS: tuple[tuple[int, str, str], ...]
UNBUFFERED: frozenset[int]
COMPLETIONS: frozenset[int]

class RunState(IntFlag):
    CREATED = 0
    RUNNING = 1
    CLOSED = 2

class Status(IntFlag):
    STATUS_RUNNING = 1
    COMPLETED = 2
    FAILED = 3
    CANCELED = 4
    TERMINATED = 5
    CONTINUED_AS_NEW = 6
    TIMED_OUT = 7
    PAUSED = 8

class Effect(IntFlag):
    DISPATCH_WORKFLOW_TASK = 1
    DISPATCH_ACTIVITY = 2
    START_CHILD = 3
    SIGNAL_EXTERNAL = 4
    CANCEL_EXTERNAL = 5
    RUN_TIMED_OUT = 6
    DELETE_RUN = 7
    DROP_ACTIVITY = 8
    SHOW_RUN = 9
    CALL_NEXUS = 10

@final
class RetryPolicy:
    initial_ms: int
    coefficient: float
    maximum_ms: int
    maximum_attempts: int
    non_retryable: list[str]
    @staticmethod
    def from_message(policy: Any) -> RetryPolicy | None: ...

@final
class ActivityInfo:
    scheduled_event_id: int
    activity_id: str
    activity_type: str
    task_queue: str
    schedule_to_close_ms: int
    schedule_to_start_ms: int
    start_to_close_ms: int
    heartbeat_ms: int
    retry: RetryPolicy | None
    first_scheduled_ns: int
    scheduled_ns: int
    is_backing_off: bool
    attempt: int
    started_ns: int
    request_id: str
    identity: str
    owner_epoch: int
    stamp: int
    heartbeat_ns: int
    cancel_requested_id: int
    heartbeat_details: bytes
    last_failure: bytes
    last_ended_ns: int
    is_paused: bool
    extra: dict[str, Any] | None
    task_id: int
    event: HistoryEvent | None

@final
class TimerInfo:
    timer_id: str
    started_event_id: int
    fire_ms: int

@final
class ChildInfo:
    initiated_event_id: int
    started_event_id: int
    workflow_id: str
    run_id: str
    workflow_type: str
    parent_close_policy: int
    task_id: int

@final
class ExternalInfo:
    initiated_event_id: int
    request_id: str
    task_id: int

@final
class MutableState:
    def __init__(self, namespace_id: str, workflow_id: str, run_id: str) -> None: ...
    namespace_id: str
    workflow_id: str
    run_id: str
    first_run_id: str
    original_run_id: str
    workflow_type: str
    task_queue: str
    execution_timeout_ms: int
    run_timeout_ms: int
    task_timeout_ms: int
    expiration_ms: int
    run_deadline_ms: int
    backoff_until_ms: int
    delete_at_ms: int
    state: int
    status: int
    start_ns: int
    execution_ns: int
    close_ns: int
    close_event_id: int
    new_run_id: str
    reset_run_id: str
    is_first_task_held: bool
    is_close_attempted: bool
    is_cancel_requested: bool
    next_event_id: int
    history_size: int
    transition_count: int
    signal_count: int
    attempt: int
    retry: RetryPolicy | None
    cron_schedule: str
    parent_namespace_id: str
    parent_workflow_id: str
    parent_run_id: str
    parent_initiated_id: int
    root_workflow_id: str
    root_run_id: str
    create_request_id: str
    signal_request_ids: set[str]
    memo: dict[str, bytes]
    search_attributes: dict[str, bytes]
    task_scheduled_id: int
    task_started_id: int
    task_attempt: int
    task_scheduled_ns: int
    task_original_ns: int
    task_started_ns: int
    task_deadline_ms: int
    task_not_before_ms: int
    task_request_id: str
    task_identity: str
    task_owner_epoch: int
    task_row_id: int
    consecutive_failures: int
    previous_started_id: int
    sticky_queue: str
    sticky_timeout_ms: int
    updates: dict[str, tuple[int, int, int]] | None
    open_updates: int
    activities: dict[int, ActivityInfo]
    activity_ids: dict[str, ActivityInfo]
    timers: dict[str, TimerInfo]
    children: dict[int, ChildInfo]
    signals: dict[int, ExternalInfo]
    cancels: dict[int, ExternalInfo]
    buffered: list[HistoryEvent]
    buffered_size: int
    timer_ms: int
    close_task_id: int
    close_body: bytes
    is_activity: bool
    extra: dict[str, Any] | None
    speculative: list[HistoryEvent] | None
    new_events: list[HistoryEvent]
    effects: list[tuple[int, int]]
    def flush_buffer(self) -> None: ...
    def fold(self, events: list[HistoryEvent]) -> None: ...
    def next_deadline(self) -> int: ...
    def refresh_deadlines(self, now_ns: int) -> None: ...
    def forget_update(self, update_id: str) -> None: ...
    def take_events(self) -> list[HistoryEvent]: ...
    def take_effects(self) -> list[tuple[int, int]]: ...
    def encode(self) -> bytes: ...
    @staticmethod
    def decode(data: bytes) -> MutableState: ...
