"""Committing: batches are applied to ``data.mdb`` without syncing it, and go into the log, whose sync is the commit's
only one. See ``_log`` and ``_checkpoint`` for why that is enough.

Two threads commit, never at once, and neither needs the GIL.

The *writer* takes everything that waits, in one write transaction: checks versions, applies, writes one record,
commits, syncs the record. Then the batches are reported.

The *loop's own thread* commits a small batch that comes while the writer is idle, which saves waking two threads. It
keeps one write transaction open over many such commits: each applies its entries, writes its record and syncs it; the
transaction itself, whose pages cost more than the record, is committed now and then, and before the writer has to
work. The loop's reads go through the open transaction, so they see every commit.

What goes wrong leaves nothing of the commit. A record that could not be written is not counted, and the transaction
is aborted; the batches that an open transaction had before are applied again (``logged``). When a sync fails, nobody
knows what the device has: the folder is opened again, from the checkpoint and the records before the failed one.
"""

from libc.errno cimport EINTR, ENOSPC, errno
from libc.stdint cimport int64_t
from libc.stdlib cimport free
from libc.string cimport memset
from posix.unistd cimport write

from perdure.store.lmdb._api cimport MDB_MAP_FULL, MDB_PANIC, MDB_txn, mdb
from perdure.store.lmdb._apply cimport apply, holds
from perdure.store.lmdb._checkpoint cimport (
    ask_for_checkpoint, begin_checkpoint, break_home, checkpoint_now, is_checkpoint_due, lengthen_ahead, note_helper,
    wait_for_helper,
)
from perdure.store.lmdb._home cimport (
    COMMITTED, FAILED, PENDING, Home, Node, Queue, nanoseconds, pthread_cond_wait, pthread_mutex_lock,
    pthread_mutex_unlock, pthread_equal, pthread_self,
)
from perdure.store.lmdb._log cimport (
    RECORD_LIMIT, SEGMENT_SIZE, log_add, log_begin, log_count, log_space, log_withdraw, log_write, sync_file,
)
from perdure.store.lmdb._opening cimport free_logged, grow, remove_locks, reopen

cdef enum:
    GROUP_BYTES = 2097152           # a transaction takes no more batches beyond this size
    OPEN_COMMITS = 64               # an open transaction is committed after so many commits ...
    OPEN_BYTES = 1048576            # ... or so many bytes of entries


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


# What both threads do

cdef int _make_room(Home* home, size_t payload) noexcept nogil:
    """See that the record fits the segment; no write transaction is open. Waits for the helper if need be."""
    note_helper(home)
    if payload <= RECORD_LIMIT and home.log.end + log_space(payload) > SEGMENT_SIZE:
        checkpoint_now(home)
    if home.broken:
        return reopen(home)
    return 0 if home.log.end + log_space(payload) <= SEGMENT_SIZE or payload > RECORD_LIMIT else ENOSPC


cdef int _write_record(Home* home) noexcept nogil:
    """Write the record that was put together; it does not count yet."""
    cdef size_t end = home.log.end + log_space(home.log.size)
    cdef int rc
    if end > home.log.room[home.log.segment]:
        # The helper may be writing zeros there.
        wait_for_helper(home, True)
        if home.broken:
            return home.broken
    rc = log_write(&home.log)
    if rc:
        if log_withdraw(&home.log):
            break_home(home, rc)
    elif end > home.log.room[home.log.segment]:
        home.log.room[home.log.segment] = end
    return rc


cdef int _sync_record(Home* home) noexcept nogil:
    """Put the record on the device. After an error only what was before it counts."""
    cdef int64_t began
    cdef int rc
    if not home.sync:
        return 0
    began = nanoseconds()
    rc = sync_file(home.log.fd[home.log.segment])
    home.syncs += 1
    home.sync_time += (nanoseconds() - began - home.sync_time) // 8
    if rc:
        log_withdraw(&home.log)
        break_home(home, rc)
    return rc


cdef bint _fails(Home* home) noexcept nogil:
    if home.failures == 0:
        return False
    home.failures -= 1
    return True


cdef void _take_checkpoint(Home* home) noexcept nogil:
    """Begin a checkpoint if it is time; no write transaction is open. What fails is tried again later."""
    if begin_checkpoint(home) == 0:
        ask_for_checkpoint(home)


# The writer's commits

