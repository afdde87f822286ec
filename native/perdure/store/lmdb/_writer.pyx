"""The writer of an LMDB environment: a thread that applies batches, commits and syncs, without the GIL.

Syncing. LMDB writes a transaction's pages, syncs them, then writes the meta page that makes them count. Here the meta
page is not synced at once (MDB_NOMETASYNC): the sync of the *next* transaction's pages covers it, and when none waits
the writer syncs explicitly. Batches are reported done only after that, so nothing acknowledged is lost, and under load
a transaction costs one sync instead of two. Power loss at any instant leaves the newest or the second newest
transaction, whole: LMDB never reuses a page of the newest two snapshots. Without ``sync`` nothing is synced
(MDB_NOSYNC) and a transaction survives the process, as its pages are the operating system's once written.

Room ahead. A sync of a file that has just grown writes the file system's journal as well. So the file is kept longer
than LMDB needs it, by zeros written a megabyte at a time when no commit waits: a usual commit then syncs pages alone.

The map is only readable (no MDB_WRITEMAP): a full disk is then an error code of a write and not a signal, and stray
pointers cannot reach the file.
"""

from libc.errno cimport EINTR, ENOMEM, errno
from libc.stdint cimport uint8_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy, memset
from posix.stat cimport fstat, struct_stat
from posix.types cimport off_t
from posix.unistd cimport pwrite, write

from perdure.store.lmdb._api cimport (
    CUT_OFF, FOREIGN, MDB_CORRUPTED, MDB_DUPFIXED, MDB_DUPSORT, MDB_MAP_FULL, MDB_NOMETASYNC, MDB_NORDAHEAD, MDB_NOSYNC,
    MDB_NOTFOUND, MDB_NOTLS, MDB_PANIC, MDB_SET_RANGE, NEWER, MDB_cursor, MDB_env, MDB_envinfo, MDB_stat, MDB_txn,
    MDB_val, mdb,
)
from perdure.store.lmdb._batch cimport (
    BUCKET, DATABASES, META, OP_DELETE, OP_DELETE_MATCHING, OP_DELETE_PREFIX, OP_DELETE_VALUE, OP_PUT, RUN, RUN_HEAD_SIZE,
    RUN_KEY_SIZE, TERM, Check, Entry,
)

from perdure.store.lmdb._batch import DATABASE_NAMES

cdef enum:
    MODE = 0o600
    GROUP_BYTES = 16777216          # a transaction takes no more batches beyond this size
    AHEAD_BYTES = 1048576           # zeros written ahead of the last page in use ...
    AHEAD_MIN = 262144              # ... when fewer than this are left
    ZEROS = 65536
    MAP_STEP_MIN = 1048576
    MAP_STEP_MAX = 17179869184

cdef uint8_t[ZEROS] _zeros
memset(_zeros, 0, ZEROS)

cdef const char* _names[DATABASES]
cdef list _name_bytes = [name.encode() for name in DATABASE_NAMES]
for _index in range(DATABASES):
    _names[_index] = _name_bytes[_index]


cdef void push(Queue* queue, Node* node) noexcept nogil:
    node.next = NULL
    if queue.last == NULL:
        queue.first = node
    else:
        queue.last.next = node
    queue.last = node


cdef inline void _append(Queue* queue, Queue* tail) noexcept nogil:
    """Move everything of a queue to the end of another."""
    if tail.first == NULL:
        return
    if queue.last == NULL:
        queue.first = tail.first
    else:
        queue.last.next = tail.first
    queue.last = tail.last
    tail.first = tail.last = NULL


cdef void free_node(Node* node) noexcept nogil:
    free(node.checks.data)
    free(node.entries.data)
    free(node)


# The environment

cdef int _check_format(Home* home, MDB_txn* txn) noexcept nogil:
    """Whether what is there is ours and not newer; nothing there is fine."""
    cdef MDB_val key, value
    cdef MDB_stat stat
    cdef unsigned int dbi
    cdef int rc = mdb.dbi_open(txn, _names[META], 0, &dbi)
    if rc == MDB_NOTFOUND:
        rc = mdb.dbi_open(txn, NULL, 0, &dbi)
        if rc == 0:
            rc = mdb.stat(txn, dbi, &stat)
        return FOREIGN if rc == 0 and stat.ms_entries else rc
    if rc:
        return rc
    key.mv_data = <char*> b"format"
    key.mv_size = 6
    rc = mdb.get(txn, dbi, &key, &value)
    if rc:
        return FOREIGN if rc == MDB_NOTFOUND else rc
    if value.mv_size != 8:
        return MDB_CORRUPTED
    memcpy(&home.format, value.mv_data, 8)
    return NEWER if home.format > FORMAT else 0


