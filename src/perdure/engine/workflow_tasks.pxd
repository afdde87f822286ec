"""What the compiled form of ``workflow_tasks.py`` keeps in C. A new attribute of the class goes here as well."""

cimport cython
from libc.stdint cimport int64_t

from perdure._native.commands cimport apply, check_sequence, leaves_buffered
from perdure._native.events cimport HistoryEvent
from perdure._native.mutable_state cimport MutableState
from perdure._native.transitions cimport (
    complete_workflow_task,
    schedule_workflow_task,
    start_workflow_task,
    unwritten_events,
)
from perdure.engine.closing cimport Closing
from perdure.engine.core cimport Core
from perdure.engine.ids cimport decode_task, encode_task
from perdure.engine.matching cimport TaskQueue
from perdure.engine.run cimport Run


cdef class WorkflowTasks:
    cdef dict __dict__
    cdef:
        public Core _core
        public object _namespaces
        public dict _ids
        public dict _names
        public Closing _closing
        public object _queries
        public object _updates
        public object deployments
        public object activity_tasks
        public object nexus_endpoints
        public object system_endpoint

    cdef TaskQueue _queue(self, object request)
    @cython.locals(core=Core, s=MutableState, task_id=int64_t, start=int64_t, first=int64_t, end=int64_t, events=list)
    cdef object _start(self, Run run, str identity, bint is_sticky, bint is_local, bint resend)
    @cython.locals(s=MutableState)
    cdef object _set_history(self, Run run, object response, list events, bint resend)
    @cython.locals(s=MutableState, run=Run, scheduled_id=int64_t, started_id=int64_t, attempt=int64_t, start=int64_t)
    cdef Run _held_at_hand(self, bytes task_token)
    @cython.locals(s=MutableState, batch=list)
    cdef bint _check(self, Run run, object request) except -1
    @cython.locals(core=Core, s=MutableState, batch=list, now=int64_t, original_ns=int64_t, completed_id=int64_t, forces_task=bint)
    cdef object _apply(self, Run run, object request, object plan, dict endpoints, object successor, object eager)
