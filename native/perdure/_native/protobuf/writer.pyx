"""Structs as protobuf's bytes.

Bytes are written from their end to their beginning, so that a nested message's length is known when it is due. History
events that came as protobuf are written as they came.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from perdure._native.events cimport HistoryEvent
from perdure._native.protobuf.tables cimport (
    ANY, BOOL, BYTES, DOUBLE, DOUBLE_VALUE, DURATION, EMPTY, EVENT, FIELD_MASK, FLOAT, INT32, MESSAGE, NS,
    OPTIONAL, PLAIN, REPEATED, STRING, TIMESTAMP, UINT32, VARIANT, Field, Parts, Table,
)

from perdure._native.protobuf.tables import parts

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL

cdef enum:
    MAX_WRITE_DEPTH = 1000   # the C stack's sake

cdef Parts _parts = parts


cdef struct Out:
    uint8_t* data
    Py_ssize_t room
    Py_ssize_t start     # what is written lies from here to room


cdef int _need(Out* out, Py_ssize_t extra) except -1:
    cdef Py_ssize_t used, room
    cdef uint8_t* data
    if out.start >= extra:
        return 0
    used = out.room - out.start
    room = max(out.room * 2, used + extra, 512)
    data = <uint8_t*> malloc(room)
    if data == NULL:
        raise MemoryError()
    memcpy(data + room - used, out.data + out.start, used)
    free(out.data)
    out.data = data
    out.room = room
    out.start = room - used
    return 0


cdef int _put_varint(Out* out, uint64_t value) except -1:
    cdef uint8_t digits[10]
    cdef int size = 0
    _need(out, 10)
    if value < 0x80:
        out.start -= 1
        out.data[out.start] = <uint8_t> value
        return 0
    while value >= 0x80:
        digits[size] = <uint8_t> (value | 0x80)
        size += 1
        value >>= 7
    digits[size] = <uint8_t> value
    size += 1
    out.start -= size
    memcpy(out.data + out.start, digits, size)
    return 0


cdef int _put_raw(Out* out, const void* data, Py_ssize_t size) except -1:
    _need(out, size)
    out.start -= size
    memcpy(out.data + out.start, data, size)
    return 0


cdef inline int _put_tag(Out* out, int number, int wire) except -1:
    return _put_varint(out, <uint64_t> number << 3 | wire)


cdef inline Py_ssize_t _used(Out* out) noexcept:
    return out.room - out.start


cdef int _close(Out* out, int number, Py_ssize_t before) except -1:
    """Put length and tag before what was written since ``before`` bytes were."""
    _put_varint(out, _used(out) - before)
    return _put_tag(out, number, 2)


def encode(Table table not None, message):
    """The message as protobuf. Raises ValueError or TypeError for a field that protobuf cannot hold."""
    cdef Out out
    out.data = NULL
    out.room = 0
    out.start = 0
    if type(message) is not table.message_type:
        raise TypeError(f"expected {table.message_type.__name__}, got {message!r:.80}")
    try:
        _need(&out, 512)
        _write_message(&out, table, message, 0)
        return PyBytes_FromStringAndSize(<char*> out.data + out.start, _used(&out))
    finally:
        free(out.data)


cdef int _write_message(Out* out, Table table, object message, int depth) except -1:
    cdef Py_ssize_t i = len(table.fields) - 1
    cdef Field field
    if depth > MAX_WRITE_DEPTH:
        raise ValueError("nested too deeply")
    try:
        while i >= 0:
            field = <Field> table.fields[i]
            _write_field(out, field, getattr(message, field.name), depth)
            i -= 1
    except (TypeError, ValueError, OverflowError) as error:
        raise _placed(error, table, <Field> table.fields[i]) from None
    return 0


cdef object _placed(error, Table table, Field field):
    """The error with the field's name, once."""
    if getattr(error, "is_placed", False):
        return error
    placed = (TypeError if isinstance(error, TypeError) else ValueError)(f"{table.full_name}.{field.name}: {error}")
    placed.is_placed = True
    return placed


