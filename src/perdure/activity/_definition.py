"""``@activity.defn`` and what it records about an activity function."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, overload

from perdure.common import RawValue, _type_hints_from_func

CallableType = TypeVar("CallableType", bound=Callable[..., Any])

_ATTRIBUTE = "__temporal_activity_definition"


@overload
def defn(fn: CallableType) -> CallableType: ...


@overload
def defn(
    *, name: str | None = None, no_thread_cancel_exception: bool = False
) -> Callable[[CallableType], CallableType]: ...


@overload
def defn(
    *, no_thread_cancel_exception: bool = False, dynamic: bool = False
) -> Callable[[CallableType], CallableType]: ...


def defn(
    fn: CallableType | None = None,
    *,
    name: str | None = None,
    no_thread_cancel_exception: bool = False,
    dynamic: bool = False,
) -> CallableType | Callable[[CallableType], CallableType]:
    """Make a function, method or callable class an activity.

    ``async def`` activities run on the worker's event loop and must not block it. Plain ``def`` activities run on the
    worker's executor, so they may block.

    An activity may run more than once for one scheduling: after a crash, a timeout or a failure it is retried.

    Args:
        fn: What to decorate.
        name: The activity type. Defaults to the function's ``__name__``; not allowed with ``dynamic``.
        no_thread_cancel_exception: Do not raise ``CancelledError`` inside a thread when it is cancelled.
        dynamic: Run for every activity type without an activity of its own. The function takes one
            ``Sequence[RawValue]``.
    """

    def decorate(fn: CallableType) -> CallableType:
        if name is not None and dynamic:
            raise ValueError(f"Activity {_describe(fn)} cannot have both a name and dynamic=True; drop one of them.")
        if not callable(fn):
            raise TypeError(f"Activity {_describe(fn)} is not callable; decorate a function or a class with __call__.")
        if _ATTRIBUTE in getattr(fn, "__dict__", {}):
            raise ValueError(f"Function already contains activity definition: {_describe(fn)} is decorated twice.")
        called = _call_of(fn) if isinstance(fn, type) else fn
        for parameter in inspect.signature(called).parameters.values():
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
                raise TypeError(
                    f"Make {parameter.name!r} of {_describe(fn)} positional: an activity cannot have keyword-only "
                    "arguments"
                )
        setattr(
            fn,
            _ATTRIBUTE,
            Definition.of(
                fn,
                name=None if dynamic else name or fn.__name__,
                no_thread_cancel_exception=no_thread_cancel_exception,
            ),
        )
        return fn  # pyright: ignore[reportReturnType]  # what came in, marked

    return decorate if fn is None else decorate(fn)


@dataclass(frozen=True, slots=True)
class Definition:
    """One activity: its type (None if dynamic), what to call, and the types of its arguments and result."""

    name: str | None
    fn: Callable[..., Any]
    is_async: bool
    no_thread_cancel_exception: bool
    arg_types: list[type] | None = None
    ret_type: type | None = None

    @staticmethod
    def of(fn: Callable[..., Any], *, name: str | None, no_thread_cancel_exception: bool) -> Definition:
        """The definition of a callable as it was decorated."""
        arg_types, ret_type = _type_hints_from_func(fn)
        if name is None and (not arg_types or len(arg_types) != 1 or arg_types[0] != Sequence[RawValue]):
            raise TypeError(
                f"Dynamic activity {_describe(fn)} must accept a single Sequence[perdure.common.RawValue] argument."
            )
        return Definition(name, fn, is_coroutine_callable(fn), no_thread_cancel_exception, arg_types, ret_type)

    @staticmethod
    def from_callable(fn: Callable[..., Any]) -> Definition | None:
        """The definition behind a callable, bound to that very callable (a method keeps its instance), or None."""
        definition = getattr(fn, _ATTRIBUTE, None)
        if not isinstance(definition, Definition):
            return None
        return definition if definition.fn is fn else dataclasses.replace(definition, fn=fn)

    @staticmethod
    def must_from_callable(fn: Callable[..., Any]) -> Definition:
        """The definition behind a callable.

        Raises:
            TypeError: The callable is not decorated.
        """
        definition = Definition.from_callable(fn)
        if definition is None:
            raise TypeError(
                f"Activity {_describe(fn)} missing attributes, was it decorated with @activity.defn? "
                "Decorate the function before you use it as an activity."
            )
        return definition

    @staticmethod
    def get_name_and_result_type(name_or_run_fn: str | Callable[..., Any]) -> tuple[str, type | None]:
        """The activity type and result type behind a name or a decorated callable.

        Raises:
            TypeError: Neither a name nor a decorated callable.
            ValueError: A dynamic activity, which has no name.
        """
        if isinstance(name_or_run_fn, str):
            return name_or_run_fn, None
        if not callable(name_or_run_fn):
            raise TypeError(f"Activity must be a string or callable, not {type(name_or_run_fn).__name__}.")
        definition = Definition.must_from_callable(name_or_run_fn)
        if definition.name is None:
            raise ValueError(
                f"Activity {_describe(name_or_run_fn)} definition has no name because it is dynamic; pass a name."
            )
        return definition.name, definition.ret_type


def is_coroutine_callable(fn: Callable[..., Any]) -> bool:
    """Whether calling ``fn`` gives a coroutine; looks through partials and at ``__call__``."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    return inspect.iscoroutinefunction(fn) or (
        not inspect.isfunction(fn) and not inspect.ismethod(fn) and inspect.iscoroutinefunction(_call_of(fn))
    )


def _call_of(fn: Callable[..., Any]) -> Callable[..., Any]:
    """The ``__call__`` of an instance or of a class's instances."""
    call: Callable[..., Any] = (fn if isinstance(fn, type) else type(fn)).__call__
    return call


def _describe(fn: Any) -> str:
    return getattr(fn, "__qualname__", None) or repr(fn)
