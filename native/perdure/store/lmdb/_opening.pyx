"""Opening and closing a store's folder.

Opening looks at the newest slot of ``checkpoint``. If it says *replay* (the store was not closed in order), the meta
pages in it are put back into ``data.mdb`` before LMDB sees the file, and the records of the log are applied; then
``data.mdb`` is synced and the slot says *trust*. In either case a new checkpoint is taken before the first commit.
Being killed anywhere in this leaves the checkpoint that was there, so opening simply begins again. Closing in order
ends with *trust*.

While the store is open, ``data.mdb`` holds the row ``log``, the number that the checkpoint has too: a copy of
``data.mdb`` without its log, or with another's, is refused.
"""

from libc.errno cimport EIO, EINTR, ENOENT, ENOMEM, errno
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.stdio cimport rename, snprintf
from libc.string cimport memcpy, memset
from posix.fcntl cimport O_CREAT, O_RDONLY, O_RDWR, open
from posix.stat cimport fstat, struct_stat
from posix.types cimport off_t
from posix.unistd cimport close, fsync, pread, unlink

from perdure.store.lmdb._api cimport (
    CUT_OFF, FOREIGN, INCOMPLETE, LOG_DAMAGED, MDB_CORRUPTED, MDB_DUPFIXED, MDB_DUPSORT, MDB_MAP_FULL, MDB_NORDAHEAD,
    MDB_NOSUBDIR, MDB_NOSYNC, MDB_NOTFOUND, MDB_NOTLS, MDB_RDONLY, NEWER, SHARED, MDB_env, MDB_envinfo, MDB_stat,
    MDB_txn, MDB_val, mdb,
)
from perdure.store.lmdb._apply cimport apply, is_sound
from perdure.store.lmdb._batch cimport BUCKET, DATABASES, META, TERM
from perdure.store.lmdb._checkpoint cimport (
    begin_checkpoint, end_checkpoint, read_metas, read_snapshot, wait_for_helper, write_checkpoint, write_metas,
    write_snapshot,
)
from perdure.store.lmdb._home cimport (
    FORMAT, REPLAY, SLOT_SIZE, TRUST, Home, Node, Snapshot, pthread_mutex_lock, pthread_mutex_unlock,
)
from perdure.store.lmdb._log cimport (
    RECORD_HEAD, SEGMENT_HEAD, SEGMENT_SIZE, SEGMENTS, SegmentHead, log_head, log_lengthen, log_payload, log_space,
    sync_file,
)

from perdure.store.lmdb._batch import DATABASE_NAMES

cdef extern from "<fcntl.h>" nogil:
    int O_CLOEXEC

cdef enum:
    MODE = 0o600
    PATH_ROOM = 4200
    REPLAY_BYTES = 4194304          # of records that one transaction applies
    MAP_STEP_MIN = 1048576
    MAP_STEP_MAX = 17179869184
    # Where LMDB keeps a transaction's number in a meta page, and what its meta pages begin with.
    META_MAGIC_AT = 16
    META_TRANSACTION_AT = 144

cdef uint32_t META_MAGIC = 0xBEEFC0DE
cdef const char* _names[DATABASES]
cdef list _name_bytes = [name.encode() for name in DATABASE_NAMES]
for _index in range(DATABASES):
    _names[_index] = _name_bytes[_index]


# Files

cdef int _open_file(Home* home, const char* name, int flags, int* rc) noexcept nogil:
    """A file of the folder; -1 with an errno. ``name`` may be empty for the folder itself."""
    cdef char[PATH_ROOM] path
    cdef int fd
    if snprintf(path, PATH_ROOM, b"%s/%s", home.path, name) >= PATH_ROOM:
        rc[0] = ENOENT
        return -1
    fd = open(path, flags | O_CLOEXEC, MODE)
    rc[0] = 0 if fd >= 0 else errno
    return fd


cdef int _sync_folder(Home* home, const char* name) noexcept nogil:
    cdef int rc
    cdef int fd = _open_file(home, name, O_RDONLY, &rc)
    if fd < 0:
        return rc
    if fsync(fd):
        rc = errno
    close(fd)
    return rc


cdef void _close_file(int* fd) noexcept nogil:
    if fd[0] >= 0:
        close(fd[0])
    fd[0] = -1


