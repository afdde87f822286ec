"""Protobuf by the book, in plain Python: what ``perdure._native.protobuf`` must agree with."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from perdure._native.events import HistoryEvent
from perdure._native.protobuf.tables import Kind, Mode

MAX_DEPTH = 100  # as protobuf's own
_NS = 1_000_000_000
_VARINTS = {Kind.INT64, Kind.INT32, Kind.UINT32, Kind.BOOL}
_FIXED = {Kind.DOUBLE: "<d", Kind.FLOAT: "<f"}
_parts: dict[str, Any] = {}


class DecodeError(ValueError):
    """Bytes that are not the message they were read as."""


class Table:
    """The fields of one message."""

    def __init__(self, message_type: type[Any], full_name: str, defaults: tuple[Any, ...]) -> None:
        self.message_type = message_type
        self.full_name = full_name
        self.defaults = defaults
        self.fields: list[tuple[Any, ...]] = []
        self.by_number: dict[int, tuple[Any, ...]] = {}

    def fill(self, fields: list[tuple[Any, ...]]) -> None:
        """Set the fields."""
        self.fields = fields
        for field in fields:
            index, name, number, kind, _mode, _key, sub = field
            if kind == Kind.VARIANT:
                for variant, table in sub.items():
                    self.by_number[variant] = (index, name, variant, Kind.MESSAGE, Mode.OPTIONAL, 0, table)
            else:
                self.by_number[number] = field


def configure(**parts: Any) -> None:
    """Set what is needed besides the message's own table; see ``Tables``."""
    _parts.update(parts)


def encode(table: Table, message: Any) -> bytes:
    """The message as protobuf."""
    out = bytearray()
    _message(out, table, message)
    return bytes(out)


def decode(table: Table, data: bytes) -> Any:
    """The message that bytes hold."""
    return _read_message(table, bytes(data), 0)


# Writing


def _varint(out: bytearray, value: int) -> None:
    value &= 0xFFFFFFFFFFFFFFFF
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


def _block(out: bytearray, number: int, data: bytes | bytearray) -> None:
    _varint(out, number << 3 | 2)
    _varint(out, len(data))
    out += data


def _message(out: bytearray, table: Table, message: Any) -> None:
    for _, name, number, kind, mode, key, sub in table.fields:
        value = getattr(message, name)
        try:
            if kind == Kind.VARIANT:
                if value is not None:
                    _block(out, *_variant(sub, value))
            elif mode == Mode.REPEATED:
                _repeated(out, number, kind, sub, value)
            elif mode == Mode.MAP:
                for item_key, item in value.items():
                    entry = bytearray()
                    _value(entry, 1, key, None, item_key)
                    _value(entry, 2, kind, sub, item)
                    _block(out, number, entry)
            elif mode == Mode.OPTIONAL:
                # an empty message is there or not, a mask without paths says nothing
                if value is not None and not (kind in (Kind.EMPTY, Kind.FIELD_MASK) and not value):
                    _value(out, number, kind, sub, value)
            elif value or (kind in _FIXED and struct.pack("<d", value) != bytes(8)):
                _value(out, number, kind, sub, value)
        except (TypeError, ValueError, OverflowError, AttributeError) as err:
            raise _named(err, table, name) from None


def _named(err: Exception, table: Table, name: str) -> Exception:
    kind = TypeError if isinstance(err, (TypeError, AttributeError)) else ValueError
    text = str(err)
    if getattr(err, "placed", False):
        return err
    placed = kind(f"{table.full_name}.{name}: {text}")
    placed.placed = True  # type: ignore[attr-defined]
    return placed


def _variant(tables: dict[int, Table], value: Any) -> tuple[int, bytes]:
    for number, table in tables.items():
        if table.message_type is type(value):
            return number, encode(table, value)
    raise TypeError(f"no variant is {type(value).__name__}")


def _repeated(out: bytearray, number: int, kind: Kind, sub: Any, values: list[Any]) -> None:
    if kind in _VARINTS or kind in _FIXED:
        if values:
            packed = bytearray()
            for value in values:
                _scalar(packed, kind, value)
            _block(out, number, packed)
        return
    for value in values:
        _value(out, number, kind, sub, value)


