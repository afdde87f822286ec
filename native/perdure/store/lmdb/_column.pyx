"""Columns: written once, read where they lie in the map. Their layout is told in ``_column.pxd``."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, memset

from perdure.store.lmdb._api cimport MDB_val

from perdure.store.visibility import EXACT_TEXT

cdef enum:
    _EXACT_TEXT = 384

assert EXACT_TEXT == _EXACT_TEXT


cdef bint open_column(Column* c, const MDB_val* value) noexcept nogil:
    """Find the parts of a column; False: it is damaged."""
    cdef const uint8_t* at = <const uint8_t*> value.mv_data
    cdef const uint8_t* end = at + value.mv_size
    if value.mv_size < sizeof(Head):
        return False
    memcpy(&c.head, at, sizeof(Head))
    at += sizeof(Head)
    if c.head.version != VERSION or c.head.rows > SEGMENT_ROWS or c.head.terms > c.head.postings:
        return False
    c.present = c.starts = c.offsets = NULL
    if not c.head.flags & IS_FULL:
        c.present = at
        at += (c.head.rows + 63) // 64 * 8
    if not c.head.flags & IS_UNIQUE:
        c.starts = at
        at += 4 * (<size_t> c.head.terms + 1)
    if c.head.width == 0:
        c.offsets = at
        at += 4 * (<size_t> c.head.terms + 1)
    c.rows = at
    at += 2 * <size_t> c.head.postings
    c.terms = at
    if at > end:
        return False
    return at + (get32(c.offsets, c.head.terms) if c.offsets != NULL else <size_t> c.head.width * c.head.terms) == end


cdef size_t lower_bound(Column* c, const uint8_t* term, size_t size) noexcept nogil:
    """The first term that is not less."""
    cdef size_t low = 0, high = c.head.terms, middle, other_size
    cdef const uint8_t* other
    while low < high:
        middle = (low + high) >> 1
        other = term_at(c, middle, &other_size)
        if compare_bytes(other, other_size, term, size) < 0:
            low = middle + 1
        else:
            high = middle
    return low


cdef class Writer:
    """Puts a column together: each term in order, followed by its rows in order."""

    def __dealloc__(self):
        free(self._terms)
        free(self._offsets)
        free(self._starts)
        free(self._rows)

    cdef int term(self, const uint8_t* term, size_t size) except -1:
        cdef size_t room
        cdef void* data
        if self._count + 2 > self._count_room:
            room = 2 * self._count_room + 256
            data = realloc(self._offsets, room * 4)
            if data == NULL:
                raise MemoryError()
            self._offsets = <uint32_t*> data
            data = realloc(self._starts, room * 4)
            if data == NULL:
                raise MemoryError()
            self._starts = <uint32_t*> data
            self._count_room = room
        if self._terms_size + size > self._terms_room:
            room = 2 * self._terms_room + size + 1024
            data = realloc(self._terms, room)
            if data == NULL:
                raise MemoryError()
            self._terms = <uint8_t*> data
            self._terms_room = room
        self._offsets[self._count] = <uint32_t> self._terms_size
        self._starts[self._count] = <uint32_t> self._postings
        memcpy(self._terms + self._terms_size, term, size)
        self._terms_size += size
        self._count += 1
        return 0

    cdef int row(self, uint16_t row) except -1:
        cdef size_t room
        cdef void* data
        if self._postings == self._rows_room:
            room = 2 * self._rows_room + 1024
            data = realloc(self._rows, room * 2)
            if data == NULL:
                raise MemoryError()
            self._rows = <uint16_t*> data
            self._rows_room = room
        self._rows[self._postings] = row
        self._postings += 1
        return 0

    def finish(self, uint32_t rows):
        """The column, of a segment of so many rows; None when none of them has a term."""
        cdef Head head
        cdef uint64_t[SEGMENT_WORDS] present
        cdef size_t i, width, size, had = 0
        cdef uint64_t bit
        cdef bint is_fixed = True, is_cut = False
        cdef uint8_t* at
        if self._postings == 0:
            return None
        self._offsets[self._count] = <uint32_t> self._terms_size
        self._starts[self._count] = <uint32_t> self._postings
        width = self._offsets[1]
        for i in range(self._count):
            size = self._offsets[i + 1] - self._offsets[i]
            is_fixed = is_fixed and size == width and width
            is_cut = is_cut or size >= _EXACT_TEXT
        memset(present, 0, sizeof(present))
        for i in range(self._postings):
            bit = <uint64_t> 1 << (self._rows[i] & 63)
            had += not present[self._rows[i] >> 6] & bit
            present[self._rows[i] >> 6] |= bit
        head.version = VERSION
        head.flags = (
            IS_FULL * (had == rows) | IS_UNIQUE * (self._postings == self._count)
            | IS_SINGLE * (had == self._postings) | IS_CUT * is_cut
        )
        head.rows = rows
        head.terms = <uint32_t> self._count
        head.postings = <uint32_t> self._postings
        head.width = <uint32_t> width if is_fixed else 0
        size = sizeof(Head) + 2 * self._postings + self._terms_size
        if not head.flags & IS_FULL:
            size += (rows + 63) // 64 * 8
        if not head.flags & IS_UNIQUE:
            size += 4 * (self._count + 1)
        if head.width == 0:
            size += 4 * (self._count + 1)
        result = PyBytes_FromStringAndSize(NULL, size)
        at = <uint8_t*> PyBytes_AS_STRING(result)
        memcpy(at, &head, sizeof(Head))
        at += sizeof(Head)
        if not head.flags & IS_FULL:
            memcpy(at, present, (rows + 63) // 64 * 8)
            at += (rows + 63) // 64 * 8
        if not head.flags & IS_UNIQUE:
            memcpy(at, self._starts, 4 * (self._count + 1))
            at += 4 * (self._count + 1)
        if head.width == 0:
            memcpy(at, self._offsets, 4 * (self._count + 1))
            at += 4 * (self._count + 1)
        memcpy(at, self._rows, 2 * self._postings)
        memcpy(at + 2 * self._postings, self._terms, self._terms_size)
        return result
