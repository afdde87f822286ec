"""A deterministic asyncio event loop for workflow code.

The stock (C) asyncio task and future classes run on it unchanged. What makes it deterministic:

* one FIFO queue of ready callbacks and nothing else: no selector, no clock, no threads;
* a timer is whatever the owner makes of it (a Temporal timer); the owner fires its handle;
* tasks and futures carry a number given at creation, and hash by it, so that sets of them iterate in an order that
  depends on the program alone. Ordinary futures hash by memory address;
* task names count per loop, not per process.

The owner is asked for three things: ``_loop_timer(delay_ns, handle)`` returns an object with ``cancel()``;
``_loop_exception(context)`` hears of exceptions nobody caught; and it calls :meth:`WorkflowLoop.run_until_idle`.
"""

import asyncio
import gc
import sys
import weakref
from asyncio import events as _events
from asyncio.events import AbstractEventLoop

cimport cython
from cpython.object cimport PyObject, PyObject_CallObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from libc.stdint cimport int64_t


cdef extern from *:
    """
    /* Task and Future with a creation number behind the base's fields, and a hash made of it.
       Until the number is set the hash is the address: asyncio itself hashes a task while it is being made. */
    static Py_ssize_t perdure_number_at[2];

    static inline int64_t *perdure_number(PyObject *self, int kind) {
        return (int64_t *)((char *)self + perdure_number_at[kind]);
    }
    static Py_hash_t perdure_hash(PyObject *self, int kind) {
        int64_t number = *perdure_number(self, kind);
        return number ? (Py_hash_t)number : (Py_hash_t)((size_t)self >> 4);
    }
    static Py_hash_t perdure_hash_task(PyObject *self) { return perdure_hash(self, 0); }
    static Py_hash_t perdure_hash_future(PyObject *self) { return perdure_hash(self, 1); }

    static PyObject *perdure_numbered_type(const char *name, const char *doc, PyObject *base, int kind) {
        Py_ssize_t size = ((PyTypeObject *)base)->tp_basicsize;
        PyType_Slot slots[] = {
            {Py_tp_hash, kind ? (void *)perdure_hash_future : (void *)perdure_hash_task},
            {Py_tp_doc, (void *)doc},
            {0, NULL},
        };
        PyType_Spec spec = {name, (int)(size + sizeof(int64_t)), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, slots};
        PyObject *bases = PyTuple_Pack(1, base), *type;
        if (bases == NULL) return NULL;
        perdure_number_at[kind] = size;
        type = PyType_FromSpecWithBases(&spec, bases);
        Py_DECREF(bases);
        return type;
    }
    """
    object perdure_numbered_type(const char* name, const char* doc, object base, int kind)
    int64_t* perdure_number(object self, int kind)


cdef extern from "Python.h":
    int PyContext_Enter(object context) except -1
    int PyContext_Exit(object context) except -1
    object PyContext_CopyCurrent()
    ctypedef struct PyThreadState:
        PyObject* async_gen_firstiter
        PyObject* async_gen_finalizer
    PyThreadState* PyThreadState_Get()


cdef enum:
    KIND_TASK = 0
    KIND_FUTURE = 1

Task = perdure_numbered_type(
    b"perdure._native.loop.Task", b"An asyncio task numbered at creation.", asyncio.Task, KIND_TASK)
Future = perdure_numbered_type(
    b"perdure._native.loop.Future", b"An asyncio future numbered at creation.", asyncio.Future, KIND_FUTURE)

# Seconds; what nanoseconds can count from 1970 on ends in 2262.
cdef double LONGEST_TIMER = 100 * 365.25 * 86400


cdef int raise_endless(object seconds) except -1:
    raise ValueError(
        f"A workflow timer of {seconds!r} seconds: it ends within 100 years; to wait without an end, await "
        "workflow.wait_condition(), an asyncio.Event or a future.")


cdef object _Task = Task
cdef object _Future = Future
cdef object _set_running_loop = _events._set_running_loop
cdef object _get_running_loop = _events._get_running_loop
# From 3.14 the current task belongs to the thread, not to the loop, so the outer loop's one steps aside.
cdef object _swap_current_task = asyncio.tasks._swap_current_task if sys.version_info >= (3, 14) else None
cdef tuple _names = tuple([f"Task-{n}" for n in range(1, 257)])
cdef tuple _nothing = ()
cdef bint _collecting = False   # the garbage collector is at work; kept by a callback of install()
cdef list _stuck = []          # coroutines that cannot be closed; kept so that no other thread ever runs them


