from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from typing import Any

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

class HistoryMismatch(Exception):
    message: str
    event_id: int
    event_type: int
    command_type: int
    def __init__(self, message: str, event_id: int = 0, event_type: int = 0, command_type: int = 0) -> None: ...

class InvalidHistory(Exception): ...
class HistoryGap(InvalidHistory): ...

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
    def __init__(self) -> None: ...

class Queued: ...

_Job = tuple[int, Any, Any]

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

def configure(peekers: Mapping[int, Callable[[bytes], Any]]) -> None: ...
def describe_event(event: HistoryEvent) -> str: ...
def random_seed(run_id: str) -> int: ...
