from libc.stdint cimport int64_t

from perdure._native.mutable_state cimport MutableState


cdef object messages        # the namespace of structs that configure() was given

cdef bint schedule_task(MutableState s, int64_t now_ns) except -1
cpdef object start(MutableState s, object attributes, int64_t now_ns, object extras=*)
cpdef object close_run(MutableState s, int event_type, object attributes, int64_t now_ns, object extras=*)
cpdef bint schedule_workflow_task(MutableState s, int64_t now_ns, int64_t original_ns=*, int64_t delay_ms=*) except -1
cpdef bint start_workflow_task(
    MutableState s, int64_t now_ns, str request_id, str identity, bint from_sticky, int64_t owner_epoch=*
) except -1
cpdef list unwritten_events(MutableState s)
cpdef int64_t complete_workflow_task(
    MutableState s, int64_t now_ns, str identity, object sdk_metadata=*, dict stamps=*
) except -1
