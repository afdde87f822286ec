"""What the compiled form of ``activity_tasks.py`` keeps in C. A new attribute of the class goes here as well."""

cimport cython
from libc.stdint cimport int64_t

from perdure._native.activities cimport complete_activity, start_activity
from perdure._native.commands cimport size_of
from perdure._native.mutable_state cimport ActivityInfo, MutableState
from perdure.engine.core cimport Batch, Core
from perdure.engine.ids cimport decode_task, encode_task
from perdure.engine.matching cimport LocalPoller, Poller, StartedActivity, TaskQueue
from perdure.engine.run cimport Run


cdef class ActivityTasks:
    cdef dict __dict__
    cdef:
        public Core _core
        public object _namespaces
        public dict _ids
        public dict _names
        public object _eager
        public object deployments
        public object queue_limits
        public object router

    @cython.locals(core=Core, s=MutableState, activity=ActivityInfo, queue=TaskQueue, batch=Batch, poller=Poller)
    cpdef object dispatch(self, Run run, int64_t scheduled_event_id)
    @cython.locals(core=Core, s=MutableState, now=int64_t, event_id=int64_t)
    cdef object _start(self, Run run, ActivityInfo activity, str identity, bint is_local)
    @cython.locals(run=Run, activity=ActivityInfo, scheduled_id=int64_t, attempt=int64_t)
    cdef tuple _find(self, bytes task_token)
    @cython.locals(core=Core)
    cdef object _complete(self, Run run, ActivityInfo activity, object result, str identity)
