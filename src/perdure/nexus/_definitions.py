"""What a method that starts or handles a Nexus operation says of it."""

from __future__ import annotations

import functools
import inspect
import typing
import warnings
from collections.abc import Callable
from typing import Any

import nexusrpc

_FACTORY = "__nexus_operation_factory__"


def operation_of(operation: Any) -> nexusrpc.Operation[Any, Any]:
    """The definition behind an operation, or behind the method that handles it.

    Raises:
        ValueError: it has none.
    """
    if isinstance(operation, nexusrpc.Operation):
        return operation
    if callable(operation):
        definition = nexusrpc.get_operation(operation)
        if definition is None and (factory := getattr(operation, _FACTORY, None)) is not None:
            definition = nexusrpc.get_operation(factory)
        if definition is not None:
            return definition
        raise ValueError(
            f"Operation callable is not a Nexus operation: {operation!r}; decorate it, or pass the operation or its name"
        )
    raise ValueError(f"Operation is not a Nexus operation: {operation!r}")


def define_operation(
    start: Callable[..., Any],
    factory: Callable[[Any], Any],
    name: str | None,
    input_type: type[Any] | None,
    output_type: type[Any] | None,
) -> None:
    """Make ``start`` the method of an operation whose handlers ``factory`` makes."""
    method_name = callable_name(start)
    operation: nexusrpc.Operation[Any, Any] = nexusrpc.Operation(
        name=name or method_name, input_type=input_type, output_type=output_type
    )
    operation.method_name = method_name
    nexusrpc.set_operation(factory, operation)
    setattr(start, _FACTORY, factory)


def wrapped_types(
    start: Callable[..., Any], parameters: tuple[type[Any], ...], wrapper: type[Any]
) -> tuple[type[Any] | None, type[Any] | None]:
    """The types of the input and of what ``wrapper`` holds in a start method's annotations; None for what they lack."""
    try:
        hints = typing.get_type_hints(start)
    except TypeError:
        warnings.warn(f"Expected decorated start method {start} to have type annotations", stacklevel=4)
        return None, None
    output = hints.pop("return", None)
    return _input_type(start, hints, parameters), _output_type(start, output, wrapper)


def _input_type(
    start: Callable[..., Any], hints: dict[str, Any], parameters: tuple[type[Any], ...]
) -> type[Any] | None:
    expected = len(parameters) + 1
    if len(hints) != expected:
        suffix = f": {hints}" if hints else ""
        warnings.warn(
            f"Expected decorated start method {start} to have exactly {expected} type-annotated parameters, "
            f"but it has {len(hints)}{suffix}.",
            stacklevel=5,
        )
        return None
    *given, input_type = hints.values()
    for index, (hint, parameter) in enumerate(zip(given, parameters, strict=True), start=1):
        if not issubclass(parameter, hint):
            warnings.warn(
                f"Expected parameter {index} of {start} to be an instance of {parameter.__name__}, but is {hint}.",
                stacklevel=5,
            )
            return None
    found: type[Any] = input_type
    return found


def _output_type(start: Callable[..., Any], output: Any, wrapper: type[Any]) -> type[Any] | None:
    origin = typing.get_origin(output)
    if origin is None:
        return None
    if not issubclass(origin, wrapper):
        warnings.warn(
            f"Expected return type of {callable_name(start)} to be a subclass of {wrapper.__name__}, but is {output}",
            stacklevel=5,
        )
        return None
    args = typing.get_args(output)
    if len(args) != 1:
        suffix = f": {args}" if args else ""
        warnings.warn(
            f"Expected return type {output} of {callable_name(start)} to have exactly one type parameter, "
            f"but has {len(args)}{suffix}.",
            stacklevel=5,
        )
        return None
    found: type[Any] = args[0]
    return found


def callable_name(fn: Any) -> str:
    """The name of a function, or of the class of an object that can be called."""
    name = getattr(fn, "__name__", None)
    if not name and callable(fn):
        name = type(fn).__name__
    if not name:
        raise TypeError(f"Could not determine callable name: expected {fn} to be a function or callable instance.")
    return str(name)


def is_async_callable(fn: Any) -> bool:
    """Whether calling it gives a coroutine; partials and objects with an ``async def __call__`` count."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    return inspect.iscoroutinefunction(fn) or (callable(fn) and inspect.iscoroutinefunction(type(fn).__call__))
