"""Making columns of records: which positions are to be in a segment, and what the records and terms there say.

Everything is read slice by slice, each from the newest snapshot: what changes in between leaves a mark, see ``_sealing``.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, qsort, realloc
from libc.string cimport memchr, memcmp, memcpy, memset

from perdure.store.lmdb._api cimport (
    MDB_GET_BOTH_RANGE, MDB_NEXT, MDB_NEXT_DUP, MDB_NEXT_NODUP, MDB_NOTFOUND, MDB_SET_RANGE, MDB_cursor, MDB_txn,
    MDB_val, mdb, store_error,
)
from perdure.store.lmdb._batch cimport (
    BUCKET, COLUMN, ENTRY_SIZE, MARK, NAMESPACE_SIZE, POSITION_SIZE, RUN_ID_SIZE, RUN_KEY_SIZE, TERM, VISIBILITY,
)
from perdure.store.lmdb._column cimport SEGMENT_ROWS, SEGMENT_WORDS, Writer, compare_bytes
from perdure.store.lmdb._lmdb cimport Environment

from perdure.store.keys import ordered_text

cdef enum:
    NUMBERS = 7
    TEXTS = 3
    _BUCKET_SIZE = 5
    _KEY_ROOM = 512
    _PLAIN_TEXT = 400               # texts up to this size go into terms as they are

cdef struct Number:
    int64_t value
    uint16_t row

cdef struct Text:
    const uint8_t* data
    uint32_t offset
    uint32_t size
    uint16_t row

cdef struct Bytes:
    uint8_t* data
    size_t size
    size_t room

cdef struct Item:
    # Of MessagePack: an integer, a text, or the head of an array, whose size is the number.
    int64_t number
    const uint8_t* text
    size_t size


cdef inline uint64_t _read64(const uint8_t* at) noexcept nogil:
    cdef uint64_t value = 0
    cdef int i
    for i in range(8):
        value = value << 8 | at[i]
    return value


cdef inline void _write64(uint8_t* at, uint64_t value) noexcept nogil:
    cdef int i
    for i in range(8):
        at[i] = <uint8_t> (value >> (56 - 8 * i))


cdef int _add(Bytes* bytes, const uint8_t* data, size_t size) except -1:
    cdef size_t room
    cdef uint8_t* moved
    if bytes.size + size > bytes.room:
        room = 2 * bytes.room + size + 4096
        moved = <uint8_t*> realloc(bytes.data, room)
        if moved == NULL:
            raise MemoryError()
        bytes.data = moved
        bytes.room = room
    memcpy(bytes.data + bytes.size, data, size)
    bytes.size += size
    return 0


cdef int _check(Environment env, int rc) except -1:
    if rc and rc != MDB_NOTFOUND:
        raise store_error(rc, f"cannot read the store in {env._path}")
    return 0


# Which positions

cdef int _compare_positions(const void* left, const void* right) noexcept nogil:
    return memcmp(left, right, POSITION_SIZE)


cdef int _walk(MDB_cursor* cursor, MDB_val key, uint64_t low, uint64_t high, bint closed, Bytes* found) except -2:
    """The positions of a key with ``low <= ~time <= high``, of its open or of its closed runs."""
    cdef uint8_t[POSITION_SIZE] target
    cdef MDB_val value
    cdef int rc
    memset(target, 0, POSITION_SIZE)
    if closed and low == 0:
        low = 1
    _write64(<uint8_t*> target + (0 if closed else 8), low)
    value.mv_data = target
    value.mv_size = POSITION_SIZE
    rc = mdb.cursor_get(cursor, &key, &value, MDB_GET_BOTH_RANGE)
    while rc == 0:
        if not closed and _read64(<uint8_t*> value.mv_data) != 0:
            return 0
        if _read64(<uint8_t*> value.mv_data + (0 if closed else 8)) > high:
            return 0
        _add(found, <uint8_t*> value.mv_data, POSITION_SIZE)
        rc = mdb.cursor_get(cursor, &key, &value, MDB_NEXT_DUP)
    return rc


def positions(Environment env not None, bytes namespace not None, int64_t after, int64_t until):
    """The positions of the runs that closed, or started and are open, after one time and not after another, in order."""
    cdef MDB_cursor* cursor = NULL
    cdef MDB_cursor* walker = NULL
    cdef MDB_val key, value
    cdef Bytes found
    cdef uint64_t low = ~<uint64_t> until
    cdef uint64_t high = ~<uint64_t> after - 1
    cdef MDB_txn* txn
    cdef int rc, walked
    memset(&found, 0, sizeof(found))
    txn = env._begin()
    try:
        rc = mdb.cursor_open(txn, env._home.dbi[BUCKET], &cursor)
        if rc == 0:
            rc = mdb.cursor_open(txn, env._home.dbi[BUCKET], &walker)
        if rc == 0:
            key.mv_data = PyBytes_AS_STRING(namespace)
            key.mv_size = NAMESPACE_SIZE
            rc = mdb.cursor_get(cursor, &key, &value, MDB_SET_RANGE)
        while rc == 0 and memcmp(key.mv_data, PyBytes_AS_STRING(namespace), NAMESPACE_SIZE) == 0:
            for closed in (False, True):
                walked = _walk(walker, key, low, high, closed, &found)
                _check(env, walked)
            rc = mdb.cursor_get(cursor, &key, &value, MDB_NEXT_NODUP)
        _check(env, rc)
        if found.size:
            qsort(found.data, found.size // POSITION_SIZE, POSITION_SIZE, _compare_positions)
        return PyBytes_FromStringAndSize(<char*> found.data, found.size) if found.size else b""
    finally:
        if cursor != NULL:
            mdb.cursor_close(cursor)
        if walker != NULL:
            mdb.cursor_close(walker)
        env._end()
        free(found.data)


def newest(Environment env not None, bytes namespace not None):
    """The latest time that a run closed, or started and is open; 0 when there are none."""
    cdef MDB_cursor* cursor = NULL
    cdef MDB_val key, value
    cdef uint8_t[POSITION_SIZE] target
    cdef uint64_t least = ~<uint64_t> 0, time
    cdef MDB_txn* txn = env._begin()
    cdef int rc
    try:
        rc = mdb.cursor_open(txn, env._home.dbi[BUCKET], &cursor)
        if rc == 0:
            key.mv_data = PyBytes_AS_STRING(namespace)
            key.mv_size = NAMESPACE_SIZE
            rc = mdb.cursor_get(cursor, &key, &value, MDB_SET_RANGE)
        while rc == 0 and memcmp(key.mv_data, PyBytes_AS_STRING(namespace), NAMESPACE_SIZE) == 0:
            time = _read64(<uint8_t*> value.mv_data)
            if time == 0:
                least = min(least, _read64(<uint8_t*> value.mv_data + 8))
                memset(target, 0, POSITION_SIZE)
                target[7] = 1
                value.mv_data = target
                value.mv_size = POSITION_SIZE
                if mdb.cursor_get(cursor, &key, &value, MDB_GET_BOTH_RANGE) == 0:
                    least = min(least, _read64(<uint8_t*> value.mv_data))
            else:
                least = min(least, time)
            rc = mdb.cursor_get(cursor, &key, &value, MDB_NEXT_NODUP)
    finally:
        if cursor != NULL:
            mdb.cursor_close(cursor)
        env._end()
    _check(env, rc)
    return ~least


def merged(list parts not None):
    """Positions of several lists, in order, each once."""
    cdef bytes every = b"".join(parts)
    cdef size_t size = PyBytes_GET_SIZE(every), at, end = 0
    cdef bytes result = PyBytes_FromStringAndSize(PyBytes_AS_STRING(every), size)
    cdef uint8_t* data = <uint8_t*> PyBytes_AS_STRING(result)
    qsort(data, size // POSITION_SIZE, POSITION_SIZE, _compare_positions)
    for at in range(0, size, POSITION_SIZE):
        if end == 0 or memcmp(data + at, data + end - POSITION_SIZE, POSITION_SIZE) != 0:
            memcpy(data + end, data + at, POSITION_SIZE)
            end += POSITION_SIZE
    return result[:end]


def marks(Environment env not None, bytes namespace not None, uint64_t first):
    """The old positions and the new positions of the marks from a number on, and the number after the last."""
    cdef MDB_cursor* cursor = NULL
    cdef MDB_val key, value
    cdef uint8_t[NAMESPACE_SIZE + 8] low
    cdef list olds = [], news = []
    cdef uint8_t[POSITION_SIZE] none
    cdef const uint8_t* at
    cdef MDB_txn* txn = env._begin()
    cdef int rc
    memset(none, 0, POSITION_SIZE)
    memcpy(low, PyBytes_AS_STRING(namespace), NAMESPACE_SIZE)
    _write64(low + NAMESPACE_SIZE, first)
    try:
        rc = mdb.cursor_open(txn, env._home.dbi[MARK], &cursor)
        key.mv_data = low
        key.mv_size = NAMESPACE_SIZE + 8
        if rc == 0:
            rc = mdb.cursor_get(cursor, &key, &value, MDB_SET_RANGE)
        while rc == 0 and key.mv_size == NAMESPACE_SIZE + 8 and value.mv_size == 2 * POSITION_SIZE:
            if memcmp(key.mv_data, low, NAMESPACE_SIZE) != 0:
                break
            first = _read64(<uint8_t*> key.mv_data + NAMESPACE_SIZE) + 1
            at = <const uint8_t*> value.mv_data
            if memcmp(at, none, POSITION_SIZE) != 0:
                olds.append(PyBytes_FromStringAndSize(<const char*> at, POSITION_SIZE))
            if memcmp(at + POSITION_SIZE, none, POSITION_SIZE) != 0:
                news.append(PyBytes_FromStringAndSize(<const char*> at + POSITION_SIZE, POSITION_SIZE))
            rc = mdb.cursor_get(cursor, &key, &value, MDB_NEXT)
    finally:
        if cursor != NULL:
            mdb.cursor_close(cursor)
        env._end()
    _check(env, rc)
    return olds, news, first


def segments(Environment env not None, bytes namespace not None):
    """The numbers of the segments that have columns, published or not."""
    cdef MDB_cursor* cursor = NULL
    cdef MDB_val key, value
    cdef bytes low = namespace + b"\0\0\0\1"
    cdef list found = []
    cdef MDB_txn* txn = env._begin()
    cdef int rc
    try:
        rc = mdb.cursor_open(txn, env._home.dbi[COLUMN], &cursor)
        while rc == 0:
            key.mv_data = PyBytes_AS_STRING(low)
            key.mv_size = NAMESPACE_SIZE + 4
            rc = mdb.cursor_get(cursor, &key, &value, MDB_SET_RANGE)
            if rc or memcmp(key.mv_data, PyBytes_AS_STRING(namespace), NAMESPACE_SIZE) != 0:
                break
            found.append(int.from_bytes((<const uint8_t*> key.mv_data)[NAMESPACE_SIZE:NAMESPACE_SIZE + 4]))
            low = namespace + (found[-1] + 1).to_bytes(4)
    finally:
        if cursor != NULL:
            mdb.cursor_close(cursor)
        env._end()
    _check(env, rc)
    return found


# What records say

cdef const uint8_t* _next(const uint8_t* at, const uint8_t* end, Item* item) noexcept nogil:
    """Read an item and go past it; NULL: it is of another kind, or cut off."""
    cdef uint8_t head
    cdef int i, width
    cdef uint64_t number = 0
    item.text = NULL
    if at >= end:
        return NULL
    head = at[0]
    at += 1
    if head < 0x80 or head >= 0xe0:
        item.number = head if head < 0x80 else <int64_t> head - 256
        return at
    if 0x90 <= head < 0xa0:
        item.number = head & 15
        return at
    if 0xa0 <= head < 0xc0:
        number = head & 31
    elif 0xcc <= head <= 0xd3 or 0xd9 <= head <= 0xdc:
        width = 2 if head == 0xdc else 1 << (head - 0xd9) if head >= 0xd9 else 1 << (head & 3)
        if at + width > end:
            return NULL
        for i in range(width):
            number = number << 8 | at[i]
        at += width
        if head <= 0xd3 or head == 0xdc:
            if 0xd0 <= head <= 0xd3 and width < 8 and number >> (8 * width - 1):
                number -= <uint64_t> 1 << (8 * width)
            item.number = <int64_t> number
            return at
    else:
        return NULL
    if number > <uint64_t> (end - at):
        return NULL
    item.text = at
    item.size = number
    return at + number


cdef int _compare_numbers(const void* left, const void* right) noexcept nogil:
    cdef const Number* a = <const Number*> left
    cdef const Number* b = <const Number*> right
    if a.value != b.value:
        return 1 if a.value > b.value else -1
    return <int> a.row - <int> b.row


cdef int _compare_texts(const void* left, const void* right) noexcept nogil:
    cdef const Text* a = <const Text*> left
    cdef const Text* b = <const Text*> right
    cdef int order = compare_bytes(a.data, a.size, b.data, b.size)
    return order if order else <int> a.row - <int> b.row


@cython.final
cdef class Segment:
    """The rows of a segment to be, filled slice by slice: ``read`` as long as it asks for more."""

    cdef bytes _namespace
    cdef bytes _positions
    cdef size_t _rows
    cdef size_t _read
    cdef Number* _numbers           # NUMBERS times SEGMENT_ROWS
    cdef size_t[NUMBERS] _number_count
    cdef Text* _texts               # TEXTS times SEGMENT_ROWS
    cdef size_t[TEXTS] _text_count
    cdef Bytes _arena
    cdef uint8_t* _buckets
    cdef uint64_t[SEGMENT_WORDS] _dead

    def __init__(self, bytes namespace not None, bytes positions not None):
        """
        Args:
            positions: of the rows, in order.
        """
        self._namespace = namespace
        self._positions = positions
        self._rows = PyBytes_GET_SIZE(positions) // POSITION_SIZE
        if self._rows > SEGMENT_ROWS:
            raise ValueError(f"{self._rows} rows are more than a segment has")
        self._numbers = <Number*> calloc(NUMBERS * SEGMENT_ROWS, sizeof(Number))
        self._texts = <Text*> calloc(TEXTS * SEGMENT_ROWS, sizeof(Text))
        self._buckets = <uint8_t*> calloc(SEGMENT_ROWS, _BUCKET_SIZE)
        if self._numbers == NULL or self._texts == NULL or self._buckets == NULL:
            raise MemoryError()

    def __dealloc__(self):
        free(self._numbers)
        free(self._texts)
        free(self._buckets)
        free(self._arena.data)

    @property
    def rows(self):
        """How many there are."""
        return self._rows

    @property
    def dead(self):
        """A bit for each row whose record was gone when it was read."""
        return PyBytes_FromStringAndSize(<char*> self._dead, (self._rows + 63) // 64 * 8)

    def read(self, Environment env not None, size_t most):
        """Read the next records; False: that was all."""
        cdef uint8_t[RUN_KEY_SIZE] run_key
        cdef MDB_val key, value
        cdef const uint8_t* position
        cdef size_t end = min(self._rows, self._read + most)
        cdef MDB_txn* txn = env._begin()
        cdef int rc = 0
        memcpy(run_key, PyBytes_AS_STRING(self._namespace), NAMESPACE_SIZE)
        try:
            while self._read < end:
                position = <const uint8_t*> PyBytes_AS_STRING(self._positions) + self._read * POSITION_SIZE
                memcpy(run_key + NAMESPACE_SIZE, position + 16, RUN_ID_SIZE)
                key.mv_data = run_key
                key.mv_size = RUN_KEY_SIZE
                rc = mdb.get(txn, env._home.dbi[VISIBILITY], &key, &value)
                _check(env, rc)
                if rc or value.mv_size < ENTRY_SIZE or memcmp(value.mv_data, position, POSITION_SIZE) != 0:
                    self._dead[self._read >> 6] |= <uint64_t> 1 << (self._read & 63)
                else:
                    self._take(<uint16_t> self._read, <const uint8_t*> value.mv_data, value.mv_size)
                self._read += 1
        finally:
            env._end()
        return self._read < self._rows

    cdef int _take(self, uint16_t row, const uint8_t* data, size_t size) except -1:
        # key (namespace id, workflow id, run id), type, task queue, status, start, execution, close, length, bytes,
        # transitions, parent workflow id, parent run id, root workflow id, root run id, ...
        cdef const uint8_t* at = data + ENTRY_SIZE
        cdef const uint8_t* end = data + size
        cdef Item[18] items
        cdef int i
        memcpy(self._buckets + <size_t> row * _BUCKET_SIZE, data + POSITION_SIZE, _BUCKET_SIZE)
        at = _next(at, end, &items[0])
        for i in range(1, 18):
            if at != NULL:
                at = _next(at, end, &items[i])
        if at == NULL:
            raise ValueError("a visibility row is damaged")
        # items: 0 array, 1 array, 2-4 key, 5 type, 6 queue, 7 status, 8 start, 9 execution, 10 close, 11-13, 14-17 ids
        self._number(0, row, items[8].number)
        if items[9].number:
            self._number(1, row, items[9].number)
        if items[10].number:
            self._number(2, row, items[10].number)
            self._number(3, row, items[10].number - (items[9].number if items[9].number else items[8].number))
            for i in range(3):
                self._number(4 + i, row, items[11 + i].number)
        self._text(0, row, &items[3])
        if items[15].size:
            self._text(1, row, &items[15])
        if items[17].size and (
            items[17].size != items[4].size or memcmp(items[17].text, items[4].text, items[4].size) != 0
        ):
            self._text(2, row, &items[17])
        return 0

    cdef void _number(self, int place, uint16_t row, int64_t value) noexcept:
        cdef Number* number = &self._numbers[<size_t> place * SEGMENT_ROWS + self._number_count[place]]
        number.value = value
        number.row = row
        self._number_count[place] += 1

    cdef int _text(self, int place, uint16_t row, Item* item) except -1:
        cdef Text* text = &self._texts[<size_t> place * SEGMENT_ROWS + self._text_count[place]]
        cdef bytes ordered
        if item.text == NULL:
            raise ValueError("a visibility row is damaged")
        text.row = row
        text.offset = <uint32_t> self._arena.size
        if item.size > _PLAIN_TEXT or memchr(item.text, 0, item.size) != NULL:
            ordered = ordered_text((<const char*> item.text)[:item.size].decode("utf-8"))
            _add(&self._arena, <const uint8_t*> PyBytes_AS_STRING(ordered), PyBytes_GET_SIZE(ordered))
        else:
            _add(&self._arena, item.text, item.size)
            _add(&self._arena, <const uint8_t*> b"\0\0", 2)
        text.size = <uint32_t> (self._arena.size - text.offset)
        self._text_count[place] += 1
        return 0

    def number_column(self, int place):
        """The column of a number that records have of themselves; their places are those of ``_sealing.NUMBERS``."""
        cdef Writer writer = Writer()
        cdef Number* numbers = &self._numbers[<size_t> place * SEGMENT_ROWS]
        cdef size_t i, count = self._number_count[place]
        cdef uint8_t[9] term
        qsort(numbers, count, sizeof(Number), _compare_numbers)
        for i in range(count):
            if i == 0 or numbers[i].value != numbers[i - 1].value:
                term[0] = 0x7f if numbers[i].value < 0 else 0x80
                _write64(<uint8_t*> term + 1, <uint64_t> numbers[i].value)
                writer.term(term, 9)
            writer.row(numbers[i].row)
        return writer.finish(<uint32_t> self._rows)

    def text_column(self, int place):
        """The column of a text that records have of themselves; their places are those of ``_sealing.TEXTS``."""
        cdef Writer writer = Writer()
        cdef Text* texts = &self._texts[<size_t> place * SEGMENT_ROWS]
        cdef size_t i, count = self._text_count[place]
        for i in range(count):
            texts[i].data = self._arena.data + texts[i].offset
        qsort(texts, count, sizeof(Text), _compare_texts)
        for i in range(count):
            if i == 0 or compare_bytes(texts[i].data, texts[i].size, texts[i - 1].data, texts[i - 1].size) != 0:
                writer.term(texts[i].data, texts[i].size)
            writer.row(texts[i].row)
        return writer.finish(<uint32_t> self._rows)

    def bucket_column(self):
        """The column of the buckets and statuses."""
        cdef Writer writer = Writer()
        cdef Text* texts = <Text*> calloc(max(self._rows, <size_t> 1), sizeof(Text))
        cdef size_t i, count = 0
        if texts == NULL:
            raise MemoryError()
        try:
            for i in range(self._rows):
                if not self._dead[i >> 6] >> (i & 63) & 1:
                    texts[count].data = self._buckets + i * _BUCKET_SIZE
                    texts[count].size = _BUCKET_SIZE
                    texts[count].row = <uint16_t> i
                    count += 1
            qsort(texts, count, sizeof(Text), _compare_texts)
            for i in range(count):
                if i == 0 or memcmp(texts[i].data, texts[i - 1].data, _BUCKET_SIZE) != 0:
                    writer.term(texts[i].data, _BUCKET_SIZE)
                writer.row(texts[i].row)
            return writer.finish(<uint32_t> self._rows)
        finally:
            free(texts)


# What terms say

@cython.final
cdef class Terms:
    """The terms of one attribute, looked up for several segments at once: ``read`` as long as it asks for more."""

    cdef bytes _attribute
    cdef bytes _positions
    cdef size_t _count
    cdef size_t _rows
    cdef list _writers
    cdef size_t* _met               # of each segment, by how many terms its writer was met first
    cdef size_t _term
    cdef bytes _low                 # the key to go on with ...
    cdef size_t _row                # ... and the row, if it was begun

    def __init__(self, bytes attribute not None, bytes positions not None, size_t rows):
        """
        Args:
            attribute: namespace and number.
            positions: of the rows of all segments, in order.
            rows: how many a segment has; the last one may have fewer.
        """
        cdef size_t segments
        self._attribute = self._low = attribute
        self._positions = positions
        self._count = PyBytes_GET_SIZE(positions) // POSITION_SIZE
        self._rows = rows
        segments = (self._count + rows - 1) // rows
        self._writers = [Writer() for _ in range(segments)]
        self._met = <size_t*> calloc(max(segments, <size_t> 1), sizeof(size_t))
        if self._met == NULL:
            raise MemoryError()

    def __dealloc__(self):
        free(self._met)

    def column(self, size_t segment):
        """The column of a segment; None when no row of it has a term."""
        return (<Writer> self._writers[segment]).finish(
            <uint32_t> min(self._rows, self._count - segment * self._rows)
        )

    def read(self, Environment env not None, size_t most):
        """Look up to so many terms and entries up; False: that was all."""
        cdef MDB_cursor* cursor = NULL
        cdef MDB_val key, value
        cdef size_t size, prefix = PyBytes_GET_SIZE(self._attribute)
        cdef uint8_t[_KEY_ROOM] following
        cdef bytes low = self._low
        cdef MDB_txn* txn = env._begin()
        cdef int rc
        try:
            rc = mdb.cursor_open(txn, env._home.dbi[TERM], &cursor)
            key.mv_data = PyBytes_AS_STRING(low)
            key.mv_size = PyBytes_GET_SIZE(low)
            if rc == 0:
                rc = mdb.cursor_get(cursor, &key, &value, MDB_SET_RANGE)
            if rc == 0 and self._row and (
                key.mv_size != <size_t> PyBytes_GET_SIZE(low) or memcmp(key.mv_data, PyBytes_AS_STRING(low), key.mv_size)
            ):
                self._row = 0
            while rc == 0 and key.mv_size >= prefix and memcmp(
                key.mv_data, PyBytes_AS_STRING(self._attribute), prefix
            ) == 0:
                memcpy(following, key.mv_data, key.mv_size)
                size = key.mv_size
                if most == 0:
                    self._low = PyBytes_FromStringAndSize(<char*> following, size)
                    return True
                most -= 1
                rc = self._match(cursor, &key, &value, prefix, &most)
                if rc == 0 and self._row:
                    self._low = PyBytes_FromStringAndSize(<char*> following, size)
                    return True
                if rc == 0:
                    rc = mdb.cursor_get(cursor, &key, &value, MDB_NEXT_NODUP)
                elif rc == MDB_NOTFOUND:
                    # The cursor looked beyond the key's last entry.
                    self._row = 0
                    following[size] = 0
                    key.mv_data = following
                    key.mv_size = size + 1
                    rc = mdb.cursor_get(cursor, &key, &value, MDB_SET_RANGE)
        finally:
            if cursor != NULL:
                mdb.cursor_close(cursor)
            env._end()
        _check(env, rc)
        return False

    cdef int _add(self, const uint8_t* term, size_t size, size_t row) except -1:
        cdef size_t segment = row // self._rows
        cdef Writer writer = self._writers[segment]
        if self._met[segment] != self._term:
            self._met[segment] = self._term
            writer.term(term, size)
        writer.row(<uint16_t> (row - segment * self._rows))
        return 0

    cdef int _match(self, MDB_cursor* cursor, MDB_val* key, MDB_val* value, size_t prefix, size_t* most) except -2:
        """Add a term with the rows that have it; both its entries and the positions of rows are in order.

        When it has looked at enough, ``_row`` is not 0 and says where to go on."""
        cdef const uint8_t* first = <const uint8_t*> PyBytes_AS_STRING(self._positions)
        cdef uint8_t[ENTRY_SIZE] target
        cdef size_t low = self._row, high, middle, step, several
        cdef int rc = 0
        memset(target, 0, ENTRY_SIZE)
        if low:
            self._row = 0
            memcpy(target, first + low * POSITION_SIZE, POSITION_SIZE)
            value.mv_data = target
            value.mv_size = ENTRY_SIZE
            rc = mdb.cursor_get(cursor, key, value, MDB_GET_BOTH_RANGE)
        else:
            self._term += 1
        while rc == 0:
            # To the first row at or after the entry: in steps that double, then halves.
            step = 1
            high = low
            while high < self._count and memcmp(first + high * POSITION_SIZE, value.mv_data, POSITION_SIZE) < 0:
                low = high + 1
                high += step
                step *= 2
            high = min(high, self._count)
            while low < high:
                middle = (low + high) >> 1
                if memcmp(first + middle * POSITION_SIZE, value.mv_data, POSITION_SIZE) < 0:
                    low = middle + 1
                else:
                    high = middle
            if low == self._count:
                return 0
            if most[0] == 0 and low:
                self._row = low
                return 0
            most[0] -= most[0] > 0
            if memcmp(first + low * POSITION_SIZE, value.mv_data, POSITION_SIZE) == 0:
                self._add(<const uint8_t*> key.mv_data + prefix, key.mv_size - prefix, low)
                low += 1
                rc = mdb.cursor_get(cursor, key, value, MDB_NEXT_DUP)
            else:
                rc = mdb.cursor_count(cursor, &several)
                if rc or several == 1:
                    return rc
                memcpy(target, first + low * POSITION_SIZE, POSITION_SIZE)
                value.mv_data = target
                value.mv_size = ENTRY_SIZE
                rc = mdb.cursor_get(cursor, key, value, MDB_GET_BOTH_RANGE)
        return rc
