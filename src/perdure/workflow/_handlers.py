"""Signal, query and update handlers: decorators and what they record."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any, Literal, Protocol, cast, overload, runtime_checkable

from perdure.common import RawValue, _type_hints_from_func
from perdure.types import (
    CallableSyncOrAsyncReturnNoneType,
    CallableType,
    MultiParamSpec,
    ProtocolReturnType,
    ReturnType,
)

_SIGNAL = "__temporal_signal_definition"
_QUERY = "__temporal_query_definition"


class HandlerUnfinishedPolicy(Enum):
    """What happens when a workflow ends while a signal or update handler is still running."""

    WARN_AND_ABANDON = 1
    """The handler is dropped, with a warning."""
    ABANDON = 2
    """The handler is dropped. The caller of an update gets an error in place of its result."""


class UnfinishedUpdateHandlersWarning(RuntimeWarning):
    """The workflow ended before all its update handlers."""


class UnfinishedSignalHandlersWarning(RuntimeWarning):
    """The workflow ended before all its signal handlers."""


def _vararg_of_dynamic(fn: Callable[..., Any], arg_types: list[type] | None, is_method: bool) -> bool:
    """Whether a dynamic handler takes the old ``*args`` form; anything but it or the new form is refused."""
    parameters = list(inspect.signature(fn).parameters.values())
    if (
        len(parameters) == (3 if is_method else 2)
        and parameters[-2].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
        and parameters[-1].kind is inspect.Parameter.VAR_POSITIONAL
    ):
        return True
    if not arg_types or len(arg_types) != 2 or arg_types[0] is not str or arg_types[1] != Sequence[RawValue]:
        raise RuntimeError(
            f"Dynamic handler {fn.__qualname__} must have 3 arguments: self, str, and Sequence[RawValue]"
        )
    return False


def _bind(obj: Any, fn: Callable[..., Any]) -> Callable[..., Any]:
    """A function of a class with its instance given."""
    return fn.__get__(obj) if hasattr(fn, "__get__") else partial(fn, obj)


@dataclass(frozen=True)
class _HandlerDefinition:
    name: str | None
    """None for a dynamic handler."""
    fn: Callable[..., Any]
    is_method: bool
    unfinished_policy: HandlerUnfinishedPolicy = HandlerUnfinishedPolicy.WARN_AND_ABANDON
    description: str | None = None
    arg_types: list[type] | None = None
    ret_type: type | None = None
    dynamic_vararg: bool = False
    is_async: bool = False

    def __post_init__(self) -> None:
        if self.arg_types is None and self.ret_type is None:
            arg_types, ret_type = _type_hints_from_func(self.fn)
            if self.name is None:
                object.__setattr__(self, "dynamic_vararg", _vararg_of_dynamic(self.fn, arg_types, self.is_method))
            object.__setattr__(self, "arg_types", arg_types)
            object.__setattr__(self, "ret_type", ret_type)
        object.__setattr__(self, "is_async", inspect.iscoroutinefunction(self.fn))

    def bind_fn(self, obj: Any) -> Callable[..., Any]:
        return _bind(obj, self.fn) if self.is_method else self.fn


@dataclass(frozen=True)
class _SignalDefinition(_HandlerDefinition):
    @staticmethod
    def from_fn(fn: Callable[..., Any]) -> _SignalDefinition | None:
        return getattr(fn, _SIGNAL, None)

    @staticmethod
    def must_name_from_fn_or_str(signal: str | Callable[..., Any]) -> str:
        if isinstance(signal, str):
            return signal
        if not callable(signal):
            raise TypeError(f"signal must be a signal handler or its name, not {type(signal).__name__}")
        defn = _SignalDefinition.from_fn(signal)
        if defn is None:
            raise RuntimeError(
                f"Signal definition not found on {signal.__qualname__}, is it decorated with @workflow.signal?"
            )
        if defn.name is None:
            raise RuntimeError("Cannot invoke dynamic signal definition: give the signal's name as a string")
        return defn.name


@dataclass(frozen=True)
class _QueryDefinition(_HandlerDefinition):
    @staticmethod
    def from_fn(fn: Callable[..., Any]) -> _QueryDefinition | None:
        return getattr(fn, _QUERY, None)


@dataclass(frozen=True)
class _UpdateDefinition(_HandlerDefinition):
    validator: Callable[..., None] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dynamic_vararg:
            raise RuntimeError("Dynamic updates do not support a vararg third param, use Sequence[RawValue]")

    def bind_validator(self, obj: Any) -> Callable[..., None] | None:
        if self.validator is None:
            return None
        return _bind(obj, self.validator) if self.is_method else self.validator

    def set_validator(self, validator: Callable[..., None]) -> None:
        if self.validator is not None:
            raise RuntimeError(f"Validator already set for update {self.name}")
        object.__setattr__(self, "validator", validator)

    @classmethod
    def get_name_and_result_type(cls, name_or_update_fn: str | Callable[..., Any]) -> tuple[str, type | None]:
        if isinstance(name_or_update_fn, UpdateMethodMultiParam):
            defn = name_or_update_fn._defn
            if defn.name is None:
                raise RuntimeError("Cannot invoke dynamic update definition: give the update's name as a string")
            return defn.name, defn.ret_type
        return str(name_or_update_fn), None


@runtime_checkable
class UpdateMethodMultiParam(Protocol[MultiParamSpec, ProtocolReturnType]):
    """A method decorated as an update handler."""

    _defn: _UpdateDefinition

    def __call__(
        self, *args: MultiParamSpec.args, **kwargs: MultiParamSpec.kwargs
    ) -> ProtocolReturnType | Awaitable[ProtocolReturnType]:
        """Call the handler."""
        ...

    def validator(self, vfunc: Callable[MultiParamSpec, None]) -> Callable[MultiParamSpec, None]:
        """Decorate the function that checks this update's arguments before it is accepted."""
        ...


