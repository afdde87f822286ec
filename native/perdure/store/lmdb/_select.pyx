"""Filters over the columns of a namespace: which rows match, how many, in which groups and orders.

What programs are is told in ``_program``, what columns are in ``_column.pxd``.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, qsort
from libc.string cimport memcmp, memcpy, memset

from perdure.store.lmdb._api cimport MDB_NOTFOUND, MDB_txn, MDB_val, mdb, store_error
from perdure.store.lmdb._batch cimport COLUMN, NAMESPACE_SIZE, POSITION_SIZE
from perdure.store.lmdb._column cimport (
    DEAD, IS_CUT, IS_FULL, POSITIONS, SEGMENT_ROWS, SEGMENT_WORDS, Column, compare_bytes, first_posting, get16,
    lower_bound, open_column, term_at,
)
from perdure.store.lmdb._lmdb cimport Environment
from perdure.store.lmdb._program cimport (
    AND, DEEPEST, OR, RUNS, SET_SIZE, TERMS, Part, Program, Step, all_rows, clear_row, present_rows, row_after,
    rows_of_runs, rows_with_terms, word_at,
)

from perdure.store.api import StoreCorruptError

cdef extern from *:
    int __builtin_popcountll(unsigned long long) noexcept nogil
    int __builtin_ctzll(unsigned long long) noexcept nogil

cdef enum:
    RANK_BITS = 16
    ROW_BITS = 15
    MOST_FIELDS = 3                 # of an order: their ranks and a row are one number


@cython.final
cdef class Segments:
    """The segments of one namespace, and which of their rows still are what the records say.

    Every method reads the columns of one snapshot, the environment's own if ``Environment.hold`` keeps one.
    """

    cdef bytes _namespace
    cdef Part* _parts
    cdef uint64_t* _alive           # SEGMENT_WORDS for each
    cdef readonly Py_ssize_t count

    def __init__(self, bytes namespace not None, list segments not None):
        """
        Args:
            segments: the number and the size of each.
        """
        cdef Py_ssize_t i
        self._namespace = namespace
        self.count = len(segments)
        self._parts = <Part*> calloc(max(self.count, 1), sizeof(Part))
        self._alive = <uint64_t*> calloc(max(self.count, 1), SET_SIZE)
        if self._parts == NULL or self._alive == NULL:
            raise MemoryError()
        for i, (number, rows) in enumerate(segments):
            if rows > SEGMENT_ROWS:
                raise ValueError(f"a segment of {rows} rows is too large")
            self._parts[i].number = number
            self._parts[i].rows = rows

    def __dealloc__(self):
        free(self._parts)
        free(self._alive)

    cdef bint _value(self, Environment env, MDB_txn* txn, Part* part, uint32_t attribute, MDB_val* value) except -1:
        """Find what there is of an attribute in a segment; False: nothing."""
        cdef uint8_t[NAMESPACE_SIZE + 8] name
        cdef MDB_val key
        cdef int i, rc
        memcpy(name, PyBytes_AS_STRING(self._namespace), NAMESPACE_SIZE)
        for i in range(4):
            name[NAMESPACE_SIZE + i] = <uint8_t> (part.number >> (24 - 8 * i))
            name[NAMESPACE_SIZE + 4 + i] = <uint8_t> (attribute >> (24 - 8 * i))
        key.mv_data = name
        key.mv_size = NAMESPACE_SIZE + 8
        rc = mdb.get(txn, env._home.dbi[COLUMN], &key, value)
        if rc and rc != MDB_NOTFOUND:
            raise store_error(rc, f"cannot read the store in {env._path}")
        return rc == 0

    cdef bint _column(self, Environment env, MDB_txn* txn, Part* part, uint32_t attribute, Column* column) except -1:
        cdef MDB_val value
        if not self._value(env, txn, part, attribute, &value):
            return False
        if not open_column(column, &value) or column.head.rows != part.rows:
            raise StoreCorruptError(f"a column in {env._path} is damaged")
        return True

    cdef int _find_positions(self, Environment env, MDB_txn* txn, Part* part) except -1:
        cdef MDB_val value
        if not self._value(env, txn, part, POSITIONS, &value) or value.mv_size != <size_t> part.rows * POSITION_SIZE:
            raise StoreCorruptError(f"a segment in {env._path} is damaged")
        part.positions = <const uint8_t*> value.mv_data
        return 0

    def load(self, Environment env not None):
        """Find out which rows were dead when the segments were published."""
        cdef uint64_t[SEGMENT_WORDS] dead
        cdef MDB_val value
        cdef MDB_txn* txn = env._begin()
        cdef Py_ssize_t i, k
        try:
            for i in range(self.count):
                all_rows(self._alive + i * SEGMENT_WORDS, self._parts[i].rows)
                if self._value(env, txn, &self._parts[i], DEAD, &value):
                    memset(dead, 0, SET_SIZE)
                    memcpy(dead, value.mv_data, min(value.mv_size, <size_t> SET_SIZE))
                    for k in range(SEGMENT_WORDS):
                        self._alive[i * SEGMENT_WORDS + k] &= ~dead[k]
        finally:
            env._end()

    def kill(self, Environment env not None, list positions not None):
        """Take the rows at these positions for dead."""
        cdef MDB_txn* txn = env._begin()
        cdef Py_ssize_t i
        cdef size_t row
        cdef const uint8_t* wanted
        try:
            for i in range(self.count):
                self._find_positions(env, txn, &self._parts[i])
                for position in positions:
                    wanted = <const uint8_t*> PyBytes_AS_STRING(<bytes?> position)
                    row = row_after(&self._parts[i], wanted)
                    if row and memcmp(
                        self._parts[i].positions + (row - 1) * POSITION_SIZE, wanted, POSITION_SIZE
                    ) == 0:
                        clear_row(self._alive + i * SEGMENT_WORDS, <uint16_t> (row - 1))
        finally:
            env._end()

    def dead(self, Py_ssize_t index):
        """A bit for each dead row of a segment."""
        cdef uint64_t[SEGMENT_WORDS] words
        cdef Py_ssize_t k
        all_rows(words, self._parts[index].rows)
        for k in range(SEGMENT_WORDS):
            words[k] &= ~self._alive[index * SEGMENT_WORDS + k]
        return PyBytes_FromStringAndSize(<char*> words, (self._parts[index].rows + 63) // 64 * 8)

    def alive(self, Py_ssize_t index):
        """How many rows of a segment are."""
        return self._population(self._alive + index * SEGMENT_WORDS)

    def alive_positions(self, Environment env not None, Py_ssize_t index):
        """The positions of a segment's rows that are alive, in order."""
        cdef Part* part = &self._parts[index]
        cdef MDB_txn* txn = env._begin()
        cdef bytes found
        cdef uint8_t* at
        cdef size_t row
        try:
            self._find_positions(env, txn, part)
            found = PyBytes_FromStringAndSize(NULL, self.alive(index) * POSITION_SIZE)
            at = <uint8_t*> PyBytes_AS_STRING(found)
            for row in range(part.rows):
                if self._alive[index * SEGMENT_WORDS + (row >> 6)] >> (row & 63) & 1:
                    memcpy(at, part.positions + row * POSITION_SIZE, POSITION_SIZE)
                    at += POSITION_SIZE
        finally:
            env._end()
        return found

    cdef size_t _population(self, const uint64_t* words) noexcept nogil:
        cdef size_t total = 0
        cdef int i
        for i in range(SEGMENT_WORDS):
            total += __builtin_popcountll(words[i])
        return total

    cdef bint _evaluate(self, Environment env, MDB_txn* txn, Program program, Py_ssize_t index, uint64_t* stack) except -1:
        """Take the steps over one segment; the set is the first of the stack. False: it is empty."""
        cdef Part* part = &self._parts[index]
        cdef Column column
        cdef Step* step
        cdef uint64_t* top = stack
        cdef const uint64_t* alive = self._alive + index * SEGMENT_WORDS
        cdef uint64_t any = 0
        cdef size_t i, _k
        cdef int w
        cdef bint there
        if program.count == 0:
            memcpy(stack, alive, SET_SIZE)
        for i in range(program.count):
            step = &program.steps[i]
            if step.kind == AND or step.kind == OR:
                for _k in range(1, step.count):
                    top -= SEGMENT_WORDS
                    if step.kind == AND:
                        for w in range(SEGMENT_WORDS):
                            top[w - SEGMENT_WORDS] &= top[w]
                    else:
                        for w in range(SEGMENT_WORDS):
                            top[w - SEGMENT_WORDS] |= top[w]
                continue
            if step.kind == RUNS:
                self._find_positions(env, txn, part)
                rows_of_runs(part, step, top)
            else:
                there = self._column(env, txn, part, step.attribute, &column)
                if step.kind == TERMS:
                    if there:
                        rows_with_terms(&column, step, top)
                    else:
                        memset(top, 0, SET_SIZE)
                else:
                    if there:
                        present_rows(&column, top)
                    else:
                        memset(top, 0, SET_SIZE)
                    if not step.negated:
                        for w in range(SEGMENT_WORDS):
                            top[w] = ~top[w]
            top += SEGMENT_WORDS
        for w in range(SEGMENT_WORDS):
            stack[w] &= alive[w]
            any |= stack[w]
        return any != 0

    def matching(self, Environment env not None, Program program not None):
        """How many rows meet a filter."""
        cdef uint64_t* stack = <uint64_t*> malloc(DEEPEST * SET_SIZE)
        cdef MDB_txn* txn
        cdef size_t total = 0
        cdef Py_ssize_t i
        if stack == NULL:
            raise MemoryError()
        try:
            txn = env._begin()
            try:
                for i in range(self.count):
                    if self._evaluate(env, txn, program, i, stack):
                        total += self._population(stack)
            finally:
                env._end()
        finally:
            free(stack)
        return total

    def groups(self, Environment env not None, Program program not None, uint32_t attribute):
        """How many rows that meet a filter have each term of an attribute, and how many have none.

        Returns:
            None when texts may have been cut.
        """
        cdef uint64_t* stack = <uint64_t*> malloc(DEEPEST * SET_SIZE)
        cdef MDB_txn* txn
        cdef Column column
        cdef Py_ssize_t i
        cdef size_t term, posting, begin, end, several, size, total = 0, having = 0
        cdef const uint8_t* text
        cdef dict counts = {}
        cdef uint16_t row
        if stack == NULL:
            raise MemoryError()
        try:
            txn = env._begin()
            try:
                for i in range(self.count):
                    if not self._evaluate(env, txn, program, i, stack):
                        continue
                    total += self._population(stack)
                    if not self._column(env, txn, &self._parts[i], attribute, &column):
                        continue
                    if column.head.flags & IS_CUT:
                        return None
                    end = 0
                    for term in range(column.head.terms):
                        begin = end
                        end = first_posting(&column, term + 1)
                        several = 0
                        for posting in range(begin, end):
                            row = get16(column.rows, posting)
                            several += stack[row >> 6] >> (row & 63) & 1
                        if several:
                            having += several
                            text = term_at(&column, term, &size)
                            value = PyBytes_FromStringAndSize(<const char*> text, size)
                            counts[value] = counts.get(value, 0) + several
            finally:
                env._end()
        finally:
            free(stack)
        return counts, total - having

    def positions(self, Environment env not None, Program program not None, bytes after, size_t limit):
        """The first positions, in order, of rows that meet a filter, from just after one (None: from the beginning)."""
        cdef const uint8_t* begin = <const uint8_t*> PyBytes_AS_STRING(after) if after is not None else NULL
        cdef uint64_t* stack = <uint64_t*> malloc(DEEPEST * SET_SIZE)
        cdef uint8_t* found = <uint8_t*> malloc(2 * (limit + 1) * POSITION_SIZE)
        cdef uint8_t* other
        cdef uint8_t* swapped
        cdef size_t count = 0
        cdef Py_ssize_t i
        cdef size_t k
        cdef MDB_txn* txn
        try:
            if stack == NULL or found == NULL:
                raise MemoryError()
            swapped = found
            other = found + (limit + 1) * POSITION_SIZE
            txn = env._begin()
            try:
                for i in range(self.count):
                    self._find_positions(env, txn, &self._parts[i])
                    if self._evaluate(env, txn, program, i, stack):
                        count = _merge_rows(&self._parts[i], stack, begin, swapped, count, limit, other)
                        swapped, other = other, swapped
            finally:
                env._end()
            return [
                PyBytes_FromStringAndSize(<char*> swapped + k * POSITION_SIZE, POSITION_SIZE) for k in range(count)
            ]
        finally:
            free(stack)
            free(found)

    # Orders

    cdef int _ranks(
        self, Environment env, MDB_txn* txn, Py_ssize_t index, tuple field, uint32_t* ranks, uint32_t* after
    ) except -2:
        """The rank that each row has by one field. Gives where the value to begin after stands: 0 among the ranks,
        1 just before the rank, -1 nowhere (that is: texts may have been cut)."""
        cdef uint32_t attribute = field[0]
        cdef bint descending = field[1]
        cdef dict known = field[2]
        cdef bytes value = field[3]
        cdef Part* part = &self._parts[index]
        cdef Column column
        cdef size_t term, posting, begin, end = 0, size, place
        cdef const uint8_t* text
        cdef uint32_t rank, null
        cdef int result = 0
        if not self._column(env, txn, part, attribute, &column):
            for posting in range(part.rows):
                ranks[posting] = 0
            after[0] = 0
            return 0 if value is None else 1
        if column.head.flags & IS_CUT:
            return -1
        null = column.head.terms
        if not column.head.flags & IS_FULL:
            for posting in range(part.rows):
                ranks[posting] = null
        for term in range(column.head.terms):
            begin = end
            end = first_posting(&column, term + 1)
            if known is None:
                rank = <uint32_t> (null - 1 - term if descending else term)
            else:
                text = term_at(&column, term, &size)
                rank = known.get((<const char*> text)[:size], 0)
            for posting in range(begin, end):
                ranks[get16(column.rows, posting)] = rank
        if known is not None:
            after[0] = field[4]
            return 0
        after[0] = null
        if value is not None:
            place = lower_bound(&column, <const uint8_t*> PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value))
            text = term_at(&column, place, &size) if place < null else NULL
            if text != NULL and compare_bytes(
                text, size, <const uint8_t*> PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value)
            ) == 0:
                after[0] = <uint32_t> (null - 1 - place if descending else place)
            else:
                after[0] = <uint32_t> (null - place if descending else place)
                result = 1
        return result

    cdef size_t _walk(
        self, Environment env, MDB_txn* txn, Py_ssize_t index, tuple field, const uint8_t* after, const uint64_t* words,
        int64_t* found, size_t limit
    ) except? -2:
        """The first rows of a set by one field, term after term; -1 when texts may have been cut."""
        cdef bint descending = field[1]
        cdef bytes value = field[3]
        cdef Part* part = &self._parts[index]
        cdef Column column
        cdef size_t rank = 0, term, posting, end, size, count = 0, first_row = 0, row, place
        cdef uint64_t word
        cdef bint there = self._column(env, txn, part, field[0], &column)
        cdef int w
        cdef const uint8_t* text
        if there and column.head.flags & IS_CUT:
            return <size_t> -1
        cdef size_t terms = column.head.terms if there else 0
        if after != NULL:
            rank = terms
            first_row = row_after(part, after)
            if value is not None and there:
                place = lower_bound(&column, <const uint8_t*> PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value))
                text = term_at(&column, place, &size) if place < terms else NULL
                if text != NULL and compare_bytes(
                    text, size, <const uint8_t*> PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value)
                ) == 0:
                    rank = terms - 1 - place if descending else place
                else:
                    rank = terms - place if descending else place
                    first_row = 0
            elif value is not None:
                first_row = 0
        while rank < terms and count < limit:
            term = terms - 1 - rank if descending else rank
            end = first_posting(&column, term + 1)
            for posting in range(first_posting(&column, term), end):
                row = get16(column.rows, posting)
                if row >= first_row and words[row >> 6] >> (row & 63) & 1:
                    found[count] = <int64_t> (rank << ROW_BITS | row)
                    count += 1
                    if count == limit:
                        break
            first_row = 0
            rank += 1
        if count == limit or (there and column.head.flags & IS_FULL):
            return count
        for w in range(SEGMENT_WORDS):
            word = words[w]
            if there and w < <int> ((part.rows + 63) // 64):
                word &= ~word_at(column.present, w)
            while word and count < limit:
                row = <size_t> w * 64 + __builtin_ctzll(word)
                word &= word - 1
                if row >= first_row:
                    found[count] = <int64_t> (terms << ROW_BITS | row)
                    count += 1
        return count

    def ordered(self, Environment env not None, Program program not None, list fields not None, bytes after, size_t limit):
        """The first rows of each segment, in an order, that meet a filter.

        Args:
            fields: at most three of ``(attribute, descending, ranks, after, after rank)``: the ranks of its terms if they
                are given, and the term or else the rank to begin after (None: the rows without one).
            after: the position to begin after where all fields are the same; None: begin with the first.

        Returns:
            for each segment a sorted list of numbers, for ``keys_of``; None when texts may have been cut.
        """
        cdef uint64_t* stack = <uint64_t*> malloc(DEEPEST * SET_SIZE)
        cdef uint32_t* ranks = <uint32_t*> malloc(MOST_FIELDS * SEGMENT_ROWS * sizeof(uint32_t))
        cdef int64_t* heap = <int64_t*> malloc((limit + 1) * sizeof(int64_t))
        cdef uint32_t[MOST_FIELDS] places
        cdef const uint8_t* begin = <const uint8_t*> PyBytes_AS_STRING(after) if after is not None else NULL
        cdef int64_t beyond, item
        cdef uint64_t word
        cdef size_t row, count
        cdef Py_ssize_t i
        cdef int k, w, width = len(fields), exact
        cdef MDB_txn* txn
        cdef list found = []
        if width > MOST_FIELDS:
            raise ValueError(f"an order of {width} fields is too long")
        try:
            if stack == NULL or ranks == NULL or heap == NULL:
                raise MemoryError()
            txn = env._begin()
            try:
                for i in range(self.count):
                    if not self._evaluate(env, txn, program, i, stack):
                        found.append([])
                        continue
                    self._find_positions(env, txn, &self._parts[i])
                    if width == 1 and fields[0][2] is None:
                        count = self._walk(env, txn, i, fields[0], begin, stack, heap, limit)
                        if count == <size_t> -1:
                            return None
                        found.append([heap[row] for row in range(count)])
                        continue
                    exact = 0
                    beyond = 0
                    for k in range(width):
                        if exact == 0:
                            exact = self._ranks(env, txn, i, fields[k], ranks + k * SEGMENT_ROWS, &places[k])
                            beyond = beyond << RANK_BITS | places[k]
                        else:
                            if self._ranks(env, txn, i, fields[k], ranks + k * SEGMENT_ROWS, &places[k]) < 0:
                                exact = -1
                            beyond = beyond << RANK_BITS
                        if exact < 0:
                            return None
                    beyond = beyond << ROW_BITS
                    if begin == NULL:
                        beyond = -1
                    elif exact == 0:
                        beyond += <int64_t> row_after(&self._parts[i], begin) - 1
                    else:
                        beyond -= 1
                    count = 0
                    for w in range(SEGMENT_WORDS):
                        word = stack[w]
                        while word:
                            row = <size_t> w * 64 + __builtin_ctzll(word)
                            word &= word - 1
                            item = 0
                            for k in range(width):
                                item = item << RANK_BITS | ranks[k * SEGMENT_ROWS + row]
                            item = item << ROW_BITS | <int64_t> row
                            if item > beyond:
                                count = _offer(heap, count, limit, item)
                    qsort(heap, count, sizeof(int64_t), _compare_items)
                    found.append([heap[row] for row in range(count)])
            finally:
                env._end()
        finally:
            free(stack)
            free(ranks)
            free(heap)
        return found

    def key_of(self, Environment env not None, Py_ssize_t index, list fields not None, int64_t item):
        """What a number of ``ordered`` stands for: each field's term (its rank, if it was given; None: no term), and the
        row's position."""
        cdef Part* part = &self._parts[index]
        cdef Column column
        cdef MDB_txn* txn = env._begin()
        cdef size_t row = item & (SEGMENT_ROWS - 1), size
        cdef uint32_t rank
        cdef const uint8_t* text
        cdef int k, width = len(fields)
        cdef list key = []
        item >>= ROW_BITS
        try:
            self._find_positions(env, txn, part)
            for k in range(width):
                rank = <uint32_t> (item >> (RANK_BITS * (width - 1 - k))) & ((1 << RANK_BITS) - 1)
                if fields[k][2] is not None:
                    key.append(rank)
                elif not self._column(env, txn, part, fields[k][0], &column) or rank >= column.head.terms:
                    key.append(None)
                else:
                    text = term_at(&column, column.head.terms - 1 - rank if fields[k][1] else rank, &size)
                    key.append(PyBytes_FromStringAndSize(<const char*> text, size))
            position = PyBytes_FromStringAndSize(<const char*> part.positions + row * POSITION_SIZE, POSITION_SIZE)
        finally:
            env._end()
        return key, position


cdef size_t _merge_rows(
    Part* part, const uint64_t* words, const uint8_t* after, const uint8_t* found, size_t count, size_t limit,
    uint8_t* merged
) noexcept nogil:
    """Merge the rows of a set into sorted positions, of which no more than a limit are kept."""
    cdef size_t row = row_after(part, after), w = row >> 6, taken = 0, at = 0
    cdef uint64_t word = words[w] & (<uint64_t> -1 << (row & 63)) if row < SEGMENT_ROWS else 0
    cdef const uint8_t* position = NULL
    while at < limit:
        while position == NULL and w < SEGMENT_WORDS:
            if word:
                position = part.positions + (w * 64 + __builtin_ctzll(word)) * POSITION_SIZE
                word &= word - 1
            else:
                w += 1
                word = words[w] if w < SEGMENT_WORDS else 0
        if taken < count and (
            position == NULL or memcmp(found + taken * POSITION_SIZE, position, POSITION_SIZE) < 0
        ):
            memcpy(merged + at * POSITION_SIZE, found + taken * POSITION_SIZE, POSITION_SIZE)
            taken += 1
        elif position != NULL:
            memcpy(merged + at * POSITION_SIZE, position, POSITION_SIZE)
            position = NULL
        else:
            break
        at += 1
    return at


cdef size_t _offer(int64_t* heap, size_t count, size_t limit, int64_t item) noexcept nogil:
    """Keep a number if it is among the least so far; the greatest of them stands first."""
    cdef size_t at, child
    if count < limit:
        at = count
        while at and heap[(at - 1) // 2] < item:
            heap[at] = heap[(at - 1) // 2]
            at = (at - 1) // 2
        heap[at] = item
        return count + 1
    if item >= heap[0]:
        return count
    at = 0
    while True:
        child = 2 * at + 1
        if child >= count:
            break
        if child + 1 < count and heap[child + 1] > heap[child]:
            child += 1
        if item >= heap[child]:
            break
        heap[at] = heap[child]
        at = child
    heap[at] = item
    return count


cdef int _compare_items(const void* left, const void* right) noexcept nogil:
    cdef int64_t a = (<const int64_t*> left)[0]
    cdef int64_t b = (<const int64_t*> right)[0]
    return (a > b) - (a < b)
