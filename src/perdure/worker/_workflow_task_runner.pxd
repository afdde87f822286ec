"""What the compiled form of ``_workflow_task_runner.py`` keeps in C. A new attribute of a class goes here as well."""

cimport cython
from libc.stdint cimport int64_t

from perdure.worker._run_cache cimport CachedRun, RunCache


cdef class WorkflowTaskRunner:
    cdef:
        public object service
        public object eager_activities
        public object run_class
        public object _options
        public object _registry
        public RunCache _cache
        public object _sticky_attributes
        public str _build_id
        public object _deployment_options
        public int64_t _default_versioning_behavior
        public bint _has_codec
        public bint _is_leaving
        public dict _busy

    @cython.locals(cached=CachedRun, events=list)
    cdef tuple _turn(self, object task)
    @cython.locals(cached=CachedRun)
    cpdef CachedRun _known(self, object task, object run_id, list events)
    cpdef CachedRun _new_run(self, object task, object execution)
    @cython.locals(held=CachedRun, victim=CachedRun)
    cpdef object _evict(self, object run_id, CachedRun cached=*)
