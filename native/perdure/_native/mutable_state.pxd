cimport cython
from libc.stdint cimport int64_t

from perdure._native.buffers cimport Writer
from perdure._native.events cimport HistoryEvent


cpdef enum RunState:
    CREATED = 0       # no workflow task yet: start delay, cron or retry backoff, or a child its parent has not recorded
    RUNNING = 1
    CLOSED = 2


cpdef enum Status:
    STATUS_RUNNING = 1
    COMPLETED = 2
    FAILED = 3
    CANCELED = 4
    TERMINATED = 5
    CONTINUED_AS_NEW = 6
    TIMED_OUT = 7
    PAUSED = 8


cpdef enum Effect:
    # what a transition asks the engine to do, once durable where it leaves the engine
    DISPATCH_WORKFLOW_TASK = 1
    DISPATCH_ACTIVITY = 2     # argument: scheduled event id
    START_CHILD = 3           # argument: initiated event id
    SIGNAL_EXTERNAL = 4       # argument: initiated event id
    CANCEL_EXTERNAL = 5       # argument: initiated event id
    RUN_TIMED_OUT = 6         # run or execution timeout reached; the engine decides on a successor
    DELETE_RUN = 7            # retention is over
    DROP_ACTIVITY = 8         # a task that waits in its queue is void; argument: scheduled event id
    SHOW_RUN = 9              # what listing shows of the run changed
    # argument: scheduled or cancel requested event id; 0: something of an operation is due; -1: callbacks are owed
    CALL_NEXUS = 10


@cython.final
@cython.no_gc
cdef class RetryPolicy:
    cdef:
        public int64_t initial_ms
        public double coefficient
        public int64_t maximum_ms
        public int64_t maximum_attempts
        public list non_retryable

    @staticmethod
    cdef RetryPolicy restore(object record)


@cython.final
@cython.no_gc
cdef class ActivityInfo:
    cdef:
        # identity
        public int64_t scheduled_event_id
        public str activity_id
        public str activity_type
        public str task_queue
        # timeouts, ms; 0: none
        public int64_t schedule_to_close_ms
        public int64_t schedule_to_start_ms
        public int64_t start_to_close_ms
        public int64_t heartbeat_ms
        public RetryPolicy retry
        # the first scheduling, and this attempt's (later than now while it backs off)
        public int64_t first_scheduled_ns
        public int64_t scheduled_ns
        public bint is_backing_off
        # this attempt
        public int64_t attempt
        public int64_t started_ns
        public str request_id
        public str identity
        public int64_t owner_epoch
        public int64_t stamp
        public int64_t heartbeat_ns
        public int64_t cancel_requested_id
        # what earlier attempts left: msgpack of Payloads and Failure, b"" for none
        public bytes heartbeat_details
        public bytes last_failure
        public int64_t last_ended_ns
        # set by operators: no further attempt starts; and what few activities have (see engine/activity_operations.py)
        public bint is_paused
        public dict extra
        # its row among the store's tasks; 0: none
        public int64_t task_id
        # memory only: the ActivityTaskScheduled event while it is at hand
        public HistoryEvent event

    cdef int64_t deadline(self) noexcept
    cdef int pack(self, Writer w) except -1
    @staticmethod
    cdef ActivityInfo restore(object record)


@cython.final
@cython.no_gc
cdef class TimerInfo:
    cdef:
        public str timer_id
        public int64_t started_event_id
        public int64_t fire_ms


@cython.final
@cython.no_gc
cdef class ChildInfo:
    cdef:
        public int64_t initiated_event_id
        public int64_t started_event_id
        public str workflow_id
        public str run_id
        public str workflow_type
        public int parent_close_policy
        public int64_t task_id


@cython.final
@cython.no_gc
cdef class ExternalInfo:
    cdef:
        public int64_t initiated_event_id
        public str request_id
        public int64_t task_id


