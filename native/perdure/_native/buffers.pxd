from libc.stdint cimport int64_t, uint8_t, uint64_t


cdef class Writer:
    cdef:
        uint8_t* _data
        Py_ssize_t _size
        Py_ssize_t _room

    cdef int reserve(self, Py_ssize_t extra) except -1
    cdef int u8(self, int value) except -1
    cdef int varint(self, uint64_t value) except -1
    cdef int zigzag(self, int64_t value) except -1
    cdef int raw(self, bytes value) except -1
    cdef int block(self, bytes value) except -1
    cdef bytes finish(self)
    # msgpack
    cdef int _tagged(self, int tag, uint64_t value, int size) except -1
    cdef int pack_array(self, Py_ssize_t count) except -1
    cdef int pack_int(self, int64_t value) except -1
    cdef int pack_bool(self, bint value) except -1
    cdef int pack_nil(self) except -1
    cdef int pack_str(self, str value) except -1
    cdef int pack_bytes(self, bytes value) except -1


cdef struct Reader:
    const uint8_t* data
    Py_ssize_t pos
    Py_ssize_t end


cdef int open_reader(Reader* r, bytes data) except -1
cdef uint64_t read_varint(Reader* r) except? 18446744073709551615
cdef int64_t read_zigzag(Reader* r) except? -9223372036854775807
cdef int read_u8(Reader* r) except -1
cdef bytes read_block(Reader* r)
cdef int skip_block(Reader* r) except -1
