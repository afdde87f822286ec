# Programs over columns, and the sets of rows that their steps make: a bit for each row of a segment.

cimport cython
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from perdure.store.lmdb._column cimport Column

cdef enum:
    SET_SIZE = 4096                 # bytes of a set: SEGMENT_WORDS words
    DEEPEST = 64                    # sets on the stack

cdef enum:
    TERMS
    NULLS
    RUNS
    AND
    OR

cdef struct Range:
    const uint8_t* low
    size_t low_size
    const uint8_t* high
    size_t high_size
    uint64_t[4] run                 # of run ids: the bounds as numbers, the end inclusive

cdef struct Step:
    int kind
    uint32_t attribute
    size_t count                    # of ranges, or of sets to join
    Range* ranges
    bint negated

cdef struct Part:
    # A segment, while it is looked at
    uint32_t number
    uint32_t rows
    const uint8_t* positions

cdef inline uint64_t word_at(const uint8_t* words, size_t index) noexcept nogil:
    cdef uint64_t word
    memcpy(&word, words + 8 * index, 8)
    return word

cdef inline void set_row(uint64_t* words, uint16_t row) noexcept nogil:
    words[row >> 6] |= <uint64_t> 1 << (row & 63)

cdef inline void clear_row(uint64_t* words, uint16_t row) noexcept nogil:
    words[row >> 6] &= ~(<uint64_t> 1 << (row & 63))

cdef void all_rows(uint64_t* words, uint32_t rows) noexcept nogil
cdef void present_rows(Column* c, uint64_t* words) noexcept nogil
cdef void rows_with_terms(Column* c, Step* step, uint64_t* words) noexcept nogil
cdef void rows_of_runs(Part* part, Step* step, uint64_t* words) noexcept nogil
cdef size_t row_after(Part* part, const uint8_t* position) noexcept nogil


@cython.final
cdef class Program:
    cdef Step* steps
    cdef size_t count
    cdef list _source
