"""JSON text of plain values, byte for byte what ``json.dumps(value, separators=(",", ":"), sort_keys=True)`` gives.

Plain are str, int, float, bool, None, lists, tuples, dicts with str keys, datetime, UUID and dataclasses of them. For
anything else :func:`dumps` returns None and the caller asks the ``json`` module, which knows the user's hooks.
"""

import dataclasses
import datetime
import json
import uuid

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, strlen

cdef extern from "Python.h":
    int PyUnicode_KIND(object text)
    const void* PyUnicode_DATA(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)
    int PyUnicode_IS_ASCII(object text)
    uint32_t PyUnicode_READ(int kind, const void* data, Py_ssize_t index)
    long long PyLong_AsLongLongAndOverflow(object value, int* overflow) except? -1
    char* PyOS_double_to_string(double value, char code, int precision, int flags, int* kind) except NULL
    enum: Py_DTSF_ADD_DOT_0

cdef enum:
    # what write() answers
    DONE = 0
    NOT_PLAIN = 1
    # how the values of a type are written
    OPAQUE = 0
    STRING = 1
    INTEGER = 2
    FLOAT = 3
    SEQUENCE = 4
    DATACLASS = 5
    ISO = 6
    TEXT = 7
    # limits
    STACK_ROOM = 512
    DEPTH = 64
    PLANS = 4096


cdef struct Out:
    uint8_t* data
    Py_ssize_t size
    Py_ssize_t room
    bint on_heap


cdef class Plan:
    """How the values of one type are written."""

    cdef:
        int kind
        tuple names    # of a dataclass: fields by name
        tuple keys     # and their JSON keys, with quotes and colon


cdef dict _plans = {}
cdef str _opaque_attribute = ""
cdef const char* HEX = b"0123456789abcdef"


def leave_alone(types, attribute):
    """Never write values of ``types``, nor of classes that have ``attribute``: :func:`dumps` returns None for them."""
    global _opaque_attribute
    cdef Plan plan
    _opaque_attribute = attribute
    for cls in types:
        plan = Plan.__new__(Plan)
        _plans[cls] = plan


def dumps(value):
    """The JSON of a value, or None when there is something in it that is not plain."""
    cdef uint8_t stack[STACK_ROOM]
    cdef Out out
    out.data = stack
    out.size = 0
    out.room = STACK_ROOM
    out.on_heap = False
    try:
        if write(&out, value, 0) == NOT_PLAIN:
            return None
        return PyBytes_FromStringAndSize(<char*> out.data, out.size)
    finally:
        if out.on_heap:
            free(out.data)


cdef int reserve(Out* out, Py_ssize_t extra) except -1:
    cdef Py_ssize_t room
    cdef uint8_t* data
    if out.size + extra <= out.room:
        return DONE
    room = max(out.room * 2, out.size + extra)
    if out.on_heap:
        data = <uint8_t*> realloc(out.data, room)
    else:
        data = <uint8_t*> malloc(room)
    if data == NULL:
        raise MemoryError()
    if not out.on_heap:
        memcpy(data, out.data, out.size)
        out.on_heap = True
    out.data = data
    out.room = room
    return DONE


cdef int put(Out* out, const char* text, Py_ssize_t size) except -1:
    reserve(out, size)
    memcpy(out.data + out.size, text, size)
    out.size += size
    return DONE


cdef int put_char(Out* out, uint8_t char) except -1:
    reserve(out, 1)
    out.data[out.size] = char
    out.size += 1
    return DONE


cdef int write(Out* out, object value, int depth) except -1:
    cdef Plan plan
    cdef type cls = type(value)
    if cls is str:
        return write_string(out, value)
    if cls is int:
        return write_int(out, value)
    if value is None:
        return put(out, b"null", 4)
    if value is True:
        return put(out, b"true", 4)
    if value is False:
        return put(out, b"false", 5)
    if depth > DEPTH:
        return NOT_PLAIN
    if cls is dict:
        return write_dict(out, <dict> value, depth + 1)
    if cls is list:
        return write_list(out, <list> value, depth + 1)
    if cls is float:
        return write_float(out, value)
    plan = <Plan> _plans.get(cls)
    if plan is None:
        plan = make_plan(cls)
    if plan.kind == DATACLASS:
        return write_dataclass(out, value, plan, depth + 1)
    if plan.kind == STRING:
        return write_string(out, value)
    if plan.kind == INTEGER:
        return write_int(out, value)
    if plan.kind == FLOAT:
        return write_float(out, value)
    if plan.kind == SEQUENCE:
        return write_list(out, list(value), depth + 1)
    if plan.kind == ISO:
        return write_string(out, value.isoformat())
    if plan.kind == TEXT:
        return write_string(out, str(value))
    return NOT_PLAIN


