"""The determinism guard: what the clock, randomness and the outside world are while workflow code runs.

:func:`install` redirects entry points of the standard library. As long as a thread is between :func:`enter` and
:func:`leave`, clocks, ``random`` and ``uuid4`` give the run's own values there, and files, sockets, threads, processes, the
environment and blocking calls raise an error that names file, line and cure. Everywhere else the redirection is one
test of a thread-local flag.

Functions written in C are redirected in their ``PyMethodDef``, so that the function object stays the same and a
``from time import time`` done long before is covered, as are methods of built-in types such as ``datetime.now``.
Functions written in Python are replaced where they are looked up, or have their code exchanged.

What is let through, because it only observes or loads: imports, ``logging``, the garbage collector's finalizers, tracebacks
and debuggers, and every module named by :func:`allow`. What the guard cannot see: C extensions that call the
operating system themselves.
"""

import _random
import datetime as _datetime
import functools
import gc
import importlib
import os
import random
import sys
import threading
import time
import types
import uuid

cimport cython
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport uint64_t
from libc.stdlib cimport calloc


cdef extern from *:
    """
    #ifdef _MSC_VER
    #define PERDURE_TLS __declspec(thread)
    #define PERDURE_RARELY(x) (x)
    #else
    #define PERDURE_TLS __thread
    #define PERDURE_RARELY(x) __builtin_expect(!!(x), 0)
    #endif

    static PERDURE_TLS int perdure_on;                    /* this thread runs workflow code, guard not suspended */

    enum { PERDURE_SLOTS = 400 };
    static void *perdure_stock[PERDURE_SLOTS];            /* the C function that was there */
    static int perdure_flags[PERDURE_SLOTS];
    static PyObject *perdure_pass;                        /* an action's answer: go on as if nothing were */
    static PyObject *(*perdure_act)(int, PyObject *, PyObject *, PyObject *);

    typedef PyObject *(*perdure_plain)(PyObject *, PyObject *);
    typedef PyObject *(*perdure_keywords)(PyObject *, PyObject *, PyObject *);
    typedef PyObject *(*perdure_fast)(PyObject *, PyObject *const *, Py_ssize_t);
    typedef PyObject *(*perdure_fastkw)(PyObject *, PyObject *const *, Py_ssize_t, PyObject *);
    typedef PyObject *(*perdure_method)(PyObject *, PyTypeObject *, PyObject *const *, size_t, PyObject *);

    /* Takes over args and kwargs. */
    static PyObject *perdure_ask(int slot, PyObject *self, PyObject *args, PyObject *kwargs) {
        PyObject *answer = NULL;
        if (args != NULL) answer = perdure_act(slot, self ? self : Py_None, args, kwargs ? kwargs : Py_None);
        Py_XDECREF(args);
        Py_XDECREF(kwargs);
        if (answer == perdure_pass) Py_DECREF(answer);    /* immortal enough: the module owns one */
        return answer;
    }
    static PyObject *perdure_ask_plain(int slot, PyObject *self, PyObject *args) {
        PyObject *tuple;
        if (perdure_flags[slot] & METH_NOARGS) tuple = PyTuple_New(0);
        else if (perdure_flags[slot] & METH_O) tuple = PyTuple_Pack(1, args);
        else { Py_INCREF(args); tuple = args; }
        return perdure_ask(slot, self, tuple, NULL);
    }
    static PyObject *perdure_ask_fast(int slot, PyObject *self, PyObject *const *args, Py_ssize_t count,
                                      PyObject *names) {
        PyObject *tuple = PyTuple_New(count), *kwargs = NULL;
        Py_ssize_t i;
        if (tuple == NULL) return NULL;
        for (i = 0; i < count; i++) { Py_INCREF(args[i]); PyTuple_SET_ITEM(tuple, i, args[i]); }
        if (names != NULL && PyTuple_GET_SIZE(names)) {
            kwargs = PyDict_New();
            for (i = 0; kwargs != NULL && i < PyTuple_GET_SIZE(names); i++)
                if (PyDict_SetItem(kwargs, PyTuple_GET_ITEM(names, i), args[count + i]) < 0) Py_CLEAR(kwargs);
            if (kwargs == NULL) { Py_DECREF(tuple); return NULL; }
        }
        return perdure_ask(slot, self, tuple, kwargs);
    }

    #define PERDURE_IF_ON(ask) PyObject *r; if (PERDURE_RARELY(perdure_on) && (r = ask) != perdure_pass) return r
    #define PERDURE_SLOT(n) \\
      static PyObject *perdure_p##n(PyObject *s, PyObject *a) { \\
        PERDURE_IF_ON(perdure_ask_plain(n, s, a)); return ((perdure_plain)perdure_stock[n])(s, a); } \\
      static PyObject *perdure_k##n(PyObject *s, PyObject *a, PyObject *k) { \\
        PERDURE_IF_ON(perdure_ask(n, s, Py_NewRef(a), Py_XNewRef(k))); \\
        return ((perdure_keywords)perdure_stock[n])(s, a, k); } \\
      static PyObject *perdure_f##n(PyObject *s, PyObject *const *a, Py_ssize_t c) { \\
        PERDURE_IF_ON(perdure_ask_fast(n, s, a, c, NULL)); return ((perdure_fast)perdure_stock[n])(s, a, c); } \\
      static PyObject *perdure_w##n(PyObject *s, PyObject *const *a, Py_ssize_t c, PyObject *k) { \\
        PERDURE_IF_ON(perdure_ask_fast(n, s, a, c, k)); return ((perdure_fastkw)perdure_stock[n])(s, a, c, k); } \\
      static PyObject *perdure_m##n(PyObject *s, PyTypeObject *t, PyObject *const *a, size_t c, PyObject *k) { \\
        PERDURE_IF_ON(perdure_ask_fast(n, s, a, PyVectorcall_NARGS(c), k)); \\
        return ((perdure_method)perdure_stock[n])(s, t, a, c, k); }
    #define PERDURE_TEN(X, p) X(p##0) X(p##1) X(p##2) X(p##3) X(p##4) X(p##5) X(p##6) X(p##7) X(p##8) X(p##9)
    #define PERDURE_ALL(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) PERDURE_TEN(X, 1) PERDURE_TEN(X, 2) \\
      PERDURE_TEN(X, 3) PERDURE_TEN(X, 4) PERDURE_TEN(X, 5) PERDURE_TEN(X, 6) PERDURE_TEN(X, 7) PERDURE_TEN(X, 8) \\
      PERDURE_TEN(X, 9) PERDURE_TEN(X, 10) PERDURE_TEN(X, 11) PERDURE_TEN(X, 12) PERDURE_TEN(X, 13) \\
      PERDURE_TEN(X, 14) PERDURE_TEN(X, 15) PERDURE_TEN(X, 16) PERDURE_TEN(X, 17) PERDURE_TEN(X, 18) \\
      PERDURE_TEN(X, 19) PERDURE_TEN(X, 20) PERDURE_TEN(X, 21) PERDURE_TEN(X, 22) PERDURE_TEN(X, 23) \\
      PERDURE_TEN(X, 24) PERDURE_TEN(X, 25) PERDURE_TEN(X, 26) PERDURE_TEN(X, 27) PERDURE_TEN(X, 28) \\
      PERDURE_TEN(X, 29) PERDURE_TEN(X, 30) PERDURE_TEN(X, 31) PERDURE_TEN(X, 32) PERDURE_TEN(X, 33) \\
      PERDURE_TEN(X, 34) PERDURE_TEN(X, 35) PERDURE_TEN(X, 36) PERDURE_TEN(X, 37) PERDURE_TEN(X, 38) PERDURE_TEN(X, 39)
    PERDURE_ALL(PERDURE_SLOT)
    #define PERDURE_ROW(n) {(void *)perdure_p##n, (void *)perdure_k##n, (void *)perdure_f##n, (void *)perdure_w##n, \\
                            (void *)perdure_m##n},
    static void *perdure_ours[PERDURE_SLOTS][5] = { PERDURE_ALL(PERDURE_ROW) };

    static PyMethodDef *perdure_definition(PyObject *function) {
        if (PyCFunction_Check(function)) return ((PyCFunctionObject *)function)->m_ml;
        if (Py_TYPE(function) == &PyMethodDescr_Type || Py_TYPE(function) == &PyClassMethodDescr_Type)
            return ((PyMethodDescrObject *)function)->d_method;
        return NULL;
    }

    /* The slot that a function was redirected to, or -1. */
    static int perdure_slot_of(PyObject *function) {
        PyMethodDef *def = perdure_definition(function);
        int slot, column;
        for (slot = 0; def != NULL && slot < PERDURE_SLOTS; slot++)
            for (column = 0; column < 5; column++)
                if ((void *)def->ml_meth == perdure_ours[slot][column]) return slot;
        return -1;
    }

    /* Puts our function into the definition behind a built-in function or method. 0 if there is none we understand. */
    static int perdure_redirect(PyObject *function, int slot) {
        PyMethodDef *def = perdure_definition(function);
        int column;
        if (def == NULL) return 0;
        switch (def->ml_flags & ~(METH_CLASS | METH_STATIC | METH_COEXIST)) {
            case METH_NOARGS: case METH_O: case METH_VARARGS: column = 0; break;
            case METH_VARARGS | METH_KEYWORDS: column = 1; break;
            case METH_FASTCALL: column = 2; break;
            case METH_FASTCALL | METH_KEYWORDS: column = 3; break;
            case METH_METHOD | METH_FASTCALL | METH_KEYWORDS: column = 4; break;
            default: return 0;
        }
        perdure_stock[slot] = (void *)def->ml_meth;
        perdure_flags[slot] = def->ml_flags;
        def->ml_meth = (PyCFunction)perdure_ours[slot][column];
        return 1;
    }

    /* Types written in C whose constructor asks first. Subclasses that inherited it are found by their bases. */
    enum { PERDURE_TYPES = 64 };
    static PyTypeObject *perdure_types[PERDURE_TYPES];
    static newfunc perdure_constructors[PERDURE_TYPES];
    static int perdure_type_count;
    static int (*perdure_permit)(int, PyObject *);

    static PyObject *perdure_construct(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
        PyTypeObject *base;
        int i;
        for (base = type; base != NULL; base = base->tp_base)
            for (i = 0; i < perdure_type_count; i++)
                if (perdure_types[i] == base) {
                    if (PERDURE_RARELY(perdure_on) && perdure_permit(i, (PyObject *)type) < 0) return NULL;
                    return perdure_constructors[i](type, args, kwargs);
                }
        PyErr_SetString(PyExc_SystemError, "a type lost its constructor");
        return NULL;
    }
    /* The place of a type among those that ask first, or -1. */
    static int perdure_redirect_type(PyObject *object) {
        PyTypeObject *type = (PyTypeObject *)object;
        int i;
        for (i = 0; i < perdure_type_count; i++) if (perdure_types[i] == type) return i;
        if (i == PERDURE_TYPES || type->tp_vectorcall != NULL || type->tp_new == NULL
            || type->tp_new == PyBaseObject_Type.tp_new || type->tp_new == perdure_construct) return -1;
        perdure_types[i] = type;
        perdure_constructors[i] = type->tp_new;
        perdure_type_count++;
        type->tp_new = perdure_construct;
        PyType_Modified(type);
        return i;
    }
    /* Does the same to a subclass that inherited the constructor. */
    static int perdure_inherit(PyObject *object, int place) {
        PyTypeObject *type = (PyTypeObject *)object;
        if (type->tp_new != perdure_constructors[place]) return 0;
        type->tp_new = perdure_construct;
        PyType_Modified(type);
        return 1;
    }
    """
    int perdure_on
    int PERDURE_SLOTS
    PyObject* perdure_pass
    ctypedef object (*action_type)(int, object, object, object)
    action_type perdure_act
    int perdure_slot_of(object function)
    int perdure_redirect(object function, int slot)
    ctypedef int (*permit_type)(int, object) except -1
    permit_type perdure_permit
    int perdure_redirect_type(object type)
    int perdure_inherit(object type, int place)


