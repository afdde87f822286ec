# What the modules of an open environment share.

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from perdure.store.lmdb._api cimport MDB_env, MDB_txn
from perdure.store.lmdb._batch cimport DATABASES, Buffer
from perdure.store.lmdb._log cimport Log

cdef extern from "<time.h>" nogil:
    ctypedef struct perdure_timespec "struct timespec":
        long tv_sec
        long tv_nsec
    int clock_gettime(int, perdure_timespec*)
    int CLOCK_MONOTONIC

cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_t:
        pass
    ctypedef struct pthread_mutex_t:
        pass
    ctypedef struct pthread_cond_t:
        pass
    int pthread_create(pthread_t*, void*, void* (*)(void*) noexcept nogil, void*)
    int pthread_join(pthread_t, void**)
    pthread_t pthread_self()
    int pthread_equal(pthread_t, pthread_t)
    int pthread_mutex_init(pthread_mutex_t*, void*)
    int pthread_mutex_lock(pthread_mutex_t*)
    int pthread_mutex_unlock(pthread_mutex_t*)
    int pthread_mutex_destroy(pthread_mutex_t*)
    int pthread_cond_init(pthread_cond_t*, void*)
    int pthread_cond_wait(pthread_cond_t*, pthread_mutex_t*)
    int pthread_cond_signal(pthread_cond_t*)
    int pthread_cond_destroy(pthread_cond_t*)

cdef enum:
    FORMAT = 4                      # of the folder; every release reads the older ones

# How a batch ended.
cdef enum:
    PENDING
    COMMITTED
    STALE
    FAILED

# What the helper thread does.
cdef enum:
    IDLE
    ASKED
    ENDED

cdef enum:
    SLOT_SIZE = 4096
    META_SIZE = 512                 # of each meta page; LMDB uses less than a third

# What the newest slot says.
cdef enum:
    TRUST = 1                       # data.mdb is whole on the device; there is no log
    REPLAY = 2                      # data.mdb holds the snapshot, behind these meta pages; the log goes on from it

cdef struct Snapshot:
    char[8] magic
    uint64_t sequence               # the newer slot has the greater one
    uint64_t store                  # the number that data.mdb has too
    uint64_t transaction            # LMDB's
    uint64_t first                  # the first record after it ...
    uint64_t salt                   # ... the salt of its segment ...
    uint32_t segment                # ... and which one that is
    uint32_t state
    uint32_t page_size
    uint8_t[META_SIZE] first_meta
    uint8_t[META_SIZE] second_meta
    uint32_t checksum               # of what stands above

cdef inline int64_t nanoseconds() noexcept nogil:
    """Of a clock that only goes forward."""
    cdef perdure_timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <int64_t> now.tv_sec * 1000000000 + now.tv_nsec

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

cdef struct Helper:
    # Under lock; its job's arguments are not touched by others while it is ASKED
    int checkpoint
    int checkpoint_code
    int lengthen
    int lengthen_segment
    bint stopping
    pthread_t thread
    pthread_cond_t wake
    pthread_cond_t ended

cdef struct Home:
    # Read by both threads, changed under map_lock
    MDB_env* env
    MDB_txn* reader
    unsigned int[DATABASES] dbi
    size_t map_size
    char* path
    uint64_t seed                   # random, for numbers and salts
    bint sync                       # a commit is on the device when it is reported
    # Under lock
    Queue waiting
    Queue done
    bint busy
    bint stopping
    int wake_fd
    Helper helper
    pthread_mutex_t lock
    pthread_mutex_t map_lock
    pthread_cond_t wake
    pthread_t thread
    # The committing thread's: the writer while it is busy, else the loop's
    uint64_t format                 # what a newer store has
    int checkpoint_fd
    int data_fd
    Snapshot snapshot               # the checkpoint that holds, or is being written
    Log log
    MDB_txn* pin                    # keeps the pages of the checkpoint that holds ...
    MDB_txn* next_pin               # ... and of the one that is being written
    size_t pinned_end               # bytes of pages in use when the newest one began
    size_t checkpoint_log           # a checkpoint is due when so much of a segment is written ...
    size_t checkpoint_growth        # ... or data.mdb has grown by this
    int broken                      # the error after which only opening again helps
    uint64_t limit                  # then: the first record that does not hold
    int failures                    # commits yet to fail, for tests
    int failure_code
    uint64_t transactions
    uint64_t syncs
    int64_t sync_time               # of late, nanoseconds
    uint64_t checkpoints
    # The loop thread's: its transaction, open over several commits that are in the log
    MDB_txn* open_txn
    pthread_t open_thread
    Queue logged                    # their batches, to apply them again
    size_t logged_count
    size_t logged_bytes
    int stuck                       # why the transaction could not be committed
