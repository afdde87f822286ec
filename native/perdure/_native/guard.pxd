cdef int enter_run(object run) except -1
cdef bint leave_run() noexcept
cdef void suspend() noexcept
cdef void resume() noexcept
