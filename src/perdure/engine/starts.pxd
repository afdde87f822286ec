"""What the compiled form of ``starts.py`` keeps in C. A new attribute of the class goes here as well."""

cimport cython
from libc.stdint cimport int64_t

from perdure._native cimport transitions
from perdure._native.commands cimport resolve_retry_policy, size_of
from perdure._native.mutable_state cimport MutableState
from perdure.engine.closing cimport Closing
from perdure.engine.core cimport Core
from perdure.engine.run cimport Run
from perdure.engine.workflow_tasks cimport WorkflowTasks

cdef Py_ssize_t _SHORT
cdef int64_t _MAX_BLOB_SIZE

cdef bint _is_short(str text) noexcept
cpdef object check_start(object request)
@cython.locals(reuse=int, conflict=int)
cpdef tuple policies(object request, int default_conflict)
@cython.locals(execution_timeout=int64_t, run_timeout=int64_t, task_timeout=int64_t, backoff=int64_t)
cdef object _started_attributes(object key, object request, int64_t now, object parent)


cdef class Starts:
    cdef dict __dict__
    cdef:
        public Core _core
        public object _namespaces
        public Closing _closing
        public WorkflowTasks _tasks
        public object callbacks

    @cython.locals(core=Core, is_alone=bint)
    cpdef Run replace(self, str namespace_id, Run current, object request, object signal=*)
    @cython.locals(core=Core, state=MutableState, run=Run, now=int64_t)
    cdef Run _create(self, object key, object request, object signal, object parent, bint is_alone)
