"""What the compiled form of ``run_timers.py`` keeps in C. A new attribute of the class goes here as well."""

cimport cython
from libc.stdint cimport int64_t

from perdure.engine.run cimport Run


cdef class RunTimers:
    cdef:
        public object _core
        public object _wheel
        public dict armed
        public object _wake
        public int64_t _wake_ms

    @cython.locals(armed=tuple)
    cpdef object arm(self, object key, int64_t due_ms)
    cpdef object arm_workflow_task(self, Run run)
    cpdef object _schedule_wake(self, int64_t due_ms)