cdef int _check_size(MDB_env* env) noexcept nogil:
    """Whether the file holds every page in use: reading a mapped page beyond its end would be a signal."""
    cdef MDB_envinfo info
    cdef MDB_stat stat
    cdef struct_stat file
    cdef int fd = -1
    cdef int rc = mdb.env_get_fd(env, &fd)
    if rc:
        return rc
    if fstat(fd, &file):
        return errno
    mdb.env_info(env, &info)
    mdb.env_stat(env, &stat)
    return CUT_OFF if <size_t> file.st_size < (info.me_last_pgno + 1) * stat.ms_psize else 0


cdef int _write_format(Home* home, MDB_txn* txn) noexcept nogil:
    cdef uint64_t format = FORMAT
    cdef MDB_val key, value
    key.mv_data = <char*> b"format"
    key.mv_size = 6
    value.mv_data = &format
    value.mv_size = 8
    home.format = FORMAT
    return mdb.put(txn, home.dbi[META], &key, &value, 0)


cdef int open_env(Home* home, unsigned int create) noexcept nogil:
    """Open the environment and its databases; on failure nothing is left open."""
    cdef MDB_txn* txn = NULL
    cdef MDB_env* env = NULL
    cdef MDB_envinfo info
    cdef unsigned int several
    cdef int i
    cdef int rc = mdb.env_create(&env)
    if rc:
        return rc
    rc = mdb.env_set_maxdbs(env, 16)
    if rc == 0:
        rc = mdb.env_set_mapsize(env, home.map_size)
    if rc == 0:
        rc = mdb.env_open(
            env, home.path, MDB_NOTLS | MDB_NORDAHEAD | (MDB_NOMETASYNC if home.sync else MDB_NOSYNC), MODE)
    if rc == 0:
        rc = _check_size(env)
    if rc == 0:
        mdb.env_info(env, &info)
        home.map_size = info.me_mapsize
        rc = mdb.txn_begin(env, NULL, 0, &txn)
    if rc == 0:
        rc = _check_format(home, txn)
        for i in range(DATABASES):
            if rc == 0:
                several = MDB_DUPSORT | MDB_DUPFIXED if i == BUCKET or i == TERM else 0
                rc = mdb.dbi_open(txn, _names[i], create | several, &home.dbi[i])
        if rc == 0 and home.format == 0:
            rc = _write_format(home, txn)
        if rc:
            mdb.txn_abort(txn)
        else:
            rc = mdb.txn_commit(txn)
    if rc:
        mdb.env_close(env)
        return rc
    home.env = env
    return 0


cdef int _reopen(Home* home) noexcept nogil:
    """A new handle after LMDB gave the old one up."""
    cdef int rc
    pthread_mutex_lock(&home.map_lock)
    if home.reader != NULL:
        mdb.txn_abort(home.reader)
        home.reader = NULL
    if home.env != NULL:
        mdb.env_close(home.env)
        home.env = NULL
    rc = open_env(home, 0)
    pthread_mutex_unlock(&home.map_lock)
    return rc


cdef int _grow(Home* home) noexcept nogil:
    """Double the map, by a bounded step. No transaction is open: the writer is between two, readers wait."""
    cdef size_t step = home.map_size
    cdef int rc
    if step < MAP_STEP_MIN:
        step = MAP_STEP_MIN
    elif step > MAP_STEP_MAX:
        step = MAP_STEP_MAX
    pthread_mutex_lock(&home.map_lock)
    rc = mdb.env_set_mapsize(home.env, home.map_size + step)
    if rc == 0:
        home.map_size += step
    elif mdb.env_set_mapsize(home.env, home.map_size) != 0:
        # LMDB has unmapped the old map and found no room for either.
        if home.reader != NULL:
            mdb.txn_abort(home.reader)
            home.reader = NULL
        mdb.env_close(home.env)
        home.env = NULL
    pthread_mutex_unlock(&home.map_lock)
    return rc


# The writer

cdef bint _holds(Home* home, MDB_txn* txn, Node* node, int* rc) noexcept nogil:
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


cdef int _apply(Home* home, MDB_txn* txn, Node* node) noexcept nogil:
    cdef uint8_t* at = node.entries.data
    cdef uint8_t* end = at + node.entries.size
    cdef Entry entry
    cdef MDB_val key, value
    cdef unsigned int dbi
    cdef int rc = 0
    while at < end:
        memcpy(&entry, at, sizeof(Entry))
        at += sizeof(Entry)
        key.mv_size = entry.key_size
        key.mv_data = at
        at += entry.key_size
        value.mv_size = entry.value_size
        value.mv_data = at
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


cdef int _transact(Home* home, Queue* group) noexcept nogil:
    """Apply and commit what holds of a group, in one transaction."""
    cdef MDB_txn* txn = NULL
    cdef Node* node
    cdef size_t applied = 0
    cdef int rc = mdb.txn_begin(home.env, NULL, 0, &txn)
    if rc:
        return rc
    node = group.first
    while node != NULL and rc == 0:
        node.outcome = PENDING
        if _holds(home, txn, node, &rc):
            rc = _apply(home, txn, node)
            applied += 1
        node = node.next
    if rc or applied == 0:
        mdb.txn_abort(txn)
        return rc
    if home.failures:
        home.failures -= 1
        mdb.txn_abort(txn)
        return home.failure_code
    home.transactions += 1
    return mdb.txn_commit(txn)