cdef extern from *:
    """
    static PERDURE_TLS void *perdure_me;                  /* this thread's Watched */
    #ifdef Py_GIL_DISABLED
    static PyMutex perdure_mutex;
    #define PERDURE_LOCK() PyMutex_Lock(&perdure_mutex)
    #define PERDURE_UNLOCK() PyMutex_Unlock(&perdure_mutex)
    #else
    #define PERDURE_LOCK() ((void)0)                      /* the GIL does it */
    #define PERDURE_UNLOCK() ((void)0)
    #endif
    """
    void* perdure_me
    void PERDURE_LOCK() noexcept
    void PERDURE_UNLOCK() noexcept
    int PyThreadState_SetAsyncExc(unsigned long thread, PyObject* error)
    unsigned long PyThread_get_thread_ident()


# --- who runs workflow code, and the watch on it


cdef struct Watched:
    # One for each thread that ever ran workflow code; never freed, for the watchdog may be looking.
    unsigned long thread
    PyObject* run              # owned while inside
    uint64_t turn              # odd inside, even outside: a turn that lasts is a workflow that does not yield
    int suspended
    bint interrupted
    Watched* next

cdef Watched* _watched = NULL


cdef Watched* make_watched() except NULL:
    global _watched
    cdef Watched* me = <Watched*> calloc(1, sizeof(Watched))
    if me == NULL:
        raise MemoryError()
    me.thread = PyThread_get_thread_ident()
    PERDURE_LOCK()
    me.next = _watched
    _watched = me
    PERDURE_UNLOCK()
    global perdure_me
    perdure_me = me
    return me


