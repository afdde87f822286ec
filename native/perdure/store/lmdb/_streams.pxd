# Streams of positions or entries of the visibility indexes, and what is asked of each.

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcmp

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from perdure.store.lmdb._api cimport MDB_cursor, MDB_txn, MDB_val
from perdure.store.lmdb._batch cimport ENTRY_SIZE, POSITION_SIZE
from perdure.store.lmdb._lmdb cimport Environment

cdef struct Filter:
    # Bounds of positions, as stored (inverted), and which buckets and statuses entries may be of.
    bint open
    bint closed
    uint64_t start_first            # ~start_high
    uint64_t start_last             # ~start_low
    uint64_t close_first
    uint64_t close_last
    bint is_all                     # the bounds bound nothing
    const uint8_t* allowed          # 16 bits of statuses for each bucket; NULL: any
    size_t allowed_size

cdef struct Numbers:
    # What numbers of a closed run's record may be: see narrow.
    bint any
    int64_t[4] low
    int64_t[4] high

cdef struct Stream:
    MDB_cursor* cursor
    MDB_val key
    const uint8_t* at               # the position or entry it stands at
    bint is_wide                    # entries, not positions

cdef inline uint64_t read64(const uint8_t* at) noexcept nogil:
    cdef uint64_t value = 0
    cdef int i
    for i in range(8):
        value = value << 8 | at[i]
    return value

cdef inline void write64(uint8_t* at, uint64_t value) noexcept nogil:
    cdef int i
    for i in range(8):
        at[i] = <uint8_t> (value >> (56 - 8 * i))

cdef inline bint may_last(Numbers* n, const uint8_t* position) noexcept nogil:
    """Whether a run can have taken as long as it has to: no longer than from its start to its close."""
    return <int64_t> (read64(position + 8) - read64(position)) >= n.low[0]

cdef inline bint is_allowed(Filter* f, const uint8_t* entry) noexcept nogil:
    cdef size_t bucket
    cdef unsigned int status
    if f.allowed == NULL:
        return True
    bucket = (
        <size_t> entry[POSITION_SIZE] << 24 | <size_t> entry[POSITION_SIZE + 1] << 16
        | <size_t> entry[POSITION_SIZE + 2] << 8 | entry[POSITION_SIZE + 3]
    )
    status = entry[POSITION_SIZE + 4]
    if bucket * 2 + 1 >= f.allowed_size or status > 15:
        return False
    return f.allowed[bucket * 2 + (status >> 3)] >> (status & 7) & 1

cdef inline bint is_within(Filter* f, const uint8_t* position) noexcept nogil:
    cdef uint64_t close = read64(position)
    cdef uint64_t start = read64(position + 8)
    if start < f.start_first or start > f.start_last:
        return False
    if close == 0:
        return f.open
    return f.closed and f.close_first <= close <= f.close_last

cdef inline bint is_excluded(const uint8_t** at, const uint8_t* end, const uint8_t* position) noexcept nogil:
    """Whether a position is among sorted entries; both go forward together."""
    while at[0] < end and memcmp(at[0], position, POSITION_SIZE) < 0:
        at[0] += ENTRY_SIZE
    return at[0] < end and memcmp(at[0], position, POSITION_SIZE) == 0

cdef inline bint is_below(MDB_val* key, bytes high) noexcept:
    cdef size_t size = PyBytes_GET_SIZE(high)
    cdef int order = memcmp(key.mv_data, PyBytes_AS_STRING(high), min(key.mv_size, size))
    return order < 0 or (order == 0 and key.mv_size < size)

cdef Filter make_filter(object bounds, bytes allowed)
cdef Numbers make_numbers(object numbers)
cdef bint has_numbers(Numbers* n, const uint8_t* row, size_t size) noexcept nogil
cdef Streams open_streams(Environment env, MDB_txn* txn, list keys, int* rc)
cdef int require(Environment env, int rc) except -1
cdef const uint8_t* first_after(bytes entries, const uint8_t* position) noexcept
cdef int find_row(
    Environment env, MDB_txn* txn, const uint8_t* key, const uint8_t* position, MDB_val* value
) noexcept nogil


@cython.final
cdef class Streams:
    cdef Stream* items
    cdef Stream** heap
    cdef Py_ssize_t count
    cdef Py_ssize_t left
    cdef list keys

    cdef int add(self, MDB_txn* txn, unsigned int dbi, int database, bytes key) noexcept
    cdef void close(self) noexcept
    cdef int begin(self, Filter* f, const uint8_t* after) noexcept nogil
    cdef void sift(self, Py_ssize_t at) noexcept nogil
    cdef int advance(self, Filter* f) noexcept nogil
