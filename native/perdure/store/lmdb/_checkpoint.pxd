from perdure.store.lmdb._home cimport Home, Snapshot

cdef bint read_snapshot(int fd, Snapshot* snapshot) noexcept nogil
cdef int write_snapshot(int fd, Snapshot* snapshot) noexcept nogil
cdef int read_metas(int fd, Snapshot* snapshot) noexcept nogil
cdef int write_metas(int fd, Snapshot* snapshot) noexcept nogil

cdef int begin_checkpoint(Home* home) noexcept nogil
cdef int write_checkpoint(Home* home) noexcept nogil
cdef void end_checkpoint(Home* home) noexcept nogil
cdef int checkpoint_now(Home* home) noexcept nogil
cdef bint is_checkpoint_due(Home* home) noexcept nogil
cdef void lengthen_ahead(Home* home) noexcept nogil
cdef void break_home(Home* home, int code) noexcept nogil
cdef void note_helper(Home* home) noexcept nogil
cdef void wait_for_helper(Home* home, bint lengthening) noexcept nogil
cdef void ask_for_checkpoint(Home* home) noexcept nogil
cdef void* run_helper(void* home) noexcept nogil
cdef int start_helper(Home* home) noexcept nogil
cdef void stop_helper(Home* home) noexcept nogil
