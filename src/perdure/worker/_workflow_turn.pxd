"""What the compiled form of ``_workflow_turn.py`` keeps in C. A new attribute of a class goes here as well."""

cimport cython
from libc.stdint cimport int64_t

from perdure._native.events cimport HistoryEvent
from perdure._native.loop cimport WorkflowLoopCore


cdef class _Timer:
    cdef WorkflowTurn run
    cdef object command


cdef class WorkflowTurn:
    cdef:
        public object definition
        public object options
        public object workflow_id
        public object run_id
        public object workflow_type
        public object matcher
        public WorkflowLoopCore loop
        public object converter
        public object failures
        public bint takes_context
        public int64_t time_ns
        public bint is_replaying
        public bint is_read_only
        public bint is_evicted
        public object outbound
        public object _inbound
        public object _started
        public int64_t _start_time_ns
        public int64_t _first_task_time_ns
        public object _object
        public bint _is_made
        public bint _is_guarded
        public bint _has_locals
        public object _args
        public object _headers
        public object _main_task
        public list _conditions
        public dict _buffered_signals
        public dict _signal_handlers
        public dict _update_handlers
        public int64_t _handled_signals
        public list _messages
        public object _patches
        public int64_t _activity_seq
        public dict _named_activities
        public int64_t _timer_seq
        public object _timer_summary
        public object _timer_groups
        public object _open_task
        public int64_t _versioning_behavior
        public double replay_began
        public object last_error

    cpdef bint _waits_for_local_activities(self)
    cpdef object _apply_task(self, object task, list events, dict results)
    cpdef object _apply_activations(self)
    @cython.locals(job=tuple, kind=int64_t)
    cdef object _apply(self, list patches, list signals, list others)
    cdef object _run(self, bint check_conditions)
    @cython.locals(waiting=list, condition=tuple)
    cdef object _check_conditions(self)
    cpdef object _make(self)
    cdef object _initialize(self, object attributes, HistoryEvent event)
    cdef object _apply_signal(self, object attributes)
    cpdef list _values(self, object payloads, list hints)
    cpdef object _decode(self, object converter, object payloads, list hints)
    cpdef object schedule_activity(
        self, object name, object args, object ret_type, object headers, bint disable_eager, tuple options
    )
    cdef object _apply_activity(self, object command, HistoryEvent event)
    cpdef object _close(self, int kind, int command_type, list markers, object attributes)
    cpdef object _completion(self, object task, dict results)


cpdef object check_encodable(object converter, object args)
cpdef tuple activity_names(object activity, object result_type)
