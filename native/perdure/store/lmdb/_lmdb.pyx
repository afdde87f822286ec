"""An LMDB environment with one writer thread of its own, on the C functions inside the ``lmdb`` package's extension.

The loop thread builds a :class:`~perdure.store.lmdb._batch.Batch` and submits it. The writer takes everything that
waits, applies it in one write transaction, commits, and writes a byte to a pipe; the loop then drains what is done, in
the order of submission. A batch whose versions do not hold is left out of the transaction and fails alone. While one
transaction is on its way to the disk the next batches gather.

Syncing. LMDB writes a transaction's pages, syncs them, then writes the meta page that makes them count. Here the meta
page is not synced at once (MDB_NOMETASYNC): the sync of the *next* transaction's pages covers it, and when none waits
the writer syncs explicitly. Batches are reported done only after that, so nothing acknowledged is lost, and under load
a transaction costs one sync instead of two. Power loss at any instant leaves the newest or the second newest
transaction, whole: LMDB never reuses a page of the newest two snapshots. Without ``sync`` nothing is synced
(MDB_NOSYNC) and a transaction survives the process, as its pages are the operating system's once written.

The map is only readable (no MDB_WRITEMAP): a full disk is then an error code of a write and not a signal, and stray
pointers cannot reach the file.

Python objects are touched by the loop thread alone; the writer runs without the GIL and never takes it.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.errno cimport EINTR, ENOMEM, errno
from libc.stdint cimport uint8_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy, memset, strdup
from posix.stat cimport fstat, struct_stat
from posix.unistd cimport write

from perdure.store.lmdb._api cimport (
    MDB_CORRUPTED, MDB_CREATE, MDB_FIRST, MDB_INVALID, MDB_LAST, MDB_MAP_FULL, MDB_NEXT, MDB_NOMETASYNC, MDB_NORDAHEAD,
    MDB_NOSYNC, MDB_NOTFOUND, MDB_NOTLS, MDB_PAGE_NOTFOUND, MDB_PANIC, MDB_PREV, MDB_RDONLY, MDB_SET_RANGE,
    MDB_VERSION_MISMATCH, Api, MDB_cursor, MDB_env, MDB_envinfo, MDB_stat, MDB_txn, MDB_val,
)
from perdure.store.lmdb._batch cimport (
    DATABASES, META, OP_DELETE, OP_DELETE_MATCHING, OP_DELETE_PREFIX, OP_PUT, RUN, RUN_HEAD_SIZE,
    RUN_KEY_SIZE, Batch, Buffer, Check, Entry,
)

import errno as errors
import os
from collections import deque

from perdure.store.api import StoreClosedError, StoreCorruptError, StoreUnavailableError
from perdure.store.lmdb._batch import DATABASE_NAMES

cdef frozenset _NO_ROOM = frozenset((errors.ENOSPC, errors.EDQUOT, errors.EFBIG))


cdef extern from "<dlfcn.h>" nogil:
    int RTLD_NOW
    void* dlopen(const char*, int)
    void* dlsym(void*, const char*)
    char* dlerror()

cdef extern from "<signal.h>" nogil:
    ctypedef struct sigset_t:
        pass
    int SIG_SETMASK
    int sigfillset(sigset_t*)
    int pthread_sigmask(int, const sigset_t*, sigset_t*)

cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_t:
        pass
    ctypedef struct pthread_mutex_t:
        pass
    ctypedef struct pthread_cond_t:
        pass
    int pthread_create(pthread_t*, void*, void* (*)(void*) noexcept nogil, void*)
    int pthread_join(pthread_t, void**)
    int pthread_mutex_init(pthread_mutex_t*, void*)
    int pthread_mutex_lock(pthread_mutex_t*)
    int pthread_mutex_unlock(pthread_mutex_t*)
    int pthread_mutex_destroy(pthread_mutex_t*)
    int pthread_cond_init(pthread_cond_t*, void*)
    int pthread_cond_wait(pthread_cond_t*, pthread_mutex_t*)
    int pthread_cond_signal(pthread_cond_t*)
    int pthread_cond_destroy(pthread_cond_t*)

cdef enum:
    MODE = 0o600
    INLINE_BYTES = 4096             # an unsynced batch up to this size is quicker written than handed over
    GROUP_BYTES = 16777216          # a transaction takes no more batches beyond this size
    FORMAT = 1                      # of keys and rows; every release reads the older ones
    _FOREIGN = -1                   # our codes, outside LMDB's and errno's
    _NEWER = -2
    _CUT_OFF = -3
    MAP_STEP_MIN = 1048576
    MAP_STEP_MAX = 17179869184

# How a batch ended.
cdef enum:
    PENDING
    COMMITTED
    STALE
    FAILED

cdef struct Node:
    Node* next
    Buffer checks
    Buffer entries
    int outcome
    int code                        # LMDB's or errno, when FAILED
    size_t stale                    # which check did not hold, when STALE
    uint64_t found                  # the version there is instead

cdef struct Queue:
    Node* first
    Node* last

cdef struct Home:
    # Read by both threads, changed under map_lock
    MDB_env* env
    MDB_txn* reader
    unsigned int[DATABASES] dbi
    size_t map_size
    uint64_t format
    char* path
    bint sync
    # Under lock
    Queue waiting
    Queue done
    bint busy
    bint stopping
    int failures                    # commits yet to fail, for tests
    int failure_code
    int wake_fd
    # The writer's own
    Queue written                   # committed, their meta page not yet synced
    uint64_t transactions
    uint64_t syncs
    pthread_t thread
    pthread_mutex_t lock
    pthread_mutex_t map_lock
    pthread_cond_t wake

cdef Api mdb
cdef bint _resolved = False
cdef uint64_t _forks = 0


def _count_fork():
    global _forks
    _forks += 1


os.register_at_fork(after_in_child=_count_fork)


cdef str _text(int code):
    if not _resolved:
        return f"error {code}"
    return mdb.strerror(code).decode("utf-8", "replace")


cpdef object store_error(int code, str what):
    """The store's exception for a failed call: ``what`` begins the sentence, LMDB's words end it."""
    if code == _FOREIGN:
        return StoreCorruptError(f"{what}: it holds an LMDB environment of another program")
    if code == _CUT_OFF:
        return StoreCorruptError(f"{what}: data.mdb in it is cut off")
    if code == MDB_INVALID:
        return StoreCorruptError(f"{what}: data.mdb in it is not an LMDB file, or is damaged")
    if code == MDB_VERSION_MISMATCH:
        return StoreCorruptError(f"{what}: data.mdb in it was written by another version of LMDB")
    if code == MDB_CORRUPTED or code == MDB_PAGE_NOTFOUND:
        return StoreCorruptError(f"{what}: {_text(code)}")
    if code in _NO_ROOM:
        return StoreUnavailableError(f"{what}: no room is left ({_text(code)})")
    return StoreUnavailableError(f"{what}: {_text(code)}")


cdef void* _symbol(void* handle, bytes name, str path) except NULL:
    cdef void* symbol = dlsym(handle, name)
    if symbol == NULL:
        raise ImportError(f"{path} has no function {name.decode()}: perdure needs lmdb 1.6 to 2.x built with LMDB 0.9")
    return symbol


cdef int _resolve() except -1:
    """Find LMDB's functions in the lmdb package's extension, once."""
    global _resolved
    cdef void* h
    cdef int major = 0, minor = 0, patch = 0
    if _resolved:
        return 0
    import lmdb.cpython
    path = lmdb.cpython.__file__
    h = dlopen(os.fsencode(path), RTLD_NOW)
    if h == NULL:
        raise ImportError(f"{path} cannot be opened as a library: {dlerror().decode('utf-8', 'replace')}")
    mdb.version = <char* (*)(int*, int*, int*) noexcept nogil> _symbol(h, b"mdb_version", path)
    mdb.strerror = <char* (*)(int) noexcept nogil> _symbol(h, b"mdb_strerror", path)
    mdb.env_create = <int (*)(MDB_env**) noexcept nogil> _symbol(h, b"mdb_env_create", path)
    mdb.env_open = <int (*)(MDB_env*, const char*, unsigned int, unsigned int) noexcept nogil> _symbol(
        h, b"mdb_env_open", path)
    mdb.env_stat = <int (*)(MDB_env*, MDB_stat*) noexcept nogil> _symbol(h, b"mdb_env_stat", path)
    mdb.env_info = <int (*)(MDB_env*, MDB_envinfo*) noexcept nogil> _symbol(h, b"mdb_env_info", path)
    mdb.env_sync = <int (*)(MDB_env*, int) noexcept nogil> _symbol(h, b"mdb_env_sync", path)
    mdb.env_get_fd = <int (*)(MDB_env*, int*) noexcept nogil> _symbol(h, b"mdb_env_get_fd", path)
    mdb.env_close = <void (*)(MDB_env*) noexcept nogil> _symbol(h, b"mdb_env_close", path)
    mdb.env_set_mapsize = <int (*)(MDB_env*, size_t) noexcept nogil> _symbol(h, b"mdb_env_set_mapsize", path)
    mdb.env_set_maxdbs = <int (*)(MDB_env*, unsigned int) noexcept nogil> _symbol(h, b"mdb_env_set_maxdbs", path)
    mdb.reader_check = <int (*)(MDB_env*, int*) noexcept nogil> _symbol(h, b"mdb_reader_check", path)
    mdb.txn_begin = <int (*)(MDB_env*, MDB_txn*, unsigned int, MDB_txn**) noexcept nogil> _symbol(
        h, b"mdb_txn_begin", path)
    mdb.txn_commit = <int (*)(MDB_txn*) noexcept nogil> _symbol(h, b"mdb_txn_commit", path)
    mdb.txn_abort = <void (*)(MDB_txn*) noexcept nogil> _symbol(h, b"mdb_txn_abort", path)
    mdb.txn_reset = <void (*)(MDB_txn*) noexcept nogil> _symbol(h, b"mdb_txn_reset", path)
    mdb.txn_renew = <int (*)(MDB_txn*) noexcept nogil> _symbol(h, b"mdb_txn_renew", path)
    mdb.dbi_open = <int (*)(MDB_txn*, const char*, unsigned int, unsigned int*) noexcept nogil> _symbol(
        h, b"mdb_dbi_open", path)
    mdb.stat = <int (*)(MDB_txn*, unsigned int, MDB_stat*) noexcept nogil> _symbol(h, b"mdb_stat", path)
    mdb.get = <int (*)(MDB_txn*, unsigned int, MDB_val*, MDB_val*) noexcept nogil> _symbol(h, b"mdb_get", path)
    mdb.put = <int (*)(MDB_txn*, unsigned int, MDB_val*, MDB_val*, unsigned int) noexcept nogil> _symbol(
        h, b"mdb_put", path)
    mdb.delete = <int (*)(MDB_txn*, unsigned int, MDB_val*, MDB_val*) noexcept nogil> _symbol(h, b"mdb_del", path)
    mdb.cursor_open = <int (*)(MDB_txn*, unsigned int, MDB_cursor**) noexcept nogil> _symbol(
        h, b"mdb_cursor_open", path)
    mdb.cursor_close = <void (*)(MDB_cursor*) noexcept nogil> _symbol(h, b"mdb_cursor_close", path)
    mdb.cursor_get = <int (*)(MDB_cursor*, MDB_val*, MDB_val*, int) noexcept nogil> _symbol(
        h, b"mdb_cursor_get", path)
    mdb.cursor_del = <int (*)(MDB_cursor*, unsigned int) noexcept nogil> _symbol(h, b"mdb_cursor_del", path)
    mdb.version(&major, &minor, &patch)
    if (major, minor) != (0, 9):
        raise ImportError(f"{path} holds LMDB {major}.{minor}.{patch}, perdure needs LMDB 0.9 (lmdb 1.6 to 2.x)")
    _resolved = True
    return 0


# Queues

cdef inline void _push(Queue* queue, Node* node) noexcept nogil:
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


cdef void _free_node(Node* node) noexcept nogil:
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
        return _FOREIGN if rc == 0 and stat.ms_entries else rc
    if rc:
        return rc
    key.mv_data = <char*> b"format"
    key.mv_size = 6
    rc = mdb.get(txn, dbi, &key, &value)
    if rc:
        return _FOREIGN if rc == MDB_NOTFOUND else rc
    if value.mv_size != 8:
        return MDB_CORRUPTED
    memcpy(&home.format, value.mv_data, 8)
    return _NEWER if home.format > FORMAT else 0


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
    return _CUT_OFF if <size_t> file.st_size < (info.me_last_pgno + 1) * stat.ms_psize else 0


cdef int _write_format(Home* home, MDB_txn* txn) noexcept nogil:
    cdef uint64_t format = FORMAT
    cdef MDB_val key, value
    key.mv_data = <char*> b"format"
    key.mv_size = 6
    value.mv_data = &format
    value.mv_size = 8
    home.format = FORMAT
    return mdb.put(txn, home.dbi[META], &key, &value, 0)


cdef int _open_env(Home* home, unsigned int create) noexcept nogil:
    """Open the environment and its databases; on failure nothing is left open."""
    cdef MDB_txn* txn = NULL
    cdef MDB_env* env = NULL
    cdef MDB_envinfo info
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
                rc = mdb.dbi_open(txn, _names[i], create, &home.dbi[i])
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
    rc = _open_env(home, 0)
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


cdef int _write(Home* home, Queue* group) noexcept nogil:
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


cdef size_t _last_transaction(Home* home) noexcept nogil:
    cdef MDB_envinfo info
    if home.env == NULL:
        return 0
    mdb.env_info(home.env, &info)
    return info.me_last_txnid


cdef void _write_synced(Home* home, Queue* group) noexcept nogil:
    """Write a group; its commit's sync is what makes the group before it durable."""
    cdef size_t before = _last_transaction(home)
    if _write(home, group):
        _settle(home)
        _finish(home, group)
        return
    if _last_transaction(home) != before:
        home.syncs += 1
        _finish(home, &home.written)
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
        _push(group, node)
    home.busy = group.first != NULL or home.written.first != NULL
    pthread_mutex_unlock(&home.lock)
    return home.busy


