"""What the compiled form of ``closing.py`` keeps in C. A new attribute of the class goes here as well."""

cimport cython
from libc.stdint cimport int64_t

from perdure._native.mutable_state cimport MutableState
from perdure._native.transitions cimport close_run
from perdure.engine.core cimport Core
from perdure.engine.run cimport Run

cdef int64_t _NS_PER_MS


cdef class Closing:
    cdef dict __dict__
    cdef:
        public Core _core
        public object _namespaces
        public object callbacks

    @cython.locals(s=MutableState, kind=int, event_type=int)
    cpdef object by_command(self, Run run, object command, int64_t completed_id, int64_t now, object successor)
    @cython.locals(s=MutableState)
    cdef object _after_close(self, Run run, object successor, bint by_reset)