cdef int _log_group(Home* home, Queue* group) noexcept nogil:
    """Put what was applied of a group together and write it."""
    cdef Node* node = group.first
    cdef int rc = 0
    log_begin(&home.log)
    while node != NULL and rc == 0:
        if node.outcome == PENDING:
            rc = log_add(&home.log, node.entries.data, node.entries.size)
        node = node.next
    return rc if rc else _write_record(home)


cdef int _transact(Home* home, Queue* group) noexcept nogil:
    """Apply, log and commit what holds of a group, in one transaction."""
    cdef MDB_txn* txn = NULL
    cdef Node* node
    cdef size_t size = 0
    cdef bint logged
    cdef int rc
    node = group.first
    while node != NULL:
        node.outcome = PENDING
        size += node.entries.size
        node = node.next
    logged = size <= RECORD_LIMIT
    rc = _make_room(home, size)
    if rc == 0:
        rc = mdb.txn_begin(home.env, NULL, 0, &txn)
    if rc:
        return rc
    size = 0
    node = group.first
    while node != NULL and rc == 0:
        if holds(home, txn, node, &rc):
            rc = apply(home, txn, node.entries.data, node.entries.size)
            size += node.entries.size
        node = node.next
    if rc == 0 and size and _fails(home):
        rc = home.failure_code
    if rc == 0 and size and logged:
        rc = _log_group(home, group)
    if rc or size == 0:
        mdb.txn_abort(txn)
        return rc
    home.transactions += 1
    rc = mdb.txn_commit(txn)
    if not logged:
        if rc == 0:
            home.log.next += 1      # no segment may seem to continue one that lacks this commit
            rc = checkpoint_now(home)
            if rc:
                break_home(home, rc)
        return rc
    if rc:
        if log_withdraw(&home.log):
            break_home(home, rc)
        return rc
    rc = _sync_record(home)
    if rc == 0:
        log_count(&home.log)
    return rc


cdef int write_group(Home* home, Queue* group) noexcept nogil:
    """The same, growing the map and opening again as needed; sets every batch's outcome."""
    cdef Node* node
    cdef bint again = False
    cdef int rc
    while True:
        rc = 0
        if home.env == NULL or home.broken:
            rc = reopen(home)
        if rc == 0:
            rc = _transact(home, group)
        if rc == MDB_MAP_FULL:
            rc = grow(home)
            if rc == 0:
                continue
        elif rc == MDB_PANIC and not again:
            again = True
            break_home(home, rc)
            continue
        break
    if rc and home.broken:
        reopen(home)                # at once: nobody may read what failed
    node = group.first
    while node != NULL:
        if rc:
            node.outcome = FAILED
            node.code = rc
        elif node.outcome == PENDING:
            node.outcome = COMMITTED
        node = node.next
    return rc


# The loop thread's commits

cdef int _begin_open(Home* home) noexcept nogil:
    """Begin the open transaction, with what it has to have of the log."""
    cdef Node* node = home.logged.first
    cdef int rc = mdb.txn_begin(home.env, NULL, 0, &home.open_txn)
    if rc:
        home.open_txn = NULL
        return rc
    home.open_thread = pthread_self()
    while node != NULL and rc == 0:
        rc = apply(home, home.open_txn, node.entries.data, node.entries.size)
        node = node.next
    if rc:
        mdb.txn_abort(home.open_txn)
        home.open_txn = NULL
    return rc


cdef void _regain(Home* home) noexcept nogil:
    """After the open transaction is gone: have one with all that is logged again, or none if nothing is."""
    cdef int rc = 0
    if home.env != NULL and not home.broken and home.logged.first != NULL:
        rc = _begin_open(home)
        while rc == MDB_MAP_FULL:
            rc = grow(home)
            if rc == 0:
                rc = _begin_open(home)
        if rc:
            break_home(home, rc)
    if home.env == NULL or home.broken:
        reopen(home)


cdef void _leave_thread(Home* home) noexcept nogil:
    """The event loop runs in another thread now, and LMDB's lock stays with the one that began the transaction.

    What was open is abandoned, with its lock file; the log has all of it.
    """
    wait_for_helper(home, False)
    home.open_txn = home.reader = home.pin = home.next_pin = NULL
    home.env = NULL
    remove_locks(home)
    break_home(home, MDB_PANIC)
    reopen(home)


