"""What the compiled form of ``histories.py`` keeps in C. A new attribute of the class goes here as well."""

cimport cython
from libc.stdint cimport int64_t

from perdure._native.events cimport HistoryEvent
from perdure._native.mutable_state cimport MutableState
from perdure._native.transitions cimport unwritten_events
from perdure.engine.core cimport Core
from perdure.engine.run cimport Run


@cython.locals(end=int64_t, stop=int64_t)
cpdef tuple first_page(Run run, int64_t first)


cdef class Histories:
    cdef dict __dict__
    cdef:
        public Core _core
        public object _namespaces
        public dict _ids

    cdef Run _that_closes(self, object request)
    cdef object _wait_for_close(self, Run run)
    @cython.locals(tail=list, event=HistoryEvent)
    cdef HistoryEvent _close_event_at_hand(self, Run run)
