from libc.stdint cimport int64_t

from perdure._native.mutable_state cimport MutableState


cpdef object check_sequence(list commands)
cpdef int64_t size_of(object payloads) except -1
cdef int check_commands(MutableState s, list commands, str namespace, dict sent) except -1
cpdef bint leaves_buffered(MutableState s, list commands) except -1
cpdef tuple apply(
    MutableState s, list commands, int64_t completed_id, int64_t now_ns, str namespace, dict sent=*, dict endpoints=*
)
cpdef object resolve_retry_policy(object policy)
