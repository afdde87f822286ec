"""History events and their compact byte form.

A *batch* is what one commit appends to a history. Its bytes are a header (format, count, first event id, first time)
and then, for each event, a few varints and the length-prefixed attributes. Attributes stay bytes until somebody
reads them: a batch that is only counted, copied or skipped never builds a struct.

The structs themselves belong to ``perdure.api``; :func:`configure` hands their encoder and decoders in.
"""

cimport cython
from libc.stdint cimport int64_t, uint64_t

from perdure._native.buffers cimport (
    Reader,
    Writer,
    open_reader,
    read_block,
    read_u8,
    read_varint,
    read_zigzag,
)

cdef enum:
    FORMAT = 1
    TYPE_ROOM = 256
    # per-event flags
    MAY_IGNORE = 1
    HAS_VERSION = 2
    HAS_TASK_ID = 4
    HAS_EXTRAS = 8

cdef object _encode = None
cdef object _decode_extras = None
cdef list _decoders = [None] * TYPE_ROOM
cdef dict _fields = {}
cdef object _decode_wire = None


def configure_wire(decode):
    """Set how the attributes of an event that came as protobuf are read: ``decode(event type, bytes) -> struct``."""
    global _decode_wire
    _decode_wire = decode


def configure(encode, decode_extras, decoders, fields):
    """Set the attribute codecs: ``encode(struct) -> bytes``, a decoder per event type, and oneof field -> type."""
    global _encode, _decode_extras
    _encode = encode
    _decode_extras = decode_extras
    for event_type, decode in decoders.items():
        _decoders[event_type] = decode
    _fields.update(fields)


@cython.final
@cython.no_gc  # attributes are structs and payloads: never part of a cycle
cdef class HistoryEvent:
    """One event of a history, with Temporal's field names.

    ``attributes`` is the struct of its type; the oneof names (``event.timer_fired_event_attributes``) reach the same
    struct and raise :class:`AttributeError` when the event is of another type. Events are shared: never change one.
    """

    def __init__(
        self,
        event_id=0,
        event_type=0,
        event_time=0,
        attributes=None,
        *,
        version=0,
        task_id=0,
        worker_may_ignore=False,
        extras=None,
    ):
        self.event_id = event_id
        self.event_type = event_type
        self.event_time = event_time
        self.version = version
        self.task_id = task_id
        self.worker_may_ignore = worker_may_ignore
        self._attributes = attributes
        self._extras = extras

    cdef object attrs(self):
        if self._attributes is None and self._raw is not None:
            decode = _decoders[self.event_type] if 0 <= self.event_type < TYPE_ROOM else None
            if decode is None:
                raise ValueError(
                    f"event {self.event_id} is of unknown type {self.event_type}: written by a newer perdure?"
                )
            self._attributes = decode(self._raw)
            self._raw = None
        elif self._attributes is None and self._wire is not None:
            self._attributes = _decode_wire(self.event_type, self._wire)
        return self._attributes

    cdef object attrs_once(self):
        """The attributes, without keeping what has to be decoded: for who looks at an event that others hold."""
        if self._attributes is None and self._raw is not None and 0 <= self.event_type < TYPE_ROOM:
            decode = _decoders[self.event_type]
            if decode is not None:
                return decode(self._raw)
        return self.attrs()

    @property
    def attributes(self):
        """The attributes struct of this event's type."""
        return self.attrs()

    @property
    def extras(self):
        """The :class:`EventExtras` of this event, or None (most events have none)."""
        if self._extras is None and self._raw_extras is not None:
            self._extras = _decode_extras(self._raw_extras)
            self._raw_extras = None
        return self._extras

    @property
    def user_metadata(self):
        """The summary and details a user gave the command or request behind this event, or None."""
        extras = self.extras
        return None if extras is None else extras.user_metadata

    @property
    def links(self):
        """Links to events of other executions."""
        extras = self.extras
        return [] if extras is None else extras.links

    @property
    def event_group_markers(self):
        """The event groups this event belongs to."""
        extras = self.extras
        return [] if extras is None else extras.event_group_markers

    @property
    def is_decoded(self):
        """Whether the attributes have been built (False: still the bytes they came in)."""
        return self._raw is None and (self._wire is None or self._attributes is not None)

    def HasField(self, name):
        """Whether the event has these attributes or this field, as of protobuf messages."""
        if name in _fields:
            return _fields[name] == self.event_type
        return getattr(self, name) is not None

    def __getattr__(self, name):
        event_type = _fields.get(name)
        if event_type is not None and event_type == self.event_type:
            return self.attrs()
        raise AttributeError(f"event {self.event_id} of type {self.event_type} has no {name}")

    def __eq__(self, other):
        if not isinstance(other, HistoryEvent):
            return NotImplemented
        return (
            self.event_id == other.event_id
            and self.event_type == other.event_type
            and self.event_time == other.event_time
            and self.version == other.version
            and self.task_id == other.task_id
            and self.worker_may_ignore == other.worker_may_ignore
            and self.attributes == other.attributes
            and self.extras == other.extras
        )

    __hash__ = None

    def __repr__(self):
        return f"HistoryEvent(event_id={self.event_id}, event_type={self.event_type}, attributes={self.attributes!r})"

    def __reduce__(self):
        return decode_one, (encode_batch([self]),)


