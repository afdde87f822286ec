"""Streams of the visibility indexes: the positions or entries of keys, merged in order.

What positions and entries are is told in ``_batch``.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport INT64_MAX, INT64_MIN, int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy

from perdure.store.lmdb._api cimport (
    MDB_GET_BOTH_RANGE, MDB_NEXT_DUP, MDB_NOTFOUND, MDB_txn, MDB_val, mdb, store_error,
)
from perdure.store.lmdb._batch cimport (
    BUCKET, ENTRY_SIZE, NAMESPACE_SIZE, POSITION_SIZE, RUN_ID_SIZE, RUN_KEY_SIZE, VISIBILITY,
)
from perdure.store.lmdb._lmdb cimport Environment


cdef Filter make_filter(object bounds, bytes allowed):
    cdef Filter f
    f.open = bounds.open
    f.closed = bounds.closed
    f.start_first = ~<uint64_t> max(bounds.start_high, 0)
    f.start_last = ~<uint64_t> max(bounds.start_low, 0)
    f.close_first = ~<uint64_t> max(bounds.close_high, 0)
    f.close_last = ~<uint64_t> max(bounds.close_low, 0)
    if bounds.start_high < bounds.start_low or bounds.start_high < 0:
        f.open = f.closed = False
    if bounds.close_high < bounds.close_low or bounds.close_high < 0:
        f.closed = False
    f.is_all = bounds.is_all
    f.allowed = NULL
    f.allowed_size = 0
    if allowed is not None:
        f.allowed = <const uint8_t*> PyBytes_AS_STRING(allowed)
        f.allowed_size = PyBytes_GET_SIZE(allowed)
    return f


cdef Numbers make_numbers(object numbers):
    cdef Numbers n
    cdef int i
    n.any = bool(numbers)
    for i in range(4):
        n.low[i] = INT64_MIN
        n.high[i] = INT64_MAX
    for i, (low, high) in (numbers or {}).items():
        n.low[i] = low
        n.high[i] = high
    return n


cdef const uint8_t* _skip(const uint8_t* at, const uint8_t* end, int64_t* value) noexcept nogil:
    """Past an integer, which is read, or a text or array of at most 15 of them, of MessagePack; NULL: anything else."""
    cdef uint8_t head
    cdef int i, _i, size
    cdef uint64_t number = 0
    if at >= end:
        return NULL
    head = at[0]
    at += 1
    if head < 0x80 or head >= 0xe0:
        value[0] = head if head < 0x80 else <int64_t> head - 256
        return at
    if 0x90 <= head < 0xa0:
        for _i in range(head & 15):
            at = _skip(at, end, value)
            if at == NULL:
                return NULL
        return at
    if 0xa0 <= head < 0xc0:
        at += head & 31
    elif 0xcc <= head <= 0xd3:
        size = 1 << (head & 3)
        if at + size > end:
            return NULL
        for i in range(size):
            number = number << 8 | at[i]
        if head >= 0xd0 and size < 8 and number >> (8 * size - 1):
            number -= <uint64_t> 1 << (8 * size)
        value[0] = <int64_t> number
        at += size
    elif 0xd9 <= head <= 0xdb:
        size = 1 << (head - 0xd9)
        if at + size > end:
            return NULL
        for i in range(size):
            number = number << 8 | at[i]
        at += size + number
    else:
        return NULL
    return at if at <= end else NULL


cdef bint has_numbers(Numbers* n, const uint8_t* row, size_t size) noexcept nogil:
    """Whether the numbers of a closed run's record are within."""
    cdef const uint8_t* end = row + size
    cdef const uint8_t* at = row
    cdef int64_t[10] values
    cdef int64_t[4] checked
    cdef int i
    if size < 3 or (row[0] != 0xdc and not 0x90 <= row[0] < 0xa0):
        return False
    at += 3 if row[0] == 0xdc else 1
    for i in range(10):
        values[i] = 0
        at = _skip(at, end, &values[i])
        if at == NULL:
            return False
    if values[6] == 0:
        return False
    checked[0] = values[6] - (values[5] if values[5] else values[4])
    checked[1] = values[7]
    checked[2] = values[8]
    checked[3] = values[9]
    for i in range(4):
        if not n.low[i] <= checked[i] <= n.high[i]:
            return False
    return True


# Streams: the positions or entries of one key, in order

cdef int _go(Stream* s, const uint8_t* position) noexcept nogil:
    """To the first entry at or after a position."""
    cdef MDB_val key = s.key
    cdef MDB_val value
    cdef int rc
    value.mv_data = <void*> position
    value.mv_size = POSITION_SIZE
    cdef uint8_t[ENTRY_SIZE] padded
    if s.is_wide:
        memcpy(padded, position, POSITION_SIZE)
        padded[32] = padded[33] = padded[34] = padded[35] = padded[36] = 0
        value.mv_data = padded
        value.mv_size = ENTRY_SIZE
    rc = mdb.cursor_get(s.cursor, &key, &value, MDB_GET_BOTH_RANGE)
    s.at = <const uint8_t*> value.mv_data
    return rc


cdef inline int _step(Stream* s) noexcept nogil:
    cdef MDB_val key, value
    cdef int rc = mdb.cursor_get(s.cursor, &key, &value, MDB_NEXT_DUP)
    s.at = <const uint8_t*> value.mv_data
    return rc