cdef int enter_run(object run) except -1:
    global perdure_on
    cdef Watched* me = <Watched*> perdure_me
    if me == NULL:
        me = make_watched()
    if me.run != NULL:
        raise RuntimeError("Workflow code is already running on this thread: one run cannot start inside another.")
    Py_INCREF(run)
    PERDURE_LOCK()
    me.run = <PyObject*> run
    me.turn += 1
    PERDURE_UNLOCK()
    me.suspended = 0
    perdure_on = 1
    return 0


cdef bint leave_run() noexcept:
    global perdure_on
    cdef Watched* me = <Watched*> perdure_me
    cdef PyObject* run
    cdef bint interrupted
    if me == NULL or me.run == NULL:
        return False
    perdure_on = 0
    PERDURE_LOCK()
    run = me.run
    me.run = NULL
    me.turn += 1
    interrupted = me.interrupted
    me.interrupted = False
    if interrupted:
        PyThreadState_SetAsyncExc(me.thread, NULL)     # one still on its way would hit whoever runs next
    PERDURE_UNLOCK()
    Py_DECREF(<object> run)
    return interrupted


cdef void suspend() noexcept:
    global perdure_on
    cdef Watched* me = <Watched*> perdure_me
    if me != NULL and me.run != NULL:
        me.suspended += 1
        perdure_on = 0


