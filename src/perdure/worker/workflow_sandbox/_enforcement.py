"""Refuses workflow code what a worker's restrictions name, without importing modules anew.

Entry points are hooked where they are, so that a ``from os import getcwd`` done long before is covered: functions and
types written in C by the native guard, functions written in Python and ``__init__`` of classes by exchanging their code.
A module with members that may not even be looked at gets a class that asks. A hook costs a test of a thread-local flag;
none is set before a worker asks for restrictions.

Restrictions hold for code that calls directly, as Temporal's do: what a module of the standard library, or one that is
passed through, does on behalf of a workflow is the guard's business alone.
"""

from __future__ import annotations

import builtins
import importlib.util
import inspect
import sys
import types
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from perdure._native import guard
from perdure.worker._restricted import RestrictedWorkflowAccessError, UnintentionalPassthroughError
from perdure.worker.workflow_sandbox._names import SandboxMatcher, SandboxRestrictions
from perdure.workflow import SandboxImportNotificationPolicy, _asyncio, unsafe
from perdure.workflow._unsafe import passed_through_modules

Path = tuple[str, ...]

_HOME = {"posix": "os", "nt": "os", "_thread": "threading", "_winapi": "subprocess"}
_PLAIN = (bool, int, float, complex, str, bytes, bytearray, type(None))
_plain_import = builtins.__import__
_module_attribute = types.ModuleType.__getattribute__


class _Running:
    """The context in which matchers are asked: workflow code runs."""

    is_runtime = True


_RUNNING = _Running()


class Enforcement:
    """One worker's restrictions, ready to be asked."""

    def __init__(self, restrictions: SandboxRestrictions) -> None:
        """Hook what the restrictions name, in every module that is loaded now or later."""
        # What stands before a function keeps what it was: so what exchanges functions itself goes first.
        _asyncio.install()
        guard.install(RestrictedWorkflowAccessError)
        self._restrictions = restrictions
        self._covered: dict[str, bool] = {}
        _matchers.append(restrictions.invalid_module_members)
        _hook_loaded(restrictions.invalid_module_members)
        guard.hook_imports(_keeps_guard, _on_load)
        builtins.__import__ = _import

    def covers(self, module: str) -> bool:
        """Whether the code of a module is restricted."""
        covered = self._covered.get(module)
        if covered is None:
            covered = self._covered[module] = not self._passes_through(module)
        return covered

    def _passes_through(self, module: str) -> bool:
        names = module.split(".")
        if (
            self._restrictions.passthrough_all_modules
            or names[0] in sys.stdlib_module_names
            or guard.is_allowed(module)
        ):
            return True
        above = [".".join(names[:count]) for count in range(1, len(names) + 1)]
        return any(name in self._restrictions.passthrough_modules or name in passed_through_modules for name in above)

    def check_use(self, path: Path) -> None:
        """Raise or warn if what is at the end of a path may not be called."""
        matcher = self._restrictions.invalid_module_members
        refusing = matcher.access_matcher(_RUNNING, *path, include_use=True)
        if refusing is None and (inside := matcher.child_matcher(*path)) is not None:
            refusing = inside.access_matcher(_RUNNING, "__call__")
        _tell(refusing, path)

    def check_access(self, path: Path) -> None:
        """Raise or warn if what is at the end of a path may not be looked at."""
        _tell(self._restrictions.invalid_module_members.access_matcher(_RUNNING, *path), path)

    def inside(self, path: Path) -> SandboxMatcher | None:
        """The matcher for the attributes of what is at the end of a path."""
        return self._restrictions.invalid_module_members.child_matcher(*path)

    def check_import(self, module: str) -> None:
        """Raise or warn if workflow code may not import a module."""
        if self._restrictions.invalid_modules.match_access(_RUNNING, *module.split(".")):
            raise RestrictedWorkflowAccessError(module)
        policy = unsafe.current_import_notification_policy_override() or self._restrictions.import_notification_policy
        if module not in sys.modules and SandboxImportNotificationPolicy.WARN_ON_DYNAMIC_IMPORT in policy:
            warnings.warn(f"Module {module} was imported after initial workflow load.", stacklevel=3)
        if self._passes_through(module) or unsafe.is_imports_passed_through():
            return
        if SandboxImportNotificationPolicy.RAISE_ON_UNINTENTIONAL_PASSTHROUGH in policy:
            raise UnintentionalPassthroughError(module)
        if SandboxImportNotificationPolicy.WARN_ON_UNINTENTIONAL_PASSTHROUGH in policy:
            warnings.warn(f"Module {module} was not intentionally passed through to the sandbox.", stacklevel=3)


