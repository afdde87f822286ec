from libc.stdint cimport uint8_t, uint32_t, uint64_t
from posix.types cimport off_t

cdef enum:
    SEGMENTS = 2
    SEGMENT_SIZE = 16777216
    SEGMENT_HEAD = 4096             # the header has this much to itself
    RECORD_HEAD = 16                # size (4), checksum (4), number (8)
    RECORD_LIMIT = 4194304          # payloads beyond this do not go through the log

cdef struct SegmentHead:
    char[8] magic
    uint64_t salt                   # goes into every checksum: other records of the same place do not fit
    uint64_t before                 # the salt of the segment that this one continues
    uint64_t first                  # number of its first record
    uint32_t checksum               # of what stands above
    uint32_t unused

cdef struct Log:
    int[SEGMENTS] fd
    int[SEGMENTS] helper_fd         # opened apart: an error of a sync is told once to each
    size_t[SEGMENTS] room           # bytes from the start that were written before: records there lengthen no file
    int segment                     # the one that is written
    size_t end                      # where its next record goes ...
    uint64_t next                   # ... and that record's number
    uint64_t salt
    # The record that is being put together; its head is filled in last.
    uint8_t* record
    size_t record_room
    size_t size

cdef int sync_file(int fd) noexcept nogil
cdef int write_at(int fd, const void* data, size_t size, off_t at) noexcept nogil
cdef uint32_t crc32c(uint32_t crc, const void* data, size_t size) noexcept nogil

cdef int log_start(Log* log, int segment) noexcept nogil
cdef int log_lengthen(int fd, size_t start, size_t end) noexcept nogil

# A record: begin, add, write, then either count it or withdraw it.
cdef void log_begin(Log* log) noexcept nogil
cdef int log_add(Log* log, const uint8_t* data, size_t size) noexcept nogil
cdef int log_write(Log* log) noexcept nogil
cdef void log_count(Log* log) noexcept nogil
cdef int log_withdraw(Log* log) noexcept nogil
cdef size_t log_space(size_t payload) noexcept nogil

# Reading what another process left.
cdef bint log_head(const uint8_t* data, size_t size, SegmentHead* head) noexcept nogil
cdef size_t log_payload(const uint8_t* data, size_t size, size_t at, uint64_t salt, uint64_t number) noexcept nogil
