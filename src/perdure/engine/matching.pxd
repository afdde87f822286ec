"""What the compiled form of ``matching.py`` keeps in C. A new attribute of a class goes here as well."""

cimport cython


cdef class Poller:
    cdef public object future
    cdef public str identity


cdef class TaskQueue:
    cdef dict __dict__
    cdef:
        public str name
        public object tasks
        public object pollers
        public double last_poll
        public dict identities
        public long long added
        public long long dispatched
        public double created
        public double step_began
        public object steps

    cpdef object count(self, double now, long long added, long long dispatched)
    @cython.locals(poller=Poller)
    cpdef object add(self, object task)
    @cython.locals(poller=Poller)
    cpdef object put_back(self, object task)
    @cython.locals(poller=Poller)
    cpdef Poller reserve(self)
    cpdef bint has_recent_poller(self, double now)


cdef class Matching:
    cdef:
        public object _loop
        public object _deadlines
        public dict _queues
        public dict aliases
        public object on_new_queue

    cpdef TaskQueue queue(self, str namespace_id, object kind, str name)
    cpdef TaskQueue known(self, str namespace_id, object kind, str name)
