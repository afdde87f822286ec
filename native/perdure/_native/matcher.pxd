from libc.stdint cimport int64_t, uint8_t

from perdure._native.events cimport HistoryEvent


# What an activation asks of the workflow. A job is a tuple (kind, subject, detail).
cpdef enum JobKind:
    INITIALIZE = 0              # attributes of WorkflowExecutionStarted, its event
    UPDATE_RANDOM_SEED = 1      # seed, None
    SIGNAL = 2                  # attributes of WorkflowExecutionSignaled, its event
    UPDATE_REQUEST = 3          # command, update.Request
    CANCEL = 4                  # attributes of WorkflowExecutionCancelRequested, None
    FIRE_TIMER = 5              # command, None
    RESOLVE_ACTIVITY = 6        # command, closing event (None: canceled here)
    RESOLVE_CHILD_START = 7     # command, event (None: canceled before it was sent)
    RESOLVE_CHILD = 8           # command, closing event (None: canceled here)
    RESOLVE_SIGNAL_EXTERNAL = 9  # command, event (None: canceled before it was sent)
    RESOLVE_CANCEL_EXTERNAL = 10
    RESOLVE_LOCAL_ACTIVITY = 11  # command, marker event or outcome
    RESOLVE_NEXUS_START = 12    # command, event
    RESOLVE_NEXUS = 13          # command, event (None: canceled here)


cdef class WorkflowCommand:
    """One thing the workflow asked for, and where it stands."""
    cdef:
        readonly uint8_t kind                # MachineKind
        readonly uint8_t state               # State
        readonly int64_t seq
        readonly object identity             # activity id, timer id, child workflow id, patch id, update id
        readonly object type_name            # activity type, child workflow type
        readonly int64_t event_id            # of the command's own event, 0 until it is seen
        readonly int64_t started_event_id    # child: of ChildWorkflowExecutionStarted
        public object target                 # what the owner resolves
        public object detail                 # owner's, free


cdef class Queued:
    cdef:
        WorkflowCommand command
        int command_type
        object message                       # Command struct, None while replaying


cdef class Matcher:
    cdef:
        readonly str run_id
        readonly str workflow_type
        # history not applied yet
        list _events
        Py_ssize_t _pos
        Py_ssize_t _next_end                 # index of the last event of the next sequence, -1: none, -2: not looked for
        int64_t _previous_started_event_id
        readonly int64_t last_event_id       # last event applied
        readonly int64_t current_started_event_id
        readonly bint is_replaying
        readonly bint has_close_event
        # of the last activation
        readonly int64_t time_ns
        HistoryEvent _started_event
        # commands
        list _queue
        Py_ssize_t _head
        Queued _closing
        dict _by_event_id
        dict _updates                        # protocol_instance_id -> command; ("admitted", id) -> request
        dict _locals                         # local activities without a recorded marker, by seq
        dict _local_markers                  # markers seen ahead of their call, by seq
        list _local_jobs                     # (activation index, job), resolutions of local activities
        readonly int activation_index        # of this sequence's activations, from 0
        list _messages                       # update requests waiting for their place in history
        # jobs for the next activation
        list _patches
        list _signals
        list _others
        # flags
        int _core_flags
        set _lang_flags
        set _lang_used
        int64_t _flags_event_id
        readonly str last_sdk_name
        readonly str last_sdk_version
        HistoryEvent _completed_event
        # patches
        dict _patch_commands                 # patch id -> whether a command was made for it

    cdef Py_ssize_t find_end(self, Py_ssize_t start)
    cdef int apply_flags(self, HistoryEvent event) except -1
    cdef int apply_sequence(self, Py_ssize_t end) except -1
    cdef int look_ahead(self) except -1
    cdef int apply_event(self, HistoryEvent event, Py_ssize_t index, Py_ssize_t end, bint is_last) except -1
    cdef int apply_command_event(self, HistoryEvent event, Py_ssize_t index, bint is_last) except -1
    cdef int apply_close(self, HistoryEvent event, int64_t opened_by, uint8_t input_, int job) except -1
    cdef int apply_nexus(self, HistoryEvent event) except -1
    cdef uint8_t feed_machine(self, WorkflowCommand command, uint8_t input_, HistoryEvent event) except 255
    cdef bint must_check(self, bint is_last)
    cdef int check_left_over(self) except -1
    cdef Queued front(self)
    cdef int resolve_by_marker(self, WorkflowCommand command, HistoryEvent event, object data) except -1
    cdef int apply_local_marker(self, HistoryEvent event, bint is_last) except -1
    cdef int take_local_jobs(self, list jobs, int index) except -1
    cdef int check_identity(self, HistoryEvent event, Queued queued, bint is_last, tuple patch) except -1
    cdef bint skips_upsert(self, Py_ssize_t index)
    cdef object mismatch(self, HistoryEvent event, Queued queued)
    cdef int drop_front(self) except -1
    cdef int add_seed(self, str run_id) except -1
    cdef object message_of(self, Queued queued)
    cdef int deliver_update(self, object message_id, object instance_id, object sequencing_id, object request) except -1
    cdef int replay_update(self, HistoryEvent event) except -1
    cdef int admit_update(self, HistoryEvent event) except -1
    cdef int enqueue(self, WorkflowCommand command, int command_type, object message) except -1
    cdef bint takes_more(self) noexcept
    cdef int deliver_messages(self, int64_t before_event_id) except -1
