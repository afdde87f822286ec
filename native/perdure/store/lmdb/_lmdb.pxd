from libc.stdint cimport int64_t, uint8_t, uint64_t

from perdure.store.lmdb._api cimport MDB_cursor, MDB_txn, MDB_val
from perdure.store.lmdb._batch cimport Batch
from perdure.store.lmdb._home cimport Home, Node


cdef class Environment:
    cdef Home* _home
    cdef uint64_t _forks_before
    cdef object _tokens
    cdef str _path
    cdef int _held                  # how many holders of the snapshot there are
    cdef int64_t _alone_at          # when a commit of the loop's thread was last synced

    cdef Home* _check(self) except NULL
    cdef void _forget(self, Home* home) noexcept
    cdef tuple _submit_alone(self, Home* home, Node* node, object token, Batch batch)
    cdef tuple _ended(self, Node* node, object token, Batch batch)
    # Between these two the loop thread reads one snapshot.
    cdef MDB_txn* _begin(self) except NULL
    cdef void _end(self) noexcept
    cdef int _seek(self, MDB_cursor* cursor, MDB_val* key, MDB_val* value, bytes start, bint reverse) noexcept
    cdef void _stop(self, Home* home) noexcept
    cdef void _release(self, Home* home) noexcept