cdef int _settle(Stream* s, Filter* f, int rc) noexcept nogil:
    """From where a stream stands on to the first entry that the filter lets through."""
    cdef uint8_t[POSITION_SIZE] target
    cdef uint64_t close, start
    cdef int i
    while rc == 0:
        close = read64(s.at)
        start = read64(s.at + 8)
        for i in range(16, POSITION_SIZE):
            target[i] = 0
        if close == 0 and (not f.open or start > f.start_last):
            # Open runs are done; go on with the closed ones.
            if not f.closed:
                return MDB_NOTFOUND
            write64(target, f.close_first if f.close_first else 1)
            write64(target + 8, 0)
            rc = _go(s, target)
        elif close == 0 and start < f.start_first:
            write64(target, 0)
            write64(target + 8, f.start_first)
            rc = _go(s, target)
        elif close and (not f.closed or close > f.close_last):
            return MDB_NOTFOUND
        elif close and close < f.close_first:
            write64(target, f.close_first)
            write64(target + 8, 0)
            rc = _go(s, target)
        elif start < f.start_first or start > f.start_last or (s.is_wide and not is_allowed(f, s.at)):
            rc = _step(s)
        else:
            return 0
    return rc


cdef class Streams:
    """Open streams; those with something left stand in a heap, the least position first."""

    def __cinit__(self, Py_ssize_t count):
        self.items = <Stream*> calloc(max(count, 1), sizeof(Stream))
        self.heap = <Stream**> calloc(max(count, 1), sizeof(Stream*))
        self.keys = []
        if self.items == NULL or self.heap == NULL:
            raise MemoryError()

    def __dealloc__(self):
        free(self.items)
        free(self.heap)

    cdef int add(self, MDB_txn* txn, unsigned int dbi, int database, bytes key) noexcept:
        cdef Stream* s = &self.items[self.count]
        cdef int rc = mdb.cursor_open(txn, dbi, &s.cursor)
        if rc:
            return rc
        self.keys.append(key)
        s.key.mv_data = PyBytes_AS_STRING(key)
        s.key.mv_size = PyBytes_GET_SIZE(key)
        s.is_wide = database != BUCKET
        self.count += 1
        return 0

    cdef void close(self) noexcept:
        cdef Py_ssize_t i
        for i in range(self.count):
            mdb.cursor_close(self.items[i].cursor)
        self.count = 0

    cdef int begin(self, Filter* f, const uint8_t* after) noexcept nogil:
        """Place every stream just after a position (NULL: at its beginning)."""
        cdef uint8_t[POSITION_SIZE] target
        cdef Py_ssize_t i
        cdef int rc
        cdef Stream* s
        self.left = 0
        for i in range(POSITION_SIZE):
            target[i] = 0
        if after != NULL:
            memcpy(target, after, POSITION_SIZE)
        for i in range(self.count):
            s = &self.items[i]
            rc = _go(s, target)
            if rc == 0 and after != NULL and memcmp(s.at, after, POSITION_SIZE) == 0:
                rc = _step(s)
            rc = _settle(s, f, rc)
            if rc == 0:
                self.heap[self.left] = s
                self.left += 1
            elif rc != MDB_NOTFOUND:
                return rc
        for i in range(self.left // 2 - 1, -1, -1):
            self.sift(i)
        return 0

    cdef void sift(self, Py_ssize_t at) noexcept nogil:
        cdef Stream* moved = self.heap[at]
        cdef Py_ssize_t child
        while True:
            child = 2 * at + 1
            if child >= self.left:
                break
            if child + 1 < self.left and memcmp(self.heap[child + 1].at, self.heap[child].at, POSITION_SIZE) < 0:
                child += 1
            if memcmp(moved.at, self.heap[child].at, POSITION_SIZE) <= 0:
                break
            self.heap[at] = self.heap[child]
            at = child
        self.heap[at] = moved

    cdef int advance(self, Filter* f) noexcept nogil:
        """Past the least position, in every stream that stands at it."""
        cdef uint8_t[POSITION_SIZE] position
        cdef Stream* s
        cdef int rc
        memcpy(position, self.heap[0].at, POSITION_SIZE)
        while self.left and memcmp(self.heap[0].at, position, POSITION_SIZE) == 0:
            s = self.heap[0]
            rc = _settle(s, f, _step(s))
            if rc == MDB_NOTFOUND:
                self.left -= 1
                self.heap[0] = self.heap[self.left]
            elif rc:
                return rc
            if self.left:
                self.sift(0)
        return 0


cdef Streams open_streams(Environment env, MDB_txn* txn, list keys, int* rc):
    cdef Streams streams = Streams(len(keys))
    for database, key in keys:
        if rc[0] == 0:
            rc[0] = streams.add(txn, env._home.dbi[<int> database], database, key)
    return streams


cdef int require(Environment env, int rc) except -1:
    if rc and rc != MDB_NOTFOUND:
        raise store_error(rc, f"cannot read the store in {env._path}")
    return 0


cdef const uint8_t* first_after(bytes entries, const uint8_t* position) noexcept:
    """Where sorted entries go on after a position (NULL: where they begin)."""
    cdef const uint8_t* data = <const uint8_t*> PyBytes_AS_STRING(entries)
    cdef Py_ssize_t low = 0, high = PyBytes_GET_SIZE(entries) // ENTRY_SIZE, middle
    while position != NULL and low < high:
        middle = (low + high) // 2
        if memcmp(data + middle * ENTRY_SIZE, position, POSITION_SIZE) <= 0:
            low = middle + 1
        else:
            high = middle
    return data + low * ENTRY_SIZE


cdef int find_row(Environment env, MDB_txn* txn, const uint8_t* key, const uint8_t* position, MDB_val* value) noexcept nogil:
    """Look a record up; its row follows an entry."""
    cdef MDB_val k
    memcpy(<uint8_t*> key + NAMESPACE_SIZE, position + 16, RUN_ID_SIZE)
    k.mv_data = <void*> key
    k.mv_size = RUN_KEY_SIZE
    if mdb.get(txn, env._home.dbi[VISIBILITY], &k, value) or value.mv_size <= ENTRY_SIZE:
        return 0
    return 1
