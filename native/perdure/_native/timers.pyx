"""A hierarchical timer wheel over integer milliseconds.

Eight levels of 64 slots. A timer lies on the level of the highest 6-bit digit in which its due time differs from the
wheel's time, in the slot of that digit; as time enters a slot of a higher level, its timers move down. Arming and
cancelling touch one slot. Nodes live in parallel C arrays (24 bytes a timer, and a reference to its key); freed ones
are used again. The wheel never asks the time.
"""

cimport cython
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.string cimport memset

cdef extern from *:
    """
    #if defined(__GNUC__) || defined(__clang__)
    #define perdure_high_bit(x) (63 - __builtin_clzll(x))
    #define perdure_low_bit(x) __builtin_ctzll(x)
    #else
    #error "the timer wheel needs a compiler with __builtin_clzll"
    #endif
    """
    int perdure_high_bit(uint64_t x) nogil
    int perdure_low_bit(uint64_t x) nogil

cdef enum:
    BITS = 6
    SLOTS = 64
    LEVELS = 8
    READY = 512         # the list of timers that are due already
    FREE = -1
    FIRST_ROOM = 64

cdef int64_t MAX_DUE = (<int64_t> 1 << 47)


cdef struct Node:
    int64_t due
    int32_t next
    int32_t prev
    int32_t slot        # level * SLOTS + slot, READY, or FREE
    uint32_t generation