def _scalar(out: bytearray, kind: Kind, value: Any) -> None:
    if kind == Kind.FLOAT:
        out += _float32(value)
        return
    if kind == Kind.DOUBLE:
        out += struct.pack("<d", value)
        return
    if not isinstance(value, int):
        raise TypeError(f"expected an integer, got {value!r:.80}")
    low, high = _RANGES[kind]
    if not low <= value < high:
        raise ValueError(f"{value} does not fit {kind.name.lower()}")
    _varint(out, value)


_RANGES = {
    Kind.INT64: (-(2**63), 2**63),
    Kind.INT32: (-(2**31), 2**31),
    Kind.UINT32: (0, 2**32),
    Kind.BOOL: (0, 2),
}


def _float32(value: float) -> bytes:
    try:
        return struct.pack("<f", value)
    except OverflowError:
        return struct.pack("<f", float("inf") if value > 0 else float("-inf"))


def _value(out: bytearray, number: int, kind: Kind, sub: Any, value: Any) -> None:
    """Tag and value."""
    if kind in _VARINTS:
        _varint(out, number << 3)
        _scalar(out, kind, value)
    elif kind in _FIXED:
        _varint(out, number << 3 | (1 if kind == Kind.DOUBLE else 5))
        _scalar(out, kind, value)
    else:
        _block(out, number, _bytes(kind, sub, value))


def _bytes(kind: Kind, sub: Any, value: Any) -> bytes:
    if kind == Kind.STRING:
        if not isinstance(value, str):
            raise TypeError(f"expected a string, got {value!r:.80}")
        return value.encode()
    if kind == Kind.BYTES:
        if not isinstance(value, (bytes, bytearray, memoryview)):
            raise TypeError(f"expected bytes, got {value!r:.80}")
        return bytes(value)
    if kind == Kind.MESSAGE:
        if not isinstance(value, sub.message_type):
            raise TypeError(f"expected {sub.message_type.__name__}, got {value!r:.80}")
        return encode(sub, value)
    out = bytearray()
    if kind in (Kind.TIMESTAMP, Kind.DURATION):
        _time(out, kind, value)
    elif kind == Kind.FIELD_MASK:
        for path in value:
            _value(out, 1, Kind.STRING, None, path)
    elif kind == Kind.ANY:
        if isinstance(value, _parts["unknown"]):
            name, data = value.type_url, value.value
        else:
            table = _parts["table_of"](type(value))
            name, data = "type.googleapis.com/" + table.full_name, encode(table, value)
        _value(out, 1, Kind.STRING, None, name)
        if data:
            _value(out, 2, Kind.BYTES, None, data)
    elif kind == Kind.DOUBLE_VALUE:
        if struct.pack("<d", value) != bytes(8):
            _value(out, 1, Kind.DOUBLE, None, value)
    elif kind == Kind.EVENT:
        _event(out, value)
    return bytes(out)  # of Empty, nothing


def _time(out: bytearray, kind: Kind, value: int) -> None:
    if not isinstance(value, int):
        raise TypeError(f"expected nanoseconds, got {value!r:.80}")
    if not -(2**63) <= value < 2**63:
        raise ValueError(f"{value} ns do not fit 64 bits")
    seconds, ns = divmod(value, _NS)
    if kind == Kind.DURATION and seconds < 0 and ns:  # its parts have one sign
        seconds, ns = seconds + 1, ns - _NS
    if seconds:
        _varint(out, 1 << 3)
        _varint(out, seconds)
    if ns:
        _varint(out, 2 << 3)
        _varint(out, ns)


def _event(out: bytearray, event: HistoryEvent) -> None:
    if not isinstance(event, HistoryEvent):
        raise TypeError(f"expected an event, got {event!r:.80}")
    event_id, event_time, event_type, version, task_id, may_ignore = _parts["event_numbers"]
    for number, kind, value in (
        (event_id, Kind.INT64, event.event_id),
        (event_time, Kind.TIMESTAMP, event.event_time),
        (event_type, Kind.INT32, event.event_type),
        (version, Kind.INT64, event.version),
        (task_id, Kind.INT64, event.task_id),
        (may_ignore, Kind.BOOL, event.worker_may_ignore),
    ):
        if value:
            _value(out, number, kind, None, value)
    if event.attributes is not None:
        number, table = _parts["attributes"][event.event_type]
        _block(out, number, encode(table(), event.attributes))
    if event.extras is not None:
        out += encode(_parts["extras"], event.extras)


# Reading