cdef int _write_field(Out* out, Field field, object value, int depth) except -1:
    if field.mode == PLAIN:
        if value is None or (field.kind >= MESSAGE and not value):
            return 0
        return _write_value(out, field.number, field.kind, field.sub, value, True, depth)
    if field.mode == OPTIONAL:
        if value is None:
            return 0
        if field.kind == VARIANT:
            return _write_variant(out, field, value, depth)
        if (field.kind == EMPTY or field.kind == FIELD_MASK) and not value:
            return 0
        return _write_value(out, field.number, field.kind, field.sub, value, False, depth)
    if field.mode == REPEATED:
        if type(value) is not list:
            raise TypeError(f"expected a list, got {value!r:.80}")
        return _write_list(out, field, <list> value, depth)
    if type(value) is not dict:
        raise TypeError(f"expected a dict, got {value!r:.80}")
    return _write_map(out, field, <dict> value, depth)


cdef int _write_variant(Out* out, Field field, object value, int depth) except -1:
    cdef Py_ssize_t before = _used(out)
    variant = field.variants.get(type(value))
    if variant is None:
        raise TypeError(f"no variant is {type(value).__name__}")
    _write_message(out, <Table> (<tuple> variant)[1], value, depth + 1)
    return _close(out, (<tuple> variant)[0], before)


cdef int _write_list(Out* out, Field field, list values, int depth) except -1:
    cdef Py_ssize_t i = len(values) - 1, before = _used(out)
    if i < 0:
        return 0
    if field.kind <= BOOL or field.kind == DOUBLE or field.kind == FLOAT:
        while i >= 0:
            _put_number(out, field.kind, values[i])
            i -= 1
        return _close(out, field.number, before)
    while i >= 0:
        _write_value(out, field.number, field.kind, field.sub, values[i], False, depth)
        i -= 1
    return 0


cdef int _write_map(Out* out, Field field, dict values, int depth) except -1:
    cdef Py_ssize_t before
    if not values:
        return 0
    for key in reversed(values):
        before = _used(out)
        _write_value(out, 2, field.kind, field.sub, values[key], False, depth)
        _write_value(out, 1, field.key_kind, None, key, False, depth)
        _close(out, field.number, before)
    return 0


cdef int64_t _integer(object value, int kind) except? -7:
    cdef int64_t number
    if not isinstance(value, int):
        raise TypeError(f"expected an integer, got {value!r:.80}")
    try:
        number = value
    except OverflowError:
        raise ValueError(f"{value} does not fit {_kind_name(kind)}") from None
    if (
        (kind == INT32 and not -2147483648 <= number <= 2147483647)
        or (kind == UINT32 and not 0 <= number <= 4294967295)
        or (kind == BOOL and not 0 <= number <= 1)
    ):
        raise ValueError(f"{value} does not fit {_kind_name(kind)}")
    return number


cdef str _kind_name(int kind):
    if kind == INT32:
        return "int32"
    if kind == UINT32:
        return "uint32"
    return "bool" if kind == BOOL else "int64"


cdef int _put_number(Out* out, int kind, object value) except -1:
    """A number without its tag."""
    cdef double wide
    cdef float narrow
    if kind == DOUBLE:
        wide = _double(value)
        return _put_raw(out, &wide, 8)
    if kind == FLOAT:
        narrow = <float> _double(value)
        return _put_raw(out, &narrow, 4)
    return _put_varint(out, <uint64_t> _integer(value, kind))


cdef double _double(object value) except? -7:
    if not isinstance(value, (float, int)):
        raise TypeError(f"expected a number, got {value!r:.80}")
    return value


cdef bint _is_zero(double value) noexcept:
    """Whether these are zero's bytes: not those of minus zero."""
    cdef uint64_t bits
    memcpy(&bits, &value, 8)
    return bits == 0