cdef void resume() noexcept:
    global perdure_on
    cdef Watched* me = <Watched*> perdure_me
    if me != NULL and me.run != NULL:
        if me.suspended > 0:
            me.suspended -= 1
        perdure_on = me.suspended == 0


def enter(run):
    """From here to :func:`leave` this thread runs workflow code of ``run``.

    ``run`` has ``guard_time_ns()``, the workflow's time, and ``guard_random()``, its ``random.Random``.
    """
    enter_run(run)


def leave():
    """End what :func:`enter` began. True if :func:`interrupt` was used on it; a leave too many does nothing."""
    return leave_run()


def current():
    """The run whose code runs on this thread, or None; also while the guard is suspended."""
    cdef Watched* me = <Watched*> perdure_me
    return <object> me.run if me != NULL and me.run != NULL else None


def is_active():
    """Whether the guard is on for this thread at this moment."""
    return bool(perdure_on)


cdef class passthrough:
    """A context manager inside which workflow code sees the real world. Do not await in it: other tasks would see it too."""

    cdef uint64_t _turn

    def __enter__(self):
        cdef Watched* me = <Watched*> perdure_me
        self._turn = me.turn if me != NULL else 0
        suspend()
        return self

    def __exit__(self, *error):
        cdef Watched* me = <Watched*> perdure_me
        if me != NULL and me.turn == self._turn:
            resume()


def turns():
    """Who is inside now: a list of ``(thread, turn, run)``. A pair of thread and turn never comes again."""
    cdef list found = []
    cdef Watched* each
    PERDURE_LOCK()
    each = _watched
    while each != NULL:
        if each.run != NULL:
            found.append((each.thread, each.turn, <object> each.run))
        each = each.next
    PERDURE_UNLOCK()
    return found


def interrupt(unsigned long thread, uint64_t turn, error):
    """Raise ``error``, a class, in workflow code that is still in this turn, at its next bytecode.

    False if the turn is over: then nothing is raised anywhere, and :func:`leave` takes back what did not arrive.
    """
    cdef Watched* each
    cdef bint done = False
    PERDURE_LOCK()
    each = _watched
    while each != NULL:
        if each.thread == thread and each.turn == turn and each.run != NULL:
            each.interrupted = True
            done = PyThreadState_SetAsyncExc(thread, <PyObject*> error) > 0
            break
        each = each.next
    PERDURE_UNLOCK()
    return done


# --- what an entry point does for a workflow


class RestrictedError(RuntimeError):
    """Workflow code reached for something that is not the same on replay. Used if :func:`install` got no class."""

    def __init__(self, qualified_name, *, override_message=None):
        super().__init__(override_message or f"{qualified_name} cannot be used in workflow code.")
        self.qualified_name = qualified_name


cdef object _Pass = object()
cdef object _error_class = RestrictedError
cdef object _stdlib = sys.stdlib_module_names
cdef object _inst = random._inst
cdef object _Random = _random.Random
cdef object _UTC = _datetime.timezone.utc
cdef list _actions = []        # per slot: (action, name, cure or the like)
cdef bint _installed = False