@cython.freelist(256)
@cython.trashcan(True)
cdef class Handle:
    """A callback in the ready queue; see :class:`asyncio.Handle`."""

    def __init__(self):
        raise TypeError("A Handle is made by WorkflowLoop.call_soon().")

    cdef int run(self) except -1:
        PyContext_Enter(self._context)
        try:
            PyObject_CallObject(self._callback, self._args)
        finally:
            PyContext_Exit(self._context)
        return 0

    def cancel(self):
        """Forget the callback; it will not run."""
        self._cancelled = True
        self._callback = None
        self._args = _nothing

    def cancelled(self):
        """Whether :meth:`cancel` was called."""
        return self._cancelled

    def get_context(self):
        """The context the callback runs in."""
        return self._context

    def __repr__(self):
        return f"<{type(self).__name__} {'cancelled' if self._cancelled else self._callback!r}>"


cdef class TimerHandle(Handle):
    """A callback that waits for the owner to call :meth:`fire`; see :class:`asyncio.TimerHandle`."""

    def when(self):
        """The loop time at which the callback is due."""
        return self._when

    def fire(self):
        """Put the callback into the ready queue. The owner calls this, once, when the timer has fired."""
        if self._fired or self._cancelled:
            return
        self._fired = True
        self._timer = None
        self._loop.push(self)

    def cancel(self):
        """Forget the callback and cancel the owner's timer."""
        cdef object timer = self._timer
        if self._cancelled:
            return
        Handle.cancel(self)
        self._timer = None
        if timer is not None and not self._loop._closing:
            timer.cancel()


cdef Handle new_handle(object callback, tuple args, object context):
    cdef Handle handle = Handle.__new__(Handle)
    handle._callback = callback
    handle._args = args
    handle._context = PyContext_CopyCurrent() if context is None else context
    return handle


