"""Sets of visibility entries: sorted, each once, one after the other in one bytes object; and the first of them by a time.

What entries are is told in ``_batch``.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint64_t
from libc.stdlib cimport calloc, free, qsort, realloc
from libc.string cimport memcmp, memcpy

from perdure.store.lmdb._api cimport MDB_NEXT, MDB_NOTFOUND, MDB_SET_RANGE, MDB_cursor, MDB_txn, MDB_val, mdb
from perdure.store.lmdb._batch cimport (
    ENTRY_SIZE, NAMESPACE_SIZE, POSITION_SIZE, RUN_ID_SIZE, RUN_KEY_SIZE, VISIBILITY, WORKFLOW,
)
from perdure.store.lmdb._lmdb cimport Environment
from perdure.store.lmdb._streams cimport (
    Filter, Numbers, Streams, find_row, has_numbers, is_allowed, is_below, is_excluded, is_within, make_filter,
    make_numbers, may_last, open_streams, read64, require, write64,
)

cdef struct Entries:
    uint8_t* data
    size_t size
    size_t room


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
    while rc == 0 and is_below(&key, high):
        if is_within(f, <const uint8_t*> value.mv_data) and is_allowed(f, <const uint8_t*> value.mv_data):
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
        if is_within(f, <const uint8_t*> value.mv_data) and is_allowed(f, <const uint8_t*> value.mv_data):
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
    while rc == 0 and is_below(&key, high):
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
    cdef Filter f = make_filter(bounds, allowed)
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
    require(env, rc)
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
        if not is_excluded(&b, b_end, a) and _put(&entries, a):
            free(entries.data)
            raise MemoryError()
        a += ENTRY_SIZE
    result = PyBytes_FromStringAndSize(<const char*> entries.data, entries.size) if entries.size else b""
    free(entries.data)
    return result


# The first entries by a time of theirs

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
    cdef uint64_t time = read64(position if f.by_close else position + 8)  # inverted
    cdef size_t at, child
    if f.by_close and time == 0:
        time = ~time  # an open run comes last in either direction
    elif not f.descending:
        time = ~time
    write64(item, time)
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
    cdef Filter f = make_filter(bounds, allowed)
    cdef First first
    cdef Streams streams
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
                streams = open_streams(env, txn, keys, &rc)
                if rc == 0:
                    with nogil:
                        rc = streams.begin(&f, NULL)
                        while rc == 0 and streams.left:
                            _offer(&first, streams.heap[0].at)
                            rc = streams.advance(&f)
                streams.close()
            finally:
                env._end()
            require(env, rc)
        qsort(first.items, first.count, ITEM_SIZE, _compare_items)
        return [
            PyBytes_FromStringAndSize(<const char*> first.items + i * ITEM_SIZE, ITEM_SIZE) for i in range(first.count)
        ]
    finally:
        free(first.items)


def narrow(Environment env not None, bytes namespace not None, bytes entries not None, dict numbers not None):
    """Those of collected entries that are of closed runs whose records have numbers within.

    Args:
        numbers: ``{place: (least, greatest)}``; places: 0 the nanoseconds of execution, 1 the length and 2 the size of
            the history, 3 the transitions.
    """
    cdef Numbers n = make_numbers(numbers)
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
            if may_last(&n, at) and find_row(env, txn, key, at, &value) and has_numbers(
                &n, <const uint8_t*> value.mv_data + ENTRY_SIZE, value.mv_size - ENTRY_SIZE
            ):
                rc = _put(&kept, at)
            at += ENTRY_SIZE
        result = PyBytes_FromStringAndSize(<const char*> kept.data, kept.size) if kept.size else b""
    finally:
        env._end()
        free(kept.data)
    require(env, rc)
    return result