@overload
def signal(fn: CallableSyncOrAsyncReturnNoneType) -> CallableSyncOrAsyncReturnNoneType: ...


@overload
def signal(
    *,
    unfinished_policy: HandlerUnfinishedPolicy = HandlerUnfinishedPolicy.WARN_AND_ABANDON,
    description: str | None = None,
) -> Callable[[CallableSyncOrAsyncReturnNoneType], CallableSyncOrAsyncReturnNoneType]: ...


@overload
def signal(
    *,
    name: str,
    unfinished_policy: HandlerUnfinishedPolicy = HandlerUnfinishedPolicy.WARN_AND_ABANDON,
    description: str | None = None,
) -> Callable[[CallableSyncOrAsyncReturnNoneType], CallableSyncOrAsyncReturnNoneType]: ...


@overload
def signal(
    *,
    dynamic: Literal[True],
    unfinished_policy: HandlerUnfinishedPolicy = HandlerUnfinishedPolicy.WARN_AND_ABANDON,
    description: str | None = None,
) -> Callable[[CallableSyncOrAsyncReturnNoneType], CallableSyncOrAsyncReturnNoneType]: ...


def signal(
    fn: CallableSyncOrAsyncReturnNoneType | None = None,
    *,
    name: str | None = None,
    dynamic: bool | None = False,
    unfinished_policy: HandlerUnfinishedPolicy = HandlerUnfinishedPolicy.WARN_AND_ABANDON,
    description: str | None = None,
) -> Any:
    """Make a method the handler of a signal. An override must be decorated, too.

    Args:
        fn: the method; plain or async, positional parameters only. What it returns is ignored.
        name: the signal's name, by default the method's.
        dynamic: handle every signal that has no handler of its own; parameters: self, name, ``Sequence[RawValue]``.
        unfinished_policy: what happens when the workflow ends while the handler runs.
        description: shown in user interfaces.
    """

    def decorate(fn: Callable[..., Any]) -> Callable[..., Any]:
        defn = _SignalDefinition(
            name=None if dynamic else name or fn.__name__,
            fn=fn,
            is_method=True,
            unfinished_policy=unfinished_policy,
            description=description,
        )
        setattr(fn, _SIGNAL, defn)
        if defn.dynamic_vararg:
            _warn_vararg("signals", 3)
        return fn

    if name is not None and dynamic:
        raise RuntimeError("Cannot provide name and dynamic boolean")
    return decorate if fn is None else decorate(fn)


@overload
def query(fn: CallableType) -> CallableType: ...


@overload
def query(*, name: str, description: str | None = None) -> Callable[[CallableType], CallableType]: ...


@overload
def query(*, dynamic: Literal[True], description: str | None = None) -> Callable[[CallableType], CallableType]: ...


@overload
def query(*, description: str) -> Callable[[CallableType], CallableType]: ...


