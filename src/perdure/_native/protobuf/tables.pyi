from collections.abc import Callable, Mapping
from enum import IntFlag
from typing import Any, final

class Kind(IntFlag):
    INT64 = 0
    INT32 = 1
    UINT32 = 2
    BOOL = 3
    STRING = 4
    BYTES = 5
    DOUBLE = 6
    FLOAT = 7
    MESSAGE = 8
    TIMESTAMP = 9
    DURATION = 10
    EMPTY = 11
    FIELD_MASK = 12
    ANY = 13
    DOUBLE_VALUE = 14
    EVENT = 15
    VARIANT = 16

class Mode(IntFlag):
    PLAIN = 0
    OPTIONAL = 1
    REPEATED = 2
    MAP = 3

@final
class Field:
    @property
    def name(self) -> str: ...

@final
class Table:
    def __init__(self, message_type: type, full_name: str, defaults: tuple[Any, ...]) -> None: ...
    @property
    def message_type(self) -> type: ...
    @property
    def full_name(self) -> str: ...
    def fill(self, fields: list[tuple[Any, ...]]) -> None: ...

@final
class Parts:
    def __init__(self, /, *args: Any, **kwargs: Any) -> None: ...

parts: Parts

def configure(
    *,
    table_of: Callable[[Any], Table],
    table_named: Callable[[str], Table | None],
    unknown: Callable[[str, bytes], Any],
    event_numbers: tuple[int, ...],
    attributes: Mapping[int, tuple[int, Callable[[], Table]]],
    extras: Table,
) -> None: ...