def _tell(refusing: SandboxMatcher | None, path: Path) -> None:
    if refusing is None:
        return
    name = ".".join(path).removeprefix("__builtins__.")
    message = refusing.leaf_message if refusing.match_self else None
    if refusing.leaf_warning is not None:
        warnings.warn(
            message or RestrictedWorkflowAccessError.default_message(name), refusing.leaf_warning, stacklevel=4
        )
    else:
        raise RestrictedWorkflowAccessError(name, override_message=message)


def _of_current_run() -> Enforcement | None:
    run: Any = guard.current()
    return getattr(getattr(run, "options", None), "restrictions", None)


def _asking(depth: int) -> Enforcement | None:
    """The restrictions that hold for the frame so many calls above the caller, or None."""
    enforcement = _of_current_run()
    if enforcement is None:
        return None
    name = sys._getframe(depth + 1).f_globals.get("__name__")  # this frame is the first
    return enforcement if isinstance(name, str) and enforcement.covers(name) else None


# --- hooks


class _Hook:
    """The names that an entry point has, by what it is bound to."""

    def __init__(self) -> None:
        self.paths: list[tuple[Path, Any]] = []

    def add(self, path: Path, owner: Any) -> None:
        """Know one more name; a name in a subclass goes before that of its base."""
        if (path, owner) not in self.paths:
            self.paths.append((path, owner))
            self.paths.sort(key=lambda known: -len(known[1].__mro__) if isinstance(known[1], type) else 0)

    def __call__(self, run: Any, bound_to: Any) -> None:
        """Refuse or let pass; called from C, with the guard off."""
        enforcement = _asking(1)
        if enforcement is not None:
            self.check(enforcement, bound_to)

    def check(self, enforcement: Enforcement, bound_to: Any) -> None:
        """Refuse or let pass by the name that fits."""
        for path, owner in self.paths:
            if owner is None or owner is bound_to:
                enforcement.check_use(path)
            elif isinstance(owner, type):
                cls = bound_to if isinstance(bound_to, type) else type(bound_to)
                if issubclass(cls, owner):
                    enforcement.check_use(path)
                    return


class _Exchanged(_Hook):
    """Stands before a function written in Python, whose code it has."""

    def __init__(self, function: types.FunctionType) -> None:
        super().__init__()
        stock = types.FunctionType(function.__code__, function.__globals__, function.__name__, function.__defaults__)
        stock.__kwdefaults__ = function.__kwdefaults__
        self._stock = stock
        template = _asks_first.__code__
        function.__code__ = template.replace(
            co_name=function.__code__.co_name,
            co_qualname=function.__code__.co_qualname,
            co_consts=tuple(self._run if const == _PLACE else const for const in template.co_consts),
        )
        function.__defaults__ = function.__kwdefaults__ = None
        cast(Any, function).__wrapped__ = stock

    def _run(self, *args: Any, **kwargs: Any) -> Any:
        if guard.is_active():
            with guard.passthrough():
                enforcement = _asking(2)
                if enforcement is not None:
                    self.check(enforcement, args[0] if args else None)
        return self._stock(*args, **kwargs)


_PLACE = "the place of what runs instead"


