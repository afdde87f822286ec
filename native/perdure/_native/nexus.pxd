from libc.stdint cimport int64_t

from perdure._native.events cimport HistoryEvent


cdef int apply_event(dict extra, HistoryEvent event) except -1
cdef int64_t next_due(dict operations) except -1
cdef int add_callbacks(dict extra, list callbacks, str request_id, int64_t now_ns, object encode) except -1