cdef int _open_log(Home* home, bint known) noexcept nogil:
    """Open checkpoint and log, creating what is missing.

    When there was no checkpoint, the names of all files and a first slot are on the device from here on.
    """
    cdef struct_stat file
    cdef int rc = 0
    cdef int i
    cdef const char* name
    if home.checkpoint_fd < 0:
        home.checkpoint_fd = _open_file(home, b"checkpoint", O_RDWR | O_CREAT, &rc)
        if rc == 0:
            rc = log_lengthen(home.checkpoint_fd, 0, 2 * SLOT_SIZE)
    for i in range(SEGMENTS):
        name = b"log-1" if i else b"log-0"
        if rc == 0:
            home.log.fd[i] = _open_file(home, name, O_RDWR | O_CREAT, &rc)
        if rc == 0:
            home.log.helper_fd[i] = _open_file(home, name, O_RDWR, &rc)
        if rc == 0:
            if fstat(home.log.fd[i], &file):
                return errno
            home.log.room[i] = min(<size_t> file.st_size, <size_t> SEGMENT_SIZE)
    if rc or known:
        return rc
    rc = write_snapshot(home.checkpoint_fd, &home.snapshot)
    if rc == 0:
        rc = _sync_folder(home, b"")
    return rc if rc else _sync_folder(home, b"..")


cdef void _close_files(Home* home) noexcept nogil:
    cdef int i
    _close_file(&home.checkpoint_fd)
    for i in range(SEGMENTS):
        _close_file(&home.log.fd[i])
        _close_file(&home.log.helper_fd[i])


cdef int _remove(Home* home, const char* name) noexcept nogil:
    cdef char[PATH_ROOM] path
    snprintf(path, PATH_ROOM, b"%s/%s", home.path, name)
    return errno if unlink(path) and errno != ENOENT else 0


cdef void remove_locks(Home* home) noexcept nogil:
    """Have the next opening make new locks: the old ones are a thread's that will not give them up."""
    _remove(home, b"lock.mdb")


cdef int _create_data(Home* home) noexcept nogil:
    """Have LMDB make an empty ``data.mdb`` under another name first: under its own it is whole or not there."""
    cdef char[PATH_ROOM] path
    cdef char[PATH_ROOM] target
    cdef struct_stat file
    cdef MDB_env* env = NULL
    cdef int rc
    cdef int fd = _open_file(home, b"data.mdb", O_RDONLY, &rc)
    if fd >= 0:
        rc = errno if fstat(fd, &file) else 0
        close(fd)
        if rc or file.st_size:
            return rc
    elif rc != ENOENT:
        return rc
    snprintf(path, PATH_ROOM, b"%s/%s", home.path, b"data.new")
    snprintf(target, PATH_ROOM, b"%s/%s", home.path, b"data.mdb")
    rc = _remove(home, b"data.new")
    if rc == 0:
        rc = mdb.env_create(&env)
    if rc == 0:
        rc = mdb.env_open(env, path, MDB_NOSUBDIR, MODE)
        if rc == 0:
            rc = mdb.env_sync(env, 1)
        mdb.env_close(env)
    _remove(home, b"data.new-lock")
    if rc == 0 and rename(path, target):
        rc = errno
    return rc if rc else _sync_folder(home, b"")


# Putting the checkpoint back

cdef uint64_t _newest(Snapshot* snapshot) noexcept nogil:
    """The newest transaction of two meta pages; the greatest number when one of them cannot be read."""
    cdef uint64_t first, second
    cdef uint32_t magic
    if sizeof(size_t) != 8:
        return <uint64_t> -1
    memcpy(&magic, snapshot.first_meta + META_MAGIC_AT, 4)
    if magic != META_MAGIC:
        return <uint64_t> -1
    memcpy(&magic, snapshot.second_meta + META_MAGIC_AT, 4)
    if magic != META_MAGIC:
        return <uint64_t> -1
    memcpy(&first, snapshot.first_meta + META_TRANSACTION_AT, 8)
    memcpy(&second, snapshot.second_meta + META_TRANSACTION_AT, 8)
    return max(first, second)


cdef int _put_back(Home* home, Snapshot* there) noexcept nogil:
    """Make ``data.mdb`` begin with the checkpoint's meta pages again; ``there`` gets those it had."""
    cdef int rc
    cdef int fd = _open_file(home, b"data.mdb", O_RDWR, &rc)
    if fd < 0:
        return CUT_OFF if rc == ENOENT else rc
    there[0] = home.snapshot
    rc = read_metas(fd, there)
    if rc == EIO:
        rc = CUT_OFF
    elif rc == 0 and _newest(there) < home.snapshot.transaction:
        rc = INCOMPLETE     # older than what the checkpoint found on the device: another file
    if rc == 0:
        rc = write_metas(fd, &home.snapshot)
    close(fd)
    return rc


