"""What callers pass, checked where they pass it: one sentence that names the call, the argument and the cure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from enum import IntEnum
from typing import Any, TypeVar

from perdure.common import _arg_unset

MAX_ID_BYTES = 1000
MAX_TEXT_BYTES = 2 * 1024 * 1024
#: Longer waits are capped, silently as in Temporal.
MAX_DURATION_NS = 100 * 365 * 86_400 * 1_000_000_000

#: Default of an ``arg`` parameter.
NO_ARGUMENT = _arg_unset

EnumType = TypeVar("EnumType", bound=IntEnum)


def kind(value: object) -> str:
    """The name of a value's type, for messages."""
    return "None" if value is None else type(value).__name__


def text(where: str, name: str, value: object, *, empty: bool = False, limit: int = MAX_ID_BYTES) -> None:
    """A str that UTF-8 can hold, of at most ``limit`` bytes, and not empty unless ``empty``."""
    if type(value) is str and value and len(value) <= limit and value.isascii():
        return
    if not isinstance(value, str):
        raise TypeError(f"{where}: {name} must be a str, not {kind(value)}")
    if not value and not empty:
        raise ValueError(f"{where}: {name} must not be empty")
    if value.isascii():
        size = len(value)
    else:
        try:
            size = len(value.encode())
        except UnicodeEncodeError:
            raise ValueError(f"{where}: {name} holds a lone surrogate, which UTF-8 cannot express") from None
    if size > limit:
        raise ValueError(f"{where}: {name} has {size} bytes; at most {limit} are allowed")


def reason(where: str, value: object) -> None:
    """Why somebody did something: free text."""
    text(where, "reason", value, empty=True, limit=MAX_TEXT_BYTES)


def optional_text(where: str, name: str, value: object) -> None:
    """:func:`text`, or None."""
    if value is not None:
        text(where, name, value)


def duration_ns(where: str, name: str, value: timedelta | None) -> int | None:
    """The nanoseconds of a duration that is not negative."""
    if value is None:
        return None
    if not isinstance(value, timedelta):
        raise TypeError(f"{where}: {name} must be a timedelta, not {kind(value)}")
    nanoseconds = (value.days * 86_400 + value.seconds) * 1_000_000_000 + value.microseconds * 1_000
    if nanoseconds < 0:
        raise ValueError(f"{where}: {name} must not be negative, but is {value}")
    return min(nanoseconds, MAX_DURATION_NS)


def rpc_options(where: str, metadata: object, timeout: object) -> None:
    """The ``rpc_metadata`` and ``rpc_timeout`` that every call takes."""
    if timeout is not None:
        if not isinstance(timeout, timedelta):
            raise TypeError(f"{where}: rpc_timeout must be a timedelta, not {kind(timeout)}")
        if timeout <= timedelta(0):
            raise ValueError(f"{where}: rpc_timeout must be positive, but is {timeout}")
    if metadata:
        if not isinstance(metadata, Mapping):
            raise TypeError(f"{where}: rpc_metadata must be a mapping, not {kind(metadata)}")
        for key, value in metadata.items():
            if not isinstance(key, str) or not isinstance(value, (str, bytes)):
                raise TypeError(f"{where}: rpc_metadata maps str to str or bytes, but has {key!r}: {kind(value)}")
            if isinstance(value, bytes) != key.endswith("-bin"):
                raise TypeError(f"{where}: rpc_metadata key {key!r} must end in '-bin' exactly when its value is bytes")


def member(where: str, name: str, value: object, enumeration: type[EnumType]) -> None:
    """A member of an enumeration, or its number."""
    if not isinstance(value, enumeration):
        choices = ", ".join(f"{enumeration.__name__}.{choice.name}" for choice in enumeration)
        raise TypeError(f"{where}: {name} must be one of {choices}, not {value!r}")


def instance(where: str, name: str, value: object, *types: type) -> None:
    """An instance of one of the types."""
    if not isinstance(value, types):
        raise TypeError(f"{where}: {name} must be {' or '.join(t.__name__ for t in types)}, not {kind(value)}")


def count(where: str, name: str, value: object, *, least: int) -> None:
    """An int of at least ``least``, or None."""
    if value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{where}: {name} must be an int, not {kind(value)}")
    if value < least:
        raise ValueError(f"{where}: {name} must be at least {least}, but is {value}")


def arguments(where: str, arg: Any, args: Sequence[Any], name: str = "args") -> Sequence[Any]:
    """The arguments given as ``arg`` or as ``args``, never as both."""
    if arg is _arg_unset:
        if isinstance(args, (str, bytes)) or not isinstance(args, Sequence):
            raise TypeError(f"{where}: {name} must be a list or tuple of arguments, not {kind(args)}")
        return args
    if args:
        raise ValueError(f"{where}: give either one arg or a list of args, not both")
    return (arg,)