cdef int commit_open(Home* home) noexcept nogil:
    """Commit the loop thread's open transaction, if there is one; on an error it is open as before, and ``stuck``."""
    cdef int rc
    if home.open_txn != NULL and not pthread_equal(home.open_thread, pthread_self()):
        _leave_thread(home)
    while home.open_txn != NULL:
        rc = mdb.txn_commit(home.open_txn)
        home.open_txn = NULL
        if rc == 0:
            home.transactions += 1
            home.stuck = 0
            free_logged(home)
            return 0
        if rc == MDB_PANIC:
            break_home(home, rc)
        elif rc != MDB_MAP_FULL or grow(home):
            home.stuck = rc
        _regain(home)
        if home.stuck:
            return home.stuck
    return MDB_PANIC if home.env == NULL else 0


cdef int _commit_alone(Home* home, Node* node) noexcept nogil:
    """One attempt; on an error the open transaction may be spoiled."""
    cdef int rc = 0
    if home.env == NULL or home.broken:
        rc = reopen(home)
    if rc == 0 and (home.stuck or home.log.end + log_space(node.entries.size) > SEGMENT_SIZE):
        rc = commit_open(home)
    if rc == 0:
        rc = _make_room(home, node.entries.size)
    if rc == 0 and home.open_txn == NULL:
        rc = _begin_open(home)
    if rc or not holds(home, home.open_txn, node, &rc):
        return rc
    rc = apply(home, home.open_txn, node.entries.data, node.entries.size)
    if rc == 0 and _fails(home):
        rc = home.failure_code
    if rc == 0:
        log_begin(&home.log)
        rc = log_add(&home.log, node.entries.data, node.entries.size)
    if rc == 0:
        rc = _write_record(home)
    if rc == 0:
        rc = _sync_record(home)
    if rc == 0:
        log_count(&home.log)
    return rc


cdef void write_alone(Home* home, Node* node) noexcept nogil:
    """Commit one batch in the loop's thread, the writer being idle; sets its outcome.

    A committed batch belongs to the open transaction from then on; ``tidy_alone`` follows and may free it.
    """
    cdef bint again = False
    cdef bint grown
    cdef int rc
    node.outcome = PENDING
    if home.open_txn != NULL and not pthread_equal(home.open_thread, pthread_self()):
        _leave_thread(home)
    while True:
        rc = _commit_alone(home, node)
        if rc == 0:
            break
        if rc == MDB_PANIC:
            break_home(home, rc)
        if home.open_txn != NULL:
            mdb.txn_abort(home.open_txn)
            home.open_txn = NULL
        grown = rc == MDB_MAP_FULL and grow(home) == 0
        _regain(home)
        if not grown and (rc != MDB_PANIC or again):
            break
        again = rc == MDB_PANIC
    if rc:
        node.outcome = FAILED
        node.code = rc
    elif node.outcome == PENDING:
        node.outcome = COMMITTED
        push(&home.logged, node)
        home.logged_count += 1
        home.logged_bytes += node.entries.size


cdef void tidy_alone(Home* home) noexcept nogil:
    """After a commit of the loop's thread: what need not be done each time."""
    if home.logged_count >= OPEN_COMMITS or home.logged_bytes >= OPEN_BYTES:
        commit_open(home)
    if home.env != NULL and not home.broken and is_checkpoint_due(home) and commit_open(home) == 0:
        _take_checkpoint(home)
    lengthen_ahead(home)


# The writer thread

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


cdef bint _take(Home* home, Queue* group) noexcept nogil:
    """Move a transaction's worth of batches out of the queue, waiting for one; False: the store is being closed."""
    cdef size_t size = 0
    cdef Node* node
    pthread_mutex_lock(&home.lock)
    home.busy = False
    while home.waiting.first == NULL and not home.stopping:
        pthread_cond_wait(&home.wake, &home.lock)
    while home.waiting.first != NULL and size < GROUP_BYTES:
        node = home.waiting.first
        home.waiting.first = node.next
        if node.next == NULL:
            home.waiting.last = NULL
        size += node.entries.size + sizeof(Node)
        push(group, node)
    home.busy = group.first != NULL
    pthread_mutex_unlock(&home.lock)
    return home.busy


cdef void* run_writer(void* argument) noexcept nogil:
    cdef Home* home = <Home*> argument
    cdef Queue group
    memset(&group, 0, sizeof(Queue))
    while _take(home, &group):
        write_group(home, &group)
        _finish(home, &group)
        if home.env != NULL and not home.broken and is_checkpoint_due(home):
            _take_checkpoint(home)
        lengthen_ahead(home)
    return NULL