cdef void _take_back(Home* home, Snapshot* there) noexcept nogil:
    """Leave ``data.mdb`` as it was before ``_put_back``: it is not the one the checkpoint is of."""
    cdef int rc
    cdef int fd = _open_file(home, b"data.mdb", O_RDWR, &rc)
    if fd >= 0:
        write_metas(fd, there)
        close(fd)


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


cdef int _put_number(Home* home, MDB_txn* txn, const char* name, size_t size, uint64_t number) noexcept nogil:
    cdef MDB_val key, value
    key.mv_data = <void*> name
    key.mv_size = size
    value.mv_data = &number
    value.mv_size = 8
    return mdb.put(txn, home.dbi[META], &key, &value, 0)


cdef int _check_log(Home* home, MDB_txn* txn, bint known, bint* marked) noexcept nogil:
    """Whether checkpoint and log are those of this ``data.mdb``."""
    cdef MDB_val key, value
    cdef uint64_t store = 0
    cdef int rc
    key.mv_data = <char*> b"log"
    key.mv_size = 3
    rc = mdb.get(txn, home.dbi[META], &key, &value)
    marked[0] = rc == 0
    if rc == 0 and value.mv_size == 8:
        memcpy(&store, value.mv_data, 8)
    elif rc and rc != MDB_NOTFOUND:
        return rc
    if marked[0]:
        return 0 if known and store == home.snapshot.store else INCOMPLETE
    return INCOMPLETE if home.snapshot.state == REPLAY else 0


cdef int _open_databases(Home* home, unsigned int create, bint known) noexcept nogil:
    """Check what is there, create what is missing; one transaction, on the device when this returns."""
    cdef MDB_txn* txn = NULL
    cdef unsigned int several
    cdef bint marked = False
    cdef int i
    cdef int rc = mdb.txn_begin(home.env, NULL, 0, &txn)
    if rc:
        return rc
    rc = _check_format(home, txn)
    for i in range(DATABASES):
        if rc == 0:
            several = MDB_DUPSORT | MDB_DUPFIXED if i == BUCKET or i == TERM else 0
            rc = mdb.dbi_open(txn, _names[i], create | several, &home.dbi[i])
    if rc == 0:
        rc = _check_log(home, txn, known, &marked)
    if rc == 0 and home.snapshot.state != REPLAY:
        if home.format == 1:
            rc = _put_number(home, txn, b"unindexed", 9, 1)
        if rc == 0 and home.format != FORMAT:
            rc = _put_number(home, txn, b"format", 6, FORMAT)
        if rc == 0 and not marked:
            rc = _put_number(home, txn, b"log", 3, home.snapshot.store)
    if rc == 0:
        rc = _open_log(home, known)
    if rc:
        mdb.txn_abort(txn)
        return rc
    home.format = FORMAT
    return mdb.txn_commit(txn)


cdef int _open_env(Home* home) noexcept nogil:
    cdef MDB_env* env = NULL
    cdef MDB_envinfo info
    cdef int rc = mdb.env_create(&env)
    if rc:
        return rc
    rc = mdb.env_set_maxdbs(env, 16)
    if rc == 0:
        rc = mdb.env_set_mapsize(env, home.map_size)
    if rc == 0:
        rc = mdb.env_open(env, home.path, MDB_NOTLS | MDB_NORDAHEAD, MODE)
    if rc == 0:
        rc = _check_size(env)
    if rc == 0:
        rc = mdb.env_get_fd(env, &home.data_fd)
    if rc:
        mdb.env_close(env)
        return rc
    mdb.env_info(env, &info)
    home.map_size = info.me_mapsize
    home.env = env
    return 0


cdef int _grow(Home* home) noexcept nogil:
    """Double the map, by a bounded step."""
    cdef size_t step = home.map_size
    cdef int rc
    if step < MAP_STEP_MIN:
        step = MAP_STEP_MIN
    elif step > MAP_STEP_MAX:
        step = MAP_STEP_MAX
    rc = mdb.env_set_mapsize(home.env, home.map_size + step)
    if rc == 0:
        home.map_size += step
    elif mdb.env_set_mapsize(home.env, home.map_size) != 0:
        # LMDB has unmapped the old map and found no room for either.
        _shut(home)
    return rc


