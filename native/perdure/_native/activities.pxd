from libc.stdint cimport int64_t

from perdure._native.mutable_state cimport ActivityInfo, MutableState


cdef int fire_activities(MutableState s, int64_t now_ns) except -1
cdef int cancel_unstarted(MutableState s, ActivityInfo activity, int64_t now_ns) except -1
