"""API structs to protobuf's wire bytes and back, by tables; no message objects in between.

A :class:`Table` says of one struct which field has which number and kind. It is filled from outside, as are the parts
that :func:`configure` sets: this module knows protobuf, not Temporal.

Bytes are written from their end to their beginning, so that a nested message's length is known when it is due. Reading
collects a struct's fields and then makes the struct in one call. History events stay bytes until somebody asks for
their attributes, and are written as they came.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.ref cimport PyObject, Py_INCREF, Py_XDECREF
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from perdure._native.events cimport HistoryEvent

cdef extern from "Python.h":
    PyObject* PyObject_Vectorcall(PyObject* callable, PyObject** args, size_t nargsf, PyObject* kwnames) except NULL
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL
    object PyUnicode_DecodeUTF8(const char* data, Py_ssize_t size, const char* errors)

cdef enum:
    # kinds: how a value is written
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

cdef enum:
    # modes: how often it may be there
    PLAIN = 0
    OPTIONAL = 1
    REPEATED = 2
    MAP = 3

cdef enum:
    MAX_DEPTH = 100          # of what is read, as protobuf's own
    MAX_WRITE_DEPTH = 1000   # of what is written: the C stack's sake
    MAX_FIELDS = 64
    DIRECT = 128             # field numbers below are looked up in an array
    NS = 1_000_000_000

cdef int64_t YEAR_1 = -62_135_596_800  # seconds; what Go writes for a time that is not set
cdef int64_t INT64_MAX = 0x7FFFFFFFFFFFFFFF
cdef int64_t INT64_MIN = -INT64_MAX - 1

cdef object _table_of = None
cdef object _table_named = None
cdef object _unknown = None
cdef dict _attributes = {}
cdef Table _extras = None
cdef int _n_id = 0, _n_time = 0, _n_type = 0, _n_version = 0, _n_task_id = 0, _n_ignore = 0


class DecodeError(ValueError):
    """Bytes that are not the message they were read as."""


@cython.final
cdef class Field:
    """One field of a table."""

    cdef:
        readonly str name
        int index            # in the struct
        int number
        int kind
        int mode
        int key_kind
        Table sub
        dict variants        # struct -> (number, table)


@cython.final
cdef class Table:
    """The fields of one message, in the order of the struct."""

    cdef:
        readonly object message_type
        readonly str full_name
        tuple defaults
        list fields
        dict far                       # number -> field, from DIRECT on
        PyObject* near[DIRECT]         # borrowed from fields and extra
        list extra                     # fields that stand for one variant
        int size

    def __init__(self, message_type, str full_name, tuple defaults):
        self.message_type = message_type
        self.full_name = full_name
        self.defaults = defaults
        self.fields = []
        self.far = {}
        self.extra = []
        self.size = len(defaults)
        if self.size > MAX_FIELDS:
            raise ValueError(f"{full_name} has more than {MAX_FIELDS} fields")

    def fill(self, list fields not None):
        """Set the fields: ``(index, name, number, kind, mode, map key's kind, table or variants)``."""
        cdef Field field
        for index, name, number, kind, mode, key_kind, sub in fields:
            field = _new_field(index, name, number, kind, mode, key_kind)
            self.fields.append(field)
            if kind == VARIANT:
                field.variants = {}
                for variant, table in sub.items():
                    field.variants[(<Table> table).message_type] = (variant, table)
                    self._add_variant(index, name, variant, table)
            else:
                field.sub = sub
                self._map(number, field)

    cdef int _add_variant(self, int index, str name, int number, Table table) except -1:
        cdef Field field = _new_field(index, name, number, MESSAGE, OPTIONAL, 0)
        field.sub = table
        self.extra.append(field)
        return self._map(number, field)

    cdef int _map(self, int number, Field field) except -1:
        if number < DIRECT:
            self.near[number] = <PyObject*> field
        else:
            self.far[number] = field
        return 0


cdef Field _new_field(int index, str name, int number, int kind, int mode, int key_kind):
    cdef Field field = Field.__new__(Field)
    field.index = index
    field.name = name
    field.number = number
    field.kind = kind
    field.mode = mode
    field.key_kind = key_kind
    return field


def configure(*, table_of, table_named, unknown, tuple event_numbers, dict attributes, Table extras):
    """Set what is needed besides a message's own table.

    ``table_of(struct)`` and ``table_named(full name)`` find tables; ``unknown(type url, bytes)`` holds a message in an
    Any that has none. Of history events: the numbers of id, time, type, version, task id and may-ignore; event type ->
    (number, function that returns its attributes' table); and the table of what follows the attributes.
    """
    global _table_of, _table_named, _unknown, _attributes, _extras
    global _n_id, _n_time, _n_type, _n_version, _n_task_id, _n_ignore
    _table_of = table_of
    _table_named = table_named
    _unknown = unknown
    _attributes = dict(attributes)
    _extras = extras
    _n_id, _n_time, _n_type, _n_version, _n_task_id, _n_ignore = event_numbers


# Writing


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
    if type(value) is _unknown:
        _write_value(out, 2, BYTES, None, value.value, True, depth)
        return _write_value(out, 1, STRING, None, value.type_url, False, depth)
    table = _table_of(type(value))
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
        _write_message(out, _extras, extras, depth)
    if event.worker_may_ignore:
        _put_varint(out, 1)
        _put_tag(out, _n_ignore, 0)
    attributes = event.attrs_once()
    if attributes is not None:
        number, table = _attributes[event.event_type]
        before = _used(out)
        _write_message(out, table(), attributes, depth)
        _close(out, number, before)
    if event.task_id:
        _put_varint(out, <uint64_t> event.task_id)
        _put_tag(out, _n_task_id, 0)
    if event.version:
        _put_varint(out, <uint64_t> event.version)
        _put_tag(out, _n_version, 0)
    if event.event_type:
        _put_varint(out, <uint64_t> <int64_t> event.event_type)
        _put_tag(out, _n_type, 0)
    if event.event_time:
        before = _used(out)
        _write_time(out, TIMESTAMP, event.event_time)
        _close(out, _n_time, before)
    if event.event_id:
        _put_varint(out, <uint64_t> event.event_id)
        _put_tag(out, _n_id, 0)
    return 0


# Reading


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
    found = _table_named(url.rpartition("/")[2])
    if found is None:
        return _unknown(url, _bytes(&body))
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
        if wire == 0 and number == _n_id:
            event.event_id = <int64_t> _varint(src)
        elif wire == 0 and number == _n_type:
            event.event_type = <int32_t> <uint32_t> _varint(src)
        elif wire == 0 and number == _n_version:
            event.version = <int64_t> _varint(src)
        elif wire == 0 and number == _n_task_id:
            event.task_id = <int64_t> _varint(src)
        elif wire == 0 and number == _n_ignore:
            event.worker_may_ignore = _varint(src) != 0
        elif wire == 2 and number == _n_time:
            _block(src, &inner)
            time = _read_time(TIMESTAMP, &inner, depth)
            event.event_time = 0 if time is None else time
        else:
            if number >= DIRECT and number in _extras.far:
                has_extras = True
            _skip(src, number, wire, depth)
    if has_extras:
        src.pos = start
        event._extras = _read_message(_extras, src, depth)
    return event


def event_attributes(int event_type, bytes event not None):
    """The attributes of an event of that type from the event's bytes; None if it has none, or none that we know."""
    cdef In src, inner
    cdef int number = 0, wire = 0
    known = _attributes.get(event_type)
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
