"""What the compiled form of ``core.py`` keeps in C. A new attribute of a class goes here as well."""

cimport cython
from libc.stdint cimport int64_t

from perdure._native.events cimport HistoryEvent
from perdure._native.mutable_state cimport MutableState
from perdure.engine.deadlines cimport Deadlines
from perdure.engine.ids cimport RunIds
from perdure.engine.matching cimport Matching, StartedActivity, TaskQueue
from perdure.engine.run cimport Run
from perdure.engine.run_timers cimport RunTimers
from perdure.engine.updates cimport make_update


cdef class Batch:
    cdef:
        public double began
        public int64_t marks
        public int64_t looks
        public int64_t looked_at
        public bint is_whole
        public list runs
        public list started
        public list deliveries
        public list documents
        public list failures
        public list waiters


cdef class Core:
    cdef dict __dict__
    cdef:
        public object store
        public object loop
        public object now
        public int64_t epoch
        public RunIds run_ids
        public Deadlines deadlines
        public Matching matching
        public bint is_closed
        public object on_run_timed_out
        public object on_delete_run
        public object on_transfer
        public object on_dispatch_activity
        public object on_dispatch_workflow_task
        public bint is_routing
        public object on_forced_close
        public object on_limit_exceeded
        public int64_t _cache_limit
        public int64_t _cached_bytes
        public bint _is_eviction_scheduled
        public double eviction_grace
        public object _runs
        public dict _loading
        public dict _current
        public Batch _forming
        public list _travelling
        public bint _is_flush_scheduled
        public int64_t _failures_in_row
        public RunTimers timers
        public object alarms
        public int64_t _next_task_id
        public set _tasks

    cpdef int64_t next_task_id(self)
    cpdef Run cached(self, str run_id)
    cpdef Run at_hand(self, object key)
    @cython.locals(run=Run, s=MutableState, now=double)
    cpdef Run find(self, str namespace_id, str workflow_id, str run_id)
    cpdef object add(self, Run run)
    cpdef object forget(self, Run run)
    cpdef object _count(self, Run run, int64_t state_bytes)
    @cython.locals(run=Run, before=double, surplus=int64_t)
    cpdef object _evict(self)
    @cython.locals(s=MutableState, events=list)
    cpdef object absorb(self, Run run)
    cpdef object touch(self, Run run)
    @cython.locals(may_be_left_out=bint, was_dirty=bint)
    cpdef object touch_alone(self, Run run)
    @cython.locals(batch=Batch)
    cpdef Batch forming(self, Run run)
    cpdef Batch put_document(self, object document)
    @cython.locals(batch=Batch)
    cpdef Batch _form(self)
    @cython.locals(kind=int64_t, argument=int64_t)
    cpdef object _apply_effects(self, Run run, list effects)
    @cython.locals(s=MutableState, queue=TaskQueue)
    cpdef object dispatch_workflow_task(self, Run run)
    @cython.locals(batch=Batch)
    cpdef object waiter(self, Run run)
    @cython.locals(batch=Batch)
    cpdef object _flush(self)
    @cython.locals(run=Run, updates=list, taken=list, left=list, now=double)
    cpdef list _take_updates(self, Batch batch, bint is_whole)
    @cython.locals(batch=Batch, run=Run)
    cpdef object _keep_forming(self, list runs)
    @cython.locals(s=MutableState, due=int64_t)
    cpdef object _take_update(self, Run run)
    @cython.locals(run=Run, started=StartedActivity)
    cpdef object _settled(self, Batch batch)
