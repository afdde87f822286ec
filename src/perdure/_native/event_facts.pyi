from collections.abc import Callable, Mapping
from typing import Any

from perdure._native.events import HistoryEvent
from perdure._native.matcher import WorkflowCommand

class HistoryMismatch(Exception):
    message: str
    event_id: int
    event_type: int
    command_type: int
    command: WorkflowCommand | None
    def __init__(
        self,
        message: str,
        event_id: int = 0,
        event_type: int = 0,
        command_type: int = 0,
        command: WorkflowCommand | None = None,
    ) -> None: ...

class InvalidHistory(Exception): ...
class HistoryGap(InvalidHistory): ...

def configure(peekers: Mapping[int, Callable[[bytes], Any]]) -> None: ...
def describe_event(event: HistoryEvent) -> str: ...
