"""Scalars of protobuf's JSON form: 64-bit integers are strings, enumerations names, times RFC 3339, bytes base64."""

from __future__ import annotations

import base64
import binascii
import math
import re
import struct
from collections.abc import Callable
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Any, NamedTuple

from perdure.api.enums import v1 as enums_v1

_EPOCH = datetime(1970, 1, 1)
_NS = 1_000_000_000
_ZERO_TIME = -62_135_596_800  # seconds of 0001-01-01T00:00:00Z, which Go writes for a time that is not set
_TIMESTAMP = re.compile(r"(\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)")
_DURATION = re.compile(r"(-?)(\d+)(?:\.(\d{1,9}))?s")
_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class JSONFormError(ValueError):
    """The JSON is not the form of the message it was read as. The message says where and what."""

    def __init__(self, what: str, path: tuple[str, ...] = ()) -> None:
        super().__init__(f"{'.'.join(path)}: {what}" if path else what)
        self.what = what
        self.path = path

    def below(self, part: str) -> JSONFormError:
        """The same error seen from one level up."""
        return JSONFormError(self.what, (part, *self.path))


class Unset(Exception):
    """The field is to be left out: an enumeration's name this version does not know, or Go's way to say "no time"."""


class Scalar(NamedTuple):
    """How one kind of field is written and read."""

    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]


def _refuse(wanted: str, value: Any) -> JSONFormError:
    return JSONFormError(f"expected {wanted}, got {value!r:.80}")


def _integer(low: int, high: int) -> Callable[[Any], int]:
    def decode_integer(value: Any) -> int:
        try:
            number = None if isinstance(value, bool) else int(value)
        except (TypeError, ValueError, OverflowError):
            number = None
        if number is None or (isinstance(value, float) and number != value):
            raise _refuse("an integer", value)
        if not low <= number < high:
            raise _refuse(f"an integer from {low} to {high - 1}", value)
        return number

    return decode_integer


def _decode_str(value: Any) -> str:
    if not isinstance(value, str):
        raise _refuse("a string", value)
    return value


def _decode_bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _refuse("true or false", value)
    return value


def _encode_float(value: float) -> Any:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _narrow(value: float) -> float:
    """The 32-bit float nearest to a double."""
    try:
        return float(struct.unpack("f", struct.pack("f", value))[0])
    except OverflowError:
        return math.copysign(math.inf, value)


def _encode_float32(value: float) -> Any:
    """The shortest decimal that reads back as the same 32-bit float."""
    narrow = _narrow(value)
    if not math.isfinite(narrow):
        return _encode_float(narrow)
    for digits in range(6, 9):
        short = float(f"{narrow:.{digits}g}")
        if _narrow(short) == narrow:
            return short
    return float(f"{narrow:.9g}")


def _decode_float(value: Any) -> float:
    if isinstance(value, str) and value in _NOT_FINITE:
        return _NOT_FINITE[value]
    try:
        return float(value)
    except (TypeError, ValueError):
        raise _refuse("a number", value) from None


def _decode_float32(value: Any) -> float:
    return _narrow(_decode_float(value))