def _asks_first(*args: Any, **kwargs: Any) -> Any:
    hook: Any = "the place of what runs instead"
    return hook(*args, **kwargs)


_matchers: list[SandboxMatcher] = []
_hooks: dict[int, tuple[Any, _Hook | None]] = {}  # by id of what is hooked, which is kept so that the id stays its own


def _hook(owner: Any, name: str, path: Path) -> None:
    """Hook a member of a module or class, if it is of a kind that can be hooked."""
    raw: Any = inspect.getattr_static(owner, name, None)
    bound: Any = owner if isinstance(owner, type) else None
    if isinstance(raw, (classmethod, staticmethod)):
        raw = raw.__func__
    if isinstance(raw, types.MethodType):
        raw, bound = raw.__func__, raw.__self__
    if isinstance(raw, type):
        if issubclass(raw, BaseException):
            return
        if isinstance(vars(raw).get("__init__"), types.FunctionType):
            raw, bound = vars(raw)["__init__"], None
    if isinstance(raw, types.BuiltinMethodType):
        own: Any = raw.__self__
        bound = bound if own is None or isinstance(own, types.ModuleType) else own
    if id(raw) not in _hooks:
        _hooks[id(raw)] = (raw, _make_hook(raw))
    hook = _hooks[id(raw)][1]
    if hook is not None:
        hook.add(path, bound)


def _make_hook(raw: Any) -> _Hook | None:
    if isinstance(raw, types.FunctionType):
        return None if raw.__closure__ else _Exchanged(raw)
    hook = _Hook()
    if isinstance(raw, type):
        is_hooked = not isinstance(vars(raw).get("__new__"), staticmethod) and guard.hook_type(raw, hook)
    else:
        is_hooked = callable(raw) and guard.hook_function(raw, hook)
    return hook if is_hooked else None


def _hook_loaded(matcher: SandboxMatcher, only: str | None = None) -> None:
    for name, child in matcher.children.items():
        if only is None or only == name:
            module = builtins if name == "__builtins__" else sys.modules.get(name)
            if module is not None:
                _hook_members(module, (name,), child)


def _hook_members(owner: Any, path: Path, matcher: SandboxMatcher) -> None:
    names = {*matcher.access, *matcher.use, *matcher.children}
    if "*" in names or matcher.match_self:
        names.update(_own_names(owner))
        names.discard("*")
    for name in sorted(names - matcher.exclude):
        below = (*path, name)
        child = matcher.children.get(name)
        module = sys.modules.get(".".join(below)) if isinstance(owner, types.ModuleType) else None
        value = module or inspect.getattr_static(owner, name, None)
        if not isinstance(value, types.ModuleType):
            _hook(owner, name, below)
        if child is not None and isinstance(value, (types.ModuleType, type)):
            _hook_members(value, below, child)
    if isinstance(owner, types.ModuleType) and owner is not builtins and _needs_watch(owner, path, matcher):
        _watch(owner, path)


def _own_names(owner: Any) -> Sequence[str]:
    """Members that are defined in a module or class, not merely imported there."""
    if isinstance(owner, type):
        return list(vars(owner))
    if "__getattr__" in vars(owner):  # loads some of its members when asked
        for name in getattr(owner, "__all__", ()):
            getattr(owner, name, None)
    found = []
    for name, value in list(vars(owner).items()):
        module = getattr(value, "__module__", None)
        if isinstance(module, str):
            home = _HOME.get(module, module.removeprefix("_"))
            if home == owner.__name__ or home.startswith(f"{owner.__name__}."):
                found.append(name)
    return found


# --- modules with members that may not be looked at

_watched: dict[int, list[Path]] = {}


class _WatchedModule(types.ModuleType):
    def __getattribute__(self, name: str) -> Any:
        value = _module_attribute(self, name)
        if guard.is_active() and not name.startswith("__"):
            with guard.passthrough():
                enforcement = _asking(1)
                if enforcement is not None:
                    return _looked_at(enforcement, [(*path, name) for path in _watched[id(self)]], value)
        return value


