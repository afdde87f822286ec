"""What the compiled form of ``run.py`` keeps in C. A new attribute of a class goes here as well."""

from libc.stdint cimport int64_t

from perdure._native.mutable_state cimport MutableState


cdef class PendingQuery:
    cdef:
        public object query
        public object future


cdef class Run:
    cdef:
        public object key
        public MutableState state
        public int64_t version
        public list tail
        public list unwritten
        public object batch
        public int64_t in_flight
        public bint is_dirty
        public list waiters
        public bint may_be_left_out
        public bint is_task_at_worker
        public double changed_at
        public bint is_gone
        public bint is_new_current
        public bint visibility_changed
        public set touched
        public dict persisted
        public object workflow_task_row
        public dict transfers
        public list transfers_done
        public list rows_due
        public int64_t stored_timer
        public bint is_timer_early
        public object stored_visibility
        public int64_t tail_bytes
        public int64_t counted
        public double used_at
        public list close_waiters
        public list event_waiters
        public dict queries
        public object updates

    cpdef int64_t size(self, int64_t state_bytes)
    cpdef object task_row(
        self, int kind, str queue, int64_t task_id, int64_t event_id, int64_t owner_epoch=*, bytes body=*
    )
    cpdef object visibility_record(self)
    cpdef object trim_tail(self)
    cpdef list tail_from(self, int64_t first_event_id)
