from libc.stdint cimport uint8_t

from perdure.store.lmdb._api cimport MDB_txn
from perdure.store.lmdb._home cimport Home, Node

cdef bint holds(Home* home, MDB_txn* txn, Node* node, int* rc) noexcept nogil
cdef int apply(Home* home, MDB_txn* txn, const uint8_t* entries, size_t size) noexcept nogil
cdef bint is_sound(const uint8_t* entries, size_t size) noexcept nogil