cdef int _write_value(Out* out, int number, int kind, Table sub, object value, bint skip_default, int depth) except -1:
    """Tag and value; nothing for a default where that may be left out."""
    cdef Py_ssize_t size, before
    cdef const char* text
    cdef int64_t integer
    if kind == STRING:
        if not isinstance(value, str):
            raise TypeError(f"expected a string, got {value!r:.80}")
        text = PyUnicode_AsUTF8AndSize(value, &size)
        if skip_default and not size:
            return 0
        _put_raw(out, text, size)
        _put_varint(out, size)
        return _put_tag(out, number, 2)
    if kind <= BOOL:
        integer = _integer(value, kind)
        if skip_default and not integer:
            return 0
        _put_varint(out, <uint64_t> integer)
        return _put_tag(out, number, 0)
    before = _used(out)
    if kind == MESSAGE:
        if type(value) is not sub.message_type:
            raise TypeError(f"expected {sub.message_type.__name__}, got {value!r:.80}")
        _write_message(out, sub, value, depth + 1)
        return _close(out, number, before)
    if kind == BYTES:
        if not isinstance(value, bytes):
            if not isinstance(value, (bytearray, memoryview)):
                raise TypeError(f"expected bytes, got {value!r:.80}")
            value = bytes(value)
        size = PyBytes_GET_SIZE(value)
        if skip_default and not size:
            return 0
        _put_raw(out, PyBytes_AS_STRING(value), size)
        return _close(out, number, before)
    if kind == TIMESTAMP or kind == DURATION:
        _write_time(out, kind, _nanoseconds(value))
        return _close(out, number, before)
    if kind == DOUBLE or kind == FLOAT:
        if skip_default and _is_zero(_double(value)):
            return 0
        _put_number(out, kind, value)
        return _put_tag(out, number, 1 if kind == DOUBLE else 5)
    if kind == EVENT:
        _write_event(out, value, depth + 1)
    elif kind == FIELD_MASK:
        for path in reversed(value):
            _write_value(out, 1, STRING, None, path, False, depth)
    elif kind == ANY:
        _write_any(out, value, depth + 1)
    elif kind == DOUBLE_VALUE:
        _write_value(out, 1, DOUBLE, None, value, True, depth)
    return _close(out, number, before)  # of Empty, nothing


cdef int64_t _nanoseconds(object value) except? -7:
    if not isinstance(value, int):
        raise TypeError(f"expected nanoseconds, got {value!r:.80}")
    try:
        return value
    except OverflowError:
        raise ValueError(f"{value} ns do not fit 64 bits") from None


@cython.cdivision(True)
cdef int _write_time(Out* out, int kind, int64_t value) except -1:
    cdef int64_t seconds = value // NS, ns = value % NS  # as in C: both have the value's sign
    if ns < 0 and kind == TIMESTAMP:
        seconds -= 1
        ns += NS
    if ns:
        _put_varint(out, <uint64_t> ns)
        _put_tag(out, 2, 0)
    if seconds:
        _put_varint(out, <uint64_t> seconds)
        _put_tag(out, 1, 0)
    return 0


cdef int _write_any(Out* out, object value, int depth) except -1:
    cdef Py_ssize_t before = _used(out)
    cdef Table table
    if type(value) is _parts.unknown:
        _write_value(out, 2, BYTES, None, value.value, True, depth)
        return _write_value(out, 1, STRING, None, value.type_url, False, depth)
    table = _parts.table_of(type(value))
    _write_message(out, table, value, depth)
    if _used(out) > before:
        _close(out, 2, before)
    return _write_value(out, 1, STRING, None, "type.googleapis.com/" + table.full_name, False, depth)


cdef int _write_event(Out* out, HistoryEvent event, int depth) except -1:
    cdef Py_ssize_t before
    if event._wire is not None:
        return _put_raw(out, PyBytes_AS_STRING(event._wire), PyBytes_GET_SIZE(event._wire))
    extras = event.extras
    if extras is not None:
        _write_message(out, _parts.extras, extras, depth)
    if event.worker_may_ignore:
        _put_varint(out, 1)
        _put_tag(out, _parts.n_ignore, 0)
    attributes = event.attrs_once()
    if attributes is not None:
        number, table = _parts.attributes[event.event_type]
        before = _used(out)
        _write_message(out, table(), attributes, depth)
        _close(out, number, before)
    if event.task_id:
        _put_varint(out, <uint64_t> event.task_id)
        _put_tag(out, _parts.n_task_id, 0)
    if event.version:
        _put_varint(out, <uint64_t> event.version)
        _put_tag(out, _parts.n_version, 0)
    if event.event_type:
        _put_varint(out, <uint64_t> <int64_t> event.event_type)
        _put_tag(out, _parts.n_type, 0)
    if event.event_time:
        before = _used(out)
        _write_time(out, TIMESTAMP, event.event_time)
        _close(out, _parts.n_time, before)
    if event.event_id:
        _put_varint(out, <uint64_t> event.event_id)
        _put_tag(out, _parts.n_id, 0)
    return 0
