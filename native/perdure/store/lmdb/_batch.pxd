cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t


# Databases of an environment, in the order of DATABASE_NAMES.
cdef enum:
    META
    NAMESPACE
    WORKFLOW
    RUN
    HISTORY
    TIMER
    TASK
    VISIBILITY
    DOCUMENT
    BUCKET
    TERM
    COLUMN
    MARK
    DATABASES

# What the writer does with an entry of a batch.
cdef enum:
    OP_PUT
    OP_DELETE               # missing is fine
    OP_DELETE_VALUE         # of a database with several values a key; missing is fine
    OP_DELETE_PREFIX        # every key that begins with this one
    OP_DELETE_MATCHING      # if the stored value begins with this one
    OP_REPLACE_HEAD         # the value is the head of a run row, its state stays

cdef enum:
    NAMESPACE_SIZE = 4
    RUN_ID_SIZE = 16
    RUN_KEY_SIZE = 20       # namespace, run id
    RUN_HEAD_SIZE = 10      # version, length of the workflow id that follows
    POSITION_SIZE = 32      # ~close (0: open), ~start, run id: sorts as listings do
    ENTRY_SIZE = 37         # position, bucket, status

cdef struct Entry:
    uint8_t op
    uint8_t database
    unsigned short key_size
    unsigned int value_size

cdef struct Check:
    uint8_t[RUN_KEY_SIZE] key
    uint64_t version

cdef struct Buffer:
    uint8_t* data
    size_t size
    size_t room


@cython.final
cdef class Names:
    # Numbers that stand in keys for buckets and attributes; tuples that begin with the namespace's number.
    cdef dict _numbers
    cdef readonly dict by_number
    cdef readonly dict unstored
    # By number of a namespace: ~(the time up to which its records are in columns); 0: none are.
    cdef uint64_t* _bounds
    cdef size_t _bounds_count
    cdef public uint64_t next_mark

    cdef uint32_t number(self, tuple name) except 0


@cython.final
cdef class Batch:
    # What must hold before anything is applied, and what to apply.
    cdef Buffer checks
    cdef Buffer entries
    # The run and version of each check, to name a stale one.
    cdef readonly list keys
    cdef Names _names

    cdef uint8_t* add(self, uint8_t op, uint8_t database, size_t key_size, size_t value_size) except NULL
    cdef int _check(self, const uint8_t* run_key, uint64_t version, object key) except -1

    # The parts of an update.
    cdef int _run(
        self, bytes state, uint64_t version, const uint8_t* run_key, const char* workflow_id, Py_ssize_t id_size
    ) except -1
    cdef int _history(self, tuple batch, const uint8_t* run_key) except -1
    cdef int _current(
        self, uint8_t op, const uint8_t* prefix, Py_ssize_t size, const uint8_t* run_key, const char* workflow_id,
        Py_ssize_t id_size
    ) except -1
    cdef int _timer(
        self, tuple timer, const uint8_t* run_key, const char* workflow_id, Py_ssize_t id_size, bint delete
    ) except -1
    cdef int _delete_task(self, uint32_t namespace, object row) except -1
    cdef int _put_task(self, uint32_t namespace, object row) except -1
    cdef int _visibility(self, tuple change, uint32_t namespace, bint delete) except -1
    cdef int _mark(self, uint32_t namespace, const uint8_t* old, const uint8_t* new) except -1
    cdef int _entry(self, uint8_t* at, uint32_t namespace, object record) except -1
    cdef int _bucket(self, uint8_t op, uint32_t namespace, const uint8_t* entry) except -1
    cdef int _term(self, uint8_t op, uint32_t namespace, tuple term, const uint8_t* entry) except -1
    cdef int _pointer(self, uint8_t op, uint32_t namespace, object record) except -1
