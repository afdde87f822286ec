from libc.stdint cimport uint64_t

cdef uint64_t seed_of(str run_id)