cdef class WorkflowLoopCore:
    """The compiled part of :class:`WorkflowLoop`."""

    def __init__(self, owner):
        self.owner = owner
        self._tasks = []
        self._sweep_at = 32

    # --- the queue

    cdef int push(self, Handle handle) except -1:
        if self._closing:
            return 0
        if self._tail is None:
            self._head = handle
        else:
            self._tail._next = handle
        self._tail = handle
        return 0

    cdef Handle soon(self, object callback, tuple args, object context):
        cdef Handle handle = new_handle(callback, args, context)
        self.push(handle)
        return handle

    cdef int drain(self) except -1:
        cdef Handle handle
        while self._head is not None:
            if self._stop is not None:
                error, self._stop = self._stop, None
                raise error
            handle = self._head
            self._head = handle._next
            if self._head is None:
                self._tail = None
            else:
                handle._next = None
            if handle._cancelled:
                continue
            try:
                handle.run()
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as error:
                self.report(error, handle)
        if self._stop is not None:
            error, self._stop = self._stop, None
            raise error
        return 0

    cdef int report(self, object error, Handle handle) except -1:
        self.call_exception_handler(
            {"message": f"Exception in callback {handle!r}", "exception": error, "handle": handle})
        return 0

    def run_until_idle(self):
        """Run ready callbacks, in order, until there are none.

        Exceptions of callbacks go to the owner. SystemExit, KeyboardInterrupt and an exception given to :meth:`stop_with`
        come out of here; callbacks not yet run stay queued.
        """
        if self._head is None and self._stop is None:
            return
        if self._running:
            raise RuntimeError("This workflow loop is already running: workflow code cannot run it again.")
        if self._closed:
            raise RuntimeError("This workflow loop is closed: its run was evicted or has ended.")
        self.enter()
        try:
            self.drain()
        finally:
            self.leave()

    cdef int enter(self) except -1:
        cdef PyThreadState* state = PyThreadState_Get()
        self._outer_loop = _get_running_loop()
        if _swap_current_task is not None and self._outer_loop is not None:
            self._outer_task = _swap_current_task(self._outer_loop, None)
        _set_running_loop(self)
        # Async generators must not register with the outer loop.
        self._firstiter = state.async_gen_firstiter
        self._finalizer = state.async_gen_finalizer
        finalizer = self._dropped
        Py_INCREF(finalizer)
        state.async_gen_firstiter = NULL
        state.async_gen_finalizer = <PyObject*> finalizer
        self._running = True
        return 0

    cdef int leave(self) except -1:
        cdef PyThreadState* state = PyThreadState_Get()
        self._running = False
        Py_XDECREF(state.async_gen_firstiter)
        Py_XDECREF(state.async_gen_finalizer)
        state.async_gen_firstiter = self._firstiter
        state.async_gen_finalizer = self._finalizer
        outer, self._outer_loop = self._outer_loop, None
        task, self._outer_task = self._outer_task, None
        _set_running_loop(outer)
        if task is not None:
            _swap_current_task(outer, task)
        return 0

    def _dropped(self, generator):
        # An async generator was dropped unfinished: as asyncio does, a task closes it. Not when the garbage collector
        # found it, for the moment of that is not the program's; and not once the run is over.
        if self._running and not self._closing and not _collecting:
            self.new_task(generator.aclose(), None, None)

    def stop_with(self, error not None):
        """Make :meth:`run_until_idle` raise ``error`` before it runs another callback."""
        self._stop = error

    def has_ready(self):
        """Whether a callback waits to run."""
        return self._head is not None

    # --- what asyncio asks of a loop

    def call_soon(self, callback, *args, context=None):
        """Run ``callback(*args)`` after the callbacks that are ready now."""
        if _adopting and is_step(callback):
            self.adopt(callback.__self__)
        return self.soon(callback, args, context)

    def call_soon_threadsafe(self, callback, *args, context=None):
        """As :meth:`call_soon`; refused on any other thread than the one that runs this workflow."""
        if not self._running or _get_running_loop() is not self:
            raise RuntimeError(
                "call_soon_threadsafe() on a workflow's loop from outside the workflow: a workflow cannot be woken by "
                "threads; send it a signal or an update.")
        return self.soon(callback, args, context)

    def call_later(self, delay, callback, *args, context=None):
        """Run ``callback(*args)`` in ``delay`` seconds, by a timer of the owner."""
        cdef double seconds = delay
        if not seconds >= 0:
            raise ValueError(f"call_later() with a delay of {delay!r} seconds: it must be zero or more.")
        if seconds > LONGEST_TIMER:
            raise_endless(delay)
        return self.timer(<int64_t> (seconds * 1e9 + 0.5), self.time() + seconds, callback, args, context)

    def call_at(self, when, callback, *args, context=None):
        """Run ``callback(*args)`` at loop time ``when``, rounded to the millisecond, by a timer of the owner."""
        cdef double seconds = when
        cdef int64_t delay_ms
        if not seconds - self.time_ns / 1e9 <= LONGEST_TIMER:
            raise_endless(when)
        delay_ms = <int64_t> (max(seconds - self.time_ns / 1e9, 0.0) * 1e3 + 0.5)
        return self.timer(delay_ms * 1000000, seconds, callback, args, context)

    cdef int adopt(self, object task) except -1:
        # a task made without this loop, seen at its first step
        if type(task) is not _Task and task not in self._tasks:
            self._tasks.append(task)
        return 0

    cdef object timer(self, int64_t delay_ns, double when, object callback, tuple args, object context):
        cdef TimerHandle handle = TimerHandle.__new__(TimerHandle)
        handle._callback = callback
        handle._args = args
        handle._context = PyContext_CopyCurrent() if context is None else context
        handle._loop = self
        handle._when = when
        if not self._closing:
            handle._timer = self.owner._loop_timer(delay_ns, handle)
        return handle

    def time(self):
        """The workflow's time in seconds; set by the owner, it stands still while callbacks run."""
        return self.time_ns / 1e9

    def create_future(self):
        """A future numbered at creation."""
        return self.new_future()

    def create_task(self, coro, *, name=None, context=None, eager_start=None):
        """A task numbered and, unless ``name`` is given, named by this loop's count."""
        if eager_start:
            return self.add_task(_Task(coro, loop=self, name=self.task_name(name), context=context, eager_start=True))
        return self.new_task(coro, name, context)

    cdef object task_name(self, object name):
        self._task_count += 1
        if name is not None:
            return name
        if self._task_count <= 256:
            return _names[self._task_count - 1]
        return f"Task-{self._task_count}"

    cdef object new_task(self, object coro, object name, object context):
        return self.add_task(_Task(coro, loop=self, name=self.task_name(name), context=context))

    cdef object add_task(self, object task):
        cdef list tasks = self._tasks
        self._number += 1
        perdure_number(task, KIND_TASK)[0] = self._number
        if len(tasks) >= self._sweep_at:
            tasks[:] = [t for t in tasks if not t.done()]
            self._sweep_at = max(2 * len(tasks), 32)
        tasks.append(task)
        return task

    cdef object new_future(self):
        future = _Future(loop=self)
        self.number(future)
        return future

    cdef int number(self, object future) except -1:
        """Number an instance of Future that was not made here, a subclass's for instance."""
        self._number += 1
        perdure_number(future, KIND_FUTURE)[0] = self._number
        return 0

    def tasks(self):
        """The unfinished tasks of this loop, oldest first."""
        return [task for task in self._tasks if not task.done()]

    def get_task_factory(self):
        """None: tasks are always this loop's own."""
        return None

    def get_debug(self):
        """False: asyncio's debug mode is not for workflows."""
        return False

    def is_running(self):
        """Whether callbacks are being run."""
        return self._running

    def is_closed(self):
        """Whether :meth:`close` was called."""
        return self._closed or self._closing

    def call_exception_handler(self, context):
        """Tell the exception handler, or else the owner, of an exception nobody caught."""
        if self._closing:
            return
        handler = self._exception_handler
        if handler is None:
            self.owner._loop_exception(context)
            return
        try:
            handler(self, context)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self.owner._loop_exception(
                {"message": "Exception in the loop's exception handler", "exception": error, "context": context})

    def default_exception_handler(self, context):
        """Tell the owner of an exception nobody caught."""
        if not self._closing:
            self.owner._loop_exception(context)

    def get_exception_handler(self):
        """What :meth:`set_exception_handler` was given, or None."""
        return self._exception_handler

    def set_exception_handler(self, handler):
        """Have ``handler(loop, context)`` called in place of the owner's; None undoes it."""
        if handler is not None and not callable(handler):
            raise TypeError(f"set_exception_handler() takes a callable or None, not {handler!r}.")
        self._exception_handler = handler

    # --- the end

    def close(self):
        """Close every coroutine still open, here and now, and drop the queue. Safe to repeat.

        From the first moment :meth:`is_closed` is true, timers are not asked of the owner and nothing is queued, so
        ``finally`` blocks run without effect on the workflow. Code that goes on awaiting has its next await closed too.
        """
        cdef Handle handle
        if self._closed or self._closing:
            return
        if self._running:
            raise RuntimeError("This workflow loop is running: it cannot be closed from inside its workflow.")
        self._closing = True
        try:
            if self._tasks:
                self.enter()
                try:
                    self.close_tasks()
                finally:
                    self.leave()
        finally:
            self._closed = True
            self.owner = None                  # who holds the loop: a cycle, were it to stay
            self._tasks = []
            self._tail = None
            while self._head is not None:      # one by one: freeing a chain recurses
                handle = self._head
                self._head = handle._next
                handle._next = None

    cdef int close_tasks(self) except -1:
        cdef Py_ssize_t index = 0
        interrupt = None
        while index < len(self._tasks):        # a finally block may make another task
            task = self._tasks[index]
            index += 1
            if task.done():
                continue
            task._log_destroy_pending = False
            coro = task.get_coro()
            try:
                if coro is not None and not close_coroutine(coro):
                    _stuck.append(coro)
                    self.is_stuck = True
            except KeyboardInterrupt as error:
                interrupt = error
        if interrupt is not None:
            raise interrupt
        return 0


