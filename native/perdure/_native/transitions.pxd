from libc.stdint cimport int64_t

from perdure._native.mutable_state cimport MutableState


cdef object messages        # the namespace of structs that configure() was given

cdef bint schedule_task(MutableState s, int64_t now_ns) except -1
