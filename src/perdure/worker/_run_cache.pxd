"""What the compiled form of ``_run_cache.py`` keeps in C. A new attribute of a class goes here as well."""

cimport cython
from libc.stdint cimport int64_t


cdef class CachedRun:
    cdef:
        public object run
        public int64_t size
        public int64_t started_event_id
        public int64_t new_events


cdef class RunCache:
    cdef:
        public int64_t _max_runs
        public int64_t _max_bytes
        public int64_t _bytes
        public object _runs

    cpdef CachedRun get(self, object run_id)
    @cython.locals(victim=CachedRun)
    cpdef object put(self, object run_id, CachedRun cached, int64_t events)
    @cython.locals(cached=CachedRun)
    cpdef CachedRun pop(self, object run_id)


cpdef object evict(CachedRun cached, object run_id)