def _encode_bytes(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _decode_bytes(value: Any) -> bytes:
    text = _decode_str(value).replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        raise _refuse("base64", value) from None


def _fraction(ns: int) -> str:
    if not ns:
        return ""
    if ns % 1_000_000 == 0:
        return f".{ns // 1_000_000:03}"
    return f".{ns // 1_000:06}" if ns % 1_000 == 0 else f".{ns:09}"


def _in_range(ns: int, value: Any) -> int:
    if not -(2**63) <= ns < 2**63:
        raise _refuse("a time within 292 years of 1970, or a duration of at most 292 years", value)
    return ns


def encode_timestamp(value: int) -> str:
    """Nanoseconds since the epoch as RFC 3339, UTC."""
    seconds, ns = divmod(value, _NS)
    return f"{(_EPOCH + timedelta(seconds=seconds)).isoformat()}{_fraction(ns)}Z"


def decode_timestamp(value: Any) -> int:
    """RFC 3339 as nanoseconds since the epoch."""
    match = _TIMESTAMP.fullmatch(_decode_str(value))
    if match is None:
        raise _refuse("a timestamp such as 2024-01-31T12:00:00.5Z", value)
    text, fraction, zone = match.groups()
    try:
        moment = datetime.fromisoformat(text.upper()) - _EPOCH
    except ValueError as err:
        raise _refuse(f"a timestamp ({err})", value) from None
    seconds = moment.days * 86_400 + moment.seconds
    if zone not in "Zz":
        offset = int(zone[1:3]) * 3_600 + int(zone[4:6]) * 60
        seconds -= -offset if zone[0] == "-" else offset
    if seconds == _ZERO_TIME:
        raise Unset(value)
    return _in_range(seconds * _NS + int((fraction or "").ljust(9, "0")), value)


def _encode_duration(value: int) -> str:
    seconds, ns = divmod(abs(value), _NS)
    return f"{'-' if value < 0 else ''}{seconds}{_fraction(ns)}s"


def _decode_duration(value: Any) -> int:
    match = _DURATION.fullmatch(_decode_str(value))
    if match is None:
        raise _refuse("a duration such as 1.5s", value)
    sign, seconds, fraction = match.groups()
    ns = int(seconds) * _NS + int((fraction or "").ljust(9, "0"))
    return _in_range(-ns if sign else ns, value)


def _decode_empty(value: Any) -> bool:
    if not isinstance(value, dict):
        raise _refuse("an empty object", value)
    return True


def camel(name: str) -> str:
    """``run_id`` as ``runId``."""
    first, *rest = name.split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in rest)


def _snake(name: str) -> str:
    return re.sub(r"[A-Z]", lambda match: "_" + match[0].lower(), name)


def _encode_field_mask(paths: list[str]) -> str:
    return ",".join(camel(path) for path in paths)


def _decode_field_mask(value: Any) -> list[str]:
    return [_snake(path) for path in _decode_str(value).split(",") if path]


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def enumeration(enum_name: str) -> Scalar:
    """Members by full name (``TIMEOUT_TYPE_HEARTBEAT``); read as ``HEARTBEAT``, ``Heartbeat`` or a number as well."""
    members: type[IntEnum] = getattr(enums_v1, enum_name)
    names = {int(member): member.name for member in members}
    prefix = _common_prefix(list(names.values()))
    numbers = {_plain(name.removeprefix(prefix)): number for number, name in names.items()}
    numbers |= {_plain(name): number for number, name in names.items()}
    integer = _integer(-(2**31), 2**31)

    def encode_member(value: int) -> str | int:
        return names.get(value, int(value))

    def decode_member(value: Any) -> int:
        if not isinstance(value, str):
            return integer(value)
        number = numbers.get(_plain(value))
        if number is not None:
            return number
        if value.lstrip("-").isdigit():
            return integer(value)
        raise Unset(f"{enum_name} has no member {value!r}")

    return Scalar(encode_member, decode_member)


def _common_prefix(names: list[str]) -> str:
    shortest = min(names, key=len)
    for end in range(len(shortest), 0, -1):
        if shortest[end - 1] == "_" and all(name.startswith(shortest[:end]) for name in names):
            return shortest[:end]
    return ""


INT32 = Scalar(int, _integer(-(2**31), 2**32))
INT64 = Scalar(str, _integer(-(2**63), 2**63))

#: By annotation or by the kind :data:`perdure.api._kinds.KINDS` states.
SCALARS: dict[Any, Scalar] = {
    str: Scalar(str, _decode_str),
    bool: Scalar(bool, _decode_bool),
    int: INT64,
    float: Scalar(_encode_float, _decode_float),
    bytes: Scalar(_encode_bytes, _decode_bytes),
    "int32": INT32,
    "int64": INT64,
    "float": Scalar(_encode_float32, _decode_float32),
    "Timestamp": Scalar(encode_timestamp, decode_timestamp),
    "Duration": Scalar(_encode_duration, _decode_duration),
    "Empty": Scalar(lambda value: {}, _decode_empty),
    "FieldMask": Scalar(_encode_field_mask, _decode_field_mask),
}
