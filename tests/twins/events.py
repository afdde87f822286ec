"""The plain twin of the event codec: the batch format, written out a second time.

Format 1: byte 1; count, first event id (varints), first time (zigzag varint). Then per event: type (varint), flags (byte:
1 may be ignored, 2 version, 4 task id, 8 extras), time since the event before (zigzag), version and task id where
flagged (zigzag), attributes and, where flagged, extras (length and msgpack).
"""

from __future__ import annotations

from typing import Any

import msgspec

from perdure._native.events import HistoryEvent
from perdure.api.history import v1 as history_v1
from perdure.api.history._registry import ATTRIBUTES


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _zigzag(value: int) -> bytes:
    return _varint(value * 2 if value >= 0 else -value * 2 - 1)


def encode(events: list[HistoryEvent]) -> bytes:
    """The bytes of a batch."""
    out = [b"\x01", _varint(len(events)), _varint(events[0].event_id), _zigzag(events[0].event_time)]
    before = events[0].event_time
    for event in events:
        flags = event.worker_may_ignore | bool(event.version) << 1 | bool(event.task_id) << 2
        flags |= (event.extras is not None) << 3
        out += [_varint(event.event_type), bytes([flags]), _zigzag(event.event_time - before)]
        before = event.event_time
        out += [_zigzag(value) for value in (event.version, event.task_id) if value]
        for struct in (event.attributes, event.extras):
            if struct is not None:
                body = msgspec.msgpack.encode(struct)
                out += [_varint(len(body)), body]
    return b"".join(out)


class _Cursor:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1]

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def zigzag(self) -> int:
        value = self.varint()
        return value // 2 if value % 2 == 0 else -(value + 1) // 2

    def block(self) -> bytes:
        size = self.varint()
        self.at += size
        return self.data[self.at - size : self.at]


def decode(data: bytes) -> list[HistoryEvent]:
    """The events of a batch."""
    cursor = _Cursor(data)
    assert cursor.byte() == 1
    count, event_id, time = cursor.varint(), cursor.varint(), cursor.zigzag()
    events = []
    for _ in range(count):
        event_type, flags = cursor.varint(), cursor.byte()
        time += cursor.zigzag()
        version = cursor.zigzag() if flags & 2 else 0
        task_id = cursor.zigzag() if flags & 4 else 0
        attributes: Any = msgspec.msgpack.decode(cursor.block(), type=ATTRIBUTES[event_type][1])
        extras = msgspec.msgpack.decode(cursor.block(), type=history_v1.EventExtras) if flags & 8 else None
        events.append(
            HistoryEvent(
                event_id,
                event_type,
                time,
                attributes,
                version=version,
                task_id=task_id,
                worker_may_ignore=bool(flags & 1),
                extras=extras,
            )
        )
        event_id += 1
    assert cursor.at == len(data)
    return events
