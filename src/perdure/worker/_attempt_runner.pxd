"""What the compiled form of ``_attempt_runner.py`` keeps in C. A new attribute of a class goes here as well."""


cdef class AttemptRunner:
    cdef:
        public object service
        public object namespace
        public object identity
        public object registry
        public object _payload_converter
        public bint _is_plain
        public set _running
        public object _sweeper
        public object loop

    cdef tuple _begin(self, object running)
    cpdef object _decode_args(self, object running)


cdef class _Resumed:
    cdef:
        object _context
        object _coroutine
        object _first
