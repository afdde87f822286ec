"""What the compiled form of ``ids.py`` keeps in C."""

cimport cython
from libc.stdint cimport int64_t, uint64_t


cpdef bytes encode_task(
    str namespace_id,
    str workflow_id,
    str run_id,
    int64_t scheduled_event_id,
    int64_t started_event_id,
    int64_t attempt,
    int64_t start,
)
cpdef tuple decode_task(bytes data)


cdef class RunIds:
    cdef public int64_t _last

    @cython.locals(ticks=int64_t, noise=uint64_t)
    cpdef str new(self, int64_t now_ns)