cdef int grow(Home* home) noexcept nogil:
    """The same while the store is open: no write transaction is, and readers wait. The pins read nothing."""
    cdef int rc
    wait_for_helper(home, False)
    wait_for_helper(home, True)
    pthread_mutex_lock(&home.map_lock)
    rc = _grow(home)
    pthread_mutex_unlock(&home.map_lock)
    return rc


# Replaying the log

cdef int _apply_records(Home* home, const uint8_t* data, size_t at, size_t end) noexcept nogil:
    """Apply whole records in one transaction."""
    cdef MDB_txn* txn = NULL
    cdef uint32_t payload
    cdef size_t place
    cdef int rc
    while True:
        rc = mdb.txn_begin(home.env, NULL, 0, &txn)
        if rc:
            return rc
        place = at
        while place < end and rc == 0:
            memcpy(&payload, data + place, 4)
            if not is_sound(data + place + RECORD_HEAD, payload):
                rc = LOG_DAMAGED
            else:
                rc = apply(home, txn, data + place + RECORD_HEAD, payload)
            place += log_space(payload)
        if rc:
            mdb.txn_abort(txn)
        else:
            rc = mdb.txn_commit(txn)
        if rc != MDB_MAP_FULL:
            return rc
        rc = _grow(home)
        if rc:
            return rc


cdef size_t _read_segment(Home* home, uint32_t segment, uint8_t* data, int* rc) noexcept nogil:
    """All of a segment; 0 bytes when there is none."""
    cdef size_t size = 0
    cdef ssize_t got = 1
    cdef int fd = _open_file(home, b"log-1" if segment else b"log-0", O_RDONLY, rc)
    if fd < 0:
        if rc[0] == ENOENT:
            rc[0] = 0
        return 0
    while got != 0 and size < SEGMENT_SIZE:
        got = pread(fd, data + size, SEGMENT_SIZE - size, <off_t> size)
        if got < 0:
            if errno == EINTR:
                continue
            rc[0] = errno
            break
        size += <size_t> got
    close(fd)
    return size


cdef int _replay_segment(Home* home, const uint8_t* data, size_t size) noexcept nogil:
    """Apply a segment's records from the log's next one on."""
    cdef size_t at = SEGMENT_HEAD
    cdef size_t begin = at
    cdef size_t payload
    cdef int rc
    while True:
        payload = log_payload(data, size, at, home.log.salt, home.log.next)
        if home.limit and home.log.next >= home.limit:
            payload = 0
        if at > begin and (payload == 0 or at - begin + payload > REPLAY_BYTES):
            rc = _apply_records(home, data, begin, at)
            if rc:
                return rc
            begin = at
        if payload == 0:
            return 0
        at += log_space(payload)
        home.log.next += 1


cdef int _replay(Home* home) noexcept nogil:
    """Bring the checkpoint's snapshot up to the end of the log."""
    cdef SegmentHead head
    cdef uint8_t* data
    cdef size_t size
    cdef uint64_t salt
    cdef int turn
    cdef int rc = mdb.txn_begin(home.env, NULL, MDB_RDONLY, &home.pin)
    if rc:
        home.pin = NULL
        return rc
    if mdb.txn_id(home.pin) != home.snapshot.transaction:
        return SHARED       # the transaction's number came from another process's lock table
    rc = mdb.env_set_flags(home.env, MDB_NOSYNC, 1)
    if rc:
        return rc
    data = <uint8_t*> malloc(SEGMENT_SIZE)
    if data == NULL:
        return ENOMEM
    home.log.next = home.snapshot.first
    home.log.salt = home.snapshot.salt
    for turn in range(2):
        size = _read_segment(home, home.snapshot.segment ^ <uint32_t> turn, data, &rc)
        if rc:
            break
        salt = 0
        if log_head(data, size, &head) and head.first == home.log.next:
            salt = head.before if turn else head.salt
        if salt != home.log.salt:
            rc = 0 if turn else LOG_DAMAGED
            break
        home.log.salt = head.salt
        rc = _replay_segment(home, data, size)
        if rc:
            break
    free(data)
    if rc:
        return rc
    rc = sync_file(home.data_fd)
    if rc:
        return rc
    home.snapshot.sequence += 1
    home.snapshot.state = TRUST
    return write_snapshot(home.checkpoint_fd, &home.snapshot)


# All of it

