"""Keys and rows of the LMDB store, and batches of changes to them.

Numbers in keys are big-endian so that keys sort as they do; numbers in values are little-endian.

========== ============================================================ ==========================================
database   key                                                          value
========== ============================================================ ==========================================
meta       ``format``, ``epoch``                                        number (8)
namespace  ``n`` or ``r``, namespace id                                 number, or namespace record
namespace  ``i``, number (4)                                            what a bucket's or attribute's number means
workflow   namespace (4), workflow id, 0                                current run id (16) [, a long workflow id]
workflow   namespace (4), workflow id, 1, run id (16)                   nothing: the run has a record
run        namespace (4), run id (16)                                   version (8), workflow id (2 + n), state
history    namespace (4), run id (16), first event id (4)               event count (4), batch
timer      due (8), namespace (4), run id (16)                          workflow id
task       namespace (4), kind (1), task queue, task id (8)             see ``_put_task``
visibility namespace (4), run id (16)                                   entry, record
bucket     namespace (4), bucket (4), status (1)                        positions, in order
term       namespace (4), attribute (4), term                           entries, in order
document   namespace (4), kind, id                                      document
column     namespace (4), 0 (4)                                         directory, see ``_sealing``
column     namespace (4), segment (4), attribute (4)                    column, see ``_column``
mark       namespace (4), count (8)                                     old position, new position
========== ============================================================ ==========================================

Texts in keys are those of :func:`perdure.store.keys.ordered_text`. A position is ``~close (8), ~start (8), run id (16)``
with ``~close`` 0 for open runs, so that positions sort as listings show runs; an entry is ``position, bucket (4),
status (1)``. Buckets and terms are explained in ``perdure.store.visibility._plan``. A mark tells of a record that
changed though its position, old or new, is among those that columns were made of: 32 zeros for one that is not.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memchr, memcmp, memcpy, memset

import msgspec

from perdure.store.api import RunKey, TaskRow
from perdure.store.keys import TEXT_LIMIT, ordered_text
from perdure.store.visibility import record_division, record_terms

DATABASE_NAMES = (
    "meta", "namespace", "workflow", "run", "history", "timer", "task", "visibility", "document", "bucket", "term",
    "column", "mark",
)

#: What is done with an entry, in the order of the ops.
OP_NAMES = ("put", "delete", "delete value", "delete prefix", "delete matching", "replace head")

cdef object _encode = msgspec.msgpack.Encoder().encode

cdef enum:
    _TEXT_LIMIT = 400
    _KEY_ROOM = 512

assert TEXT_LIMIT == _TEXT_LIMIT


cdef uint8_t* _room(Buffer* b, size_t size) except NULL:
    cdef size_t room
    cdef uint8_t* data
    if b.size + size > b.room:
        room = max(b.room * 2, b.size + size + 512)
        data = <uint8_t*> realloc(b.data, room)
        if data == NULL:
            raise MemoryError()
        b.data = data
        b.room = room
    b.size += size
    return b.data + b.size - size


cdef inline void _big32(uint8_t* at, uint32_t value) noexcept nogil:
    at[0] = <uint8_t> (value >> 24)
    at[1] = <uint8_t> (value >> 16)
    at[2] = <uint8_t> (value >> 8)
    at[3] = <uint8_t> value


cdef inline void _big64(uint8_t* at, uint64_t value) noexcept nogil:
    _big32(at, <uint32_t> (value >> 32))
    _big32(at + 4, <uint32_t> value)


cdef inline uint64_t _read64(const uint8_t* at) noexcept nogil:
    cdef uint64_t value = 0
    cdef int i
    for i in range(8):
        value = value << 8 | at[i]
    return value


cdef inline int _digit(uint8_t c) noexcept nogil:
    if c'0' <= c <= c'9':
        return c - c'0'
    if c'a' <= c <= c'f':
        return c - c'a' + 10
    return -1


cdef bint _parse_uuid(str text, uint8_t* out) except -1:
    """Sixteen bytes of a canonical UUID; False: it is not one."""
    cdef Py_ssize_t size
    cdef const char* c = PyUnicode_AsUTF8AndSize(text, &size)
    cdef int i, at = 0, high, low
    if c == NULL:
        raise ValueError("an id is not valid text")
    if size != 36:
        return False
    for i in range(16):
        if i == 4 or i == 6 or i == 8 or i == 10:
            if c[at] != c'-':
                return False
            at += 1
        high = _digit(<uint8_t> c[at])
        low = _digit(<uint8_t> c[at + 1])
        if high < 0 or low < 0:
            return False
        out[i] = <uint8_t> (high << 4 | low)
        at += 2
    return True


cdef str _uuid_text(const uint8_t* data):
    cdef char[36] out
    cdef const char* digits = b"0123456789abcdef"
    cdef int i, at = 0
    for i in range(16):
        if i == 4 or i == 6 or i == 8 or i == 10:
            out[at] = c'-'
            at += 1
        out[at] = digits[data[i] >> 4]
        out[at + 1] = digits[data[i] & 15]
        at += 2
    return out[:36].decode("ascii")


cdef int _require_uuid(str name, str text, uint8_t* out) except -1:
    if not _parse_uuid(text, out):
        raise ValueError(f"{name} {text!r} is not a UUID in lower case with dashes")
    return 0


cdef int _require_namespace(object key, object other) except -1:
    if other[0] is not key[0] and other[0] != key[0]:
        raise ValueError(f"an update of run {key[2]} holds an entry of namespace {other[0]}, not {key[0]}")
    return 0


cdef Py_ssize_t _put_text(uint8_t* at, str text) except -1:
    """Write a text as a key part; gives its size, at most _TEXT_LIMIT + 2."""
    cdef Py_ssize_t size
    cdef const char* c = PyUnicode_AsUTF8AndSize(text, &size)
    cdef bytes ordered
    if size > _TEXT_LIMIT or memchr(c, 0, size) != NULL:
        ordered = ordered_text(text)
        memcpy(at, PyBytes_AS_STRING(ordered), PyBytes_GET_SIZE(ordered))
        return PyBytes_GET_SIZE(ordered)
    memcpy(at, c, size)
    at[size] = 0
    at[size + 1] = 0
    return size + 2


cdef Py_ssize_t _task_key(uint8_t* at, uint32_t namespace, object row) except -1:
    cdef uint64_t task_id = row.task_id
    cdef uint8_t kind = row.kind
    cdef Py_ssize_t size
    _big32(at, namespace)
    at[4] = kind
    size = 5 + _put_text(at + 5, row.task_queue)
    _big64(at + size, task_id)
    return size + 8


cdef inline void _put_sized(uint8_t** at, const char* text, Py_ssize_t size) noexcept nogil:
    cdef uint16_t length = <uint16_t> size
    memcpy(at[0], &length, 2)
    memcpy(at[0] + 2, text, size)
    at[0] += 2 + size


@cython.final
cdef class Names:
    """Numbers for the buckets and attributes in keys, given as they are first met.

    ``unstored`` holds the rows that no commit is known to have written yet: every batch carries them along.
    """

    def __init__(self, rows=()):
        """Start from stored ``(key, value)`` rows."""
        self._numbers = {}
        self.by_number = {}
        self.unstored = {}
        self.next_mark = 0
        for key, value in rows:
            self._take(tuple(msgspec.msgpack.decode(value)), int.from_bytes(key[1:]))

    def _take(self, tuple name, number):
        self._numbers[name] = number
        self.by_number[number] = name

    cdef uint32_t number(self, tuple name) except 0:
        cdef object known = self._numbers.get(name)
        if known is None:
            known = len(self._numbers) + 1
            self._take(name, known)
            self.unstored[b"i" + known.to_bytes(4)] = msgspec.msgpack.encode(name)
        return known

    def __dealloc__(self):
        free(self._bounds)

    def seal(self, size_t namespace, int64_t horizon):
        """Have changes of records up to a time leave marks from now on."""
        cdef uint64_t* bounds
        cdef size_t i
        if namespace >= self._bounds_count:
            bounds = <uint64_t*> realloc(self._bounds, 2 * (namespace + 1) * sizeof(uint64_t))
            if bounds == NULL:
                raise MemoryError()
            for i in range(self._bounds_count, 2 * (namespace + 1)):
                bounds[i] = 0
            self._bounds = bounds
            self._bounds_count = 2 * (namespace + 1)
        self._bounds[namespace] = ~<uint64_t> horizon

    def give(self, tuple name):
        """The number of a name, a new one if need be."""
        return self.number(name)

    def find(self, tuple name):
        """The number of a name that was met before, or None."""
        return self._numbers.get(name)


@cython.final
cdef class Batch:
    """Changes that become durable together. Built on the loop thread, handed to the writer, empty from then on."""

    def __init__(self, Names names not None):
        """Begin an empty batch; it gives numbers to the buckets and attributes it meets."""
        self.keys = []
        self._names = names

    def __dealloc__(self):
        free(self.checks.data)
        free(self.entries.data)

    cdef uint8_t* add(self, uint8_t op, uint8_t database, size_t key_size, size_t value_size) except NULL:
        """Room for an entry's key and value, in this order."""
        cdef Entry head
        cdef uint8_t* at
        if value_size > 0x7FFFFFFF:
            raise ValueError(f"a value of {value_size} bytes is more than a store keeps")
        at = _room(&self.entries, sizeof(Entry) + key_size + value_size)
        head.op = op
        head.database = database
        head.key_size = <uint16_t> key_size
        head.value_size = <uint32_t> value_size
        memcpy(at, &head, sizeof(Entry))
        return at + sizeof(Entry)

    def put(self, int database, bytes key, bytes value):
        """Add an entry that is already encoded."""
        cdef size_t size = PyBytes_GET_SIZE(key)
        cdef uint8_t* at = self.add(OP_PUT, <uint8_t> database, size, PyBytes_GET_SIZE(value))
        memcpy(at, PyBytes_AS_STRING(key), size)
        memcpy(at + size, PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value))

    def delete(self, int database, bytes key):
        """Remove an entry; one that is missing is fine."""
        cdef size_t size = PyBytes_GET_SIZE(key)
        memcpy(self.add(OP_DELETE, <uint8_t> database, size, 0), PyBytes_AS_STRING(key), size)

    def delete_prefix(self, int database, bytes key):
        """Remove every entry whose key begins with this one."""
        cdef size_t size = PyBytes_GET_SIZE(key)
        memcpy(self.add(OP_DELETE_PREFIX, <uint8_t> database, size, 0), PyBytes_AS_STRING(key), size)

    @property
    def size(self):
        """Bytes of everything to apply."""
        return self.entries.size

    def entries_list(self):
        """``(what is done, database, key, value)`` of everything to apply, in order."""
        cdef list found = []
        cdef const uint8_t* at = self.entries.data
        cdef const uint8_t* end = at + self.entries.size
        cdef Entry head
        while at < end:
            memcpy(&head, at, sizeof(Entry))
            at += sizeof(Entry)
            found.append((
                OP_NAMES[head.op],
                DATABASE_NAMES[head.database],
                _bytes(at, head.key_size),
                _bytes(at + head.key_size, head.value_size),
            ))
            at += head.key_size + <size_t> head.value_size
        return found

    cdef int _check(self, const uint8_t* run_key, uint64_t version, object key) except -1:
        cdef Check check
        memcpy(check.key, run_key, RUN_KEY_SIZE)
        check.version = version
        memcpy(_room(&self.checks, sizeof(Check)), &check, sizeof(Check))
        self.keys.append((key, version))
        return 0

    def update(self, object update, object number, object expected=None):
        """Add one run's part of a commit.

        Args:
            number: the namespace's.
            expected: the version an earlier update of this batch brings the run to; None: the stored one counts.
        """
        cdef uint32_t namespace = number
        cdef object key = update.key
        cdef uint64_t version = update.version
        cdef uint8_t[RUN_KEY_SIZE] run_key
        cdef uint8_t[_KEY_ROOM] scratch
        cdef Py_ssize_t id_size, size
        cdef const char* workflow_id = PyUnicode_AsUTF8AndSize(<str> key[1], &id_size)
        cdef bint delete = update.delete
        if id_size > 0xFFFF:
            raise ValueError(f"a workflow id of {id_size} bytes is too long")
        if update.version < 1:
            raise ValueError(f"version {update.version} of run {key[2]} is below 1")
        _big32(run_key, namespace)
        _require_uuid("run_id", key[2], run_key + NAMESPACE_SIZE)
        if expected is None:
            self._check(run_key, version - 1, key)
        _big32(scratch, namespace)
        size = NAMESPACE_SIZE + _put_text(scratch + NAMESPACE_SIZE, key[1])
        self._timer(update.timer, run_key, workflow_id, id_size, delete)
        for row in update.delete_tasks:
            _require_namespace(key, row.key)
            self._delete_task(namespace, row)
        for record in update.visibility:
            if record is not None:
                _require_namespace(key, record.key)
        self._visibility(update.visibility, namespace, delete)
        if delete:
            memcpy(self.add(OP_DELETE, RUN, RUN_KEY_SIZE, 0), run_key, RUN_KEY_SIZE)
            memcpy(self.add(OP_DELETE_PREFIX, HISTORY, RUN_KEY_SIZE, 0), run_key, RUN_KEY_SIZE)
            self._current(OP_DELETE_MATCHING, scratch, size, run_key, workflow_id, 0)
            return
        self._run(update.state, version, run_key, workflow_id, id_size)
        for batch in update.history:
            self._history(batch, run_key)
        if update.make_current:
            self._current(OP_PUT, scratch, size, run_key, workflow_id, id_size if id_size > _TEXT_LIMIT else 0)
        for row in update.put_tasks:
            _require_namespace(key, row.key)
            self._put_task(namespace, row)

    cdef int _run(
        self, bytes state, uint64_t version, const uint8_t* run_key, const char* workflow_id, Py_ssize_t id_size
    ) except -1:
        cdef Py_ssize_t state_size = PyBytes_GET_SIZE(state)
        cdef uint8_t* at = self.add(
            OP_PUT if state_size else OP_REPLACE_HEAD, RUN, RUN_KEY_SIZE, RUN_HEAD_SIZE + id_size + state_size
        )
        memcpy(at, run_key, RUN_KEY_SIZE)
        at += RUN_KEY_SIZE
        memcpy(at, &version, 8)
        at += 8
        _put_sized(&at, workflow_id, id_size)
        memcpy(at, PyBytes_AS_STRING(state), state_size)
        return 0

    cdef int _history(self, tuple batch, const uint8_t* run_key) except -1:
        cdef int64_t first = batch[0]
        cdef int64_t count = batch[1]
        cdef bytes data = batch[2]
        cdef uint32_t stored
        cdef uint8_t* at
        if first < 1 or count < 1 or first + count > 0xFFFFFFFF:
            raise ValueError(f"batch of {count} events from {first} is out of range")
        stored = <uint32_t> count
        at = self.add(OP_PUT, HISTORY, RUN_KEY_SIZE + 4, 4 + PyBytes_GET_SIZE(data))
        memcpy(at, run_key, RUN_KEY_SIZE)
        _big32(at + RUN_KEY_SIZE, <uint32_t> first)
        memcpy(at + RUN_KEY_SIZE + 4, &stored, 4)
        memcpy(at + RUN_KEY_SIZE + 8, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
        return 0

    cdef int _current(
        self, uint8_t op, const uint8_t* prefix, Py_ssize_t size, const uint8_t* run_key, const char* workflow_id,
        Py_ssize_t id_size
    ) except -1:
        cdef uint8_t* at = self.add(op, WORKFLOW, size + 1, RUN_ID_SIZE + id_size)
        memcpy(at, prefix, size)
        at[size] = 0
        memcpy(at + size + 1, run_key + NAMESPACE_SIZE, RUN_ID_SIZE)
        memcpy(at + size + 1 + RUN_ID_SIZE, workflow_id, id_size)
        return 0

    cdef int _timer(
        self, tuple timer, const uint8_t* run_key, const char* workflow_id, Py_ssize_t id_size, bint delete
    ) except -1:
        cdef int64_t removed = timer[0]
        cdef int64_t added = 0 if delete else timer[1]
        cdef uint8_t* at
        if removed < 0 or added < 0:
            raise ValueError(f"due time {min(removed, added)} of the time index is before 1970")
        if removed and removed != added:
            at = self.add(OP_DELETE, TIMER, 8 + RUN_KEY_SIZE, 0)
            _big64(at, <uint64_t> removed)
            memcpy(at + 8, run_key, RUN_KEY_SIZE)
        if added:
            at = self.add(OP_PUT, TIMER, 8 + RUN_KEY_SIZE, id_size)
            _big64(at, <uint64_t> added)
            memcpy(at + 8, run_key, RUN_KEY_SIZE)
            memcpy(at + 8 + RUN_KEY_SIZE, workflow_id, id_size)
        return 0

    cdef int _delete_task(self, uint32_t namespace, object row) except -1:
        cdef uint8_t[_KEY_ROOM] scratch
        cdef Py_ssize_t size = _task_key(scratch, namespace, row)
        memcpy(self.add(OP_DELETE, TASK, size, 0), scratch, size)
        return 0

    cdef int _put_task(self, uint32_t namespace, object row) except -1:
        # run id, scheduled event id (8), owner epoch (8), workflow id (2 + n), task queue (2 + n), body
        cdef uint8_t[_KEY_ROOM] scratch
        cdef uint8_t[RUN_ID_SIZE] run_id
        cdef object key = row.key
        cdef Py_ssize_t size = _task_key(scratch, namespace, row)
        cdef Py_ssize_t id_size, queue_size
        cdef const char* workflow_id = PyUnicode_AsUTF8AndSize(<str> key[1], &id_size)
        cdef const char* task_queue = PyUnicode_AsUTF8AndSize(<str> row.task_queue, &queue_size)
        cdef bytes body = row.body
        cdef int64_t event_id = row.scheduled_event_id
        cdef int64_t epoch = row.owner_epoch
        cdef uint8_t* at
        if id_size > 0xFFFF or queue_size > 0xFFFF:
            raise ValueError(f"a workflow id of {id_size} or task queue of {queue_size} bytes is too long")
        _require_uuid("run_id", key[2], run_id)
        at = self.add(OP_PUT, TASK, size, RUN_ID_SIZE + 20 + id_size + queue_size + PyBytes_GET_SIZE(body))
        memcpy(at, scratch, size)
        at += size
        memcpy(at, run_id, RUN_ID_SIZE)
        memcpy(at + RUN_ID_SIZE, &event_id, 8)
        memcpy(at + RUN_ID_SIZE + 8, &epoch, 8)
        at += RUN_ID_SIZE + 16
        _put_sized(&at, workflow_id, id_size)
        _put_sized(&at, task_queue, queue_size)
        memcpy(at, PyBytes_AS_STRING(body), PyBytes_GET_SIZE(body))
        return 0

    def show(self, object record, object number):
        """Add a record that the store did not show before."""
        self._visibility((None, record), number, False)

    cdef int _visibility(self, tuple change, uint32_t namespace, bint delete) except -1:
        cdef object removed = change[0]
        cdef object added = None if delete else change[1]
        cdef uint8_t[ENTRY_SIZE] old
        cdef uint8_t[ENTRY_SIZE] new
        cdef bint moved
        cdef bytes encoded
        cdef uint8_t* at
        if removed is not None:
            self._entry(old, namespace, removed)
        if added is not None:
            self._entry(new, namespace, added)
            encoded = _encode(added)
            at = self.add(OP_PUT, VISIBILITY, RUN_KEY_SIZE, ENTRY_SIZE + PyBytes_GET_SIZE(encoded))
            _big32(at, namespace)
            memcpy(at + NAMESPACE_SIZE, new + 16, RUN_ID_SIZE)
            memcpy(at + RUN_KEY_SIZE, new, ENTRY_SIZE)
            memcpy(at + RUN_KEY_SIZE + ENTRY_SIZE, PyBytes_AS_STRING(encoded), PyBytes_GET_SIZE(encoded))
            if removed is None:
                self._pointer(OP_PUT, namespace, added)
        elif removed is not None:
            at = self.add(OP_DELETE, VISIBILITY, RUN_KEY_SIZE, 0)
            _big32(at, namespace)
            memcpy(at + NAMESPACE_SIZE, old + 16, RUN_ID_SIZE)
            self._pointer(OP_DELETE, namespace, removed)
        moved = removed is None or added is None or memcmp(old, new, ENTRY_SIZE) != 0
        if moved and removed is not None:
            self._bucket(OP_DELETE_VALUE, namespace, old)
        if moved and added is not None:
            self._bucket(OP_PUT, namespace, new)
        if namespace < self._names._bounds_count:
            self._mark(namespace, NULL if removed is None else old, NULL if added is None else new)
        had = record_terms(removed) if _has_terms(removed) else None
        has = record_terms(added) if _has_terms(added) else None
        if had:
            for term in had if moved or not has else had - has:
                self._term(OP_DELETE_VALUE, namespace, term, old)
        if has:
            for term in has if moved or not had else has - had:
                self._term(OP_PUT, namespace, term, new)
        return 0

    cdef int _mark(self, uint32_t namespace, const uint8_t* old, const uint8_t* new) except -1:
        cdef uint64_t bound = self._names._bounds[namespace]
        cdef bint was = bound and old != NULL and _time(old) >= bound
        cdef bint is_now = bound and new != NULL and _time(new) >= bound
        cdef uint8_t* at
        if not was and not is_now:
            return 0
        at = self.add(OP_PUT, MARK, NAMESPACE_SIZE + 8, 2 * POSITION_SIZE)
        _big32(at, namespace)
        _big64(at + NAMESPACE_SIZE, self._names.next_mark)
        self._names.next_mark += 1
        at += NAMESPACE_SIZE + 8
        memset(at, 0, 2 * POSITION_SIZE)
        if was:
            memcpy(at, old, POSITION_SIZE)
        if is_now:
            memcpy(at + POSITION_SIZE, new, POSITION_SIZE)
        return 0

    cdef int _entry(self, uint8_t* at, uint32_t namespace, object record) except -1:
        cdef int64_t start = record.start_time
        cdef int64_t close = record.close_time
        cdef uint8_t status = record.status
        if start < 0 or close < 0:
            raise ValueError(f"start_time {start} or close_time {close} of a visibility record is before 1970")
        division = record_division(record) if record.search_attributes else None
        _big64(at, ~<uint64_t> close if close else 0)
        _big64(at + 8, ~<uint64_t> start)
        _require_uuid("run_id", record.key[2], at + 16)
        _big32(at + POSITION_SIZE, self._names.number((namespace, record.workflow_type, record.task_queue, division)))
        at[POSITION_SIZE + 4] = status
        return 0

    cdef int _bucket(self, uint8_t op, uint32_t namespace, const uint8_t* entry) except -1:
        cdef uint8_t* at = self.add(op, BUCKET, NAMESPACE_SIZE + 5, POSITION_SIZE)
        _big32(at, namespace)
        memcpy(at + NAMESPACE_SIZE, entry + POSITION_SIZE, 5)
        memcpy(at + NAMESPACE_SIZE + 5, entry, POSITION_SIZE)
        return 0

    cdef int _term(self, uint8_t op, uint32_t namespace, tuple term, const uint8_t* entry) except -1:
        cdef bytes value = term[1]
        cdef Py_ssize_t size = PyBytes_GET_SIZE(value)
        cdef uint8_t* at = self.add(op, TERM, NAMESPACE_SIZE + 4 + size, ENTRY_SIZE)
        _big32(at, namespace)
        _big32(at + NAMESPACE_SIZE, self._names.number((namespace, *term[0])))
        memcpy(at + NAMESPACE_SIZE + 4, PyBytes_AS_STRING(value), size)
        memcpy(at + NAMESPACE_SIZE + 4 + size, entry, ENTRY_SIZE)
        return 0

    cdef int _pointer(self, uint8_t op, uint32_t namespace, object record) except -1:
        cdef uint8_t[_KEY_ROOM] scratch
        cdef Py_ssize_t size = _pointer_prefix(scratch, namespace, record.key[1])
        _require_uuid("run_id", record.key[2], scratch + size)
        size += RUN_ID_SIZE
        memcpy(self.add(op, WORKFLOW, size, 0), scratch, size)
        return 0


cdef inline uint64_t _time(const uint8_t* position) noexcept nogil:
    """~close of a closed run's position, ~start of an open one's."""
    cdef uint64_t close = _read64(position)
    return close if close else _read64(position + 8)


cdef inline bint _has_terms(object record) except -1:
    return record is not None and (record.search_attributes or record.parent_workflow_id)


cdef Py_ssize_t _pointer_prefix(uint8_t* at, uint32_t namespace, str workflow_id) except -1:
    cdef Py_ssize_t size
    _big32(at, namespace)
    size = NAMESPACE_SIZE + _put_text(at + NAMESPACE_SIZE, workflow_id)
    at[size] = 1
    return size + 1


cdef bytes _bytes(const uint8_t* data, Py_ssize_t size):
    return PyBytes_FromStringAndSize(<const char*> data, size)


def run_key(int number, str run_id):
    """The key of a run row and the prefix of its history; None when no run can have this id."""
    cdef uint8_t[RUN_KEY_SIZE] key
    _big32(key, <uint32_t> number)
    if not _parse_uuid(run_id, key + NAMESPACE_SIZE):
        return None
    return _bytes(key, RUN_KEY_SIZE)


def current_key(int number, str workflow_id):
    """The key of the record that says which run is current."""
    cdef uint8_t[_KEY_ROOM] key
    cdef Py_ssize_t size = _pointer_prefix(key, <uint32_t> number, workflow_id)
    key[size - 1] = 0
    return _bytes(key, size)


def timer_key(int64_t due, int number, str run_id):
    """The key of an entry of the time index."""
    cdef uint8_t[8 + RUN_KEY_SIZE] key
    _big64(key, <uint64_t> due)
    _big32(key + 8, <uint32_t> number)
    _require_uuid("run_id", run_id, key + 8 + NAMESPACE_SIZE)
    return _bytes(key, 8 + RUN_KEY_SIZE)


def task_key(int number, object row):
    """The key of a task row."""
    cdef uint8_t[_KEY_ROOM] key
    return _bytes(key, _task_key(key, <uint32_t> number, row))


def position(int64_t start, int64_t close, str run_id):
    """Where a record stands in listings."""
    cdef uint8_t[POSITION_SIZE] at
    _big64(at, ~<uint64_t> close if close else 0)
    _big64(at + 8, ~<uint64_t> start)
    _require_uuid("run_id", run_id, at + 16)
    return _bytes(at, POSITION_SIZE)


cdef int _damaged(str what) except -1:
    raise ValueError(f"a {what} row is damaged")


def decode_run(bytes row):
    """``(version, workflow id, state)`` of a run row."""
    cdef const uint8_t* data = <const uint8_t*> PyBytes_AS_STRING(row)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(row)
    cdef uint64_t version
    cdef uint16_t id_size
    if size < RUN_HEAD_SIZE:
        _damaged("run")
    memcpy(&version, data, 8)
    memcpy(&id_size, data + 8, 2)
    if size < RUN_HEAD_SIZE + id_size:
        _damaged("run")
    return (
        version,
        (<const char*> data)[RUN_HEAD_SIZE:RUN_HEAD_SIZE + id_size].decode("utf-8"),
        _bytes(data + RUN_HEAD_SIZE + id_size, size - RUN_HEAD_SIZE - id_size),
    )


def decode_history(bytes key, bytes row):
    """``(first event id, event count, batch)`` of a history row."""
    cdef const uint8_t* data = <const uint8_t*> PyBytes_AS_STRING(key)
    cdef uint32_t count
    if PyBytes_GET_SIZE(key) != RUN_KEY_SIZE + 4 or PyBytes_GET_SIZE(row) < 4:
        _damaged("history")
    memcpy(&count, PyBytes_AS_STRING(row), 4)
    return (
        <int64_t> data[20] << 24 | <int64_t> data[21] << 16 | <int64_t> data[22] << 8 | <int64_t> data[23],
        count,
        row[4:],
    )


def decode_timer(bytes key, bytes row, dict namespaces):
    """``(due, run key)`` of an entry of the time index; ``namespaces`` gives the id of a number."""
    cdef const uint8_t* data = <const uint8_t*> PyBytes_AS_STRING(key)
    if PyBytes_GET_SIZE(key) != 8 + RUN_KEY_SIZE:
        _damaged("timer")
    return (
        _read64(data),
        RunKey(namespaces[_read64(data + 4) & 0xFFFFFFFF], row.decode(), _uuid_text(data + 8 + NAMESPACE_SIZE)),
    )


def decode_task(bytes key, bytes row, dict namespaces):
    """A task row; ``namespaces`` gives the id of a number."""
    cdef const uint8_t* k = <const uint8_t*> PyBytes_AS_STRING(key)
    cdef const uint8_t* data = <const uint8_t*> PyBytes_AS_STRING(row)
    cdef Py_ssize_t key_size = PyBytes_GET_SIZE(key)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(row)
    cdef Py_ssize_t at = RUN_ID_SIZE + 16
    cdef int64_t event_id, epoch
    cdef uint16_t id_size, queue_size
    if key_size < 15 or size < at + 4:
        _damaged("task")
    memcpy(&event_id, data + RUN_ID_SIZE, 8)
    memcpy(&epoch, data + RUN_ID_SIZE + 8, 8)
    memcpy(&id_size, data + at, 2)
    if size < at + 4 + id_size:
        _damaged("task")
    memcpy(&queue_size, data + at + 2 + id_size, 2)
    if size < at + 4 + id_size + queue_size:
        _damaged("task")
    workflow_id = (<const char*> data)[at + 2:at + 2 + id_size].decode("utf-8")
    at += 4 + id_size
    return TaskRow(
        RunKey(
            namespaces[<int> (<uint32_t> k[0] << 24 | <uint32_t> k[1] << 16 | <uint32_t> k[2] << 8 | k[3])],
            workflow_id,
            _uuid_text(data),
        ),
        k[4],
        (<const char*> data)[at:at + queue_size].decode("utf-8"),
        _read64(k + key_size - 8),
        event_id,
        epoch,
        _bytes(data + at + queue_size, size - at - queue_size),
    )


def run_id_text(bytes data, Py_ssize_t at=0):
    """The run id that stands at a place of a key or row."""
    if at < 0 or at + RUN_ID_SIZE > PyBytes_GET_SIZE(data):
        _damaged("run id")
    return _uuid_text(<const uint8_t*> PyBytes_AS_STRING(data) + at)