class _WorkflowBeingEvictedError(BaseException):
    """Raised in a workflow's coroutines when it leaves memory; named as in Temporal's SDK, for code that looks."""


cdef int close_coroutine(object coro) except -1:
    # 1 once closed. Each attempt ends one more of the awaits a coroutine adds when it should finish.
    cdef int attempt
    for attempt in range(1000):
        try:
            if attempt == 0:
                coro.throw(_WorkflowBeingEvictedError())
                continue
            coro.close()
        except KeyboardInterrupt:
            raise
        except BaseException:
            if getattr(coro, "cr_frame", None) is None and getattr(coro, "gi_frame", None) is None:
                return 1
        else:
            return 1
    return 0


def number_of(future):
    """The creation number of a future of a workflow loop; 0 if it has none.

    Futures that the loop did not make itself get one by :func:`give_number`.
    """
    if isinstance(future, _Task):
        return perdure_number(future, KIND_TASK)[0]
    if isinstance(future, _Future):
        return perdure_number(future, KIND_FUTURE)[0]
    return getattr(future, "_perdure_number", 0)


def give_number(future, WorkflowLoopCore loop not None):
    """Number a future the loop did not make, at its first use that needs an order."""
    loop._number += 1
    future._perdure_number = loop._number
    return loop._number