@cython.final
cdef class TimerWheel:
    """Timers of one owner; not safe for use by several threads at once."""

    cdef:
        Node* _nodes
        int32_t _room
        int32_t _free
        int32_t[513] _heads
        int32_t[513] _tails
        uint64_t[8] _occupied
        int64_t _now
        Py_ssize_t _count
        list _keys

    def __cinit__(self):
        self._free = -1
        memset(self._heads, 0xFF, sizeof(self._heads))
        memset(self._tails, 0xFF, sizeof(self._tails))
        self._keys = []

    def __init__(self, int64_t now_ms):
        """A wheel whose time is ``now_ms``."""
        if now_ms < 0 or now_ms > MAX_DUE:
            raise ValueError(f"time {now_ms} is outside the wheel's range of 0 to {MAX_DUE} ms")
        self._now = now_ms

    def __dealloc__(self):
        PyMem_Free(self._nodes)

    def __len__(self):
        return self._count

    @property
    def now_ms(self):
        """The wheel's time: what the last advance() said."""
        return self._now

    def arm(self, int64_t due_ms, object key):
        """Arm a timer and return its handle. One that is due already comes with the next advance()."""
        cdef int32_t i
        if due_ms < 0 or due_ms > MAX_DUE:
            raise ValueError(f"due time {due_ms} is outside the wheel's range of 0 to {MAX_DUE} ms")
        i = self._free
        if i < 0:
            self._grow()
            i = self._free
        self._free = self._nodes[i].next
        self._nodes[i].due = due_ms
        self._keys[i] = key
        self._place(i)
        self._count += 1
        return (<int64_t> self._nodes[i].generation << 32) | i

    def cancel(self, int64_t handle):
        """Take a timer out; False when it has fired or was cancelled before."""
        cdef int64_t index = handle & 0xFFFFFFFF
        cdef int32_t i
        if handle < 0 or index >= self._room:
            return False
        i = <int32_t> index
        if self._nodes[i].slot == FREE:
            return False
        if self._nodes[i].generation != <uint32_t> (handle >> 32):
            return False
        self._unlink(i)
        self._release(i)
        return True

    def advance(self, int64_t now_ms, Py_ssize_t limit=0):
        """Move the time on and take out what is due: ``(due ms, key)`` in the order of due time, then of arming.

        With a ``limit`` at most so many come, and the rest with the next call. Time never goes back: an earlier
        ``now_ms`` than before takes out nothing new.
        """
        cdef list found = []
        cdef int32_t i
        if now_ms > MAX_DUE:
            raise ValueError(f"time {now_ms} is outside the wheel's range of 0 to {MAX_DUE} ms")
        self._turn(now_ms)
        while limit <= 0 or len(found) < limit:
            i = self._heads[READY]
            if i < 0:
                break
            found.append((self._nodes[i].due, self._keys[i]))
            self._unlink(i)
            self._release(i)
        return found

    def next_due(self):
        """No timer is due before this time; 0 when there is none at all.

        Exact for what is due within 64 ms of the wheel's time, else a lower bound: advancing to it brings the timers
        nearer and the bound up.
        """
        cdef int level
        cdef uint64_t slots
        cdef int64_t digit
        if self._count == 0:
            return 0
        if self._heads[READY] >= 0:
            return self._nodes[self._heads[READY]].due
        for level in range(LEVELS):
            slots = self._occupied[level]
            if slots:
                digit = perdure_low_bit(slots)
                return self._slot_start(level, digit)
        return 0

    # ---- inside

    cdef int _grow(self) except -1:
        cdef int32_t room = self._room * 2 if self._room else FIRST_ROOM
        cdef int32_t i
        cdef Node* nodes = <Node*> PyMem_Realloc(self._nodes, room * sizeof(Node))
        if nodes == NULL:
            raise MemoryError()
        self._nodes = nodes
        for i in range(room - 1, self._room - 1, -1):
            nodes[i].slot = FREE
            nodes[i].generation = 0
            nodes[i].next = self._free
            self._free = i
        self._keys.extend([None] * (room - self._room))
        self._room = room
        return 0

    cdef int64_t _slot_start(self, int level, int64_t digit) noexcept:
        """When time enters a slot: slots of a level always lie after the digit the time has there."""
        cdef int64_t span = <int64_t> 1 << (BITS * (level + 1))
        return (self._now & ~(span - 1)) | (digit << (BITS * level))

    cdef void _place(self, int32_t i) noexcept:
        cdef Node* node = &self._nodes[i]
        cdef int level
        cdef int32_t slot, after
        if node.due <= self._now:
            slot = READY
        else:
            level = perdure_high_bit(<uint64_t> (node.due ^ self._now)) // BITS
            slot = level * SLOTS + <int32_t> ((node.due >> (BITS * level)) & (SLOTS - 1))
            self._occupied[level] |= <uint64_t> 1 << (slot & (SLOTS - 1))
        node.slot = slot
        after = self._tails[slot]
        if slot == READY:
            # In order of due time. Those that time reached come in it; only what was armed too late walks back.
            while after >= 0 and self._nodes[after].due > node.due:
                after = self._nodes[after].prev
        node.prev = after
        node.next = self._heads[slot] if after < 0 else self._nodes[after].next
        if after < 0:
            self._heads[slot] = i
        else:
            self._nodes[after].next = i
        if node.next < 0:
            self._tails[slot] = i
        else:
            self._nodes[node.next].prev = i

    cdef void _unlink(self, int32_t i) noexcept:
        cdef Node* node = &self._nodes[i]
        if node.prev >= 0:
            self._nodes[node.prev].next = node.next
        else:
            self._heads[node.slot] = node.next
        if node.next >= 0:
            self._nodes[node.next].prev = node.prev
        else:
            self._tails[node.slot] = node.prev
        if node.slot != READY and self._heads[node.slot] < 0:
            self._occupied[node.slot // SLOTS] &= ~(<uint64_t> 1 << (node.slot & (SLOTS - 1)))

    cdef int _release(self, int32_t i) except -1:
        self._nodes[i].slot = FREE
        self._nodes[i].generation = (self._nodes[i].generation + 1) & 0x7FFFFFFF
        self._nodes[i].next = self._free
        self._free = i
        self._count -= 1
        self._keys[i] = None
        return 0

    cdef void _turn(self, int64_t now_ms) noexcept:
        """Let time enter slot after slot up to ``now_ms``; their timers move down, or to the ready list."""
        cdef int level
        cdef int64_t start
        cdef int32_t slot, i, following
        while self._now < now_ms:
            for level in range(LEVELS):
                if self._occupied[level]:
                    break
            else:
                self._now = now_ms
                return
            slot = perdure_low_bit(self._occupied[level])
            start = self._slot_start(level, slot)
            if start > now_ms:
                self._now = now_ms
                return
            self._now = start
            slot += level * SLOTS
            i = self._heads[slot]
            self._heads[slot] = self._tails[slot] = -1
            self._occupied[level] &= ~(<uint64_t> 1 << (slot & (SLOTS - 1)))
            while i >= 0:
                following = self._nodes[i].next
                self._place(i)
                i = following
