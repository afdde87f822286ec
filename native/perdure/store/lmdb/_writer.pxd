from libc.stdint cimport uint64_t

from perdure.store.lmdb._api cimport MDB_env, MDB_txn
from perdure.store.lmdb._batch cimport DATABASES, Buffer

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
    FORMAT = 2                      # of keys and rows; every release reads the older ones

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

cdef int open_env(Home* home, unsigned int create) noexcept nogil
cdef int write_group(Home* home, Queue* group) noexcept nogil
cdef void* run_writer(void* home) noexcept nogil
cdef void push(Queue* queue, Node* node) noexcept nogil
cdef void free_node(Node* node) noexcept nogil
