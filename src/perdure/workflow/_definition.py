"""``@workflow.defn``, ``run``, ``init`` and what they record about a workflow class."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

from perdure.common import RawValue, VersioningBehavior, _type_hints_from_func
from perdure.types import CallableAsyncType, CallableType, ClassType, MethodSyncNoParam, SelfType
from perdure.workflow._handlers import (
    _QUERY,
    _SIGNAL,
    UpdateMethodMultiParam,
    _QueryDefinition,
    _SignalDefinition,
    _UpdateDefinition,
)

_DEFINITION = "__temporal_workflow_definition"
_RUN = "__temporal_workflow_run"
_INIT = "__temporal_workflow_init"
_DYNAMIC_CONFIG = "__temporal_workflow_dynamic_config"


@overload
def defn(cls: ClassType) -> ClassType: ...


@overload
def defn(
    *,
    name: str | None = None,
    sandboxed: bool = True,
    failure_exception_types: Sequence[type[BaseException]] = [],
    versioning_behavior: VersioningBehavior = VersioningBehavior.UNSPECIFIED,
) -> Callable[[ClassType], ClassType]: ...


@overload
def defn(
    *,
    sandboxed: bool = True,
    dynamic: bool = False,
    versioning_behavior: VersioningBehavior = VersioningBehavior.UNSPECIFIED,
) -> Callable[[ClassType], ClassType]: ...


def defn(
    cls: ClassType | None = None,
    *,
    name: str | None = None,
    sandboxed: bool = True,
    dynamic: bool = False,
    failure_exception_types: Sequence[type[BaseException]] = [],
    versioning_behavior: VersioningBehavior = VersioningBehavior.UNSPECIFIED,
) -> Any:
    """Make a class a workflow. A subclass of it needs its own decorator.

    Args:
        cls: the class; it has one :func:`run` method.
        name: the workflow type, by default the class's name.
        sandboxed: whether the determinism guard watches the code: clock, random numbers, files, sockets and threads
            then give the workflow's own values or an error.
        dynamic: run for every workflow type that has no class of its own; :func:`run` takes one
            ``Sequence[RawValue]``.
        failure_exception_types: exceptions that fail the workflow. Others (except Temporal's failures) fail the
            workflow task, which is tried again until the code is repaired.
        versioning_behavior: how runs move between worker deployment versions.
    """

    def decorate(cls: ClassType) -> ClassType:
        if not isinstance(cls, type):
            raise TypeError(f"@workflow.defn is for classes, not {type(cls).__name__}")
        _Definition._apply_to_class(
            cls,
            workflow_name=None if dynamic else name or cls.__name__,
            sandboxed=sandboxed,
            failure_exception_types=failure_exception_types,
            versioning_behavior=versioning_behavior,
        )
        return cls

    if dynamic and name is not None:
        raise ValueError("Cannot have both a name and dynamic=True; drop one of them")
    return decorate if cls is None else decorate(cls)


def init(init_fn: CallableType) -> CallableType:
    """Give ``__init__`` the workflow's arguments; its parameters must be those of the :func:`run` method."""
    if init_fn.__name__ != "__init__":
        raise ValueError("@workflow.init may only be used on the __init__ method")
    setattr(init_fn, _INIT, True)
    return init_fn


def run(fn: CallableAsyncType) -> CallableAsyncType:
    """Mark the async method that is the workflow: exactly one, defined on the class that has ``@workflow.defn``."""
    if not inspect.iscoroutinefunction(fn):
        raise ValueError("Workflow run method must be an async function")
    if "<locals>" in fn.__qualname__:
        raise ValueError("Local classes unsupported, @workflow.run cannot be on a local class")
    setattr(fn, _RUN, True)
    return fn  # type: ignore[return-value]  # a coroutine function, as was checked


@dataclass(frozen=True)
class DynamicWorkflowConfig:
    """What a :func:`dynamic_config` method returns; set values win over those of :func:`defn`."""

    failure_exception_types: Sequence[type[BaseException]] | None = None
    versioning_behavior: VersioningBehavior = VersioningBehavior.UNSPECIFIED


def dynamic_config(
    fn: MethodSyncNoParam[SelfType, DynamicWorkflowConfig],
) -> MethodSyncNoParam[SelfType, DynamicWorkflowConfig]:
    """Mark the method that chooses a dynamic workflow's settings; called after ``__init__``, before :func:`run`."""
    if inspect.iscoroutinefunction(fn):
        raise ValueError("Workflow dynamic_config method must be synchronous")
    if len(inspect.signature(fn).parameters) != 1:
        raise ValueError("Workflow dynamic_config method must only take self parameter")
    setattr(fn, _DYNAMIC_CONFIG, True)
    return fn


@dataclass(frozen=True)
class _Definition:
    name: str | None
    """None for a dynamic workflow."""
    cls: type
    run_fn: Callable[..., Awaitable[Any]]
    signals: Mapping[str | None, _SignalDefinition]
    queries: Mapping[str | None, _QueryDefinition]
    updates: Mapping[str | None, _UpdateDefinition]
    sandboxed: bool
    failure_exception_types: Sequence[type[BaseException]]
    arg_types: list[type] | None = None
    ret_type: type | None = None
    versioning_behavior: VersioningBehavior | None = None
    dynamic_config_fn: Callable[..., DynamicWorkflowConfig] | None = None
    has_init: bool = False

    @staticmethod
    def from_class(cls: type) -> _Definition | None:
        defn = getattr(cls, _DEFINITION, None)
        return defn if isinstance(defn, _Definition) and defn.cls is cls else None

    @staticmethod
    def must_from_class(cls: type) -> _Definition:
        defn = _Definition.from_class(cls)
        if defn is None:
            name = getattr(cls, "__name__", "<unknown>")
            raise ValueError(f"Workflow {name} missing attributes, was it decorated with @workflow.defn?")
        return defn

    @staticmethod
    def from_run_fn(fn: Callable[..., Awaitable[Any]]) -> _Definition | None:
        return getattr(fn, _DEFINITION, None)

    @staticmethod
    def must_from_run_fn(fn: Callable[..., Awaitable[Any]]) -> _Definition:
        defn = _Definition.from_run_fn(fn)
        if defn is None:
            name = getattr(fn, "__qualname__", "<unknown>")
            raise ValueError(
                f"Function {name} missing attributes, was it decorated with @workflow.run and was its class decorated "
                "with @workflow.defn?"
            )
        return defn

    @classmethod
    def get_name_and_result_type(cls, name_or_run_fn: str | Callable[..., Awaitable[Any]]) -> tuple[str, type | None]:
        if isinstance(name_or_run_fn, str):
            return name_or_run_fn, None
        if not callable(name_or_run_fn):
            raise TypeError(f"Workflow must be a string or callable, not {type(name_or_run_fn).__name__}")
        defn = cls.must_from_run_fn(name_or_run_fn)
        if defn.name is None:
            raise ValueError("Cannot invoke dynamic workflow explicitly: give the workflow type as a string")
        return defn.name, defn.ret_type

    @staticmethod
    def _apply_to_class(
        cls: type,
        *,
        workflow_name: str | None,
        sandboxed: bool,
        failure_exception_types: Sequence[type[BaseException]],
        versioning_behavior: VersioningBehavior,
    ) -> None:
        if _Definition.from_class(cls) is not None:
            raise ValueError("Class already contains workflow definition")
        found = _Members(cls, workflow_name)
        if found.issues:
            if len(found.issues) == 1:
                raise ValueError(f"Invalid workflow class: {found.issues[0]}")
            raise ValueError(f"Invalid workflow class for {len(found.issues)} reasons: {', '.join(found.issues)}")
        assert found.run_fn is not None
        arg_types, ret_type = _type_hints_from_func(found.run_fn)
        if workflow_name is None and (not arg_types or len(arg_types) != 1 or arg_types[0] != Sequence[RawValue]):
            raise TypeError("Dynamic workflow must accept a single Sequence[perdure.common.RawValue]")
        defn = _Definition(
            name=workflow_name,
            cls=cls,
            run_fn=found.run_fn,
            signals=found.signals,
            queries=found.queries,
            updates=found.updates,
            sandboxed=sandboxed,
            failure_exception_types=failure_exception_types,
            arg_types=arg_types,
            ret_type=ret_type,
            versioning_behavior=versioning_behavior,
            dynamic_config_fn=found.dynamic_config_fn,
            has_init=found.init_fn is not None,
        )
        setattr(cls, _DEFINITION, defn)
        setattr(found.run_fn, _DEFINITION, defn)


class _Members:
    """The decorated members of a workflow class, and what is wrong with them."""

    def __init__(self, cls: type, workflow_name: str | None) -> None:
        self.cls = cls
        self.workflow_name = workflow_name
        self.issues: list[str] = []
        self.run_fn: Callable[..., Awaitable[Any]] | None = None
        self.init_fn: Callable[..., None] | None = None
        self.dynamic_config_fn: Callable[..., DynamicWorkflowConfig] | None = None
        self.signals: dict[str | None, _SignalDefinition] = {}
        self.queries: dict[str | None, _QueryDefinition] = {}
        self.updates: dict[str | None, _UpdateDefinition] = {}
        self.saw_run = False
        for name, member in inspect.getmembers(cls):
            self.add(name, member)
        for base in inspect.getmro(cls)[1:]:
            for _, member in inspect.getmembers(base):
                if inspect.isfunction(member) and _is_unbound_method_on_cls(member, base):
                    self.check_override(member)
        if not self.saw_run:
            self.issues.append("Missing @workflow.run method")
        if self.init_fn is not None and self.run_fn is not None and not _same_parameters(self.init_fn, self.run_fn):
            self.issues.append("@workflow.init and @workflow.run method parameters do not match")

    def add(self, name: str, member: Any) -> None:
        if hasattr(member, _RUN):
            self.saw_run = True
            if not _is_unbound_method_on_cls(member, self.cls):
                self.issues.append(f"@workflow.run method {name} must be defined on {self.cls.__qualname__}")
            elif self.run_fn is not None:
                self.issues.append(
                    f"Multiple @workflow.run methods found (at least on {name} and {self.run_fn.__name__})"
                )
            else:
                self.run_fn = member
        elif hasattr(member, _SIGNAL):
            self.add_handler("signal", self.signals, getattr(member, _SIGNAL), name)
        elif hasattr(member, _QUERY):
            self.add_handler("query", self.queries, getattr(member, _QUERY), name)
        elif name == "__init__" and hasattr(member, _INIT):
            self.init_fn = member
        elif hasattr(member, _DYNAMIC_CONFIG):
            if self.workflow_name is not None:
                self.issues.append(
                    "@workflow.dynamic_config can only be used in dynamic workflows, but workflow class "
                    f"{self.workflow_name} ({self.cls.__name__}) is not dynamic"
                )
            if self.dynamic_config_fn is not None:
                self.issues.append("@workflow.dynamic_config can only be defined once per workflow")
            self.dynamic_config_fn = member
        elif isinstance(getattr(member, "_defn", None), _UpdateDefinition):
            defn = member._defn
            if defn.validator is not None and not _same_parameters(defn.fn, defn.validator):
                self.issues.append(
                    f"Update validator method {defn.validator.__name__} parameters do not match update method "
                    f"{defn.fn.__name__} parameters"
                )
            else:
                self.add_handler("update", self.updates, defn, name)

    def add_handler(self, kind: str, handlers: dict[str | None, Any], defn: Any, name: str) -> None:
        other = handlers.get(defn.name)
        if other is not None:
            self.issues.append(
                f"Multiple {kind} methods found for {defn.name or '<dynamic>'} (at least on {name} and "
                f"{other.fn.__name__})"
            )
        else:
            handlers[defn.name] = defn

    def check_override(self, member: Any) -> None:
        """What a base class decorates must be decorated on the override, too."""
        kind = None
        if hasattr(member, _RUN):
            self.saw_run = True
            if self.run_fn is None or member.__name__ != self.run_fn.__name__:
                kind = "run"
        elif hasattr(member, _SIGNAL):
            kind = None if getattr(member, _SIGNAL).name in self.signals else "signal"
        elif hasattr(member, _QUERY):
            kind = None if getattr(member, _QUERY).name in self.queries else "query"
        elif isinstance(member, UpdateMethodMultiParam):
            kind = None if member._defn.name in self.updates else "update"
        if kind is not None:
            self.issues.append(
                f"@workflow.{kind} defined on {getattr(member, '__qualname__', member)} but not on the override"
            )


def _same_parameters(first: Callable[..., Any], second: Callable[..., Any]) -> bool:
    """Whether two functions have the same parameters but for their names."""

    def parameters(fn: Callable[..., Any]) -> list[inspect.Parameter]:
        return [parameter.replace(name="x") for parameter in inspect.signature(fn).parameters.values()]

    return parameters(first) == parameters(second)


def _is_unbound_method_on_cls(fn: Callable[..., Any], cls: type) -> bool:
    return (
        inspect.isfunction(fn)
        and inspect.getmodule(fn) is inspect.getmodule(cls)
        and fn.__qualname__.rsplit(".", 1)[0] == cls.__qualname__
    )
