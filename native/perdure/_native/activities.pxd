from libc.stdint cimport int64_t

from perdure._native.mutable_state cimport ActivityInfo, MutableState


cdef int fire_activities(MutableState s, int64_t now_ns) except -1
cdef int cancel_unstarted(MutableState s, ActivityInfo activity, int64_t now_ns) except -1
cpdef object start_activity(ActivityInfo activity, int64_t now_ns, str request_id, str identity, int64_t owner_epoch)
cpdef object release_activity(MutableState s, ActivityInfo activity)
cpdef object complete_activity(MutableState s, ActivityInfo activity, int64_t now_ns, object result, str identity)
