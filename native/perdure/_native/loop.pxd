from cpython.object cimport PyObject
from libc.stdint cimport int64_t


cdef class Handle:
    cdef:
        object _callback
        tuple _args
        object _context
        Handle _next           # the queue is a chain through its handles
        bint _cancelled

    cdef int run(self) except -1


cdef class TimerHandle(Handle):
    cdef:
        WorkflowLoopCore _loop
        double _when
        object _timer          # what the owner made for it; has cancel()
        bint _fired


cdef class WorkflowLoopCore:
    cdef:
        readonly object owner
        public int64_t time_ns
        Handle _head
        Handle _tail
        bint _running
        bint _closing
        bint _closed
        readonly bint is_stuck  # closed, but for a coroutine that goes on however often it is closed
        object _stop           # exception that ends run_until_idle() before the next callback
        object _exception_handler
        object _outer_loop     # what was running on this thread before us, put back when we stop
        object _outer_task
        PyObject* _firstiter
        PyObject* _finalizer
        list _tasks            # unfinished tasks in creation order, finished ones swept now and then
        Py_ssize_t _sweep_at
        int64_t _task_count    # tasks made so far
        int64_t _number        # tasks and futures made so far

    cdef int push(self, Handle handle) except -1
    cdef Handle soon(self, object callback, tuple args, object context)
    cdef int drain(self) except -1
    cdef int enter(self) except -1
    cdef int leave(self) except -1
    cdef int report(self, object error, Handle handle) except -1
    cdef int adopt(self, object task) except -1
    cdef object timer(self, int64_t delay_ns, double when, object callback, tuple args, object context)
    cdef object task_name(self, object name)
    cdef object add_task(self, object task)
    cdef int close_tasks(self) except -1
    cdef object new_task(self, object coro, object name, object context)
    cdef object new_future(self)
    cdef int number(self, object future) except -1