@cython.final
@cython.no_gc
cdef class MutableState:
    cdef:
        # which run
        public str namespace_id
        public str workflow_id
        public str run_id
        public str first_run_id
        public str original_run_id
        public str workflow_type
        public str task_queue
        # timeouts and deadlines; 0: none
        public int64_t execution_timeout_ms
        public int64_t run_timeout_ms
        public int64_t task_timeout_ms
        public int64_t expiration_ms        # of the whole chain
        public int64_t run_deadline_ms
        public int64_t backoff_until_ms     # the first workflow task waits for it
        public int64_t delete_at_ms
        # fate
        public int state
        public int status
        public int64_t start_ns
        public int64_t execution_ns
        public int64_t close_ns
        public int64_t close_event_id
        public str new_run_id
        public str reset_run_id
        public bint is_first_task_held      # a child whose start its parent has not recorded
        public bint is_close_attempted
        public bint is_cancel_requested
        # history
        public int64_t next_event_id
        public int64_t history_size
        public int64_t transition_count
        public int64_t signal_count
        # chain, retry, cron
        public int64_t attempt
        public RetryPolicy retry
        public str cron_schedule
        # parent and root; "" where there is none
        public str parent_namespace_id
        public str parent_workflow_id
        public str parent_run_id
        public int64_t parent_initiated_id
        public str root_workflow_id
        public str root_run_id
        # request ids
        public str create_request_id
        public set signal_request_ids
        # msgpack of Payload by name
        public dict memo
        public dict search_attributes
        # workflow task: scheduled id 0: none pending; started id 0: not started
        public int64_t task_scheduled_id
        public int64_t task_started_id
        public int64_t task_attempt
        public int64_t task_scheduled_ns
        public int64_t task_original_ns
        public int64_t task_started_ns
        public int64_t task_deadline_ms
        public int64_t task_not_before_ms
        public str task_request_id
        public str task_identity
        public int64_t task_owner_epoch
        public int64_t task_row_id
        public int64_t consecutive_failures
        public int64_t previous_started_id  # of the last completed workflow task
        public str sticky_queue
        public int64_t sticky_timeout_ms
        # updates that a reset admitted, or that were accepted or completed, by id: the ids of these three events, 0 for
        # none; None while there is no update
        public dict updates
        public int64_t open_updates         # those that are not completed
        # pending work, by event id (timers by timer id)
        public dict activities
        public dict activity_ids
        public dict timers
        public dict children
        public dict signals
        public dict cancels
        # events that wait for the started workflow task to end, and their bytes
        public list buffered
        public int64_t buffered_size
        # what the store holds besides this state: its entry in the time index, and the transfer a closed run owes
        public int64_t timer_ms
        public int64_t close_task_id
        public bytes close_body
        # a standalone activity: one activity and no workflow, see engine/standalone_activities.py
        public bint is_activity
        # what few runs have, by name; None for most
        public dict extra
        # memory only: the events of a speculative workflow task, which make it a normal one when anything else is written
        public list speculative
        # memory only: what this state did since it was last taken
        public list new_events
        public list effects

    cpdef list take_events(self)
    cpdef list take_effects(self)
    cpdef int64_t next_deadline(self) except? -1
    cpdef bytes encode(self)
    cdef HistoryEvent write(self, int event_type, object attributes, int64_t now_ns)
    cdef HistoryEvent add(self, int event_type, object attributes, int64_t now_ns)
    cdef int settle_task(self) except -1
    cdef int _update_changed(self, str update_id, int stage, int64_t event_id) except -1
    cdef int apply(self, HistoryEvent event) except -1
    cdef object _pending(self, dict table, object key, HistoryEvent event)
    cdef int _started(self, HistoryEvent event) except -1
    cdef dict _more(self)
    cdef int _versioned(self, object attributes) except -1
    cdef int _reset_point(self, HistoryEvent event, object attributes, object version) except -1
    cdef int _options_updated(self, HistoryEvent event) except -1
    cdef int _merge_memo(self, dict fields) except -1
    cdef int _merge_search_attributes(self, dict fields) except -1
    cdef bint is_flooded(self) noexcept
    cdef int _activity_scheduled(self, HistoryEvent event) except -1
    cdef int _activity_closed(self, int64_t scheduled_event_id) except -1
    cdef int _timer_started(self, HistoryEvent event) except -1
    cdef int _child_initiated(self, HistoryEvent event) except -1
    cdef int _clear_task(self) except -1
    cdef int _closed(self, HistoryEvent event, int status, str new_run_id) except -1


cdef int64_t ms_of(object duration_ns) except? -1
cdef object capped_duration(object duration_ns)