class _Member:
    """What workflow code gets for an object, neither function nor class, with attributes it may not read."""

    def __init__(self, value: Any, path: Path, matcher: SandboxMatcher) -> None:
        object.__setattr__(self, "_asked", (value, path, matcher))

    def __getattribute__(self, name: str) -> Any:
        value, path, matcher = object.__getattribute__(self, "_asked")
        if guard.is_active():
            with guard.passthrough():
                _tell(matcher.access_matcher(_RUNNING, name, include_use=True), (*path, name))
        return getattr(value, name)


def _forward(name: str) -> None:
    def special(self: _Member, *args: Any) -> Any:
        return getattr(self, name)(*args)

    setattr(_Member, name, special)


for _name in ("__getitem__", "__setitem__", "__delitem__", "__iter__", "__len__", "__contains__", "__call__"):
    _forward(_name)


def _looked_at(enforcement: Enforcement, paths: Sequence[Path], value: Any) -> Any:
    for path in paths:
        enforcement.check_access(path)
        if _has_members(value) and (inside := enforcement.inside(path)) is not None:
            return _Member(value, path, inside)
    return value


def _has_members(value: Any) -> bool:
    return not isinstance(value, (*_PLAIN, types.ModuleType, type)) and not callable(value)


def _needs_watch(module: types.ModuleType, path: Path, matcher: SandboxMatcher) -> bool:
    if matcher.access or matcher.match_self:
        return True
    if any(child.match_self and not callable(getattr(module, name, None)) for name, child in matcher.children.items()):
        return True
    return "*" in matcher.use and any(
        _has_members(value) for name, value in vars(module).items() if not name.startswith("_")
    )


def _watch(module: types.ModuleType, path: Path) -> None:
    if type(module) is types.ModuleType:
        module.__class__ = _WatchedModule
    if type(module) is _WatchedModule:
        paths = _watched.setdefault(id(module), [])
        if path not in paths:
            paths.append(path)


# --- imports


def _import(
    name: str,
    globals: Mapping[str, object] | None = None,
    locals: Mapping[str, object] | None = None,
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> types.ModuleType:
    if guard.is_active():
        with guard.passthrough():
            enforcement = _of_current_run()
            if enforcement is not None and _imports_itself(enforcement, (globals or {}).get("__name__")):
                package = str((globals or {}).get("__package__") or "")
                enforcement.check_import(importlib.util.resolve_name("." * level + name, package) if level else name)
    return _plain_import(name, globals, locals, fromlist or (), level)


def _imports_itself(enforcement: Enforcement, importer: object) -> bool:
    """Whether an import is workflow code's; that of the workflow's own module is, even if that is passed through."""
    run: Any = guard.current()
    return isinstance(importer, str) and (importer == run.definition.cls.__module__ or enforcement.covers(importer))


def _keeps_guard(module: str) -> bool:
    enforcement = _of_current_run()
    return enforcement is not None and enforcement.covers(module)


def _on_load(module: str) -> None:
    root = module.partition(".")[0]
    for matcher in _matchers:
        if root in matcher.children:
            _hook_loaded(matcher, root)


_made: list[tuple[SandboxRestrictions, Enforcement]] = []


def enforce(restrictions: SandboxRestrictions, is_debugged: bool) -> Enforcement:
    """The enforcement of some restrictions; one for all workers that have equal ones. A debugger may be entered."""
    if is_debugged:
        members = restrictions.invalid_module_members.with_child_unrestricted("__builtins__", "breakpoint")
        restrictions = replace(restrictions, invalid_module_members=members)
    for known, enforcement in _made:
        if known == restrictions:
            return enforcement
    _made.append((restrictions, Enforcement(restrictions)))
    return _made[-1][1]