# Modules that observe or load: what they reach for does not become part of the workflow.
cdef set _allowed = {
    "_colorize", "_pytest", "bdb", "cmd", "code", "codeop", "coverage", "debugpy", "encodings", "faulthandler",
    "hypothesis", "importlib", "inspect", "linecache", "logging", "loguru", "opentelemetry", "pdb", "perdure", "pluggy",
    "pydevd", "pytest", "sentry_sdk", "structlog", "tokenize", "traceback", "tracemalloc", "unittest", "warnings",
    "zipimport", "zoneinfo",
}
# Single modules that load on first use. Not all of pydantic: a default_factory is called from its C code, without a
# frame of its own, and must get the workflow's time.
cdef str _STANDS_BEFORE = "perdure.worker.workflow_sandbox._enforcement"    # functions whose code was exchanged
cdef set _loaders = {"pydantic.plugin._loader"}


def allow(*modules):
    """Let modules through, by top-level name: what code of theirs calls directly is not guarded."""
    _allowed.update(module.partition(".")[0] for module in modules)


def is_allowed(str module):
    """Whether a module is let through."""
    return module in _loaders or module.partition(".")[0] in _allowed


@cython.final
cdef class Culprit:
    # The frame that is to blame, the innermost outside the standard library, and what of the library it called.
    cdef object frame
    cdef object entry


cdef Culprit culprit():
    # None if an allowed module is asking.
    cdef Culprit found
    frame = sys._getframe(0)
    entry = None
    while frame is not None:
        name = frame.f_globals.get("__name__")
        if name == _STANDS_BEFORE:
            frame = frame.f_back
            continue
        root = name.partition(".")[0] if type(name) is str else ""
        if root in _allowed or name in _loaders:
            return None
        if root not in _stdlib:
            found = Culprit.__new__(Culprit)
            found.frame = frame
            found.entry = entry
            return found
        if root not in _INNARDS:
            entry = frame
        frame = frame.f_back
    return None


cdef object refusal(str name, str cure, Culprit culprit):
    entry = culprit.entry
    if entry is not None:              # name what the code called, not what that called in turn
        module = entry.f_globals["__name__"]
        public = ".".join(part for part in module.split(".") if not part.startswith("_"))
        name = f"{public}.{entry.f_code.co_qualname}()".removeprefix(".")
        cure = _CURES.get(module.partition(".")[0], cure)
    frame = culprit.frame
    return _error_class(name.removesuffix("()"), override_message=(
        f"{name} was used in workflow code at {frame.f_code.co_filename}:{frame.f_lineno}: {cure}."))


cdef object act(int slot, object self, object args, object kwargs):
    # Runs with the guard off, so that actions and what they call see the real functions.
    global perdure_on
    cdef Watched* me = <Watched*> perdure_me
    perdure_on = 0
    try:
        hook = _hooks.get(slot)
        if hook is not None:
            hook(<object> me.run, self)
        found = culprit()
        if found is None:
            return _Pass
        action, name, detail = _actions[slot]
        return action(<object> me.run, found, self, args, kwargs, name, detail)
    finally:
        perdure_on = me.run != NULL and me.suspended == 0


def _refuse(run, culprit, self, args, kwargs, name, cure):
    raise refusal(name, cure, culprit)


def _open(run, culprit, self, args, kwargs, name, cure):
    # zoneinfo.ZoneInfo is written in C: it opens its files without a frame of its own.
    zoneinfo = sys.modules.get("zoneinfo")
    if zoneinfo is not None and args and isinstance(args[0], str) and args[0].startswith(tuple(zoneinfo.TZPATH)):
        return _Pass
    raise refusal(name, cure, culprit)


def _clock(run, culprit, self, args, kwargs, name, in_seconds):
    time_ns = run.guard_time_ns()
    return time_ns / 1e9 if in_seconds else time_ns


def _broken_down(run, culprit, self, args, kwargs, name, position):
    # localtime() and its like mean now when not told otherwise.
    if len(args) > position and args[position] is not None:
        return _Pass
    seconds = run.guard_time_ns() // 1_000_000_000
    if name in ("time.asctime()", "time.strftime()"):
        return getattr(time, name[5:-2])(*args[:position], time.localtime(seconds))
    return getattr(time, name[5:-2])(seconds)


