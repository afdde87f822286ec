from perdure.store.lmdb._home cimport Home

cdef int open_home(Home* home, unsigned int create) noexcept nogil
cdef int reopen(Home* home) noexcept nogil
cdef int grow(Home* home) noexcept nogil
cdef void close_home(Home* home) noexcept nogil
cdef void free_logged(Home* home) noexcept nogil
cdef void remove_locks(Home* home) noexcept nogil
