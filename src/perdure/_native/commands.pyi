from typing import Any

from perdure._native.mutable_state import MutableState

CLOSE_COMMANDS: frozenset[int]
KNOWN_COMMANDS: frozenset[int]
CAUSES: dict[int, int]

class CommandError(Exception):
    cause: int
    message: str
    terminate: bool
    def __init__(self, cause: int, message: str, terminate: bool = False) -> None: ...

def check_sequence(commands: list[Any]) -> str | None: ...
def size_of(payloads: Any) -> int: ...
def retry_policy_error(policy: Any) -> str | None: ...
def check(s: MutableState, commands: list[Any], namespace: str, sent: dict[str, Any] | None = None) -> None: ...
def leaves_buffered(s: MutableState, commands: list[Any]) -> bool: ...
def apply_message(s: MutableState, event_type: int, attributes: Any, now_ns: int) -> None: ...
def apply(
    s: MutableState,
    commands: list[Any],
    completed_id: int,
    now_ns: int,
    namespace: str,
    sent: dict[str, Any] | None = None,
    endpoints: dict[str, str] | None = None,
) -> tuple[Any | None, bool]: ...
def resolve_retry_policy(policy: Any) -> Any: ...
