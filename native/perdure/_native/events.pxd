cimport cython
from libc.stdint cimport int64_t


@cython.final
@cython.no_gc
cdef class HistoryEvent:
    cdef:
        # header, always decoded
        readonly int64_t event_id
        readonly int event_type
        readonly int64_t event_time          # nanoseconds since the epoch, UTC
        readonly int64_t version
        readonly int64_t task_id
        readonly bint worker_may_ignore
        # body: a struct, or the bytes it is decoded from on first use
        object _attributes
        bytes _raw
        object _extras
        bytes _raw_extras
        # of an event that came as protobuf: the bytes it came in
        bytes _wire

    cdef object attrs(self)
    cdef object attrs_once(self)


cdef HistoryEvent new_event(int64_t event_id, int event_type, int64_t event_time, object attributes)

cpdef bytes encode_batch(list events)
