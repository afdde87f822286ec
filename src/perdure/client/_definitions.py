"""Names and result types behind the functions that callers pass instead of names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure.client._check import kind, text
from perdure.workflow._definition import _Definition
from perdure.workflow._handlers import _QueryDefinition, _SignalDefinition, _UpdateDefinition

if TYPE_CHECKING:
    from collections.abc import Callable


def workflow(where: str, value: str | Callable[..., Any], *, may_be_class: bool = False) -> tuple[str, type | None]:
    """Name and result type of a workflow given by name or by its run method, or by its class where that is known."""
    if isinstance(value, str):
        text(where, "workflow", value)
        return value, None
    if may_be_class and isinstance(value, type):
        of_class = _Definition.from_class(value)
        value = value if of_class is None else of_class.run_fn
    if isinstance(value, type):
        definition = _Definition.from_class(value)
        if definition is None:
            raise TypeError(f"{where}: {value.__qualname__} is no workflow; decorate the class with @workflow.defn")
        raise TypeError(
            f"{where}: pass the run method, {value.__qualname__}.{definition.run_fn.__name__}, not the class"
        )
    if not callable(value):
        raise TypeError(f"{where}: workflow must be a workflow's run method or name, not {kind(value)}")
    definition = _Definition.from_run_fn(value)
    if definition is None:
        raise ValueError(
            f"{where}: {_name(value)} is not the run method of a workflow; "
            "decorate it with @workflow.run and its class with @workflow.defn"
        )
    if definition.name is None:
        raise ValueError(f"{where}: {_name(value)} belongs to a dynamic workflow; start it by the name it should have")
    return definition.name, definition.ret_type


def signal(where: str, value: str | Callable[..., Any]) -> str:
    """Name of a signal given by name or by its handler."""
    if isinstance(value, str):
        text(where, "signal", value)
        return value
    return _handler(where, "signal", value, _SignalDefinition.from_fn(value) if callable(value) else None)


def query(where: str, value: str | Callable[..., Any]) -> tuple[str, type | None]:
    """Name and result type of a query given by name or by its handler."""
    if isinstance(value, str):
        text(where, "query", value)
        return value, None
    definition = _QueryDefinition.from_fn(value) if callable(value) else None
    return _handler(where, "query", value, definition), definition.ret_type if definition else None


def update(where: str, value: str | Callable[..., Any]) -> tuple[str, type | None]:
    """Name and result type of an update given by name or by its handler."""
    if isinstance(value, str):
        text(where, "update", value)
        return value, None
    definition = getattr(value, "_defn", None)
    if not isinstance(definition, _UpdateDefinition):
        definition = None
    return _handler(where, "update", value, definition), definition.ret_type if definition else None


def _handler(where: str, what: str, value: Any, definition: Any) -> str:
    if not callable(value):
        raise TypeError(f"{where}: {what} must be a {what} handler or name, not {kind(value)}")
    if definition is None:
        raise ValueError(f"{where}: {_name(value)} is no {what} handler; decorate it with @workflow.{what}")
    if definition.name is None:
        raise ValueError(f"{where}: {_name(value)} is a dynamic {what} handler; give the name of the {what} instead")
    name: str = definition.name
    return name


def _name(value: Any) -> str:
    return getattr(value, "__qualname__", None) or repr(value)