def current_loop():
    """The workflow loop running on this thread, or None."""
    loop = _get_running_loop()
    return loop if isinstance(loop, WorkflowLoopCore) else None


def install():
    """Teach asyncio's own registry of tasks about workflow loops. Safe to repeat.

    Up to Python 3.13 asyncio keeps every task of the process in one WeakSet. Tasks of a workflow loop stay out of it: the
    loop keeps its own, which is also how it learns of tasks made without it, by ``asyncio.Task(...)``. From Python 3.14
    on the registry is asyncio's alone, and a loop learns of such tasks when they ask it for their first step.
    """
    global _adopting, _installed
    if _installed:
        return
    _installed = True
    gc.callbacks.append(_note_collection)
    registry = getattr(asyncio.tasks, "_scheduled_tasks", getattr(asyncio.tasks, "_all_tasks", None))
    if sys.version_info >= (3, 14):
        _adopting = True
    elif isinstance(registry, weakref.WeakSet):
        registry.add = _Register(registry.add)


cdef bint _installed = False
cdef bint _adopting = False
cdef object _Step = None    # what a task asks its loop to call: known once the first was seen


cdef inline bint is_step(object callback):
    global _Step
    if _Step is None and type(callback).__name__ == "TaskStepMethWrapper":
        _Step = type(callback)
    return type(callback) is _Step


def _note_collection(phase, info):
    global _collecting
    _collecting = phase == "start"


cdef class _Register:
    cdef object _add

    def __init__(self, add):
        self._add = add

    def __call__(self, task):
        if type(task) is _Task:
            return
        loop = task.get_loop()
        if isinstance(loop, WorkflowLoopCore):
            (<WorkflowLoopCore> loop)._tasks.append(task)
        else:
            self._add(task)


class WorkflowLoop(WorkflowLoopCore, AbstractEventLoop):
    """The event loop of one workflow run; made and driven by its owner."""
    __slots__ = ()


def _refuse(str name, str cure):
    def refused(self, *args, **kwargs):
        raise RuntimeError(f"{name}() was called on the event loop of a workflow: {cure}.")

    refused.__name__ = name
    refused.__qualname__ = f"WorkflowLoop.{name}"
    refused.__doc__ = f"Refused: {cure}."
    setattr(WorkflowLoop, name, refused)


cdef str _WORKER = "the worker runs it, workflow code cannot"
cdef str _THREAD = "a workflow has no threads (asyncio.to_thread() ends here too); do this in an activity"
cdef str _INPUT = "a workflow does no input or output of its own; do this in an activity"

for _cure, _methods in (
    (_WORKER, "run_forever run_until_complete stop shutdown_asyncgens shutdown_default_executor set_task_factory "
              "set_debug"),
    (_THREAD, "run_in_executor set_default_executor"),
    ("a workflow gets no signals of the operating system; send it a workflow signal",
     "add_signal_handler remove_signal_handler"),
    ("a workflow starts no processes; do this in an activity", "subprocess_shell subprocess_exec"),
    (_INPUT, "getaddrinfo getnameinfo create_connection create_server sendfile start_tls create_unix_connection "
             "create_unix_server connect_accepted_socket create_datagram_endpoint connect_read_pipe "
             "connect_write_pipe add_reader remove_reader add_writer remove_writer sock_recv sock_recv_into "
             "sock_recvfrom sock_recvfrom_into sock_sendall sock_sendto sock_connect sock_accept sock_sendfile"),
):
    for _method in _methods.split():
        _refuse(_method, _cure)
