"""Temporal's own descriptors of the messages that our structs mirror."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import Any

import perdure.api
from perdure.api._message import Message


@cache
def _descriptors() -> dict[tuple[str, str], Any]:
    found: dict[tuple[str, str], Any] = {}

    def add(package: str, message: Any, outer: str) -> None:
        name = outer + message.name
        found[package, name] = message
        for nested in message.nested_types:
            if not nested.GetOptions().map_entry:
                add(package, nested, name)

    for package in {message_type.__module__.split(".")[-2] for message_type in message_types()}:
        module = importlib.import_module(f"temporalio.api.{package}.v1")
        for info in pkgutil.iter_modules(module.__path__):
            if info.name.endswith("_pb2") and info.name != "service_pb2":
                file = importlib.import_module(f"{module.__name__}.{info.name}").DESCRIPTOR
                for message in file.message_types_by_name.values():
                    add(package, message, "")
    return found


def descriptor(message_type: type[Message]) -> Any:
    """Temporal's descriptor of a struct's message, or None for the structs that are ours alone."""
    return _descriptors().get((message_type.__module__.split(".")[-2], message_type.__name__))


@cache
def message_types() -> list[type[Message]]:
    """Every API struct."""
    found = []
    for info in pkgutil.walk_packages(perdure.api.__path__, "perdure.api."):
        if info.name.endswith(".v1"):
            for value in vars(importlib.import_module(info.name)).values():
                if isinstance(value, type) and issubclass(value, Message) and value.__module__ == info.name:
                    found.append(value)
    return sorted(found, key=lambda found_type: (found_type.__module__, found_type.__name__))
