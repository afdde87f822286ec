"""SipHash-1-3 with key (0, 0): the seed every Temporal SDK built on its core derives from a run id."""

from libc.stdint cimport uint64_t


cdef inline uint64_t rotate(uint64_t value, int by) noexcept nogil:
    return (value << by) | (value >> (64 - by))


cdef inline void sip_round(uint64_t* v) noexcept nogil:
    v[0] += v[1]
    v[1] = rotate(v[1], 13) ^ v[0]
    v[0] = rotate(v[0], 32)
    v[2] += v[3]
    v[3] = rotate(v[3], 16) ^ v[2]
    v[0] += v[3]
    v[3] = rotate(v[3], 21) ^ v[0]
    v[2] += v[1]
    v[1] = rotate(v[1], 17) ^ v[2]
    v[2] = rotate(v[2], 32)


cdef uint64_t seed_of(str run_id):
    cdef bytes data = run_id.encode() + b"\xff"
    cdef const unsigned char* p = data
    cdef Py_ssize_t length = len(data), i, j
    cdef uint64_t[4] v
    cdef uint64_t m
    v[0] = 0x736F6D6570736575u
    v[1] = 0x646F72616E646F6Du
    v[2] = 0x6C7967656E657261u
    v[3] = 0x7465646279746573u
    i = 0
    while i + 8 <= length:
        m = 0
        for j in range(8):
            m |= (<uint64_t> p[i + j]) << (8 * j)
        v[3] ^= m
        sip_round(v)
        v[0] ^= m
        i += 8
    m = (<uint64_t> length) << 56
    for j in range(length - i):
        m |= (<uint64_t> p[i + j]) << (8 * j)
    v[3] ^= m
    sip_round(v)
    v[0] ^= m
    v[2] ^= 0xFF
    for _round in range(3):
        sip_round(v)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def random_seed(str run_id not None):
    """The seed of a run's random numbers, from its original execution run id."""
    return seed_of(run_id)
