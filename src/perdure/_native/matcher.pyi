from collections.abc import Sequence
from enum import IntEnum
from typing import Any, TypeAlias

from perdure._native.events import HistoryEvent

class JobKind(IntEnum):
    INITIALIZE = 0
    UPDATE_RANDOM_SEED = 1
    SIGNAL = 2
    UPDATE_REQUEST = 3
    CANCEL = 4
    FIRE_TIMER = 5
    RESOLVE_ACTIVITY = 6
    RESOLVE_CHILD_START = 7
    RESOLVE_CHILD = 8
    RESOLVE_SIGNAL_EXTERNAL = 9
    RESOLVE_CANCEL_EXTERNAL = 10
    RESOLVE_LOCAL_ACTIVITY = 11
    RESOLVE_NEXUS_START = 12
    RESOLVE_NEXUS = 13

class WorkflowCommand:
    kind: int
    state: int
    seq: int
    identity: Any
    type_name: Any
    event_id: int
    started_event_id: int
    target: Any
    detail: Any
    def __init__(self, *args: Any, **kwargs: Any) -> None: ...

class Queued: ...

_Job: TypeAlias = tuple[int, Any, Any]

class Matcher:
    run_id: str
    workflow_type: str
    last_event_id: int
    current_started_event_id: int
    is_replaying: bool
    has_close_event: bool
    time_ns: int
    last_sdk_name: str
    last_sdk_version: str
    def __init__(self, run_id: str, workflow_type: str) -> None: ...
    def feed(
        self, events: list[HistoryEvent], previous_started_event_id: int, messages: Sequence[Any] = ()
    ) -> None: ...
    def next_activation(self) -> tuple[list[str], list[_Job], list[_Job]] | None: ...
    def schedule(
        self,
        kind: int,
        command_type: int,
        seq: int,
        identity: Any,
        type_name: Any,
        target: Any,
        message: Any,
    ) -> WorkflowCommand: ...
    def cancel(self, command: WorkflowCommand, input_: int) -> int: ...
    def push(self, command: WorkflowCommand, command_type: int, message: Any) -> None: ...
    @property
    def is_closing(self) -> bool: ...
    def commands(self) -> list[Any]: ...
    activation_index: int
    def schedule_local(self, seq: int, identity: Any, type_name: Any, target: Any) -> WorkflowCommand: ...
    def is_open_local(self, command: WorkflowCommand) -> bool: ...
    def open_locals(self) -> list[WorkflowCommand]: ...
    def resolve_local(self, command: WorkflowCommand, outcome: Any, complete_time_ns: int, message: Any) -> None: ...
    def patch_made(self, patch_id: str) -> bool | None: ...
    def made_patches(self) -> list[str]: ...
    def make_patch(self, patch_id: str) -> None: ...
    def step_update(self, command: WorkflowCommand, input_: int, message: Any) -> None: ...
    def use_core_flag(self, flag: int) -> bool: ...
    def use_lang_flag(self, flag: int) -> bool: ...
    def take_flags(self) -> tuple[list[int], list[int]]: ...
    def note_sdk(self, name: str, version: str) -> None: ...
    @property
    def started_attributes(self) -> Any: ...
    @property
    def completed_attributes(self) -> Any: ...
    def reset_to(self, started_event_id: int) -> None: ...
    def counts(self) -> tuple[int, int]: ...
