"""Reading the visibility indexes: streams of entries merged, counted, collected and intersected, without a Python object
per entry that is passed over.

What positions and entries are is told in ``_batch``. Every function reads one snapshot.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport INT64_MAX, INT64_MIN, int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free, qsort, realloc
from libc.string cimport memcmp, memcpy

from perdure.store.lmdb._api cimport (
    MDB_GET_BOTH_RANGE, MDB_NEXT, MDB_NEXT_DUP, MDB_NEXT_NODUP, MDB_NOTFOUND, MDB_SET_RANGE, MDB_cursor, MDB_txn,
    MDB_val, mdb, store_error,
)
from perdure.store.lmdb._batch cimport (
    BUCKET, ENTRY_SIZE, NAMESPACE_SIZE, POSITION_SIZE, RUN_ID_SIZE, RUN_KEY_SIZE, TERM, VISIBILITY, WORKFLOW,
)
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

cdef struct Entries:
    uint8_t* data
    size_t size
    size_t room


cdef inline uint64_t _read64(const uint8_t* at) noexcept nogil:
    cdef uint64_t value = 0
    cdef int i
    for i in range(8):
        value = value << 8 | at[i]
    return value


cdef inline void _write64(uint8_t* at, uint64_t value) noexcept nogil:
    cdef int i
    for i in range(8):
        at[i] = <uint8_t> (value >> (56 - 8 * i))


cdef Filter _filter(object bounds, bytes allowed):
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


cdef Numbers _numbers(object numbers):
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


cdef bint _has_numbers(Numbers* n, const uint8_t* row, size_t size) noexcept nogil:
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


cdef inline bint _may_last(Numbers* n, const uint8_t* position) noexcept nogil:
    """Whether a run can have taken as long as it has to: no longer than from its start to its close."""
    return <int64_t> (_read64(position + 8) - _read64(position)) >= n.low[0]


cdef inline bint _is_allowed(Filter* f, const uint8_t* entry) noexcept nogil:
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


cdef inline bint _is_within(Filter* f, const uint8_t* position) noexcept nogil:
    cdef uint64_t close = _read64(position)
    cdef uint64_t start = _read64(position + 8)
    if start < f.start_first or start > f.start_last:
        return False
    if close == 0:
        return f.open
    return f.closed and f.close_first <= close <= f.close_last


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
        close = _read64(s.at)
        start = _read64(s.at + 8)
        for i in range(16, POSITION_SIZE):
            target[i] = 0
        if close == 0 and (not f.open or start > f.start_last):
            # Open runs are done; go on with the closed ones.
            if not f.closed:
                return MDB_NOTFOUND
            _write64(target, f.close_first if f.close_first else 1)
            _write64(target + 8, 0)
            rc = _go(s, target)
        elif close == 0 and start < f.start_first:
            _write64(target, 0)
            _write64(target + 8, f.start_first)
            rc = _go(s, target)
        elif close and (not f.closed or close > f.close_last):
            return MDB_NOTFOUND
        elif close and close < f.close_first:
            _write64(target, f.close_first)
            _write64(target + 8, 0)
            rc = _go(s, target)
        elif start < f.start_first or start > f.start_last or (s.is_wide and not _is_allowed(f, s.at)):
            rc = _step(s)
        else:
            return 0
    return rc


cdef class _Streams:
    """Open streams; those with something left stand in a heap, the least position first."""

    cdef Stream* items
    cdef Stream** heap
    cdef Py_ssize_t count
    cdef Py_ssize_t left
    cdef list keys

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


cdef _Streams _open(Environment env, MDB_txn* txn, list keys, int* rc):
    cdef _Streams streams = _Streams(len(keys))
    for database, key in keys:
        if rc[0] == 0:
            rc[0] = streams.add(txn, env._home.dbi[<int> database], database, key)
    return streams


cdef int _require(Environment env, int rc) except -1:
    if rc and rc != MDB_NOTFOUND:
        raise store_error(rc, f"cannot read the store in {env._path}")
    return 0


cdef inline bint _is_excluded(const uint8_t** at, const uint8_t* end, const uint8_t* position) noexcept nogil:
    """Whether a position is among sorted entries; both go forward together."""
    while at[0] < end and memcmp(at[0], position, POSITION_SIZE) < 0:
        at[0] += ENTRY_SIZE
    return at[0] < end and memcmp(at[0], position, POSITION_SIZE) == 0


cdef const uint8_t* _first_after(bytes entries, const uint8_t* position) noexcept:
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


cdef int _row(Environment env, MDB_txn* txn, const uint8_t* key, const uint8_t* position, MDB_val* value) noexcept nogil:
    """Look a record up; its row follows an entry."""
    cdef MDB_val k
    memcpy(<uint8_t*> key + NAMESPACE_SIZE, position + 16, RUN_ID_SIZE)
    k.mv_data = <void*> key
    k.mv_size = RUN_KEY_SIZE
    if mdb.get(txn, env._home.dbi[VISIBILITY], &k, value) or value.mv_size <= ENTRY_SIZE:
        return 0
    return 1


def merge(Environment env not None, bytes namespace not None, list keys not None, object bounds, bytes allowed,
          bytes after, Py_ssize_t limit, bytes excluded=b"", numbers=None, Py_ssize_t most=1 << 62):
    """Up to ``limit`` entries of several keys, in order, from just after a position (None: from the beginning).

    Args:
        keys: ``(database, key)`` of buckets or terms.
        bounds: what positions may be.
        allowed: which buckets entries of terms may be of (None: any), two bytes of status bits for each bucket.
        excluded: collected entries that are passed over.
        numbers: the least and the greatest number there may be, by place among those of :func:`narrow`.
        most: how many entries are looked at.

    Returns:
        a list of ``(position, record row)``, and the position to go on after (None: that was all).
    """
    cdef Filter f = _filter(bounds, allowed)
    cdef Numbers n = _numbers(numbers)
    cdef _Streams streams
    cdef list found = []
    cdef const uint8_t* begin = <const uint8_t*> PyBytes_AS_STRING(after) if after is not None else NULL
    cdef const uint8_t* skip = _first_after(excluded, begin)
    cdef const uint8_t* skip_end = <const uint8_t*> PyBytes_AS_STRING(excluded) + PyBytes_GET_SIZE(excluded)
    cdef uint8_t[POSITION_SIZE] last
    cdef MDB_txn* txn = env._begin()
    cdef int rc = 0
    cdef bint is_done = False
    try:
        streams = _open(env, txn, keys, &rc)
        if rc == 0:
            rc = streams.begin(&f, begin)
        while rc == 0 and streams.left and len(found) < limit and most > 0:
            most -= 1
            memcpy(last, streams.heap[0].at, POSITION_SIZE)
            if not _is_excluded(&skip, skip_end, last):
                _append_record(env, txn, namespace, last, found, &n)
            rc = streams.advance(&f)
        is_done = streams.left == 0
        streams.close()
    finally:
        env._end()
    _require(env, rc)
    return found, None if is_done else PyBytes_FromStringAndSize(<const char*> last, POSITION_SIZE)


cdef int _append_record(
    Environment env, MDB_txn* txn, bytes namespace, const uint8_t* position, list found, Numbers* n
) except -1:
    cdef uint8_t[RUN_KEY_SIZE] key
    cdef MDB_val value
    memcpy(key, PyBytes_AS_STRING(namespace), NAMESPACE_SIZE)
    if n.any and not _may_last(n, position):
        return 0
    if _row(env, txn, key, position, &value) and (
        not n.any or _has_numbers(n, <const uint8_t*> value.mv_data + ENTRY_SIZE, value.mv_size - ENTRY_SIZE)
    ):
        found.append((
            PyBytes_FromStringAndSize(<const char*> position, POSITION_SIZE),
            PyBytes_FromStringAndSize(<const char*> value.mv_data + ENTRY_SIZE, value.mv_size - ENTRY_SIZE),
        ))
    return 0


def narrow(Environment env not None, bytes namespace not None, bytes entries not None, dict numbers not None):
    """Those of collected entries that are of closed runs whose records have numbers within.

    Args:
        numbers: ``{place: (least, greatest)}``; places: 0 the nanoseconds of execution, 1 the length and 2 the size of
            the history, 3 the transitions.
    """
    cdef Numbers n = _numbers(numbers)
    cdef Entries kept
    cdef const uint8_t* at = <const uint8_t*> PyBytes_AS_STRING(entries)
    cdef const uint8_t* end = at + PyBytes_GET_SIZE(entries)
    cdef uint8_t[RUN_KEY_SIZE] key
    cdef MDB_val value
    cdef MDB_txn* txn = env._begin()
    cdef int rc = 0
    memcpy(key, PyBytes_AS_STRING(namespace), NAMESPACE_SIZE)
    kept.data = NULL
    kept.size = kept.room = 0
    try:
        while at < end and rc == 0:
            if _may_last(&n, at) and _row(env, txn, key, at, &value) and _has_numbers(
                &n, <const uint8_t*> value.mv_data + ENTRY_SIZE, value.mv_size - ENTRY_SIZE
            ):
                rc = _put(&kept, at)
            at += ENTRY_SIZE
        result = PyBytes_FromStringAndSize(<const char*> kept.data, kept.size) if kept.size else b""
    finally:
        env._end()
        free(kept.data)
    _require(env, rc)
    return result


def count_slowly(Environment env not None, bytes namespace not None, list keys not None, object bounds, bytes allowed,
                 bytes after, Py_ssize_t most, bytes excluded, dict numbers):
    """How many entries ``merge`` would give of the next ``most``, and the position to go on after (None: that was all)."""
    cdef Filter f = _filter(bounds, allowed)
    cdef Numbers n = _numbers(numbers)
    cdef _Streams streams
    cdef const uint8_t* begin = <const uint8_t*> PyBytes_AS_STRING(after) if after is not None else NULL
    cdef const uint8_t* skip = _first_after(excluded, begin)
    cdef const uint8_t* skip_end = <const uint8_t*> PyBytes_AS_STRING(excluded) + PyBytes_GET_SIZE(excluded)
    cdef uint8_t[POSITION_SIZE] last
    cdef uint8_t[RUN_KEY_SIZE] key
    cdef MDB_val value
    cdef size_t total = 0
    cdef MDB_txn* txn = env._begin()
    cdef int rc = 0
    cdef bint is_done = False
    memcpy(key, PyBytes_AS_STRING(namespace), NAMESPACE_SIZE)
    try:
        streams = _open(env, txn, keys, &rc)
        if rc == 0:
            rc = streams.begin(&f, begin)
        with nogil:
            while rc == 0 and streams.left and most > 0:
                most -= 1
                memcpy(last, streams.heap[0].at, POSITION_SIZE)
                if not _is_excluded(&skip, skip_end, last) and (not n.any or (
                    _may_last(&n, last)
                    and _row(env, txn, key, last, &value)
                    and _has_numbers(&n, <const uint8_t*> value.mv_data + ENTRY_SIZE, value.mv_size - ENTRY_SIZE)
                )):
                    total += 1
                rc = streams.advance(&f)
        is_done = streams.left == 0
        streams.close()
    finally:
        env._end()
    _require(env, rc)
    return total, None if is_done else PyBytes_FromStringAndSize(<const char*> last, POSITION_SIZE)


def count(Environment env not None, list keys not None, object bounds, bytes allowed):
    """How many entries ``merge`` would give."""
    cdef Filter f = _filter(bounds, allowed)
    cdef _Streams streams
    cdef size_t total = 0, several = 0
    cdef Py_ssize_t i
    cdef MDB_val key, value
    cdef MDB_txn* txn = env._begin()
    cdef int rc = 0
    try:
        streams = _open(env, txn, keys, &rc)
        if f.is_all and f.allowed == NULL and (len(keys) == 1 or all(database == BUCKET for database, _ in keys)):
            # LMDB knows how many values a key has; a record is in one bucket only.
            for i in range(streams.count):
                key = streams.items[i].key
                if rc == 0:
                    rc = _at_key(streams.items[i].cursor, &key, &value)
                    if rc == 0:
                        rc = mdb.cursor_count(streams.items[i].cursor, &several)
                        total += several
                    elif rc == MDB_NOTFOUND:
                        rc = 0
        elif rc == 0:
            with nogil:
                rc = streams.begin(&f, NULL)
                while rc == 0 and streams.left:
                    total += 1
                    rc = streams.advance(&f)
        streams.close()
    finally:
        env._end()
    _require(env, rc)
    return total


cdef int _at_key(MDB_cursor* cursor, MDB_val* key, MDB_val* value) noexcept nogil:
    """Place a cursor on the first value of exactly this key."""
    cdef MDB_val wanted = key[0]
    cdef int rc = mdb.cursor_get(cursor, key, value, MDB_SET_RANGE)
    if rc == 0 and (key.mv_size != wanted.mv_size or memcmp(key.mv_data, wanted.mv_data, wanted.mv_size) != 0):
        return MDB_NOTFOUND
    return rc


def keys(Environment env not None, int database, bytes low not None, bytes high not None):
    """``(key, how many values it has)`` with ``low <= key < high``, of buckets or terms."""
    cdef list found = []
    cdef MDB_cursor* cursor = NULL
    cdef MDB_val key, value
    cdef size_t several = 0
    cdef MDB_txn* txn = env._begin()
    cdef int rc
    try:
        rc = mdb.cursor_open(txn, env._home.dbi[database], &cursor)
        if rc == 0:
            key.mv_data = PyBytes_AS_STRING(low)
            key.mv_size = PyBytes_GET_SIZE(low)
            rc = mdb.cursor_get(cursor, &key, &value, MDB_SET_RANGE)
            while rc == 0 and _is_below(&key, high):
                rc = mdb.cursor_count(cursor, &several)
                found.append((PyBytes_FromStringAndSize(<const char*> key.mv_data, key.mv_size), several))
                if rc == 0:
                    rc = mdb.cursor_get(cursor, &key, &value, MDB_NEXT_NODUP)
            mdb.cursor_close(cursor)
    finally:
        env._end()
    _require(env, rc)
    return found


def size(Environment env not None, int database, bytes low not None, bytes high not None, size_t most):
    """How many values the keys of a range have; once there are more than ``most``, any number above it."""
    cdef MDB_cursor* cursor = NULL
    cdef MDB_val key, value
    cdef size_t several = 1, total = 0
    cdef bint has_several = database == BUCKET or database == TERM
    cdef MDB_txn* txn = env._begin()
    cdef int rc
    try:
        rc = mdb.cursor_open(txn, env._home.dbi[database], &cursor)
        if rc == 0:
            key.mv_data = PyBytes_AS_STRING(low)
            key.mv_size = PyBytes_GET_SIZE(low)
            rc = mdb.cursor_get(cursor, &key, &value, MDB_SET_RANGE)
            while rc == 0 and total <= most and _is_below(&key, high):
                if has_several:
                    rc = mdb.cursor_count(cursor, &several)
                total += several
                if rc == 0:
                    rc = mdb.cursor_get(cursor, &key, &value, MDB_NEXT_NODUP if has_several else MDB_NEXT)
            mdb.cursor_close(cursor)
    finally:
        env._end()
    _require(env, rc)
    return total


cdef inline bint _is_below(MDB_val* key, bytes high) noexcept:
    cdef size_t size = PyBytes_GET_SIZE(high)
    cdef int order = memcmp(key.mv_data, PyBytes_AS_STRING(high), min(key.mv_size, size))
    return order < 0 or (order == 0 and key.mv_size < size)


# Sets of entries: sorted, each once

cdef int _put(Entries* entries, const uint8_t* entry) noexcept nogil:
    cdef size_t room
    cdef uint8_t* data
    if entries.size + ENTRY_SIZE > entries.room:
        room = entries.room * 2 + 4096
        data = <uint8_t*> realloc(entries.data, room)
        if data == NULL:
            return 12  # ENOMEM
        entries.data = data
        entries.room = room
    memcpy(entries.data + entries.size, entry, ENTRY_SIZE)
    entries.size += ENTRY_SIZE
    return 0


cdef int _compare(const void* left, const void* right) noexcept nogil:
    return memcmp(left, right, ENTRY_SIZE)


cdef bytes _sorted(Entries* entries):
    cdef size_t at, end = 0
    for at in range(ENTRY_SIZE, entries.size, ENTRY_SIZE):
        if memcmp(entries.data + at - ENTRY_SIZE, entries.data + at, ENTRY_SIZE) > 0:
            qsort(entries.data, entries.size // ENTRY_SIZE, ENTRY_SIZE, _compare)
            break
    for at in range(0, entries.size, ENTRY_SIZE):
        if end == 0 or memcmp(entries.data + at, entries.data + end - ENTRY_SIZE, ENTRY_SIZE) != 0:
            memcpy(entries.data + end, entries.data + at, ENTRY_SIZE)
            end += ENTRY_SIZE
    return PyBytes_FromStringAndSize(<const char*> entries.data, end)


cdef int _collect_terms(Environment env, MDB_txn* txn, int database, bytes low, bytes high, Filter* f,
                        Entries* entries) noexcept:
    cdef MDB_cursor* cursor
    cdef MDB_val key, value
    cdef int rc = mdb.cursor_open(txn, env._home.dbi[database], &cursor)
    if rc:
        return rc
    key.mv_data = PyBytes_AS_STRING(low)
    key.mv_size = PyBytes_GET_SIZE(low)
    rc = mdb.cursor_get(cursor, &key, &value, MDB_SET_RANGE)
    while rc == 0 and _is_below(&key, high):
        if _is_within(f, <const uint8_t*> value.mv_data) and _is_allowed(f, <const uint8_t*> value.mv_data):
            rc = _put(entries, <const uint8_t*> value.mv_data)
        if rc == 0:
            rc = mdb.cursor_get(cursor, &key, &value, MDB_NEXT)
    mdb.cursor_close(cursor)
    return rc


cdef int _collect_run(Environment env, MDB_txn* txn, const uint8_t* run_key, Filter* f, Entries* entries) noexcept nogil:
    cdef MDB_val key, value
    cdef int rc
    key.mv_data = <void*> run_key
    key.mv_size = RUN_KEY_SIZE
    rc = mdb.get(txn, env._home.dbi[VISIBILITY], &key, &value)
    if rc == 0 and value.mv_size > ENTRY_SIZE:
        if _is_within(f, <const uint8_t*> value.mv_data) and _is_allowed(f, <const uint8_t*> value.mv_data):
            rc = _put(entries, <const uint8_t*> value.mv_data)
    return 0 if rc == MDB_NOTFOUND else rc


cdef int _collect_workflow_ids(Environment env, MDB_txn* txn, bytes low, bytes high, Filter* f,
                               Entries* entries) noexcept:
    cdef MDB_cursor* cursor
    cdef MDB_val key, value
    cdef uint8_t[RUN_KEY_SIZE] run_key
    cdef const uint8_t* text
    cdef size_t at
    cdef int rc = mdb.cursor_open(txn, env._home.dbi[WORKFLOW], &cursor)
    if rc:
        return rc
    memcpy(run_key, PyBytes_AS_STRING(low), NAMESPACE_SIZE)
    key.mv_data = PyBytes_AS_STRING(low)
    key.mv_size = PyBytes_GET_SIZE(low)
    rc = mdb.cursor_get(cursor, &key, &value, MDB_SET_RANGE)
    while rc == 0 and _is_below(&key, high):
        text = <const uint8_t*> key.mv_data
        at = NAMESPACE_SIZE
        while at + 2 < key.mv_size and (text[at] or text[at + 1]):
            at += 1
        # Two zeros end the workflow id; then 1 and a run id, or 0 for the record that names the current run.
        if at + 3 + RUN_ID_SIZE == key.mv_size and text[at + 2] == 1:
            memcpy(run_key + NAMESPACE_SIZE, text + at + 3, RUN_ID_SIZE)
            rc = _collect_run(env, txn, run_key, f, entries)
        if rc == 0:
            rc = mdb.cursor_get(cursor, &key, &value, MDB_NEXT)
    mdb.cursor_close(cursor)
    return rc


def collect(Environment env not None, list parts not None, object bounds, bytes allowed):
    """The entries of several parts, sorted, each once, one after the other in one bytes object.

    Args:
        parts: ``(database, low, high)`` of terms or workflow ids, or ``(VISIBILITY, run key, b"")`` of a run.
    """
    cdef Filter f = _filter(bounds, allowed)
    cdef Entries entries
    cdef MDB_txn* txn = env._begin()
    cdef int rc = 0
    entries.data = NULL
    entries.size = entries.room = 0
    try:
        for database, low, high in parts:
            if database == VISIBILITY:
                rc = _collect_run(env, txn, <const uint8_t*> PyBytes_AS_STRING(low), &f, &entries)
            elif database == WORKFLOW:
                rc = _collect_workflow_ids(env, txn, low, high, &f, &entries)
            else:
                rc = _collect_terms(env, txn, database, low, high, &f, &entries)
            if rc and rc != MDB_NOTFOUND:
                break
            rc = 0
        result = _sorted(&entries)
    finally:
        env._end()
        free(entries.data)
    _require(env, rc)
    return result


def intersect(bytes left not None, bytes right not None):
    """The entries that are in both."""
    cdef const char* a = PyBytes_AS_STRING(left)
    cdef const char* b = PyBytes_AS_STRING(right)
    cdef const char* a_end = a + PyBytes_GET_SIZE(left)
    cdef const char* b_end = b + PyBytes_GET_SIZE(right)
    cdef Entries entries
    cdef int order
    entries.data = NULL
    entries.size = entries.room = 0
    while a < a_end and b < b_end:
        order = memcmp(a, b, ENTRY_SIZE)
        if order == 0 and _put(&entries, <const uint8_t*> a):
            free(entries.data)
            raise MemoryError()
        if order <= 0:
            a += ENTRY_SIZE
        if order >= 0:
            b += ENTRY_SIZE
    result = PyBytes_FromStringAndSize(<const char*> entries.data, entries.size) if entries.size else b""
    free(entries.data)
    return result


def subtract(bytes left not None, bytes right not None):
    """The entries of the left that are not in the right."""
    cdef const uint8_t* a = <const uint8_t*> PyBytes_AS_STRING(left)
    cdef const uint8_t* a_end = a + PyBytes_GET_SIZE(left)
    cdef const uint8_t* b = <const uint8_t*> PyBytes_AS_STRING(right)
    cdef const uint8_t* b_end = b + PyBytes_GET_SIZE(right)
    cdef Entries entries
    entries.data = NULL
    entries.size = entries.room = 0
    while a < a_end:
        if not _is_excluded(&b, b_end, a) and _put(&entries, a):
            free(entries.data)
            raise MemoryError()
        a += ENTRY_SIZE
    result = PyBytes_FromStringAndSize(<const char*> entries.data, entries.size) if entries.size else b""
    free(entries.data)
    return result


# Orders: the first entries by a time of theirs

cdef struct First:
    uint8_t* items                  # a heap of limit items, the last one first
    size_t count
    size_t limit
    bint by_close
    bint descending
    const uint8_t* after            # NULL, or the item to begin after

cdef enum:
    ITEM_SIZE = 8 + POSITION_SIZE


cdef int _compare_items(const void* left, const void* right) noexcept nogil:
    return memcmp(left, right, ITEM_SIZE)


cdef void _offer(First* f, const uint8_t* position) noexcept nogil:
    """Take an entry if it is among the first so far."""
    cdef uint8_t[ITEM_SIZE] item
    cdef uint64_t time = _read64(position if f.by_close else position + 8)  # inverted
    cdef size_t at, child
    if f.by_close and time == 0:
        time = ~time  # an open run comes last in either direction
    elif not f.descending:
        time = ~time
    _write64(item, time)
    memcpy(<uint8_t*> item + 8, position, POSITION_SIZE)
    if f.after != NULL and memcmp(item, f.after, ITEM_SIZE) <= 0:
        return
    if f.count < f.limit:
        at = f.count
        f.count += 1
        while at and memcmp(f.items + (at - 1) // 2 * ITEM_SIZE, item, ITEM_SIZE) < 0:
            memcpy(f.items + at * ITEM_SIZE, f.items + (at - 1) // 2 * ITEM_SIZE, ITEM_SIZE)
            at = (at - 1) // 2
        memcpy(f.items + at * ITEM_SIZE, item, ITEM_SIZE)
        return
    if memcmp(item, f.items, ITEM_SIZE) >= 0:
        return
    at = 0
    while True:
        child = 2 * at + 1
        if child >= f.count:
            break
        if child + 1 < f.count and memcmp(f.items + (child + 1) * ITEM_SIZE, f.items + child * ITEM_SIZE, ITEM_SIZE) > 0:
            child += 1
        if memcmp(item, f.items + child * ITEM_SIZE, ITEM_SIZE) >= 0:
            break
        memcpy(f.items + at * ITEM_SIZE, f.items + child * ITEM_SIZE, ITEM_SIZE)
        at = child
    memcpy(f.items + at * ITEM_SIZE, item, ITEM_SIZE)


def first(Environment env not None, list keys, bytes entries not None, object bounds, bytes allowed, bint by_close,
          bint descending, bytes after, size_t limit):
    """The first entries of several keys (None: of collected ones) by start or close time, in order.

    Returns:
        items: eight bytes that sort as the time does, and a position. ``after`` is one, too.
    """
    cdef Filter f = _filter(bounds, allowed)
    cdef First first
    cdef _Streams streams
    cdef const uint8_t* at = <const uint8_t*> PyBytes_AS_STRING(entries)
    cdef const uint8_t* end = at + PyBytes_GET_SIZE(entries)
    cdef MDB_txn* txn
    cdef size_t i
    cdef int rc = 0
    first.items = <uint8_t*> calloc(limit + 1, ITEM_SIZE)
    if first.items == NULL:
        raise MemoryError()
    first.count = 0
    first.limit = limit
    first.by_close = by_close
    first.descending = descending
    first.after = <const uint8_t*> PyBytes_AS_STRING(after) if after is not None else NULL
    try:
        while at < end:
            _offer(&first, at)
            at += ENTRY_SIZE
        if keys is not None:
            txn = env._begin()
            try:
                streams = _open(env, txn, keys, &rc)
                if rc == 0:
                    with nogil:
                        rc = streams.begin(&f, NULL)
                        while rc == 0 and streams.left:
                            _offer(&first, streams.heap[0].at)
                            rc = streams.advance(&f)
                streams.close()
            finally:
                env._end()
            _require(env, rc)
        qsort(first.items, first.count, ITEM_SIZE, _compare_items)
        return [
            PyBytes_FromStringAndSize(<const char*> first.items + i * ITEM_SIZE, ITEM_SIZE) for i in range(first.count)
        ]
    finally:
        free(first.items)


def records_at(Environment env not None, bytes namespace not None, list positions not None):
    """``(position, record row)`` of those positions that are still there."""
    cdef list found = []
    cdef Numbers n = _numbers(None)
    cdef MDB_txn* txn = env._begin()
    try:
        for position in positions:
            _append_record(env, txn, namespace, <const uint8_t*> PyBytes_AS_STRING(<bytes> position), found, &n)
    finally:
        env._end()
    return found


def records(Environment env not None, bytes namespace not None, bytes entries not None, bytes after, Py_ssize_t limit):
    """As ``merge``, of entries that were collected."""
    cdef const uint8_t* data = <const uint8_t*> PyBytes_AS_STRING(entries)
    cdef Py_ssize_t low = 0, high = PyBytes_GET_SIZE(entries) // ENTRY_SIZE, middle
    cdef Py_ssize_t end = high
    cdef list found = []
    cdef Numbers n = _numbers(None)
    cdef MDB_txn* txn
    if after is not None:
        while low < high:
            middle = (low + high) // 2
            if memcmp(data + middle * ENTRY_SIZE, PyBytes_AS_STRING(after), POSITION_SIZE) <= 0:
                low = middle + 1
            else:
                high = middle
    txn = env._begin()
    try:
        while low < end and len(found) < limit:
            _append_record(env, txn, namespace, data + low * ENTRY_SIZE, found, &n)
            low += 1
    finally:
        env._end()
    return found