def _read_varint(data: bytes, pos: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if pos >= len(data):
            raise DecodeError(f"a number at byte {pos} is cut off")
        byte = data[pos]
        pos += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, pos
    raise DecodeError(f"a number before byte {pos} is longer than 64 bits")


def _read_field(data: bytes, pos: int, depth: int) -> tuple[int, int, Any, int]:
    """Number, wire type, raw value and where the next field is."""
    tag, pos = _read_varint(data, pos)
    number, wire = tag >> 3, tag & 7
    if not 0 < number < 2**29:
        raise DecodeError(f"there is no field number {number}")
    if wire == 0:
        value, pos = _read_varint(data, pos)
        return number, wire, value, pos
    if wire == 2:
        size, pos = _read_varint(data, pos)
    elif wire in (1, 5):
        size = 8 if wire == 1 else 4
    elif wire == 3:
        return number, wire, None, _skip_group(data, pos, number, depth + 1)
    else:
        raise DecodeError(f"there is no wire type {wire} here, before byte {pos}")
    if size > len(data) - pos:
        raise DecodeError(f"{size} bytes at byte {pos} are cut off")
    return number, wire, data[pos : pos + size], pos + size


def _skip_group(data: bytes, pos: int, number: int, depth: int) -> int:
    if depth > MAX_DEPTH:
        raise DecodeError("nested too deeply")
    while True:
        tag, after = _read_varint(data, pos)
        if tag & 7 == 4:
            if tag >> 3 != number:
                raise DecodeError(f"a group ends before byte {after} that never began")
            return after
        pos = _read_field(data, pos, depth)[3]


def _read_message(table: Table, data: bytes, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise DecodeError("nested too deeply")
    message = table.message_type()
    pos = 0
    while pos < len(data):
        number, wire, value, pos = _read_field(data, pos, depth)
        field = table.by_number.get(number)
        if field is None:
            continue
        _, name, _, kind, mode, key, sub = field
        try:
            if mode == Mode.REPEATED:
                if wire == 2 and (kind in _VARINTS or kind in _FIXED):
                    _read_packed(getattr(message, name), kind, value)
                elif _fits(kind, wire):
                    getattr(message, name).append(_read_value(kind, sub, value, depth))
            elif mode == Mode.MAP:
                if wire == 2:
                    item_key, item = _read_entry(key, kind, sub, value, depth)
                    getattr(message, name)[item_key] = item
            elif _fits(kind, wire):
                setattr(message, name, _read_value(kind, sub, value, depth))
        except UnicodeDecodeError:
            raise DecodeError(f"{table.full_name}.{name} is not UTF-8") from None
    return message


def _fits(kind: Kind, wire: int) -> bool:
    """Whether a field that came with this wire type is the one we know by its number; if not, it is unknown."""
    if kind in _VARINTS:
        return wire == 0
    return wire == (1 if kind == Kind.DOUBLE else 5 if kind == Kind.FLOAT else 2)


def _read_packed(values: list[Any], kind: Kind, data: bytes) -> None:
    if kind in _FIXED:
        if len(data) % struct.calcsize(_FIXED[kind]):
            raise DecodeError("packed numbers are cut off")
        values.extend(value for (value,) in struct.iter_unpack(_FIXED[kind], data))
        return
    pos = 0
    while pos < len(data):
        value, pos = _read_varint(data, pos)
        values.append(_number(kind, value))


def _number(kind: Kind, value: int) -> int | bool:
    if kind == Kind.BOOL:
        return bool(value)
    if kind == Kind.UINT32:
        return value & 0xFFFFFFFF
    if kind == Kind.INT32:
        value &= 0xFFFFFFFF
        return value - 2**32 if value >= 2**31 else value
    return value - 2**64 if value >= 2**63 else value


def _read_entry(key: Kind, kind: Kind, sub: Any, data: bytes, depth: int) -> tuple[Any, Any]:
    item_key: Any = "" if key == Kind.STRING else 0
    item: Any = None
    pos = 0
    while pos < len(data):
        number, wire, value, pos = _read_field(data, pos, depth)
        if number == 1 and _fits(key, wire):
            item_key = _read_value(key, None, value, depth)
        elif number == 2 and _fits(kind, wire):
            item = _read_value(kind, sub, value, depth)
    if item is None:
        if kind == Kind.MESSAGE:
            item = sub.message_type()
        else:
            item = {Kind.STRING: "", Kind.BYTES: b"", Kind.DOUBLE: 0.0, Kind.FLOAT: 0.0, Kind.BOOL: False}.get(kind, 0)
    return item_key, item


def _read_value(kind: Kind, sub: Any, value: Any, depth: int) -> Any:
    if kind in _VARINTS:
        return _number(kind, value)
    if kind in _FIXED:
        return struct.unpack(_FIXED[kind], value)[0]
    return _READ[kind](sub, value, depth)


def _read_time(sub: Any, data: bytes, depth: int) -> int | None:
    seconds, ns = _two_numbers(data)
    if seconds == -62_135_596_800 and not ns:
        return None  # the year 1, which Go writes for a time that is not set
    return min(max(seconds * _NS + ns, -(2**63)), 2**63 - 1)


def _read_duration(sub: Any, data: bytes, depth: int) -> int:
    seconds, ns = _two_numbers(data)
    return min(max(seconds * _NS + ns, -(2**63)), 2**63 - 1)


def _two_numbers(data: bytes) -> tuple[int, int]:
    seconds = ns = pos = 0
    while pos < len(data):
        number, wire, value, pos = _read_field(data, pos, 0)
        if wire == 0:
            if number == 1:
                seconds = _number(Kind.INT64, value)
            elif number == 2:
                ns = _number(Kind.INT32, value)
    return seconds, ns


def _read_strings(sub: Any, data: bytes, depth: int) -> list[str]:
    paths = []
    pos = 0
    while pos < len(data):
        number, wire, value, pos = _read_field(data, pos, depth)
        if number == 1 and wire == 2:
            paths.append(value.decode())
    return paths


def _read_any(sub: Any, data: bytes, depth: int) -> Any:
    url, inner = "", b""
    pos = 0
    while pos < len(data):
        number, wire, value, pos = _read_field(data, pos, depth)
        if wire == 2 and number == 1:
            url = value.decode()
        elif wire == 2 and number == 2:
            inner = value
    table = _parts["table_named"](url.rpartition("/")[2])
    if table is None:
        return _parts["unknown"](url, inner)
    return _read_message(table, inner, depth + 1)


def _read_double_value(sub: Any, data: bytes, depth: int) -> float:
    result = 0.0
    pos = 0
    while pos < len(data):
        number, wire, value, pos = _read_field(data, pos, depth)
        if number == 1 and wire == 1:
            result = struct.unpack("<d", value)[0]
    return result


def _read_event(sub: Any, data: bytes, depth: int) -> HistoryEvent:
    event_id, event_time, event_type, version, task_id, may_ignore = _parts["event_numbers"]
    numbers: dict[int, Any] = {}
    pos = 0
    while pos < len(data):
        number, _wire, value, pos = _read_field(data, pos, depth)
        numbers[number] = value
    kind = _number(Kind.INT32, numbers.get(event_type, 0))
    attributes = None
    if kind in _parts["attributes"]:
        number, table = _parts["attributes"][kind]
        if number in numbers:
            attributes = _read_message(table(), numbers[number], depth + 1)
    extras = _read_message(_parts["extras"], data, depth)
    return HistoryEvent(
        _number(Kind.INT64, numbers.get(event_id, 0)),
        kind,
        (_read_time(None, numbers[event_time], depth) or 0) if event_time in numbers else 0,
        attributes,
        version=_number(Kind.INT64, numbers.get(version, 0)),
        task_id=_number(Kind.INT64, numbers.get(task_id, 0)),
        worker_may_ignore=bool(numbers.get(may_ignore, 0)),
        extras=None if extras == type(extras)() else extras,
    )


_READ: dict[Kind, Callable[[Any, Any, int], Any]] = {
    Kind.STRING: lambda sub, value, depth: value.decode(),
    Kind.BYTES: lambda sub, value, depth: value,
    Kind.MESSAGE: lambda sub, value, depth: _read_message(sub, value, depth + 1),
    Kind.TIMESTAMP: _read_time,
    Kind.DURATION: _read_duration,
    Kind.EMPTY: lambda sub, value, depth: True,
    Kind.FIELD_MASK: _read_strings,
    Kind.ANY: _read_any,
    Kind.DOUBLE_VALUE: _read_double_value,
    Kind.EVENT: _read_event,
}
