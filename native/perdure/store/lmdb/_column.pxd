# A column: which rows of a segment have which terms of one attribute. Laid out one after the other:
#
#   head; present (a bit for each row, unless every row has a term); starts (4 each and the end, unless every term has
#   one posting); offsets (4 each and the end, unless all terms are of one width); rows (2 for each posting); terms.
#
# Terms are sorted; the rows of each one, too. Numbers are little-endian.

cimport cython
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from perdure.store.lmdb._api cimport MDB_val

cdef enum:
    SEGMENT_ROWS = 32768
    SEGMENT_WORDS = 512             # of 64 bits, one for each row
    VERSION = 1

# Attributes of columns that no name stands for.
cdef enum:
    POSITIONS = 0                   # no column: the positions of the rows, in order
    BUCKETS = 0x7FFFFFFE            # the terms are bucket (4), status (1)
    DEAD = 0x7FFFFFFF               # no column: a bit for each row that is no longer so

# Flags of a column.
cdef enum:
    IS_FULL = 1                     # every row has a term
    IS_UNIQUE = 2                   # every term has one row
    IS_SINGLE = 4                   # no row has two terms
    IS_CUT = 8                      # the order of its longest texts is not to be trusted

cdef struct Head:
    uint32_t version
    uint32_t flags
    uint32_t rows                   # of the segment
    uint32_t terms
    uint32_t postings
    uint32_t width                  # of every term; 0: they differ

cdef struct Column:
    Head head
    const uint8_t* present
    const uint8_t* starts
    const uint8_t* offsets
    const uint8_t* rows
    const uint8_t* terms

cdef inline uint32_t get32(const uint8_t* at, size_t index) noexcept nogil:
    cdef uint32_t value
    memcpy(&value, at + 4 * index, 4)
    return value

cdef inline uint16_t get16(const uint8_t* at, size_t index) noexcept nogil:
    cdef uint16_t value
    memcpy(&value, at + 2 * index, 2)
    return value

cdef inline uint32_t first_posting(Column* c, size_t term) noexcept nogil:
    return <uint32_t> term if c.starts == NULL else get32(c.starts, term)

cdef inline const uint8_t* term_at(Column* c, size_t term, size_t* size) noexcept nogil:
    cdef uint32_t offset
    if c.offsets == NULL:
        size[0] = c.head.width
        return c.terms + term * c.head.width
    offset = get32(c.offsets, term)
    size[0] = get32(c.offsets, term + 1) - offset
    return c.terms + offset

cdef inline int compare_bytes(const uint8_t* left, size_t left_size, const uint8_t* right, size_t right_size) noexcept nogil:
    cdef int order = memcmp(left, right, min(left_size, right_size))
    if order:
        return order
    return (left_size > right_size) - (left_size < right_size)

cdef bint open_column(Column* c, const MDB_val* value) noexcept nogil
cdef size_t lower_bound(Column* c, const uint8_t* term, size_t size) noexcept nogil


@cython.final
cdef class Writer:
    cdef uint8_t* _terms
    cdef size_t _terms_size, _terms_room
    cdef uint32_t* _offsets
    cdef uint32_t* _starts
    cdef size_t _count, _count_room
    cdef uint16_t* _rows
    cdef size_t _postings, _rows_room

    cdef int term(self, const uint8_t* term, size_t size) except -1
    cdef int row(self, uint16_t row) except -1