def query(
    fn: CallableType | None = None,
    *,
    name: str | None = None,
    dynamic: bool | None = False,
    description: str | None = None,
) -> Any:
    """Make a method the handler of a query. It must not change the workflow. An override must be decorated, too.

    Args:
        fn: the method, not async, positional parameters only; what it returns is the answer.
        name: the query's name, by default the method's.
        dynamic: handle every query that has no handler of its own; parameters: self, name, ``Sequence[RawValue]``.
        description: shown in user interfaces.
    """

    def decorate(fn: Callable[..., Any]) -> Callable[..., Any]:
        defn = _QueryDefinition(
            name=None if dynamic else name or fn.__name__, fn=fn, is_method=True, description=description
        )
        setattr(fn, _QUERY, defn)
        if defn.is_async:
            _warn_async_query(3)
        if defn.dynamic_vararg:
            _warn_vararg("queries", 3)
        return fn

    if name is not None and dynamic:
        raise RuntimeError("Cannot provide name and dynamic boolean")
    if fn is None and name is None and not dynamic and not description:
        raise RuntimeError("Cannot create query without function or name or dynamic")
    return decorate if fn is None else decorate(fn)


@overload
def update(
    fn: Callable[MultiParamSpec, Awaitable[ReturnType]],
) -> UpdateMethodMultiParam[MultiParamSpec, ReturnType]: ...


@overload
def update(fn: Callable[MultiParamSpec, ReturnType]) -> UpdateMethodMultiParam[MultiParamSpec, ReturnType]: ...


@overload
def update(
    *,
    unfinished_policy: HandlerUnfinishedPolicy = HandlerUnfinishedPolicy.WARN_AND_ABANDON,
    description: str | None = None,
) -> Callable[[Callable[MultiParamSpec, ReturnType]], UpdateMethodMultiParam[MultiParamSpec, ReturnType]]: ...


@overload
def update(
    *,
    name: str,
    unfinished_policy: HandlerUnfinishedPolicy = HandlerUnfinishedPolicy.WARN_AND_ABANDON,
    description: str | None = None,
) -> Callable[[Callable[MultiParamSpec, ReturnType]], UpdateMethodMultiParam[MultiParamSpec, ReturnType]]: ...


@overload
def update(
    *,
    dynamic: Literal[True],
    unfinished_policy: HandlerUnfinishedPolicy = HandlerUnfinishedPolicy.WARN_AND_ABANDON,
    description: str | None = None,
) -> Callable[[Callable[MultiParamSpec, ReturnType]], UpdateMethodMultiParam[MultiParamSpec, ReturnType]]: ...


def update(
    fn: Callable[..., Any] | None = None,
    *,
    name: str | None = None,
    dynamic: bool | None = False,
    unfinished_policy: HandlerUnfinishedPolicy = HandlerUnfinishedPolicy.WARN_AND_ABANDON,
    description: str | None = None,
) -> Any:
    """Make a method the handler of an update. An override must be decorated, too.

    ``@<method>.validator`` decorates the function that may refuse an update before it is accepted.

    Args:
        fn: the method, plain or async, positional parameters only; what it returns is the update's result.
        name: the update's name, by default the method's.
        dynamic: handle every update that has no handler of its own; parameters: self, name, ``Sequence[RawValue]``.
        unfinished_policy: what happens when the workflow ends while the handler runs.
        description: shown in user interfaces.
    """

    def decorate(fn: Callable[..., Any]) -> Callable[..., Any]:
        defn = _UpdateDefinition(
            name=None if dynamic else name or fn.__name__,
            fn=fn,
            is_method=True,
            unfinished_policy=unfinished_policy,
            description=description,
        )
        decorated = cast("Any", fn)
        decorated._defn = defn
        decorated.validator = partial(_set_validator, defn)
        return fn

    if name is not None and dynamic:
        raise RuntimeError("Cannot provide name and dynamic boolean")
    return decorate if fn is None else decorate(fn)


def _set_validator(defn: _UpdateDefinition, fn: Callable[..., None]) -> Callable[..., None]:
    defn.set_validator(fn)
    return fn


def _warn_async_query(stacklevel: int) -> None:
    warnings.warn("Queries as async def functions are deprecated", DeprecationWarning, stacklevel=stacklevel + 1)


def _warn_vararg(kind: str, stacklevel: int) -> None:
    warnings.warn(
        f"Dynamic {kind} with vararg third param is deprecated, use Sequence[RawValue]",
        DeprecationWarning,
        stacklevel=stacklevel + 1,
    )