cdef int _open(Home* home, unsigned int create) noexcept nogil:
    cdef Snapshot there
    cdef bint known = False
    cdef bint replays
    cdef int rc = 0
    home.checkpoint_fd = _open_file(home, b"checkpoint", O_RDWR, &rc)
    if rc and rc != ENOENT:
        return rc
    if rc == 0:
        known = read_snapshot(home.checkpoint_fd, &home.snapshot)
    if known:
        # A process that was killed may have written the slot and not synced it: before data.mdb changes, the device
        # must know of this checkpoint, not only of the one before.
        rc = write_snapshot(home.checkpoint_fd, &home.snapshot)
        if rc:
            return rc
    else:
        memset(&home.snapshot, 0, sizeof(Snapshot))
        home.snapshot.state = TRUST
        home.snapshot.store = home.seed
        home.snapshot.first = 1
    replays = home.snapshot.state == REPLAY
    rc = _put_back(home, &there) if replays else _create_data(home) if create else 0
    if rc:
        return rc
    rc = _open_env(home)
    if rc == 0:
        rc = _open_databases(home, 0 if replays else create, known)
    if rc:
        _shut(home)
        if replays:
            _take_back(home, &there)
        return rc
    home.log.next = home.snapshot.first
    home.log.salt = home.snapshot.salt
    rc = _replay(home) if replays else mdb.env_set_flags(home.env, MDB_NOSYNC, 1)
    if rc:
        return rc
    home.log.salt ^= home.seed
    home.log.segment = 1
    rc = begin_checkpoint(home)
    if rc == 0:
        rc = write_checkpoint(home)
    if rc == 0:
        end_checkpoint(home)
    return rc


cdef int open_home(Home* home, unsigned int create) noexcept nogil:
    """Open the folder and everything in it, up to date and ready to commit; on failure nothing is left open."""
    cdef int rc = _open(home, create)
    if rc:
        _shut(home)
    return rc


cdef void _shut(Home* home) noexcept nogil:
    """Close everything as it is."""
    if home.open_txn != NULL:
        mdb.txn_abort(home.open_txn)
        home.open_txn = NULL
    if home.reader != NULL:
        mdb.txn_abort(home.reader)
        home.reader = NULL
    if home.next_pin != NULL:
        mdb.txn_abort(home.next_pin)
        home.next_pin = NULL
    if home.pin != NULL:
        mdb.txn_abort(home.pin)
        home.pin = NULL
    if home.env != NULL:
        mdb.env_close(home.env)
        home.env = NULL
    _close_files(home)


cdef void free_logged(Home* home) noexcept nogil:
    """Forget the batches of the open transaction: ``data.mdb`` or the log alone has them."""
    cdef Node* node = home.logged.first
    cdef Node* following
    while node != NULL:
        following = node.next
        free(node.checks.data)
        free(node.entries.data)
        free(node)
        node = following
    home.logged.first = home.logged.last = NULL
    home.logged_count = 0
    home.logged_bytes = 0


cdef int reopen(Home* home) noexcept nogil:
    """Open again after a failure that left unknown what is in the files: the checkpoint and the log say what counts."""
    cdef int rc
    wait_for_helper(home, False)
    wait_for_helper(home, True)
    pthread_mutex_lock(&home.map_lock)
    _shut(home)
    rc = open_home(home, 0)
    if rc == 0:
        home.broken = 0
        home.limit = 0
        home.stuck = 0
        free_logged(home)
    pthread_mutex_unlock(&home.map_lock)
    return rc


cdef int _trust(Home* home) noexcept nogil:
    """Make ``data.mdb`` all there is to the store."""
    cdef MDB_txn* txn = NULL
    cdef MDB_val key
    cdef int rc
    wait_for_helper(home, False)
    if home.broken or home.env == NULL:
        return home.broken
    rc = mdb.txn_begin(home.env, NULL, 0, &txn)
    if rc:
        return rc
    key.mv_data = <char*> b"log"
    key.mv_size = 3
    rc = mdb.delete(txn, home.dbi[META], &key, NULL)
    if rc:
        mdb.txn_abort(txn)
    else:
        rc = mdb.txn_commit(txn)
    if rc == 0:
        rc = sync_file(home.data_fd)
    if rc == 0:
        home.snapshot.sequence += 1
        home.snapshot.state = TRUST
        home.snapshot.first = home.log.next
        rc = write_snapshot(home.checkpoint_fd, &home.snapshot)
    return rc


cdef void close_home(Home* home) noexcept nogil:
    """Close in order; what fails leaves the checkpoint and the log to the next opening. The helper still runs."""
    if home.open_txn == NULL and home.stuck == 0:
        _trust(home)
    else:
        wait_for_helper(home, False)
    wait_for_helper(home, True)
    _shut(home)
    free_logged(home)
