"""What a batch asks of a transaction: versions that must hold, and entries to apply."""

from libc.errno cimport ENOMEM
from libc.stdint cimport uint8_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy

from perdure.store.lmdb._api cimport MDB_CORRUPTED, MDB_NOTFOUND, MDB_SET_RANGE, MDB_cursor, MDB_txn, MDB_val, mdb
from perdure.store.lmdb._batch cimport (
    DATABASES, OP_DELETE, OP_DELETE_MATCHING, OP_DELETE_PREFIX, OP_DELETE_VALUE, OP_PUT, RUN, RUN_HEAD_SIZE,
    RUN_KEY_SIZE, Check, Entry,
)
from perdure.store.lmdb._home cimport STALE, Home, Node


cdef bint holds(Home* home, MDB_txn* txn, Node* node, int* rc) noexcept nogil:
    """Whether the runs a batch is about have the versions it was made for."""
    cdef Check* check = <Check*> node.checks.data
    cdef size_t count = node.checks.size // sizeof(Check)
    cdef size_t i
    cdef MDB_val key, value
    cdef uint64_t found
    for i in range(count):
        key.mv_size = RUN_KEY_SIZE
        key.mv_data = check[i].key
        found = 0
        rc[0] = mdb.get(txn, home.dbi[RUN], &key, &value)
        if rc[0] == 0:
            if value.mv_size < RUN_HEAD_SIZE:
                rc[0] = MDB_CORRUPTED
                return False
            memcpy(&found, value.mv_data, 8)
        elif rc[0] != MDB_NOTFOUND:
            return False
        rc[0] = 0
        if found != check[i].version:
            node.outcome = STALE
            node.stale = i
            node.found = found
            return False
    return True


cdef int _delete_prefix(MDB_txn* txn, unsigned int dbi, MDB_val* prefix) noexcept nogil:
    cdef MDB_cursor* cursor
    cdef MDB_val key = prefix[0]
    cdef MDB_val value
    cdef int rc = mdb.cursor_open(txn, dbi, &cursor)
    if rc:
        return rc
    rc = mdb.cursor_get(cursor, &key, &value, MDB_SET_RANGE)
    while rc == 0 and key.mv_size >= prefix.mv_size and memcmp(key.mv_data, prefix.mv_data, prefix.mv_size) == 0:
        rc = mdb.cursor_del(cursor, 0)
        if rc == 0:
            key = prefix[0]
            rc = mdb.cursor_get(cursor, &key, &value, MDB_SET_RANGE)
    mdb.cursor_close(cursor)
    return 0 if rc == MDB_NOTFOUND else rc


cdef int _delete_matching(MDB_txn* txn, unsigned int dbi, MDB_val* key, MDB_val* head) noexcept nogil:
    cdef MDB_val value
    cdef int rc = mdb.get(txn, dbi, key, &value)
    if rc == 0 and value.mv_size >= head.mv_size and memcmp(value.mv_data, head.mv_data, head.mv_size) == 0:
        rc = mdb.delete(txn, dbi, key, NULL)
    return 0 if rc == MDB_NOTFOUND else rc


cdef int _replace_head(MDB_txn* txn, unsigned int dbi, MDB_val* key, MDB_val* head) noexcept nogil:
    """Give a run row a new version and keep its state."""
    cdef MDB_val value
    cdef unsigned short id_size
    cdef size_t old_head, state_size
    cdef uint8_t* row
    cdef int rc = mdb.get(txn, dbi, key, &value)
    if rc == MDB_NOTFOUND:
        return mdb.put(txn, dbi, key, head, 0)
    if rc:
        return rc
    memcpy(&id_size, <uint8_t*> value.mv_data + 8, 2)
    old_head = RUN_HEAD_SIZE + id_size
    if value.mv_size < old_head:
        return MDB_CORRUPTED
    state_size = value.mv_size - old_head
    row = <uint8_t*> malloc(head.mv_size + state_size)
    if row == NULL:
        return ENOMEM
    memcpy(row, head.mv_data, head.mv_size)
    memcpy(row + head.mv_size, <uint8_t*> value.mv_data + old_head, state_size)
    value.mv_data = row
    value.mv_size = head.mv_size + state_size
    rc = mdb.put(txn, dbi, key, &value, 0)
    free(row)
    return rc


cdef int apply(Home* home, MDB_txn* txn, const uint8_t* entries, size_t size) noexcept nogil:
    """Make the changes of a batch; 0 or the first failure, after which the transaction has to be aborted."""
    cdef const uint8_t* at = entries
    cdef const uint8_t* end = at + size
    cdef Entry entry
    cdef MDB_val key, value
    cdef unsigned int dbi
    cdef int rc = 0
    while at < end:
        memcpy(&entry, at, sizeof(Entry))
        at += sizeof(Entry)
        key.mv_size = entry.key_size
        key.mv_data = <void*> at
        at += entry.key_size
        value.mv_size = entry.value_size
        value.mv_data = <void*> at
        at += entry.value_size
        dbi = home.dbi[entry.database]
        if entry.op == OP_PUT:
            rc = mdb.put(txn, dbi, &key, &value, 0)
        elif entry.op == OP_DELETE:
            rc = mdb.delete(txn, dbi, &key, NULL)
            if rc == MDB_NOTFOUND:
                rc = 0
        elif entry.op == OP_DELETE_VALUE:
            rc = mdb.delete(txn, dbi, &key, &value)
            if rc == MDB_NOTFOUND:
                rc = 0
        elif entry.op == OP_DELETE_PREFIX:
            rc = _delete_prefix(txn, dbi, &key)
        elif entry.op == OP_DELETE_MATCHING:
            rc = _delete_matching(txn, dbi, &key, &value)
        else:
            rc = _replace_head(txn, dbi, &key, &value)
        if rc:
            return rc
    return 0


cdef bint is_sound(const uint8_t* entries, size_t size) noexcept nogil:
    """Whether entries that were read from a file end where they should and name databases that there are."""
    cdef Entry entry
    while size:
        if size < sizeof(Entry):
            return False
        memcpy(&entry, entries, sizeof(Entry))
        entries += sizeof(Entry)
        size -= sizeof(Entry)
        if entry.database >= DATABASES or size < <size_t> entry.key_size + entry.value_size:
            return False
        entries += <size_t> entry.key_size + entry.value_size
        size -= <size_t> entry.key_size + entry.value_size
    return True
