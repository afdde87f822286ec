"""The log: what was committed since the last checkpoint, so that it need not be in ``data.mdb`` on the device.

Two segment files, ``log-0`` and ``log-1``, take turns. Each begins with a header; a record is one write transaction's
entries (``_batch``) behind its size, a checksum and its number. Numbers grow by one. A segment is made longer by zeros
before records need the room, so that syncing a record writes the record and no file system journal.

A record counts if it is whole, its number is the one expected and its checksum (CRC-32C over the segment's salt, size,
number and payload) is right. The salt is new each time a segment is begun: what stood there before, or the bytes of a
payload that look like a record, never count. The first record that does not count ends the log.
"""

from libc.errno cimport EINTR, ENOMEM, ENOSPC, errno
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport realloc
from libc.string cimport memcmp, memcpy, memset
from posix.types cimport off_t
from posix.unistd cimport pwrite

cdef extern from *:
    """
    #include <errno.h>
    #include <fcntl.h>
    #include <unistd.h>

    static int perdure_sync(int fd)
    {
    #ifdef __APPLE__
        /* fsync leaves the data in the device's cache there. */
        if (fcntl(fd, F_FULLFSYNC) == 0)
            return 0;
        return fsync(fd);
    #else
        return fdatasync(fd);
    #endif
    }
    """
    int perdure_sync(int) noexcept nogil

cdef enum:
    POLYNOMIAL = 0x82F63B78         # Castagnoli's, bits reversed
    ZEROS = 65536

cdef char* MAGIC = b"perdlog1"
cdef uint8_t[ZEROS] _zeros
memset(_zeros, 0, ZEROS)
cdef uint32_t[8][256] _table


cdef void _make_table() noexcept nogil:
    cdef uint32_t value
    cdef int i, j, _bit
    for i in range(256):
        value = <uint32_t> i
        for _bit in range(8):
            value = (value >> 1) ^ (<uint32_t> POLYNOMIAL if value & 1 else 0)
        _table[0][i] = value
    for i in range(256):
        for j in range(1, 8):
            _table[j][i] = (_table[j - 1][i] >> 8) ^ _table[0][_table[j - 1][i] & 0xFF]


_make_table()


cdef uint32_t crc32c(uint32_t crc, const void* data, size_t size) noexcept nogil:
    """CRC-32C of more bytes after those that gave ``crc`` (0: none)."""
    cdef const uint8_t* at = <const uint8_t*> data
    cdef uint64_t word
    crc = ~crc
    while size >= 8:
        memcpy(&word, at, 8)
        word ^= crc
        crc = (
            _table[7][word & 0xFF] ^ _table[6][(word >> 8) & 0xFF] ^ _table[5][(word >> 16) & 0xFF]
            ^ _table[4][(word >> 24) & 0xFF] ^ _table[3][(word >> 32) & 0xFF] ^ _table[2][(word >> 40) & 0xFF]
            ^ _table[1][(word >> 48) & 0xFF] ^ _table[0][word >> 56]
        )
        at += 8
        size -= 8
    while size:
        crc = _table[0][(crc ^ at[0]) & 0xFF] ^ (crc >> 8)
        at += 1
        size -= 1
    return ~crc


# Files

cdef int sync_file(int fd) noexcept nogil:
    """Put a file's bytes on the device; 0 or errno. After an error nothing in the page cache can be relied on."""
    while perdure_sync(fd) != 0:
        if errno != EINTR:
            return errno
    return 0


cdef int write_at(int fd, const void* data, size_t size, off_t at) noexcept nogil:
    """Write all of it; 0 or errno."""
    cdef const uint8_t* rest = <const uint8_t*> data
    cdef ssize_t written
    while size:
        written = pwrite(fd, rest, size, at)
        if written < 0:
            if errno == EINTR:
                continue
            return errno
        if written == 0:
            return ENOSPC
        rest += written
        at += written
        size -= <size_t> written
    return 0


cdef int log_lengthen(int fd, size_t start, size_t end) noexcept nogil:
    """Write zeros where records will go, and put them on the device."""
    cdef size_t step
    cdef int rc = 0
    while start < end and rc == 0:
        step = min(end - start, <size_t> ZEROS)
        rc = write_at(fd, _zeros, step, <off_t> start)
        start += step
    return rc if rc else sync_file(fd)


# Writing

cdef uint64_t _next_salt(uint64_t salt) noexcept nogil:
    salt += <uint64_t> 0x9E3779B97F4A7C15
    salt = (salt ^ (salt >> 30)) * <uint64_t> 0xBF58476D1CE4E5B9
    salt = (salt ^ (salt >> 27)) * <uint64_t> 0x94D049BB133111EB
    return salt ^ (salt >> 31)


