"""Protobuf's bytes as structs.

Reading collects a struct's fields and then makes the struct in one call. History events stay bytes until somebody asks
for their attributes.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.ref cimport PyObject, Py_INCREF, Py_XDECREF
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from perdure._native.events cimport HistoryEvent
from perdure._native.protobuf.tables cimport (
    ANY, BOOL, BYTES, DIRECT, DOUBLE, DURATION, EMPTY, EVENT, FIELD_MASK, FLOAT, INT32, MAP, MAX_FIELDS,
    MESSAGE, NS, REPEATED, STRING, TIMESTAMP, UINT32, Field, Parts, Table,
)

from perdure._native.protobuf.tables import parts

cdef extern from "Python.h":
    PyObject* PyObject_Vectorcall(PyObject* callable, PyObject** args, size_t nargsf, PyObject* kwnames) except NULL
    object PyUnicode_DecodeUTF8(const char* data, Py_ssize_t size, const char* errors)

cdef enum:
    MAX_DEPTH = 100  # as protobuf's own

cdef int64_t YEAR_1 = -62_135_596_800  # seconds; what Go writes for a time that is not set
cdef int64_t INT64_MAX = 0x7FFFFFFFFFFFFFFF
cdef int64_t INT64_MIN = -INT64_MAX - 1

cdef Parts _parts = parts


class DecodeError(ValueError):
    """Bytes that are not the message they were read as."""


cdef struct In:
    const uint8_t* data
    Py_ssize_t pos
    Py_ssize_t end


cdef uint64_t _varint(In* src) except? 18446744073709551615:
    cdef uint64_t value = 0
    cdef int shift = 0
    cdef uint8_t byte
    while True:
        if src.pos >= src.end:
            raise DecodeError(f"a number at byte {src.pos} is cut off")
        byte = src.data[src.pos]
        src.pos += 1
        value |= (<uint64_t> (byte & 0x7F)) << shift
        if byte < 0x80:
            return value
        shift += 7
        if shift > 63:
            raise DecodeError(f"a number before byte {src.pos} is longer than 64 bits")


cdef int _tag(In* src, int* number, int* wire) except -1:
    cdef uint64_t tag = _varint(src)
    if not 0 < tag >> 3 < 536870912:
        raise DecodeError(f"there is no field number {tag >> 3}")
    number[0] = <int> (tag >> 3)
    wire[0] = <int> (tag & 7)
    return 0


cdef int _block(In* src, In* inner) except -1:
    """The bytes of a length-prefixed field, as a reader of their own."""
    cdef uint64_t size = _varint(src)
    if size > <uint64_t> (src.end - src.pos):
        raise DecodeError(f"{size} bytes at byte {src.pos} are cut off")
    inner.data = src.data
    inner.pos = src.pos
    inner.end = src.pos + <Py_ssize_t> size
    src.pos = inner.end
    return 0


cdef int _fixed(In* src, void* value, int size) except -1:
    if size > src.end - src.pos:
        raise DecodeError(f"{size} bytes at byte {src.pos} are cut off")
    if value != NULL:
        memcpy(value, src.data + src.pos, size)
    src.pos += size
    return 0


cdef int _skip(In* src, int number, int wire, int depth) except -1:
    cdef In inner
    cdef int inner_number = 0, inner_wire = 0
    if wire == 0:
        _varint(src)
    elif wire == 1:
        _fixed(src, NULL, 8)
    elif wire == 2:
        _block(src, &inner)
    elif wire == 5:
        _fixed(src, NULL, 4)
    elif wire == 3:
        if depth >= MAX_DEPTH:
            raise DecodeError("nested too deeply")
        while True:
            _tag(src, &inner_number, &inner_wire)
            if inner_wire == 4:
                if inner_number != number:
                    raise DecodeError(f"a group ends before byte {src.pos} that never began")
                return 0
            _skip(src, inner_number, inner_wire, depth + 1)
    else:
        raise DecodeError(f"there is no wire type {wire} here, before byte {src.pos}")
    return 0


def decode(Table table not None, data):
    """The message that bytes hold. Raises :class:`DecodeError`."""
    cdef In src
    cdef bytes whole = data if type(data) is bytes else bytes(data)
    src.data = <const uint8_t*> PyBytes_AS_STRING(whole)
    src.pos = 0
    src.end = PyBytes_GET_SIZE(whole)
    return _read_message(table, &src, 0)


cdef object _read_message(Table table, In* src, int depth):
    cdef PyObject* values[MAX_FIELDS]
    cdef int i, last = 0
    cdef Field field
    cdef int number = 0, wire = 0
    cdef PyObject* found
    cdef PyObject* made
    if depth > MAX_DEPTH:
        raise DecodeError("nested too deeply")
    for i in range(table.size):
        values[i] = NULL
    try:
        while src.pos < src.end:
            _tag(src, &number, &wire)
            if number < DIRECT:
                found = table.near[number]
                if found == NULL:
                    _skip(src, number, wire, depth)
                    continue
                field = <Field> found
            else:
                field = table.far.get(number)
                if field is None:
                    _skip(src, number, wire, depth)
                    continue
            if _read_field(table, field, src, wire, &values[field.index], depth) and field.index >= last:
                last = field.index + 1
        for i in range(last):
            if values[i] == NULL:
                values[i] = _default(table, i)
        made = PyObject_Vectorcall(<PyObject*> table.message_type, values, last, NULL)
        result = <object> made
        Py_XDECREF(made)
        return result
    finally:
        for i in range(table.size):
            Py_XDECREF(values[i])


cdef PyObject* _default(Table table, int index) except NULL:
    """A new reference to what a field is when it is absent."""
    value = table.defaults[index]
    if type(value) is list:
        value = []
    elif type(value) is dict:
        value = {}
    elif not isinstance(value, (str, bytes, int, float)) and value is not None:
        value = value.factory()
    Py_INCREF(value)
    return <PyObject*> value


cdef int _read_field(Table table, Field field, In* src, int wire, PyObject** place, int depth) except -1:
    """Read a value into its place; 0 when it is of another kind than ours and was skipped."""
    cdef In inner
    cdef list items
    cdef int kind = field.kind
    if field.mode == REPEATED:
        if wire == 2 and (kind <= BOOL or kind == DOUBLE or kind == FLOAT):
            _block(src, &inner)
            _read_packed(kind, &inner, <list> _list_at(place))
            return 1
        if not _fits(kind, wire):
            _skip(src, field.number, wire, depth)
            return 0
        items = <list> _list_at(place)
        item = _read_value(table, field, kind, field.sub, src, depth)
        if item is not None:
            items.append(item)
        return 1
    if field.mode == MAP:
        if wire != 2:
            _skip(src, field.number, wire, depth)
            return 0
        _block(src, &inner)
        if place[0] == NULL:
            _set(place, {})
        return _read_entry(table, field, &inner, <dict> <object> place[0], depth)
    if not _fits(kind, wire):
        _skip(src, field.number, wire, depth)
        return 0
    _set(place, _read_value(table, field, kind, field.sub, src, depth))
    return 1


cdef int _set(PyObject** place, object value) except -1:
    cdef PyObject* old = place[0]
    Py_INCREF(value)
    place[0] = <PyObject*> value
    Py_XDECREF(old)
    return 0


cdef object _list_at(PyObject** place):
    if place[0] == NULL:
        _set(place, [])
    return <object> place[0]


cdef bint _fits(int kind, int wire) noexcept:
    """Whether a field that came with this wire type is the one we know by its number; if not, it is unknown."""
    if kind <= BOOL:
        return wire == 0
    if kind == DOUBLE:
        return wire == 1
    return wire == (5 if kind == FLOAT else 2)


cdef int _read_packed(int kind, In* src, list values) except -1:
    cdef double wide = 0
    cdef float narrow = 0
    while src.pos < src.end:
        if kind == DOUBLE:
            _fixed(src, &wide, 8)
            values.append(wide)
        elif kind == FLOAT:
            _fixed(src, &narrow, 4)
            values.append(<double> narrow)
        else:
            values.append(_number(kind, _varint(src)))
    return 0


cdef object _number(int kind, uint64_t value):
    if kind == BOOL:
        return value != 0
    if kind == UINT32:
        return <uint32_t> value
    if kind == INT32:
        return <int32_t> <uint32_t> value
    return <int64_t> value


cdef int _read_entry(Table table, Field field, In* src, dict values, int depth) except -1:
    cdef int number = 0, wire = 0
    key = "" if field.key_kind == STRING else 0
    item = None
    while src.pos < src.end:
        _tag(src, &number, &wire)
        if number == 1 and _fits(field.key_kind, wire):
            key = _read_value(table, field, field.key_kind, None, src, depth)
        elif number == 2 and _fits(field.kind, wire):
            item = _read_value(table, field, field.kind, field.sub, src, depth)
        else:
            _skip(src, number, wire, depth)
    if item is None:
        if field.kind == MESSAGE:
            item = field.sub.message_type()
        elif field.kind == STRING:
            item = ""
        elif field.kind == BYTES:
            item = b""
        elif field.kind == DOUBLE or field.kind == FLOAT:
            item = 0.0
        else:
            item = False if field.kind == BOOL else 0
    values[key] = item
    return 1


cdef object _read_value(Table table, Field field, int kind, Table sub, In* src, int depth):
    cdef In inner
    cdef double wide = 0
    cdef float narrow = 0
    if kind <= BOOL:
        return _number(kind, _varint(src))
    if kind == DOUBLE:
        _fixed(src, &wide, 8)
        return wide
    if kind == FLOAT:
        _fixed(src, &narrow, 4)
        return <double> narrow
    _block(src, &inner)
    if kind == STRING:
        return _text(table, field, &inner)
    if kind == BYTES:
        return _bytes(&inner)
    if kind == MESSAGE:
        return _read_message(sub, &inner, depth + 1)
    if kind == TIMESTAMP or kind == DURATION:
        return _read_time(kind, &inner, depth)
    if kind == EVENT:
        return _read_event(&inner, depth + 1)
    if kind == EMPTY:
        return True
    if kind == FIELD_MASK:
        return _read_texts(table, field, &inner, depth)
    if kind == ANY:
        return _read_any(table, field, &inner, depth)
    return _read_double(&inner, depth)


cdef bytes _bytes(In* src):
    return PyBytes_FromStringAndSize(<const char*> src.data + src.pos, src.end - src.pos)


cdef str _text(Table table, Field field, In* src):
    try:
        return PyUnicode_DecodeUTF8(<const char*> src.data + src.pos, src.end - src.pos, NULL)
    except UnicodeDecodeError:
        raise DecodeError(f"{table.full_name}.{field.name} is not UTF-8") from None


cdef object _read_time(int kind, In* src, int depth):
    cdef int64_t seconds = 0, ns = 0
    cdef int number = 0, wire = 0
    while src.pos < src.end:
        _tag(src, &number, &wire)
        if wire == 0 and number == 1:
            seconds = <int64_t> _varint(src)
        elif wire == 0 and number == 2:
            ns = <int32_t> <uint32_t> _varint(src)
        else:
            _skip(src, number, wire, depth)
    if kind == TIMESTAMP and seconds == YEAR_1 and not ns:
        return None
    # what 64 bits of nanoseconds do not hold is the first or the last that they do
    if seconds > 9223372030:
        return min(<object> seconds * NS + ns, INT64_MAX)
    if seconds < -9223372030:
        return max(<object> seconds * NS + ns, INT64_MIN)
    return seconds * NS + ns


cdef list _read_texts(Table table, Field field, In* src, int depth):
    cdef In inner
    cdef int number = 0, wire = 0
    cdef list texts = []
    while src.pos < src.end:
        _tag(src, &number, &wire)
        if number == 1 and wire == 2:
            _block(src, &inner)
            texts.append(_text(table, field, &inner))
        else:
            _skip(src, number, wire, depth)
    return texts


cdef object _read_any(Table table, Field field, In* src, int depth):
    cdef In inner, body
    cdef int number = 0, wire = 0
    cdef str url = ""
    body.data = src.data
    body.pos = body.end = 0
    while src.pos < src.end:
        _tag(src, &number, &wire)
        if wire == 2 and number == 1:
            _block(src, &inner)
            url = _text(table, field, &inner)
        elif wire == 2 and number == 2:
            _block(src, &body)
        else:
            _skip(src, number, wire, depth)
    found = _parts.table_named(url.rpartition("/")[2])
    if found is None:
        return _parts.unknown(url, _bytes(&body))
    return _read_message(found, &body, depth + 1)


cdef double _read_double(In* src, int depth) except? -7:
    cdef double value = 0
    cdef int number = 0, wire = 0
    while src.pos < src.end:
        _tag(src, &number, &wire)
        if number == 1 and wire == 1:
            _fixed(src, &value, 8)
        else:
            _skip(src, number, wire, depth)
    return value


cdef HistoryEvent _read_event(In* src, int depth):
    """An event that keeps its bytes. Its attributes are read when somebody asks for them."""
    cdef HistoryEvent event = HistoryEvent.__new__(HistoryEvent)
    cdef In inner
    cdef int number = 0, wire = 0
    cdef bint has_extras = False
    cdef Py_ssize_t start = src.pos
    event._wire = _bytes(src)
    while src.pos < src.end:
        _tag(src, &number, &wire)
        if wire == 0 and number == _parts.n_id:
            event.event_id = <int64_t> _varint(src)
        elif wire == 0 and number == _parts.n_type:
            event.event_type = <int32_t> <uint32_t> _varint(src)
        elif wire == 0 and number == _parts.n_version:
            event.version = <int64_t> _varint(src)
        elif wire == 0 and number == _parts.n_task_id:
            event.task_id = <int64_t> _varint(src)
        elif wire == 0 and number == _parts.n_ignore:
            event.worker_may_ignore = _varint(src) != 0
        elif wire == 2 and number == _parts.n_time:
            _block(src, &inner)
            time = _read_time(TIMESTAMP, &inner, depth)
            event.event_time = 0 if time is None else time
        else:
            if number >= DIRECT and number in _parts.extras.far:
                has_extras = True
            _skip(src, number, wire, depth)
    if has_extras:
        src.pos = start
        event._extras = _read_message(_parts.extras, src, depth)
    return event


def event_attributes(int event_type, bytes event not None):
    """The attributes of an event of that type from the event's bytes; None if it has none, or none that we know."""
    cdef In src, inner
    cdef int number = 0, wire = 0
    known = _parts.attributes.get(event_type)
    if known is None:
        return None
    src.data = <const uint8_t*> PyBytes_AS_STRING(event)
    src.pos = 0
    src.end = PyBytes_GET_SIZE(event)
    result = None
    while src.pos < src.end:
        _tag(&src, &number, &wire)
        if wire == 2 and number == <int> known[0]:
            _block(&src, &inner)
            result = _read_message(known[1](), &inner, 1)
        else:
            _skip(&src, number, wire, 0)
    return result