cdef int write_group(Home* home, Queue* group) noexcept nogil:
    """The same, growing the map and reopening a given-up environment as needed; sets every batch's outcome."""
    cdef Node* node
    cdef int rc
    while True:
        rc = 0
        if home.env == NULL:
            rc = _reopen(home)
        if rc == 0:
            rc = _transact(home, group)
        if rc == MDB_MAP_FULL:
            rc = _grow(home)
            if rc == 0:
                continue
        elif rc == MDB_PANIC:
            rc = _reopen(home)
            if rc == 0:
                continue
        break
    node = group.first
    while node != NULL:
        if rc:
            node.outcome = FAILED
            node.code = rc
        elif node.outcome == PENDING:
            node.outcome = COMMITTED
        node = node.next
    return rc


cdef void _finish(Home* home, Queue* group) noexcept nogil:
    """Hand batches that ended to the loop thread and wake it."""
    cdef bint first
    cdef char byte = 1
    if group.first == NULL:
        return
    pthread_mutex_lock(&home.lock)
    first = home.done.first == NULL
    _append(&home.done, group)
    pthread_mutex_unlock(&home.lock)
    if first:
        while write(home.wake_fd, &byte, 1) < 0 and errno == EINTR:
            pass


cdef void _write_ahead(Home* home) noexcept nogil:
    """Lengthen the file before commits need it. No transaction is open; what fails here fails with the commit."""
    cdef MDB_envinfo info
    cdef MDB_stat stat
    cdef struct_stat file
    cdef size_t used, end, at
    cdef ssize_t size
    cdef int fd = -1
    if home.env == NULL or mdb.env_get_fd(home.env, &fd) or fstat(fd, &file):
        return
    mdb.env_info(home.env, &info)
    mdb.env_stat(home.env, &stat)
    used = (info.me_last_pgno + 1) * stat.ms_psize
    at = <size_t> file.st_size
    end = used + AHEAD_BYTES
    if end > home.map_size:
        end = home.map_size
    if at < used or at >= end or at - used >= AHEAD_MIN:
        return
    while at < end:
        size = pwrite(fd, _zeros, min(end - at, <size_t> ZEROS), <off_t> at)
        if size <= 0:
            return
        at += size


cdef void _settle(Home* home) noexcept nogil:
    """Make what was written durable and report it."""
    cdef Node* node
    cdef int rc
    if home.written.first == NULL:
        return
    rc = mdb.env_sync(home.env, 1) if home.env != NULL else MDB_PANIC
    home.syncs += 1
    if rc:
        node = home.written.first
        while node != NULL:
            if node.outcome == COMMITTED:
                node.outcome = FAILED
                node.code = rc
            node = node.next
    _finish(home, &home.written)
    _write_ahead(home)


cdef size_t _last_transaction(Home* home) noexcept nogil:
    cdef MDB_envinfo info
    if home.env == NULL:
        return 0
    mdb.env_info(home.env, &info)
    return info.me_last_txnid


cdef void _write_synced(Home* home, Queue* group) noexcept nogil:
    """Write a group; its commit's sync is what makes the group before it durable."""
    cdef size_t before = _last_transaction(home)
    if write_group(home, group):
        _settle(home)
        _finish(home, group)
        return
    if _last_transaction(home) != before:
        home.syncs += 1
        _finish(home, &home.written)
        _write_ahead(home)
    _append(&home.written, group)


cdef bint _take(Home* home, Queue* group) noexcept nogil:
    """Move a transaction's worth of batches out of the queue; waits if there is nothing to settle either."""
    cdef size_t size = 0
    cdef Node* node
    pthread_mutex_lock(&home.lock)
    home.busy = False
    while home.waiting.first == NULL and home.written.first == NULL and not home.stopping:
        pthread_cond_wait(&home.wake, &home.lock)
    while home.waiting.first != NULL and size < GROUP_BYTES:
        node = home.waiting.first
        home.waiting.first = node.next
        if node.next == NULL:
            home.waiting.last = NULL
        size += node.entries.size + sizeof(Node)
        push(group, node)
    home.busy = group.first != NULL or home.written.first != NULL
    pthread_mutex_unlock(&home.lock)
    return home.busy


cdef void* run_writer(void* argument) noexcept nogil:
    cdef Home* home = <Home*> argument
    cdef Queue group
    memset(&group, 0, sizeof(Queue))
    while _take(home, &group):
        if group.first == NULL:
            _settle(home)
        elif home.sync:
            _write_synced(home, &group)
        else:
            write_group(home, &group)
            _finish(home, &group)
    return NULL