cdef int log_start(Log* log, int segment) noexcept nogil:
    """Go on in a segment whose records nobody needs any more; on an error the log goes on where it was."""
    cdef SegmentHead head
    cdef int rc
    memset(&head, 0, sizeof(SegmentHead))
    memcpy(head.magic, MAGIC, 8)
    head.before = log.salt
    head.salt = _next_salt(log.salt)
    head.first = log.next
    head.checksum = crc32c(0, &head, sizeof(SegmentHead) - 8)
    rc = write_at(log.fd[segment], &head, sizeof(SegmentHead), 0)
    if rc == 0:
        rc = write_at(log.fd[segment], _zeros, SEGMENT_HEAD - sizeof(SegmentHead), sizeof(SegmentHead))
    if rc == 0:
        log.room[segment] = max(log.room[segment], <size_t> SEGMENT_HEAD)
        log.salt = head.salt
        log.segment = segment
        log.end = SEGMENT_HEAD
    return rc


cdef size_t log_space(size_t payload) noexcept nogil:
    """Bytes of a segment that a record takes."""
    return (RECORD_HEAD + payload + 7) & ~<size_t> 7


cdef void log_begin(Log* log) noexcept nogil:
    log.size = RECORD_HEAD


cdef int log_add(Log* log, const uint8_t* data, size_t size) noexcept nogil:
    """Add to the record; 0 or ENOMEM."""
    cdef size_t room
    cdef uint8_t* record
    if log.size + size + 8 > log.record_room:
        room = max(log.record_room * 2, log.size + size + 4096)
        record = <uint8_t*> realloc(log.record, room)
        if record == NULL:
            return ENOMEM
        log.record = record
        log.record_room = room
    memcpy(log.record + log.size, data, size)
    log.size += size
    return 0


cdef int log_write(Log* log) noexcept nogil:
    """Write the record, not yet synced, to the end of the segment; 0 or errno."""
    cdef uint32_t size = <uint32_t> (log.size - RECORD_HEAD)
    cdef uint32_t checksum
    cdef size_t space = log_space(size)
    memcpy(log.record, &size, 4)
    memcpy(log.record + 8, &log.next, 8)
    memset(log.record + log.size, 0, space - log.size)
    checksum = _checksum(log.record, size, log.salt)
    memcpy(log.record + 4, &checksum, 4)
    return write_at(log.fd[log.segment], log.record, space, <off_t> log.end)


cdef void log_count(Log* log) noexcept nogil:
    """What was written holds: the next record follows it."""
    log.end += log_space(log.size - RECORD_HEAD)
    log.next += 1


cdef int log_withdraw(Log* log) noexcept nogil:
    """What was written must not be found; the next record takes its place."""
    return write_at(log.fd[log.segment], _zeros, RECORD_HEAD, <off_t> log.end)


# Reading

cdef uint32_t _checksum(const uint8_t* record, size_t size, uint64_t salt) noexcept nogil:
    cdef uint32_t crc = crc32c(0, &salt, 8)
    crc = crc32c(crc, record, 4)
    return crc32c(crc, record + 8, 8 + size)


cdef bint log_head(const uint8_t* data, size_t size, SegmentHead* head) noexcept nogil:
    """Whether a segment begins with a header."""
    if size < SEGMENT_HEAD:
        return False
    memcpy(head, data, sizeof(SegmentHead))
    return memcmp(head.magic, MAGIC, 8) == 0 and head.checksum == crc32c(0, head, sizeof(SegmentHead) - 8)


cdef size_t log_payload(const uint8_t* data, size_t size, size_t at, uint64_t salt, uint64_t number) noexcept nogil:
    """Bytes of payload of the record at a place; 0 when no record counts there."""
    cdef uint32_t payload, checksum
    cdef uint64_t found
    if at + RECORD_HEAD > size:
        return 0
    memcpy(&payload, data + at, 4)
    memcpy(&checksum, data + at + 4, 4)
    memcpy(&found, data + at + 8, 8)
    if payload == 0 or found != number or payload > size - at - RECORD_HEAD:
        return 0
    return payload if checksum == _checksum(data + at, payload, salt) else 0


def records(bytes segment):
    """What counts in a segment file: ``(salt, salt before, number of the first record, payloads)``.

    None when it has no header. For tests and for looking at what a crash left.
    """
    cdef const uint8_t* data = <const uint8_t*> (<const char*> segment)
    cdef size_t size = len(segment)
    cdef size_t at = SEGMENT_HEAD
    cdef size_t payload
    cdef SegmentHead head
    cdef uint64_t number
    cdef list payloads = []
    if not log_head(data, size, &head):
        return None
    number = head.first
    while True:
        payload = log_payload(data, size, at, head.salt, number)
        if payload == 0:
            return head.salt, head.before, head.first, payloads
        payloads.append((<const char*> data)[at + RECORD_HEAD:at + RECORD_HEAD + payload])
        at += log_space(payload)
        number += 1
