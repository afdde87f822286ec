"""Checkpoints: which snapshot of ``data.mdb`` is on the device, and where the log goes on from it.

Commits write ``data.mdb`` without syncing it, so the device may hold any mixture of its pages. What opening can rely
on is the checkpoint: a transaction of LMDB whose pages are on the device, with copies of the two meta pages that lead
to them. Copy-on-write keeps such a transaction's pages as they are; they would be reused once nobody reads them, so a
read transaction of our own, the *pin*, stays with them until the next checkpoint holds.

A checkpoint is taken between two write transactions: pin the newest one, copy the meta pages, begin the other segment
of the log. Then, in the helper thread and while commits go on in that segment, sync the segment and ``data.mdb`` and
write slot ``sequence % 2`` of the file ``checkpoint``. Until that slot is on the device the other one counts, with
its pin and its segment, which the new one continues.
"""

from libc.errno cimport EIO, EINTR, errno
from libc.stdint cimport uint32_t
from libc.string cimport memcmp, memcpy
from posix.types cimport off_t
from posix.unistd cimport pread

from perdure.store.lmdb._api cimport MDB_PANIC, MDB_RDONLY, MDB_envinfo, MDB_stat, mdb
from perdure.store.lmdb._home cimport (
    ASKED, ENDED, IDLE, META_SIZE, REPLAY, SLOT_SIZE, Helper, Home, Snapshot, pthread_cond_signal, pthread_cond_wait,
    pthread_create, pthread_join, pthread_mutex_lock, pthread_mutex_unlock,
)
from perdure.store.lmdb._log cimport (
    SEGMENT_SIZE, crc32c, log_lengthen, log_start, sync_file, write_at,
)

cdef enum:
    AHEAD_FIRST = 262144            # a segment is made longer by this ...
    AHEAD_STEP = 1048576            # ... and from this length on by this

cdef char* MAGIC = b"perdckp1"


cdef inline size_t _summed() noexcept nogil:
    cdef Snapshot snapshot
    return <size_t> (<char*> &snapshot.checksum - <char*> &snapshot)


# Slots

cdef int _read_at(int fd, void* data, size_t size, off_t at) noexcept nogil:
    """Read exactly so much; 0, errno, or EIO when there is less."""
    cdef ssize_t got = pread(fd, data, size, at)
    while got < 0 and errno == EINTR:
        got = pread(fd, data, size, at)
    if got < 0:
        return errno
    return 0 if <size_t> got == size else EIO


cdef bint read_snapshot(int fd, Snapshot* snapshot) noexcept nogil:
    """The newest slot that is whole; False: none is."""
    cdef Snapshot found
    cdef bint any = False
    cdef int slot
    for slot in range(2):
        if _read_at(fd, &found, sizeof(Snapshot), slot * SLOT_SIZE):
            continue
        if memcmp(found.magic, MAGIC, 8) or found.checksum != crc32c(0, &found, _summed()):
            continue
        if not any or found.sequence > snapshot.sequence:
            snapshot[0] = found
        any = True
    return any


cdef int write_snapshot(int fd, Snapshot* snapshot) noexcept nogil:
    """Write and sync a slot; 0 or errno."""
    cdef int rc
    memcpy(snapshot.magic, MAGIC, 8)
    snapshot.checksum = crc32c(0, snapshot, _summed())
    rc = write_at(fd, snapshot, sizeof(Snapshot), <off_t> (snapshot.sequence % 2 * SLOT_SIZE))
    return rc if rc else sync_file(fd)


cdef int read_metas(int fd, Snapshot* snapshot) noexcept nogil:
    cdef int rc = _read_at(fd, snapshot.first_meta, META_SIZE, 0)
    return rc if rc else _read_at(fd, snapshot.second_meta, META_SIZE, snapshot.page_size)


cdef int write_metas(int fd, Snapshot* snapshot) noexcept nogil:
    cdef int rc = write_at(fd, snapshot.first_meta, META_SIZE, 0)
    return rc if rc else write_at(fd, snapshot.second_meta, META_SIZE, snapshot.page_size)


# Taking one

cdef void break_home(Home* home, int code) noexcept nogil:
    """From now on only opening again helps: what was committed before this is what counts."""
    if home.broken == 0:
        home.broken = code
        home.limit = home.log.next


cdef bint is_checkpoint_due(Home* home) noexcept nogil:
    cdef MDB_envinfo info
    if home.next_pin != NULL:
        return False
    if home.log.end >= home.checkpoint_log:
        return True
    mdb.env_info(home.env, &info)
    return (info.me_last_pgno + 1) * home.snapshot.page_size > home.pinned_end + home.checkpoint_growth


cdef int begin_checkpoint(Home* home) noexcept nogil:
    """Take a snapshot of what is committed and begin the other segment; no write transaction is open.

    On an error nothing has changed.
    """
    cdef Snapshot snapshot = home.snapshot
    cdef MDB_envinfo info
    cdef MDB_stat stat
    cdef int rc
    if home.env == NULL:
        return MDB_PANIC
    rc = mdb.txn_begin(home.env, NULL, MDB_RDONLY, &home.next_pin)
    if rc:
        home.next_pin = NULL
        return rc
    mdb.env_info(home.env, &info)
    mdb.env_stat(home.env, &stat)
    snapshot.sequence += 1
    snapshot.state = REPLAY
    snapshot.page_size = stat.ms_psize
    snapshot.transaction = mdb.txn_id(home.next_pin)
    snapshot.first = home.log.next
    snapshot.segment = <uint32_t> (home.log.segment ^ 1)
    rc = read_metas(home.data_fd, &snapshot)
    if rc == 0:
        rc = log_start(&home.log, home.log.segment ^ 1)
    if rc:
        mdb.txn_abort(home.next_pin)
        home.next_pin = NULL
        return rc
    snapshot.salt = home.log.salt
    home.snapshot = snapshot
    home.pinned_end = (info.me_last_pgno + 1) * stat.ms_psize
    return 0


