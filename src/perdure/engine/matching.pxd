"""What the compiled form of ``matching.py`` keeps in C. A new attribute of a class goes here as well."""

cimport cython

from perdure._native.mutable_state cimport ActivityInfo
from perdure.engine.deadlines cimport Deadlines
from perdure.engine.run cimport Run


cdef class Poller:
    cdef public object future
    cdef public str identity
    cdef public object watch


cdef class LocalPoller(Poller):
    pass


cdef class TaskQueue:
    cdef dict __dict__
    cdef:
        public str name
        public object tasks
        public object pollers
        public double last_poll
        public double last_local_poll
        public dict identities
        public long long added
        public long long dispatched
        public double created
        public double step_began
        public object steps

    cpdef object count(self, double now, long long added, long long dispatched)
    @cython.locals(poller=Poller, now=double)
    cpdef bint add(self, object task) except -1
    @cython.locals(poller=Poller)
    cpdef object put_back(self, object task)
    @cython.locals(poller=Poller)
    cpdef Poller reserve(self)
    cpdef bint has_recent_poller(self, double now)


cdef class StartedActivity:
    cdef:
        public object owner
        public Run run
        public ActivityInfo activity
        public object response
        public TaskQueue queue
        public Poller poller

    cpdef object deliver(self)
    cpdef object fail(self)
    cpdef object give_back(self)


cdef class Matching:
    cdef:
        public object _loop
        public Deadlines _deadlines
        public dict _queues
        public dict aliases
        public object on_new_queue

    cpdef TaskQueue queue(self, str namespace_id, object kind, str name)
    cpdef TaskQueue known(self, str namespace_id, object kind, str name)
    @cython.locals(now=double)
    cpdef object take(self, TaskQueue queue, str identity, bint is_local)
    @cython.locals(poller=Poller)
    cpdef Poller enter(self, TaskQueue queue, str identity, double timeout, bint is_local)
    @cython.locals(now=double)
    cpdef object leave(self, TaskQueue queue, Poller poller, object task)
    cpdef object abandon(self, TaskQueue queue, Poller poller)
