"""Programs: filters as sets of rows, one for each condition, joined word by word.

A program is a list of steps on a stack of sets, each a tuple:

=================================================== =================================================================
``("terms", attribute, ranges, negated)``            rows with a term in one of ``(low, high)`` (high b"": no end);
                                                    negated: rows with a term, but with none of these
``("null", attribute, negated)``                     rows without a term of the attribute; negated: rows with one
``("runs", ranges, negated)``                        rows whose run id (16 bytes) is in one of the ranges
``("and", count)``, ``("or", count)``                what the newest sets of the stack have in common, or together
=================================================== =================================================================
"""

from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset

from perdure.store.lmdb._batch cimport POSITION_SIZE
from perdure.store.lmdb._column cimport IS_SINGLE, Column, first_posting, get16, lower_bound


cdef class Program:
    """Steps, checked and ready to be taken."""

    def __init__(self, list source not None):
        """
        Args:
            source: the steps.
        """
        cdef size_t depth = 0, i, k
        cdef Step* step
        self._source = source
        self.steps = <Step*> calloc(max(len(source), 1), sizeof(Step))
        if self.steps == NULL:
            raise MemoryError()
        for i, (kind, *arguments) in enumerate(source):
            step = &self.steps[i]
            self.count += 1
            if kind == "and" or kind == "or":
                step.kind = AND if kind == "and" else OR
                step.count = arguments[0]
                if step.count > depth:
                    raise ValueError("a step joins more sets than there are")
                depth -= step.count
            elif kind == "null":
                step.kind = NULLS
                step.attribute, step.negated = arguments
            else:
                step.kind = TERMS if kind == "terms" else RUNS
                step.negated = arguments[-1]
                ranges = arguments[-2]
                if kind == "terms":
                    step.attribute = arguments[0]
                step.count = len(ranges)
                step.ranges = <Range*> calloc(max(step.count, <size_t> 1), sizeof(Range))
                if step.ranges == NULL:
                    raise MemoryError()
                for k, (low, high) in enumerate(ranges):
                    step.ranges[k].low = <const uint8_t*> PyBytes_AS_STRING(<bytes?> low)
                    step.ranges[k].low_size = len(low)
                    step.ranges[k].high = <const uint8_t*> PyBytes_AS_STRING(<bytes?> high)
                    step.ranges[k].high_size = len(high)
                    if kind == "runs":
                        _take_runs(&step.ranges[k], low, high)
            depth += 1
            if depth > DEEPEST:
                raise ValueError("a filter is too deep")
        if depth != 1 and self.count:
            raise ValueError("a program leaves one set")

    def __dealloc__(self):
        cdef size_t i
        for i in range(self.count):
            free(self.steps[i].ranges)
        free(self.steps)


cdef void all_rows(uint64_t* words, uint32_t rows) noexcept nogil:
    memset(words, 0, SET_SIZE)
    memset(words, 0xff, rows // 64 * 8)
    if rows & 63:
        words[rows >> 6] = (<uint64_t> 1 << (rows & 63)) - 1


cdef void present_rows(Column* c, uint64_t* words) noexcept nogil:
    if c.present == NULL:
        all_rows(words, c.head.rows)
        return
    memset(words, 0, SET_SIZE)
    memcpy(words, c.present, (c.head.rows + 63) // 64 * 8)


cdef void _mark_rows(Column* c, size_t begin, size_t end, bint on, uint64_t* words) noexcept nogil:
    """Put the rows of postings into a set, or take them out."""
    cdef size_t i
    if on:
        for i in range(begin, end):
            set_row(words, get16(c.rows, i))
    else:
        for i in range(begin, end):
            clear_row(words, get16(c.rows, i))


cdef void rows_with_terms(Column* c, Step* step, uint64_t* words) noexcept nogil:
    cdef size_t i, begin, end
    cdef bint inverted = step.negated
    if step.negated:
        present_rows(c, words)
    else:
        memset(words, 0, SET_SIZE)
    for i in range(step.count):
        begin = first_posting(c, lower_bound(c, step.ranges[i].low, step.ranges[i].low_size))
        end = c.head.postings
        if step.ranges[i].high_size:
            end = first_posting(c, lower_bound(c, step.ranges[i].high, step.ranges[i].high_size))
        if end <= begin:
            continue
        if step.count == 1 and c.head.flags & IS_SINGLE and end - begin > c.head.postings >> 1:
            # The others are fewer.
            if step.negated:
                memset(words, 0, SET_SIZE)
            else:
                present_rows(c, words)
            _mark_rows(c, 0, begin, step.negated, words)
            _mark_rows(c, end, c.head.postings, step.negated, words)
        else:
            _mark_rows(c, begin, end, not inverted, words)


cdef inline uint64_t _read64(const uint8_t* at) noexcept nogil:
    cdef uint64_t value = 0
    cdef int i
    for i in range(8):
        value = value << 8 | at[i]
    return value


cdef int _take_runs(Range* r, bytes low, bytes high) except -1:
    cdef object last = int.from_bytes(high) - 1 if high else (1 << 128) - 1
    cdef object first = int.from_bytes(low)
    r.run[0] = first >> 64
    r.run[1] = first & 0xffffffffffffffff
    r.run[2] = last >> 64
    r.run[3] = last & 0xffffffffffffffff
    return 0


cdef void rows_of_runs(Part* part, Step* step, uint64_t* words) noexcept nogil:
    cdef size_t i, k
    cdef const uint8_t* run_id
    cdef const uint64_t* run
    cdef uint64_t major, minor
    cdef bint is_in
    memset(words, 0, SET_SIZE)
    for i in range(part.rows):
        run_id = part.positions + i * POSITION_SIZE + 16
        major = _read64(run_id)
        minor = _read64(run_id + 8)
        is_in = False
        for k in range(step.count):
            run = step.ranges[k].run
            if (major > run[0] or (major == run[0] and minor >= run[1])) and (
                major < run[2] or (major == run[2] and minor <= run[3])
            ):
                is_in = True
                break
        if is_in != step.negated:
            set_row(words, <uint16_t> i)


cdef size_t row_after(Part* part, const uint8_t* position) noexcept nogil:
    """The first row after a position (NULL: the first of all)."""
    cdef size_t low = 0, high = part.rows, middle
    while position != NULL and low < high:
        middle = (low + high) >> 1
        if memcmp(part.positions + middle * POSITION_SIZE, position, POSITION_SIZE) <= 0:
            low = middle + 1
        else:
            high = middle
    return low
