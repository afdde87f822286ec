"""Byte cursors: a growing writer and a bounds-checked reader of varints and length-prefixed blocks.

Varints are LEB128 (seven bits a byte, low first); signed numbers are zigzagged first. The writer also knows the values
of msgpack that records are made of.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy


cdef class Writer:
    """A growing byte buffer. One owner; :meth:`finish` gives its bytes and empties it."""

    def __dealloc__(self):
        free(self._data)

    cdef int reserve(self, Py_ssize_t extra) except -1:
        cdef Py_ssize_t room
        cdef uint8_t* data
        if self._size + extra <= self._room:
            return 0
        room = max(self._room * 2, self._size + extra, 256)
        data = <uint8_t*> realloc(self._data, room)
        if data == NULL:
            raise MemoryError()
        self._data = data
        self._room = room
        return 0

    cdef int u8(self, int value) except -1:
        if self._size >= self._room:
            self.reserve(1)
        self._data[self._size] = <uint8_t> value
        self._size += 1
        return 0

    cdef int varint(self, uint64_t value) except -1:
        if self._size + 10 > self._room:
            self.reserve(10)
        while value >= 0x80:
            self._data[self._size] = <uint8_t> (value | 0x80)
            self._size += 1
            value >>= 7
        self._data[self._size] = <uint8_t> value
        self._size += 1
        return 0

    cdef int zigzag(self, int64_t value) except -1:
        return self.varint((<uint64_t> value << 1) ^ <uint64_t> (value >> 63))

    cdef int raw(self, bytes value) except -1:
        cdef Py_ssize_t size = PyBytes_GET_SIZE(value)
        self.reserve(size)
        memcpy(self._data + self._size, PyBytes_AS_STRING(value), size)
        self._size += size
        return 0

    cdef int block(self, bytes value) except -1:
        self.varint(<uint64_t> PyBytes_GET_SIZE(value))
        return self.raw(value)

    cdef bytes finish(self):
        cdef bytes out = PyBytes_FromStringAndSize(<char*> self._data, self._size)
        self._size = 0
        return out

    # ---- msgpack

    cdef int _tagged(self, int tag, uint64_t value, int size) except -1:
        """A byte, then a number of so many bytes, high first."""
        if self._size + 9 > self._room:
            self.reserve(9)
        self._data[self._size] = <uint8_t> tag
        self._size += 1
        while size > 0:
            size -= 1
            self._data[self._size] = <uint8_t> (value >> (8 * size))
            self._size += 1
        return 0

    cdef int pack_array(self, Py_ssize_t count) except -1:
        if count < 16:
            return self.u8(0x90 | <int> count)
        if count < 65536:
            return self._tagged(0xDC, <uint64_t> count, 2)
        return self._tagged(0xDD, <uint64_t> count, 4)

    cdef int pack_int(self, int64_t value) except -1:
        if -32 <= value < 128:
            return self.u8(<int> value & 0xFF)
        if value < 0:
            return self._tagged(0xD3, <uint64_t> value, 8)
        if value < 256:
            return self._tagged(0xCC, <uint64_t> value, 1)
        if value < 65536:
            return self._tagged(0xCD, <uint64_t> value, 2)
        if value < 4294967296:
            return self._tagged(0xCE, <uint64_t> value, 4)
        return self._tagged(0xCF, <uint64_t> value, 8)

    cdef int pack_bool(self, bint value) except -1:
        return self.u8(0xC3 if value else 0xC2)

    cdef int pack_nil(self) except -1:
        return self.u8(0xC0)

    cdef int pack_str(self, str value) except -1:
        cdef Py_ssize_t size
        cdef const char* data = PyUnicode_AsUTF8AndSize(value, &size)
        if size < 32:
            self.u8(0xA0 | <int> size)
        elif size < 256:
            self._tagged(0xD9, <uint64_t> size, 1)
        elif size < 65536:
            self._tagged(0xDA, <uint64_t> size, 2)
        else:
            self._tagged(0xDB, <uint64_t> size, 4)
        if self._size + size > self._room:
            self.reserve(size)
        memcpy(self._data + self._size, data, size)
        self._size += size
        return 0

    cdef int pack_bytes(self, bytes value) except -1:
        cdef Py_ssize_t size = PyBytes_GET_SIZE(value)
        if size < 256:
            self._tagged(0xC4, <uint64_t> size, 1)
        elif size < 65536:
            self._tagged(0xC5, <uint64_t> size, 2)
        else:
            self._tagged(0xC6, <uint64_t> size, 4)
        return self.raw(value)


def pack(list parts not None):
    """The bytes of ``(kind, value)`` parts; kinds: ``byte``, ``varint``, ``zigzag``, ``block``."""
    cdef Writer w = Writer.__new__(Writer)
    for kind, value in parts:
        if kind == "byte":
            w.u8(value)
        elif kind == "varint":
            w.varint(value)
        elif kind == "zigzag":
            w.zigzag(value)
        else:
            w.block(value)
    return w.finish()


def unpack(bytes data not None, list kinds not None):
    """The values of parts of those kinds. Raises ValueError: the bytes do not hold them."""
    cdef Reader r
    cdef list found = []
    open_reader(&r, data)
    for kind in kinds:
        if kind == "byte":
            found.append(read_u8(&r))
        elif kind == "varint":
            found.append(read_varint(&r))
        elif kind == "zigzag":
            found.append(read_zigzag(&r))
        else:
            found.append(read_block(&r))
    return found


cdef int open_reader(Reader* r, bytes data) except -1:
    if data is None:
        raise ValueError("no bytes to read")
    r.data = <const uint8_t*> PyBytes_AS_STRING(data)
    r.pos = 0
    r.end = PyBytes_GET_SIZE(data)
    return 0


cdef uint64_t read_varint(Reader* r) except? 18446744073709551615:
    cdef uint64_t value = 0
    cdef int shift = 0
    cdef uint8_t byte
    while True:
        if r.pos >= r.end or shift > 63:
            raise ValueError(f"damaged record: number at byte {r.pos} of {r.end} does not end")
        byte = r.data[r.pos]
        r.pos += 1
        value |= (<uint64_t> (byte & 0x7F)) << shift
        if byte < 0x80:
            return value
        shift += 7


cdef int64_t read_zigzag(Reader* r) except? -9223372036854775807:
    cdef uint64_t value = read_varint(r)
    return <int64_t> (value >> 1) ^ -<int64_t> (value & 1)


cdef int read_u8(Reader* r) except -1:
    if r.pos >= r.end:
        raise ValueError(f"damaged record: byte {r.pos} of {r.end} is missing")
    r.pos += 1
    return r.data[r.pos - 1]


cdef bytes read_block(Reader* r):
    cdef Py_ssize_t size = <Py_ssize_t> read_varint(r)
    if size < 0 or size > r.end - r.pos:
        raise ValueError(f"damaged record: block of {size} bytes at byte {r.pos} of {r.end} does not fit")
    r.pos += size
    return PyBytes_FromStringAndSize(<const char*> (r.data + r.pos - size), size)


cdef int skip_block(Reader* r) except -1:
    cdef Py_ssize_t size = <Py_ssize_t> read_varint(r)
    if size < 0 or size > r.end - r.pos:
        raise ValueError(f"damaged record: block of {size} bytes at byte {r.pos} of {r.end} does not fit")
    r.pos += size
    return 0
