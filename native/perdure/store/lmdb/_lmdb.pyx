"""An LMDB environment with one writer thread of its own, on the C functions inside the ``lmdb`` package's extension.

The loop thread builds a :class:`~perdure.store.lmdb._batch.Batch` and submits it. The writer (``_writer``) takes
everything that waits, applies it in one write transaction, commits, and writes a byte to a pipe; the loop then drains
what is done, in the order of submission. A batch whose versions do not hold is left out of the transaction and fails
alone. While one transaction is on its way to the disk the next batches gather.

Python objects are touched by the loop thread alone; the writer runs without the GIL and never takes it.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memset, strdup

from perdure.store.lmdb._api cimport (
    MDB_CREATE, MDB_FIRST, MDB_LAST, MDB_NEXT, MDB_NOTFOUND, MDB_PANIC, MDB_PREV, MDB_RDONLY, MDB_SET_RANGE, NEWER,
    MDB_cursor, MDB_envinfo, MDB_stat, MDB_txn, MDB_val, mdb, resolve, store_error,
)
from perdure.store.lmdb._batch cimport DATABASES, Batch, Buffer
from perdure.store.lmdb._checkpoint cimport lengthen_ahead, start_helper, stop_helper
from perdure.store.lmdb._home cimport (
    COMMITTED, FAILED, FORMAT, STALE, Home, Node, nanoseconds, pthread_cond_destroy, pthread_cond_init,
    pthread_cond_signal, pthread_create, pthread_join, pthread_mutex_destroy, pthread_mutex_init, pthread_mutex_lock,
    pthread_mutex_unlock,
)
from perdure.store.lmdb._log cimport SEGMENTS
from perdure.store.lmdb._opening cimport close_home, open_home
from perdure.store.lmdb._writer cimport commit_open, free_node, push, run_writer, tidy_alone, write_alone

import os
from collections import deque

from perdure.store.api import StoreClosedError, StoreCorruptError, StoreUnavailableError
from perdure.store.lmdb._batch import DATABASE_NAMES


cdef extern from "<signal.h>" nogil:
    ctypedef struct sigset_t:
        pass
    int SIG_SETMASK
    int sigfillset(sigset_t*)
    int pthread_sigmask(int, const sigset_t*, sigset_t*)

cdef enum:
    CHECKPOINT_LOG = 8388608        # half a segment: commits go on in the other half while the checkpoint is written
    CHECKPOINT_GROWTH = 33554432
    ALONE_BYTES = 8192              # a batch up to this size ...
    ALONE_RUNS = 2                  # ... with so many runs is sooner committed than handed over ...
    ALONE_PAUSE = 50000             # ... unless the one before was synced less than these nanoseconds ago ...
    ALONE_SYNC = 1000000            # ... or syncs take longer than these: the event loop must not stand still

cdef uint64_t _forks = 0


def _count_fork():
    global _forks
    _forks += 1


os.register_at_fork(after_in_child=_count_fork)


@cython.final
cdef class Environment:
    """An open environment. All methods are the loop thread's.

    ``drain`` gives ``(token, outcome, code or found version, batch, index of the stale check)`` per ended batch.
    """

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
        resolve()
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
        pthread_cond_init(&home.helper.wake, NULL)
        pthread_cond_init(&home.helper.ended, NULL)
        home.checkpoint_log = CHECKPOINT_LOG
        home.checkpoint_growth = CHECKPOINT_GROWTH
        home.seed = int.from_bytes(os.urandom(8)) | 1
        home.checkpoint_fd = -1
        for rc in range(SEGMENTS):
            home.log.fd[rc] = home.log.helper_fd[rc] = -1
        with nogil:
            rc = open_home(home, MDB_CREATE)
        if rc == 0:
            self._home = home
            # Signals are for Python's threads.
            sigfillset(&everything)
            pthread_sigmask(SIG_SETMASK, &everything, &before)
            rc = start_helper(home)
            if rc == 0:
                rc = pthread_create(&home.thread, NULL, run_writer, home)
                if rc:
                    stop_helper(home)
            pthread_sigmask(SIG_SETMASK, &before, NULL)
            if rc:
                self._home = NULL
                close_home(home)
            else:
                lengthen_ahead(home)
        if rc:
            format = home.format
            self._forget(home)
            if rc == NEWER:
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
        pthread_cond_destroy(&home.helper.wake)
        pthread_cond_destroy(&home.helper.ended)
        free(home.log.record)
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

        A small batch that comes while the writer is idle is committed at once; of those that come in a row and need
        a sync each, only the first, so that the others share one.

        Returns:
            None, or what ``drain`` would give if it has already ended.
        """
        cdef Home* home = self._check()
        cdef Node* node = <Node*> calloc(1, sizeof(Node))
        cdef bint alone
        if node == NULL:
            raise MemoryError()
        node.checks = batch.checks
        node.entries = batch.entries
        memset(&batch.checks, 0, sizeof(Buffer))
        memset(&batch.entries, 0, sizeof(Buffer))
        pthread_mutex_lock(&home.lock)
        alone = (
            not home.busy and home.waiting.first == NULL and home.done.first == NULL
            and node.entries.size <= ALONE_BYTES and len(batch.keys) <= ALONE_RUNS
            and not (home.sync and (home.sync_time > ALONE_SYNC or nanoseconds() - self._alone_at < ALONE_PAUSE))
        )
        pthread_mutex_unlock(&home.lock)
        if alone:
            return self._submit_alone(home, node, token, batch)
        if home.open_txn != NULL:
            # The writer is idle: it works only on what this thread gives it.
            with nogil:
                node.code = commit_open(home)
            if node.code:
                node.outcome = FAILED
                return self._ended(node, token, batch)
        pthread_mutex_lock(&home.lock)
        push(&home.waiting, node)
        if not home.busy:
            pthread_cond_signal(&home.wake)
        pthread_mutex_unlock(&home.lock)
        self._tokens.append((token, batch))
        return None

    cdef tuple _submit_alone(self, Home* home, Node* node, object token, Batch batch):
        cdef tuple result
        if home.sync:
            with nogil:
                write_alone(home, node)
                self._alone_at = nanoseconds()
        else:
            write_alone(home, node)
        if node.outcome == COMMITTED:
            result = (token, COMMITTED, 0, batch, 0)
        else:
            result = self._ended(node, token, batch)
        tidy_alone(home)
        return result

    cdef tuple _ended(self, Node* node, object token, Batch batch):
        cdef tuple result
        if node.outcome == STALE:
            result = (token, STALE, node.found, batch, node.stale)
        else:
            result = (token, node.outcome, node.code, batch, 0)
        free_node(node)
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
        """Start reading; ``_end`` must follow. The map cannot move in between.

        While this thread's own write transaction is open, it is the one that has everything.
        """
        cdef Home* home = self._check()
        cdef int rc
        if home.open_txn != NULL:
            return home.open_txn
        if self._held:
            return home.reader
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
        if self._home.open_txn != NULL or self._held:
            return
        mdb.txn_reset(self._home.reader)
        pthread_mutex_unlock(&self._home.map_lock)

    def hold(self):
        """Let everything that is read from now on be of one snapshot, until ``let_go``. Nothing may be submitted."""
        self._begin()
        self._held += 1

    def let_go(self):
        """End what ``hold`` began."""
        self._held -= 1
        self._end()

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
            "checkpoints": home.checkpoints,
            "rows": rows,
        }

    def fail_commits(self, int count, int code):
        """Let the next transactions end with an errno or LMDB code instead of committing: for fault tests."""
        cdef Home* home = self._check()
        pthread_mutex_lock(&home.lock)
        home.failures = count
        home.failure_code = code
        pthread_mutex_unlock(&home.lock)

    def checkpoint_after(self, size_t log_bytes, size_t growth):
        """Take checkpoints at other sizes than usual: for tests of many in a short time."""
        cdef Home* home = self._check()
        home.checkpoint_log = log_bytes
        home.checkpoint_growth = growth

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
            commit_open(home)
            pthread_mutex_lock(&home.lock)
            home.stopping = True
            pthread_cond_signal(&home.wake)
            pthread_mutex_unlock(&home.lock)
            pthread_join(home.thread, NULL)

    cdef void _release(self, Home* home) noexcept:
        with nogil:
            close_home(home)
            stop_helper(home)
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
            free_node(node)
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