cdef int write_checkpoint(Home* home) noexcept nogil:
    """Make it hold; 0 or errno."""
    cdef int rc = sync_file(home.log.helper_fd[home.snapshot.segment])
    if rc == 0:
        rc = sync_file(home.data_fd)
    return rc if rc else write_snapshot(home.checkpoint_fd, &home.snapshot)


cdef void end_checkpoint(Home* home) noexcept nogil:
    """It holds: let go of the one before."""
    if home.pin != NULL:
        mdb.txn_abort(home.pin)
    home.pin = home.next_pin
    home.next_pin = NULL
    home.checkpoints += 1


cdef int checkpoint_now(Home* home) noexcept nogil:
    """A checkpoint from beginning to end in this thread, after the one that may be under way."""
    cdef int rc
    wait_for_helper(home, False)
    if home.broken:
        return home.broken
    rc = begin_checkpoint(home)
    if rc == 0:
        rc = write_checkpoint(home)
        if rc:
            break_home(home, rc)
        else:
            end_checkpoint(home)
    return rc


# The helper thread

cdef void lengthen_ahead(Home* home) noexcept nogil:
    """Have the segment made longer before commits need it."""
    cdef Helper* helper = &home.helper
    cdef size_t room
    pthread_mutex_lock(&home.lock)
    room = home.log.room[home.log.segment]
    if (
        helper.lengthen == IDLE and room < SEGMENT_SIZE
        and home.log.end + (AHEAD_STEP if room >= AHEAD_STEP else AHEAD_FIRST) // 2 > room
    ):
        helper.lengthen = ASKED
        helper.lengthen_segment = home.log.segment
        pthread_cond_signal(&helper.wake)
    pthread_mutex_unlock(&home.lock)


cdef void ask_for_checkpoint(Home* home) noexcept nogil:
    """Have the checkpoint that was begun written."""
    pthread_mutex_lock(&home.lock)
    home.helper.checkpoint = ASKED
    pthread_cond_signal(&home.helper.wake)
    pthread_mutex_unlock(&home.lock)


cdef void note_helper(Home* home) noexcept nogil:
    """Take note of a checkpoint that has ended."""
    cdef Helper* helper = &home.helper
    cdef bint ended
    pthread_mutex_lock(&home.lock)
    ended = helper.checkpoint == ENDED
    if ended:
        helper.checkpoint = IDLE
    pthread_mutex_unlock(&home.lock)
    if not ended:
        return
    if helper.checkpoint_code:
        break_home(home, helper.checkpoint_code)
    else:
        end_checkpoint(home)


cdef void wait_for_helper(Home* home, bint lengthening) noexcept nogil:
    """Wait until no checkpoint is under way, or until the segment is longer."""
    cdef Helper* helper = &home.helper
    pthread_mutex_lock(&home.lock)
    while (helper.lengthen if lengthening else helper.checkpoint) == ASKED:
        pthread_cond_wait(&helper.ended, &home.lock)
    pthread_mutex_unlock(&home.lock)
    note_helper(home)


cdef void* run_helper(void* argument) noexcept nogil:
    cdef Home* home = <Home*> argument
    cdef Helper* helper = &home.helper
    cdef size_t room, end
    cdef int rc, fd
    pthread_mutex_lock(&home.lock)
    while True:
        if helper.lengthen == ASKED:
            room = home.log.room[helper.lengthen_segment]
            fd = home.log.helper_fd[helper.lengthen_segment]
            end = min(room + (AHEAD_STEP if room >= AHEAD_STEP else AHEAD_FIRST), <size_t> SEGMENT_SIZE)
            pthread_mutex_unlock(&home.lock)
            rc = log_lengthen(fd, room, end)
            pthread_mutex_lock(&home.lock)
            if rc == 0:
                home.log.room[helper.lengthen_segment] = end
            helper.lengthen = IDLE
            pthread_cond_signal(&helper.ended)
        elif helper.checkpoint == ASKED:
            pthread_mutex_unlock(&home.lock)
            rc = write_checkpoint(home)
            pthread_mutex_lock(&home.lock)
            helper.checkpoint_code = rc
            helper.checkpoint = ENDED
            pthread_cond_signal(&helper.ended)
        elif helper.stopping:
            break
        else:
            pthread_cond_wait(&helper.wake, &home.lock)
    pthread_mutex_unlock(&home.lock)
    return NULL


cdef int start_helper(Home* home) noexcept nogil:
    return pthread_create(&home.helper.thread, NULL, run_helper, home)


cdef void stop_helper(Home* home) noexcept nogil:
    pthread_mutex_lock(&home.lock)
    home.helper.stopping = True
    pthread_cond_signal(&home.helper.wake)
    pthread_mutex_unlock(&home.lock)
    pthread_join(home.helper.thread, NULL)