cdef HistoryEvent new_event(int64_t event_id, int event_type, int64_t event_time, object attributes):
    cdef HistoryEvent event = HistoryEvent.__new__(HistoryEvent)
    event.event_id = event_id
    event.event_type = event_type
    event.event_time = event_time
    event._attributes = attributes
    return event


cpdef bytes encode_batch(list events):
    """The bytes of consecutive events. Raises ValueError when their ids are not consecutive or the list is empty."""
    cdef Writer w = Writer.__new__(Writer)
    cdef HistoryEvent event
    cdef int64_t expected, last_time
    cdef int flags
    if not events:
        raise ValueError("a batch holds at least one event")
    event = events[0]
    expected = event.event_id
    last_time = event.event_time
    w.u8(FORMAT)
    w.varint(<uint64_t> len(events))
    w.varint(<uint64_t> expected)
    w.zigzag(last_time)
    for event in events:
        if event.event_id != expected:
            raise ValueError(f"event ids must be consecutive: {event.event_id} stands where {expected} belongs")
        expected += 1
        flags = 0
        if event.worker_may_ignore:
            flags |= MAY_IGNORE
        if event.version:
            flags |= HAS_VERSION
        if event.task_id:
            flags |= HAS_TASK_ID
        if event._extras is not None or event._raw_extras is not None:
            flags |= HAS_EXTRAS
        w.varint(<uint64_t> event.event_type)
        w.u8(flags)
        w.zigzag(event.event_time - last_time)
        last_time = event.event_time
        if flags & HAS_VERSION:
            w.zigzag(event.version)
        if flags & HAS_TASK_ID:
            w.zigzag(event.task_id)
        w.block(event._raw if event._raw is not None else <bytes> _encode(event.attrs()))
        if flags & HAS_EXTRAS:
            w.block(event._raw_extras if event._raw_extras is not None else <bytes> _encode(event._extras))
    return w.finish()


def decode_batch(bytes data not None):
    """The events of a batch, attributes undecoded. Raises ValueError when the bytes are damaged or of a newer format."""
    cdef Reader r
    cdef HistoryEvent event
    cdef int64_t event_id, last_time
    cdef uint64_t count
    cdef int flags
    cdef list events = []
    open_reader(&r, data)
    flags = read_u8(&r)
    if flags != FORMAT:
        raise ValueError(f"history batch of format {flags}, this perdure reads {FORMAT}: use the version that wrote it")
    count = read_varint(&r)
    event_id = <int64_t> read_varint(&r)
    last_time = read_zigzag(&r)
    while count > 0:
        count -= 1
        event = HistoryEvent.__new__(HistoryEvent)
        event.event_id = event_id
        event_id += 1
        event.event_type = <int> read_varint(&r)
        flags = read_u8(&r)
        last_time += read_zigzag(&r)
        event.event_time = last_time
        event.worker_may_ignore = flags & MAY_IGNORE
        if flags & HAS_VERSION:
            event.version = read_zigzag(&r)
        if flags & HAS_TASK_ID:
            event.task_id = read_zigzag(&r)
        event._raw = read_block(&r)
        if flags & HAS_EXTRAS:
            event._raw_extras = read_block(&r)
        events.append(event)
    if r.pos != r.end:
        raise ValueError(f"damaged history batch: {r.end - r.pos} bytes after its last event")
    return events


def decode_one(bytes data not None):
    """The single event of a batch of one; what unpickling an event calls."""
    return decode_batch(data)[0]


def batch_range(bytes data not None):
    """``(first event id, number of events)`` of a batch, read from its header alone."""
    cdef Reader r
    open_reader(&r, data)
    if read_u8(&r) != FORMAT:
        raise ValueError("history batch of an unknown format")
    count = read_varint(&r)
    return read_varint(&r), count