def _now(run, culprit, cls, args, kwargs, name, utc):
    time_ns = run.guard_time_ns()
    zone = _UTC if utc else args[0] if args else kwargs["tz"] if kwargs else None
    moment = cls.fromtimestamp(time_ns // 1_000_000_000, zone)
    microsecond = time_ns // 1000 % 1_000_000
    return moment.replace(microsecond=microsecond, tzinfo=None) if utc else moment.replace(microsecond=microsecond)


def _random_method(run, culprit, self, args, kwargs, name, unused):
    if self is _inst:
        return getattr(_Random, name)(run.guard_random(), *args)
    return _Pass


def _random_seed(run, culprit, self, args, kwargs, name, unused):
    seed = args[0] if args else None
    if seed is None:
        seed = run.guard_random().getrandbits(128)
    elif self is not _inst:
        return _Pass
    return _Random.seed(run.guard_random() if self is _inst else self, seed)


def _urandom(run, culprit, self, args, kwargs, name, cure):
    if sys._getframe(0).f_globals is uuid.__dict__ and args == (16,):
        return run.guard_random().getrandbits(128).to_bytes(16, "big")
    raise refusal(name, cure, culprit)


def _nothing(run, culprit, self, args, kwargs, name, unused):
    return _Pass


def _today(run, culprit, cls, args, kwargs, name, unused):
    return cls.fromtimestamp(run.guard_time_ns() / 1e9)


def _ask(str name, str cure):
    # For entry points written in Python: raises if workflow code is asking.
    global perdure_on
    cdef Watched* me = <Watched*> perdure_me
    if not perdure_on:
        return
    perdure_on = 0
    try:
        found = culprit()
        if found is not None:
            raise refusal(name, cure, found)
    finally:
        perdure_on = me.suspended == 0


def _asking_run():
    # The run, if workflow code is asking.
    global perdure_on
    cdef Watched* me = <Watched*> perdure_me
    if not perdure_on:
        return None
    perdure_on = 0
    try:
        return None if culprit() is None else <object> me.run
    finally:
        perdure_on = me.suspended == 0


# --- further entry points, for workers that ask for more than the guard

cdef dict _hooks = {}          # per slot: called with the run and what the function is bound to, to raise
cdef list _type_hooks = []
cdef object _keeps_guard = None
cdef object _loaded = None


cdef int permit(int place, object type) except -1:
    global perdure_on
    cdef Watched* me = <Watched*> perdure_me
    perdure_on = 0
    try:
        _type_hooks[place](<object> me.run, type)
    finally:
        perdure_on = me.run != NULL and me.suspended == 0
    return 0


def hook_function(function, hook):
    """Call ``hook(run, bound_to)`` before workflow code calls a function written in C. False if that cannot be."""
    cdef int slot = perdure_slot_of(function)
    if slot < 0:
        slot = <int> len(_actions)
        redirect(function, _nothing, function.__name__, None)
        if slot == len(_actions):
            return False
    _hooks[slot] = hook
    return True


def hook_type(cls, hook):
    """Call ``hook(run, type)`` before workflow code makes an instance of a type written in C. False if that cannot be."""
    global perdure_permit
    perdure_permit = permit
    cdef int place = perdure_redirect_type(cls)
    if place < 0:
        return False
    if place == len(_type_hooks):
        _type_hooks.append(hook)
        inherit(cls, place)
    _type_hooks[place] = hook
    return True


cdef int inherit(object cls, int place) except -1:
    for subclass in type.__subclasses__(cls):
        if perdure_inherit(subclass, place):
            inherit(subclass, place)
    return 0


def hook_imports(keeps_guard, loaded):
    """Ask ``keeps_guard(name)`` whether a module that workflow code loads is guarded; tell ``loaded(name)`` of each."""
    global _keeps_guard, _loaded
    _keeps_guard, _loaded = keeps_guard, loaded


# --- which entry points


cdef str _FILE = "a workflow touches no files; do this in an activity"
cdef str _NET = "a workflow does not talk to the network; do this in an activity"
cdef str _THREAD = "a workflow has no threads; use asyncio tasks, or an activity"
cdef str _PROCESS = "a workflow starts no processes; do this in an activity"
cdef str _BLOCK = "it would block the worker; use asyncio"
cdef str _SYSTEM = "the answer differs from machine to machine; ask in an activity"
cdef str _SIGNAL = "a workflow gets no signals of the operating system; send it a workflow signal"
cdef str _SECRET = (
    "replay must give the same bytes, so they could not be secret; make secrets in an activity, "
    "or use workflow.random() if anyone may know them")
cdef str _ENVIRONMENT = (
    "the environment differs from worker to worker; read it at module level, pass it as an argument, or read it in an "
    "activity")

cdef tuple _REFUSED = (
    ("builtins", "open", _FILE),
    ("builtins", "input", "a workflow has no terminal; ask in an activity, or wait for a signal"),
    ("io", "open_code", _FILE),
    ("posix", "open listdir scandir stat lstat mkdir mkfifo rmdir remove unlink rename replace link symlink readlink "
              "chmod chown lchown access truncate utime statvfs chdir getcwd getcwdb pipe pipe2", _FILE),
    ("nt", "open listdir scandir stat lstat mkdir rmdir remove unlink rename replace link symlink readlink chmod access "
           "truncate utime chdir getcwd getcwdb pipe _path_exists _path_isfile _path_isdir", _FILE),
    ("posix", "system fork forkpty posix_spawn posix_spawnp execv execve waitpid wait", _PROCESS),
    ("nt", "system spawnv spawnve execv execve waitpid", _PROCESS),
    ("posix", "uname getlogin getloadavg", _SYSTEM),
    ("_posixsubprocess", "fork_exec", _PROCESS),
    ("_winapi", "CreateProcess", _PROCESS),
    ("_thread", "start_new_thread start_new start_joinable_thread", _THREAD),
    ("_socket", "getaddrinfo gethostbyname gethostbyname_ex gethostbyaddr getnameinfo gethostname socketpair", _NET),
    ("_socket.socket", "connect connect_ex bind listen _accept send sendall sendto recv recv_into recvfrom recvfrom_into",
     _NET),
    ("select", "select poll epoll kqueue", _BLOCK),
    ("time", "sleep", "it would block the worker; use await asyncio.sleep()"),
    ("_signal", "signal alarm setitimer pause sigwait set_wakeup_fd raise_signal", _SIGNAL),
    ("_uuid", "generate_time_safe", "it is made of this machine's address and clock; use uuid.uuid4()"),
)
cdef tuple _CLOCKS = ("time", "monotonic", "perf_counter", "process_time", "thread_time")
cdef dict _CURES = {"subprocess": _PROCESS, "multiprocessing": _PROCESS, "threading": _THREAD, "concurrent": _THREAD,
                    "socket": _NET, "ssl": _NET, "http": _NET, "urllib": _NET, "smtplib": _NET, "ftplib": _NET}
cdef set _INNARDS = {"_collections_abc", "collections", "contextlib", "functools", "codecs", "_pyio"}
cdef dict _SHOWN = {"posix": "os", "nt": "os", "builtins": "", "_thread": "threading", "_socket": "socket",
                    "_posixsubprocess": "subprocess", "_winapi": "subprocess", "_signal": "signal", "_uuid": "uuid"}


cdef int redirect(object function, object action, str name, object detail) except -1:
    # Nothing happens if the function is not there or not of C.
    if len(_actions) < PERDURE_SLOTS and perdure_redirect(function, <int> len(_actions)):
        _actions.append((action, name, detail))
    return 0


cdef object find(str path):
    module, _, cls = path.partition(".")
    try:
        found = importlib.import_module(module)
    except ImportError:
        return None
    return getattr(found, cls, None) if cls else found


def install(error_class=None):
    """Redirect the entry points of this process. Safe to repeat; the last ``error_class`` given counts.

    ``error_class(qualified_name, override_message=...)`` makes the error that workflow code gets.
    """
    global _installed, _error_class, perdure_act, perdure_pass
    if error_class is not None:
        _error_class = error_class
    if _installed:
        return
    _installed = True
    perdure_act = act
    perdure_pass = <PyObject*> _Pass
    gc.callbacks.append(_note_collection)
    redirect_refused()
    redirect_clocks()
    redirect_random()
    replace_python()


cdef int redirect_refused() except -1:
    for path, names, cure in _REFUSED:
        owner = find(path)
        module, _, cls = path.partition(".")
        shown = ".".join(part for part in (_SHOWN.get(module, module), cls) if part)
        for name in names.split():
            function = getattr(owner, name, None)
            if function is not None:
                redirect(function, _open if name == "open" else _refuse, f"{shown}.{name}()" if shown else f"{name}()", cure)
    return 0


cdef int redirect_clocks() except -1:
    for name in _CLOCKS:
        redirect(getattr(time, name, None), _clock, f"time.{name}()", True)
        redirect(getattr(time, f"{name}_ns", None), _clock, f"time.{name}_ns()", False)
    redirect(getattr(time, "clock_gettime", None), _clock, "time.clock_gettime()", True)
    redirect(getattr(time, "clock_gettime_ns", None), _clock, "time.clock_gettime_ns()", False)
    for name, position in (("localtime", 0), ("gmtime", 0), ("ctime", 0), ("asctime", 0), ("strftime", 1)):
        redirect(getattr(time, name), _broken_down, f"time.{name}()", position)
    redirect(vars(_datetime.datetime)["now"], _now, "datetime.now()", False)
    redirect(vars(_datetime.datetime)["utcnow"], _now, "datetime.utcnow()", True)
    redirect(vars(_datetime.date)["today"], _today, "date.today()", None)
    return 0


cdef int redirect_random() except -1:
    methods = vars(_Random)
    for name in ("random", "getrandbits", "getstate", "setstate"):
        redirect(methods[name], _random_method, name, None)
    redirect(methods["seed"], _random_seed, "seed", None)
    redirect(os.urandom, _urandom, "os.urandom()", _SECRET)
    redirect(getattr(os, "getrandom", None), _refuse, "os.getrandom()", _SECRET)
    return 0


# Code exchanged for that of Python functions; it runs with the globals of their modules.
cdef str _CODE = """
def gauss(self, mu=0.0, sigma=1.0):
    if self is _inst and (run := _perdure_asking_run()) is not None:
        return run.guard_random().gauss(mu, sigma)
    return _perdure_stock_gauss(self, mu, sigma)

def uuid1(node=None, clock_seq=None):
    _perdure_ask("uuid.uuid1()", "it is made of this machine's address and clock; use uuid.uuid4()")
    return _perdure_stock_uuid1(node, clock_seq)

def uuid6(node=None, clock_seq=None):
    _perdure_ask("uuid.uuid6()", "it is made of this machine's address and clock; use uuid.uuid4() or uuid7()")
    return _perdure_stock_uuid6(node, clock_seq)

def uuid7():
    if (run := _perdure_asking_run()) is None:
        return _perdure_stock_uuid7()
    milliseconds = run.guard_time_ns() // 1_000_000
    bits = run.guard_random().getrandbits(74)
    return UUID(int=milliseconds << 80 | 7 << 76 | bits >> 62 << 64 | 2 << 62 | bits & (1 << 62) - 1)

def new_event_loop():
    _perdure_ask("asyncio.new_event_loop()", "a workflow runs on the event loop it has; await what it is to run, or do "
                 "this in an activity")
    return _perdure_stock_new_event_loop()
"""


cdef int exchange(object module, object function) except -1:
    names = module.__dict__
    name = function.__name__
    made = {}
    exec(compile(_CODE, __file__, "exec"), names, made)
    stock = types.FunctionType(function.__code__, names, name, function.__defaults__, function.__closure__)
    stock.__kwdefaults__ = function.__kwdefaults__
    names[f"_perdure_stock_{name}"] = stock
    names["_perdure_ask"] = _ask
    names["_perdure_asking_run"] = _asking_run
    function.__code__ = made[name].__code__
    return 0


cdef int replace(object owner, str name, object made) except -1:
    functools.update_wrapper(made, vars(owner)[name])
    setattr(owner, name, made)
    return 0


def _letting_through(stock):
    def function(*args, **kwargs):
        if not perdure_on:
            return stock(*args, **kwargs)
        suspend()
        try:
            return stock(*args, **kwargs)
        finally:
            resume()
    return function


def _importing(stock):
    def _find_and_load(name, import_):
        if not perdure_on or (_keeps_guard is not None and _keeps_guard(name)):
            module = stock(name, import_)
        else:
            suspend()
            try:
                module = stock(name, import_)
            finally:
                resume()
        if _loaded is not None:
            _loaded(name)
        return module
    return _find_and_load


def _refusing(stock, name, cure):
    def function(*args, **kwargs):
        if perdure_on:
            _ask(name, cure)
        return stock(*args, **kwargs)
    return function


def _reading(stock):
    def function(self, key):
        if perdure_on:
            _ask("os.environ", _ENVIRONMENT)
        return stock(self, key)
    return function


cdef int replace_python() except -1:
    exchange(random, random.Random.gauss)
    for name in ("uuid1", "uuid6", "uuid7"):
        if hasattr(uuid, name):
            exchange(uuid, getattr(uuid, name))
    events = find("asyncio.events")
    exchange(events, events.new_event_loop)
    # What only observes or loads sees the real world.
    logger = find("logging.Logger")
    for name in ("_log", "handle"):
        replace(logger, name, _letting_through(getattr(logger, name)))
    bootstrap = importlib._bootstrap
    replace(bootstrap, "_find_and_load", _importing(bootstrap._find_and_load))
    # Python all the way down, or blocking.
    environment = type(os.environ)
    replace(environment, "__getitem__", _reading(environment.__getitem__))
    for name in ("__setitem__", "__delitem__", "__iter__", "__len__"):
        replace(environment, name, _refusing(getattr(environment, name), "os.environ", _ENVIRONMENT))
    replace(threading.Condition, "wait",
            _refusing(threading.Condition.wait, "threading.Condition.wait()", _BLOCK))
    return 0


def _note_collection(phase, info):
    # Finalizers of whatever is collected are not the workflow's.
    if phase == "start":
        suspend()
    else:
        resume()