cdef void* _writer(void* argument) noexcept nogil:
    cdef Home* home = <Home*> argument
    cdef Queue group
    memset(&group, 0, sizeof(Queue))
    while _take(home, &group):
        if group.first == NULL:
            _settle(home)
        elif home.sync:
            _write_synced(home, &group)
        else:
            _write(home, &group)
            _finish(home, &group)
    return NULL


cdef const char* _names[DATABASES]
cdef list _name_bytes = [name.encode() for name in DATABASE_NAMES]
for _index in range(DATABASES):
    _names[_index] = _name_bytes[_index]


@cython.final
cdef class Environment:
    """An open environment. All methods are the loop thread's.

    ``drain`` gives ``(token, outcome, code or found version, batch, index of the stale check)`` per ended batch.
    """

    cdef Home* _home
    cdef uint64_t _forks_before
    cdef object _tokens
    cdef str _path

    def __init__(self, path, size_t map_size, bint sync, int wake_fd):
        """Open or create the environment in a folder that exists.

        Args:
            sync: commits are on the device when reported.
            wake_fd: gets a byte when there is something to drain.
        Raises:
            StoreUnavailableError: the system or LMDB refuses.
            StoreCorruptError: it is not a store's, or a newer one's.
            ImportError: the lmdb package does not have LMDB's functions.
        """
        cdef Home* home
        cdef sigset_t everything, before
        cdef int rc
        _resolve()
        self._tokens = deque()
        self._forks_before = _forks
        home = <Home*> calloc(1, sizeof(Home))
        if home == NULL:
            raise MemoryError()
        home.path = strdup(os.fsencode(path))
        home.map_size = map_size
        home.sync = sync
        home.wake_fd = wake_fd
        pthread_mutex_init(&home.lock, NULL)
        pthread_mutex_init(&home.map_lock, NULL)
        pthread_cond_init(&home.wake, NULL)
        with nogil:
            rc = _open_env(home, MDB_CREATE)
        if rc == 0:
            self._home = home
            # Signals are for Python's threads.
            sigfillset(&everything)
            pthread_sigmask(SIG_SETMASK, &everything, &before)
            rc = pthread_create(&home.thread, NULL, _writer, home)
            pthread_sigmask(SIG_SETMASK, &before, NULL)
            if rc:
                self._home = NULL
                mdb.env_close(home.env)
        if rc:
            format = home.format
            self._forget(home)
            if rc == _NEWER:
                raise StoreCorruptError(
                    f"the store in {os.fspath(path)} has format {format}, this perdure reads up to {FORMAT}: "
                    "use the release that wrote it or a newer one"
                )
            raise store_error(rc, f"cannot open the store in {os.fspath(path)}")
        self._path = os.fspath(path)

    cdef void _forget(self, Home* home) noexcept:
        pthread_mutex_destroy(&home.lock)
        pthread_mutex_destroy(&home.map_lock)
        pthread_cond_destroy(&home.wake)
        free(home.path)
        free(home)

    cdef Home* _check(self) except NULL:
        if self._home == NULL:
            raise StoreClosedError(f"the store in {self._path} is closed")
        if self._forks_before != _forks:
            raise StoreUnavailableError(
                f"the store in {self._path} was opened before this process was forked from its owner: "
                "only the owner can use it"
            )
        return self._home

    def submit(self, Batch batch, object token):
        """Queue a batch; it is emptied.

        A small batch that need not be synced is written at once when the writer is idle.

        Returns:
            None, or what ``drain`` would give if it has already ended.
        """
        cdef Home* home = self._check()
        cdef Node* node = <Node*> calloc(1, sizeof(Node))
        cdef Queue alone
        cdef bint inline
        if node == NULL:
            raise MemoryError()
        node.checks = batch.checks
        node.entries = batch.entries
        memset(&batch.checks, 0, sizeof(Buffer))
        memset(&batch.entries, 0, sizeof(Buffer))
        pthread_mutex_lock(&home.lock)
        inline = (
            not home.sync and not home.busy and home.waiting.first == NULL and home.done.first == NULL
            and node.entries.size <= INLINE_BYTES
        )
        if not inline:
            _push(&home.waiting, node)
            if not home.busy:
                pthread_cond_signal(&home.wake)
        pthread_mutex_unlock(&home.lock)
        if not inline:
            self._tokens.append((token, batch))
            return None
        memset(&alone, 0, sizeof(Queue))
        _push(&alone, node)
        _write(home, &alone)
        return self._ended(node, token, batch)

    cdef tuple _ended(self, Node* node, object token, Batch batch):
        cdef tuple result
        if node.outcome == STALE:
            result = (token, STALE, node.found, batch, node.stale)
        else:
            result = (token, node.outcome, node.code, batch, 0)
        _free_node(node)
        return result

    def drain(self):
        """What ended since the last call, in the order it was submitted."""
        cdef Home* home = self._check()
        cdef Node* node
        cdef Node* following
        cdef list results = []
        pthread_mutex_lock(&home.lock)
        node = home.done.first
        home.done.first = home.done.last = NULL
        pthread_mutex_unlock(&home.lock)
        while node != NULL:
            following = node.next
            token, batch = self._tokens.popleft()
            results.append(self._ended(node, token, batch))
            node = following
        return results

    @property
    def pending(self):
        """How many batches were submitted and not drained."""
        return len(self._tokens)

    cdef MDB_txn* _begin(self) except NULL:
        """Start reading; ``_end`` must follow. The map cannot move in between."""
        cdef Home* home = self._check()
        cdef int rc
        pthread_mutex_lock(&home.map_lock)
        if home.env == NULL:
            rc = MDB_PANIC
        elif home.reader == NULL:
            rc = mdb.txn_begin(home.env, NULL, MDB_RDONLY, &home.reader)
        else:
            rc = mdb.txn_renew(home.reader)
        if rc:
            pthread_mutex_unlock(&home.map_lock)
            raise store_error(rc, f"cannot read the store in {self._path}")
        return home.reader

    cdef void _end(self) noexcept:
        mdb.txn_reset(self._home.reader)
        pthread_mutex_unlock(&self._home.map_lock)

    def get(self, int database, bytes key):
        """The value of a key, or None."""
        cdef MDB_txn* txn
        cdef MDB_val k, value
        cdef bytes result = None
        cdef int rc
        txn = self._begin()
        try:
            k.mv_data = PyBytes_AS_STRING(key)
            k.mv_size = PyBytes_GET_SIZE(key)
            rc = mdb.get(txn, self._home.dbi[database], &k, &value)
            if rc == 0:
                result = PyBytes_FromStringAndSize(<char*> value.mv_data, value.mv_size)
        finally:
            self._end()
        if rc and rc != MDB_NOTFOUND:
            raise store_error(rc, f"cannot read the store in {self._path}")
        return result

    def scan(self, int database, bytes low, bytes high, Py_ssize_t limit, bint reverse=False, size_t room=1048576):
        """Up to ``limit`` rows with ``low <= key < high`` (b"": no bound), in order or in reverse.

        Ends early, but after a row, when the values take more than ``room`` bytes.

        Returns:
            a list of ``(key, value)``, and whether there are more rows.
        """
        cdef MDB_txn* txn
        cdef MDB_cursor* cursor = NULL
        cdef MDB_val key, value
        cdef list rows = []
        cdef size_t taken = 0
        cdef bint more = False
        cdef const uint8_t* bound
        cdef size_t bound_size
        cdef int rc
        txn = self._begin()
        try:
            rc = mdb.cursor_open(txn, self._home.dbi[database], &cursor)
            if rc == 0:
                rc = self._seek(cursor, &key, &value, high if reverse else low, reverse)
            bound = <const uint8_t*> PyBytes_AS_STRING(low if reverse else high)
            bound_size = PyBytes_GET_SIZE(low if reverse else high)
            while rc == 0:
                if bound_size and (_order(&key, bound, bound_size) < 0) == reverse:
                    break
                if len(rows) == limit or taken > room:
                    more = True
                    break
                rows.append((
                    PyBytes_FromStringAndSize(<char*> key.mv_data, key.mv_size),
                    PyBytes_FromStringAndSize(<char*> value.mv_data, value.mv_size),
                ))
                taken += value.mv_size + key.mv_size
                rc = mdb.cursor_get(cursor, &key, &value, MDB_PREV if reverse else MDB_NEXT)
        finally:
            if cursor != NULL:
                mdb.cursor_close(cursor)
            self._end()
        if rc and rc != MDB_NOTFOUND:
            raise store_error(rc, f"cannot read the store in {self._path}")
        return rows, more

    cdef int _seek(self, MDB_cursor* cursor, MDB_val* key, MDB_val* value, bytes start, bint reverse) noexcept:
        """Place a cursor on the first row at or after a key, or in reverse on the last row before it."""
        cdef int rc
        if PyBytes_GET_SIZE(start) == 0:
            return mdb.cursor_get(cursor, key, value, MDB_LAST if reverse else MDB_FIRST)
        key.mv_data = PyBytes_AS_STRING(start)
        key.mv_size = PyBytes_GET_SIZE(start)
        rc = mdb.cursor_get(cursor, key, value, MDB_SET_RANGE)
        if not reverse:
            return rc
        return mdb.cursor_get(cursor, key, value, MDB_PREV if rc == 0 else MDB_LAST)

    def sync(self):
        """Put everything committed on the device."""
        cdef Home* home = self._check()
        cdef int rc
        pthread_mutex_lock(&home.map_lock)
        with nogil:
            rc = mdb.env_sync(home.env, 1) if home.env != NULL else MDB_PANIC
        pthread_mutex_unlock(&home.map_lock)
        if rc:
            raise store_error(rc, f"cannot sync the store in {self._path}")

    def stat(self):
        """Sizes and counts, for tests and operators."""
        cdef MDB_txn* txn
        cdef MDB_envinfo info
        cdef MDB_stat stat
        cdef Home* home
        cdef int i
        txn = self._begin()
        try:
            home = self._home
            mdb.env_info(home.env, &info)
            rows = {}
            for i in range(DATABASES):
                mdb.stat(txn, home.dbi[i], &stat)
                rows[DATABASE_NAMES[i]] = stat.ms_entries
            mdb.env_stat(home.env, &stat)
        finally:
            self._end()
        return {
            "map_size": info.me_mapsize,
            "used_size": (info.me_last_pgno + 1) * stat.ms_psize,
            "last_transaction": info.me_last_txnid,
            "transactions": home.transactions,
            "syncs": home.syncs,
            "rows": rows,
        }

    def fail_commits(self, int count, int code):
        """Let the next transactions end with an errno or LMDB code instead of committing: for fault tests."""
        cdef Home* home = self._check()
        pthread_mutex_lock(&home.lock)
        home.failures = count
        home.failure_code = code
        pthread_mutex_unlock(&home.lock)

    def close(self):
        """Finish what is queued, sync, and release the environment. ``drain`` what is left before it is lost.

        Returns:
            what ``drain`` would have given.
        """
        cdef Home* home = self._home
        if home == NULL:
            return []
        if self._forks_before != _forks:
            # The parent's threads and locks are not here; what they guard cannot be released safely.
            self._home = NULL
            return []
        self._stop(home)
        results = self.drain()
        self._home = NULL
        self._release(home)
        return results

    cdef void _stop(self, Home* home) noexcept:
        with nogil:
            pthread_mutex_lock(&home.lock)
            home.stopping = True
            pthread_cond_signal(&home.wake)
            pthread_mutex_unlock(&home.lock)
            pthread_join(home.thread, NULL)

    cdef void _release(self, Home* home) noexcept:
        with nogil:
            if home.env != NULL:
                if home.reader != NULL:
                    mdb.txn_abort(home.reader)
                mdb.env_sync(home.env, 1)
                mdb.env_close(home.env)
        self._forget(home)

    def __dealloc__(self):
        cdef Home* home = self._home
        cdef Node* node
        if home == NULL or self._forks_before != _forks:
            return
        self._home = NULL
        self._stop(home)
        while home.done.first != NULL:
            node = home.done.first
            home.done.first = node.next
            _free_node(node)
        self._release(home)


cdef inline int _order(MDB_val* key, const uint8_t* other, size_t size) noexcept nogil:
    cdef int order = memcmp(key.mv_data, other, min(key.mv_size, size))
    if order:
        return order
    return (key.mv_size > size) - (key.mv_size < size)


#: Outcomes that ``drain`` gives.
OUTCOME_COMMITTED = COMMITTED
OUTCOME_STALE = STALE
OUTCOME_FAILED = FAILED