cdef Plan make_plan(type cls):
    cdef Plan plan = Plan.__new__(Plan)
    plan.kind = OPAQUE
    # The order is that of the json module and, after it, of AdvancedJSONEncoder.default.
    if _opaque_attribute and hasattr(cls, _opaque_attribute):
        pass
    elif issubclass(cls, str):
        plan.kind = STRING
    elif issubclass(cls, int):
        plan.kind = INTEGER
    elif issubclass(cls, float):
        plan.kind = FLOAT
    elif issubclass(cls, (list, tuple)):
        plan.kind = SEQUENCE
    elif issubclass(cls, dict):
        pass
    elif issubclass(cls, datetime.datetime):
        plan.kind = ISO
    elif dataclasses.is_dataclass(cls):
        plan.names = tuple(sorted(field.name for field in dataclasses.fields(cls)))
        plan.keys = tuple((json.dumps(name) + ":").encode() for name in plan.names)
        plan.kind = DATACLASS
    elif cls is uuid.UUID:
        plan.kind = TEXT
    if len(_plans) < PLANS:
        _plans[cls] = plan
    return plan


cdef int write_string(Out* out, object text) except -1:
    cdef Py_ssize_t size = PyUnicode_GET_LENGTH(text)
    cdef Py_ssize_t i, clean
    cdef const uint8_t* data
    cdef const void* anything
    cdef int kind
    if PyUnicode_IS_ASCII(text):
        data = <const uint8_t*> PyUnicode_DATA(text)
        reserve(out, size + 2)
        put_char(out, b'"')
        clean = 0
        for i in range(size):
            if data[i] < 0x20 or data[i] == 0x22 or data[i] == 0x5C or data[i] == 0x7F:
                put(out, <const char*> data + clean, i - clean)
                put_escape(out, data[i])
                clean = i + 1
        put(out, <const char*> data + clean, size - clean)
        return put_char(out, b'"')
    kind = PyUnicode_KIND(text)
    anything = PyUnicode_DATA(text)
    put_char(out, b'"')
    for i in range(size):
        put_escape(out, PyUnicode_READ(kind, anything, i))
    return put_char(out, b'"')


cdef int put_escape(Out* out, uint32_t char) except -1:
    if 0x20 <= char < 0x7F and char != 0x22 and char != 0x5C:
        return put_char(out, <uint8_t> char)
    put_char(out, b"\\")
    if char == 0x22 or char == 0x5C:
        return put_char(out, <uint8_t> char)
    if char == 0x0A:
        return put_char(out, b"n")
    if char == 0x0D:
        return put_char(out, b"r")
    if char == 0x09:
        return put_char(out, b"t")
    if char == 0x08:
        return put_char(out, b"b")
    if char == 0x0C:
        return put_char(out, b"f")
    if char >= 0x10000:
        char -= 0x10000
        put_hex(out, 0xD800 | (char >> 10))
        put_char(out, b"\\")
        return put_hex(out, 0xDC00 | (char & 0x3FF))
    return put_hex(out, char)


cdef int put_hex(Out* out, uint32_t unit) except -1:
    put_char(out, b"u")
    put_char(out, HEX[(unit >> 12) & 15])
    put_char(out, HEX[(unit >> 8) & 15])
    put_char(out, HEX[(unit >> 4) & 15])
    return put_char(out, HEX[unit & 15])


cdef int write_int(Out* out, object value) except -1:
    cdef int overflow = 0
    cdef long long number = PyLong_AsLongLongAndOverflow(value, &overflow)
    cdef uint64_t rest
    cdef uint8_t digits[24]
    cdef int at = 24
    cdef bytes text
    if overflow:
        text = int.__repr__(value).encode()
        return put(out, PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))
    rest = <uint64_t> number if number >= 0 else 0 - <uint64_t> number
    while True:
        at -= 1
        digits[at] = 0x30 + <uint8_t> (rest % 10)
        rest //= 10
        if rest == 0:
            break
    if number < 0:
        at -= 1
        digits[at] = 0x2D
    return put(out, <const char*> digits + at, 24 - at)


cdef int write_float(Out* out, double value) except -1:
    cdef char* text
    if value != value:
        return put(out, b"NaN", 3)
    if value - value != 0:
        if value > 0:
            return put(out, b"Infinity", 8)
        return put(out, b"-Infinity", 9)
    text = PyOS_double_to_string(value, b"r", 0, Py_DTSF_ADD_DOT_0, NULL)
    try:
        return put(out, text, strlen(text))
    finally:
        PyMem_Free(text)


cdef int write_list(Out* out, list values, int depth) except -1:
    cdef bint first = True
    put_char(out, b"[")
    for value in values:
        if not first:
            put_char(out, b",")
        first = False
        if write(out, value, depth) == NOT_PLAIN:
            return NOT_PLAIN
    return put_char(out, b"]")


cdef int write_dict(Out* out, dict values, int depth) except -1:
    cdef bint first = True
    cdef list keys = list(values)
    for key in keys:
        if type(key) is not str:
            return NOT_PLAIN
    keys.sort()
    put_char(out, b"{")
    for key in keys:
        if not first:
            put_char(out, b",")
        first = False
        write_string(out, key)
        put_char(out, b":")
        if write(out, values[key], depth) == NOT_PLAIN:
            return NOT_PLAIN
    return put_char(out, b"}")


cdef int write_dataclass(Out* out, object value, Plan plan, int depth) except -1:
    cdef Py_ssize_t i
    cdef bytes key
    put_char(out, b"{")
    for i in range(len(plan.names)):
        if i:
            put_char(out, b",")
        key = <bytes> plan.keys[i]
        put(out, PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))
        if write(out, getattr(value, plan.names[i]), depth) == NOT_PLAIN:
            return NOT_PLAIN
    return put_char(out, b"}")
