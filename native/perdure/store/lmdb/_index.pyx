"""Reading the visibility indexes: streams of entries merged and counted, without a Python object per entry that is passed
over, and the records they lead to.

What positions and entries are is told in ``_batch``. Every function reads one snapshot.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t
from libc.string cimport memcmp, memcpy

from perdure.store.lmdb._api cimport (
    MDB_NEXT, MDB_NEXT_NODUP, MDB_NOTFOUND, MDB_SET_RANGE, MDB_cursor, MDB_txn, MDB_val, mdb,
)
from perdure.store.lmdb._batch cimport BUCKET, ENTRY_SIZE, NAMESPACE_SIZE, POSITION_SIZE, RUN_KEY_SIZE, TERM
from perdure.store.lmdb._lmdb cimport Environment
from perdure.store.lmdb._streams cimport (
    Filter, Numbers, Streams, find_row, first_after, has_numbers, is_below, is_excluded, make_filter, make_numbers,
    may_last, open_streams, require,
)


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
    cdef Filter f = make_filter(bounds, allowed)
    cdef Numbers n = make_numbers(numbers)
    cdef Streams streams
    cdef list found = []
    cdef const uint8_t* begin = <const uint8_t*> PyBytes_AS_STRING(after) if after is not None else NULL
    cdef const uint8_t* skip = first_after(excluded, begin)
    cdef const uint8_t* skip_end = <const uint8_t*> PyBytes_AS_STRING(excluded) + PyBytes_GET_SIZE(excluded)
    cdef uint8_t[POSITION_SIZE] last
    cdef MDB_txn* txn = env._begin()
    cdef int rc = 0
    cdef bint is_done = False
    try:
        streams = open_streams(env, txn, keys, &rc)
        if rc == 0:
            rc = streams.begin(&f, begin)
        while rc == 0 and streams.left and len(found) < limit and most > 0:
            most -= 1
            memcpy(last, streams.heap[0].at, POSITION_SIZE)
            if not is_excluded(&skip, skip_end, last):
                _append_record(env, txn, namespace, last, found, &n)
            rc = streams.advance(&f)
        is_done = streams.left == 0
        streams.close()
    finally:
        env._end()
    require(env, rc)
    return found, None if is_done else PyBytes_FromStringAndSize(<const char*> last, POSITION_SIZE)


cdef int _append_record(
    Environment env, MDB_txn* txn, bytes namespace, const uint8_t* position, list found, Numbers* n
) except -1:
    cdef uint8_t[RUN_KEY_SIZE] key
    cdef MDB_val value
    memcpy(key, PyBytes_AS_STRING(namespace), NAMESPACE_SIZE)
    if n.any and not may_last(n, position):
        return 0
    if find_row(env, txn, key, position, &value) and (
        not n.any or has_numbers(n, <const uint8_t*> value.mv_data + ENTRY_SIZE, value.mv_size - ENTRY_SIZE)
    ):
        found.append((
            PyBytes_FromStringAndSize(<const char*> position, POSITION_SIZE),
            PyBytes_FromStringAndSize(<const char*> value.mv_data + ENTRY_SIZE, value.mv_size - ENTRY_SIZE),
        ))
    return 0


def count_slowly(Environment env not None, bytes namespace not None, list keys not None, object bounds, bytes allowed,
                 bytes after, Py_ssize_t most, bytes excluded, dict numbers):
    """How many entries ``merge`` would give of the next ``most``, and the position to go on after (None: that was all)."""
    cdef Filter f = make_filter(bounds, allowed)
    cdef Numbers n = make_numbers(numbers)
    cdef Streams streams
    cdef const uint8_t* begin = <const uint8_t*> PyBytes_AS_STRING(after) if after is not None else NULL
    cdef const uint8_t* skip = first_after(excluded, begin)
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
        streams = open_streams(env, txn, keys, &rc)
        if rc == 0:
            rc = streams.begin(&f, begin)
        with nogil:
            while rc == 0 and streams.left and most > 0:
                most -= 1
                memcpy(last, streams.heap[0].at, POSITION_SIZE)
                if not is_excluded(&skip, skip_end, last) and (not n.any or (
                    may_last(&n, last)
                    and find_row(env, txn, key, last, &value)
                    and has_numbers(&n, <const uint8_t*> value.mv_data + ENTRY_SIZE, value.mv_size - ENTRY_SIZE)
                )):
                    total += 1
                rc = streams.advance(&f)
        is_done = streams.left == 0
        streams.close()
    finally:
        env._end()
    require(env, rc)
    return total, None if is_done else PyBytes_FromStringAndSize(<const char*> last, POSITION_SIZE)


def count(Environment env not None, list keys not None, object bounds, bytes allowed):
    """How many entries ``merge`` would give."""
    cdef Filter f = make_filter(bounds, allowed)
    cdef Streams streams
    cdef size_t total = 0, several = 0
    cdef Py_ssize_t i
    cdef MDB_val key, value
    cdef MDB_txn* txn = env._begin()
    cdef int rc = 0
    try:
        streams = open_streams(env, txn, keys, &rc)
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
    require(env, rc)
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
            while rc == 0 and is_below(&key, high):
                rc = mdb.cursor_count(cursor, &several)
                found.append((PyBytes_FromStringAndSize(<const char*> key.mv_data, key.mv_size), several))
                if rc == 0:
                    rc = mdb.cursor_get(cursor, &key, &value, MDB_NEXT_NODUP)
            mdb.cursor_close(cursor)
    finally:
        env._end()
    require(env, rc)
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
            while rc == 0 and total <= most and is_below(&key, high):
                if has_several:
                    rc = mdb.cursor_count(cursor, &several)
                total += several
                if rc == 0:
                    rc = mdb.cursor_get(cursor, &key, &value, MDB_NEXT_NODUP if has_several else MDB_NEXT)
            mdb.cursor_close(cursor)
    finally:
        env._end()
    require(env, rc)
    return total


def records_at(Environment env not None, bytes namespace not None, list positions not None):
    """``(position, record row)`` of those positions that are still there."""
    cdef list found = []
    cdef Numbers n = make_numbers(None)
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
    cdef Numbers n = make_numbers(None)
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
