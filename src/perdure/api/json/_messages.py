"""Messages to protobuf's JSON form and back, by tables made from the structs' annotations."""

from __future__ import annotations

import importlib
import math
import typing
from functools import cache
from types import NoneType
from typing import Any, NamedTuple, TypeVar, cast

from perdure._native.events import HistoryEvent
from perdure.api._kinds import KINDS
from perdure.api._message import Message
from perdure.api.command.v1 import Command
from perdure.api.enums.v1 import CommandType
from perdure.api.json._scalars import INT32, SCALARS, JSONFormError, Scalar, Unset, camel, enumeration

MessageT = TypeVar("MessageT", bound=Message)

_TYPE_URL = "type.googleapis.com/"


class _Field(NamedTuple):
    name: str
    key: str
    scalar: Scalar
    has_presence: bool  # written even when it is the default; None stands for absent


def to_json_dict(message: Message) -> dict[str, Any]:
    """The message as protobuf's JSON form, ready for :func:`json.dumps`. Fields with default values are left out."""
    result: dict[str, Any] = {}
    for name, key, scalar, has_presence in _fields(type(message)):
        value = getattr(message, name)
        if value is None or (not has_presence and _is_default(value)):
            continue
        result[key] = scalar.encode(value)
    if isinstance(message, Command) and message.attributes is not None:
        result[_attributes_key(type(message.attributes))] = to_json_dict(cast("Message", message.attributes))
    return result


def _is_default(value: Any) -> bool:
    return not value and not (type(value) is float and math.copysign(1, value) < 0)


def from_json_dict(value: Any, message_type: type[MessageT]) -> MessageT:
    """The message that protobuf's JSON form states.

    Fields are taken under their JSON or their original name, unknown ones are ignored.

    Raises:
        JSONFormError: a field does not hold what it should.
    """
    if not isinstance(value, dict):
        raise JSONFormError(f"expected an object ({message_type.__name__}), got {value!r:.80}")
    message = message_type()
    for name, key, scalar, _ in _fields(message_type):
        item = value.get(key)
        if item is None:
            item = value.get(name)
            if item is None:
                continue
        try:
            setattr(message, name, scalar.decode(item))
        except Unset:
            continue
        except JSONFormError as err:
            raise err.below(key) from None
    if isinstance(message, Command):
        _decode_command_attributes(value, message)
    return message


@cache
def _fields(message_type: type[Message]) -> tuple[_Field, ...]:
    package = message_type.__module__.split(".")[-2]
    kinds = KINDS.get(f"{package}.{message_type.__name__}", {})
    hints = typing.get_type_hints(message_type)
    if message_type is Command:
        del hints["attributes"]  # a oneof: its key is that of the attributes' type
    return tuple(
        _Field(name, camel(name), _scalar(hint, kinds.get(name)), NoneType in typing.get_args(hint))
        for name, hint in hints.items()
    )


def _scalar(hint: Any, kind: str | None) -> Scalar:
    arguments = [argument for argument in typing.get_args(hint) if argument is not NoneType]
    if NoneType in typing.get_args(hint):
        if kind is None and arguments == [int]:
            return SCALARS["Duration"]
        return _scalar(arguments[0], kind)
    origin = typing.get_origin(hint)
    if origin is list and kind != "FieldMask":
        return _repeated(_scalar(arguments[0], kind))
    if origin is dict:
        return _map(_scalar(arguments[1], kind), arguments[0])
    if kind in SCALARS:
        return SCALARS[kind]
    if kind == "Any":
        return Scalar(_encode_any, _decode_any)
    if kind is not None:
        return enumeration(kind)
    if hint in SCALARS:
        return SCALARS[hint]
    if hint is HistoryEvent:
        from perdure.api.json import _history  # not before: it is made of this module

        return Scalar(_history.event_to_json_dict, _history.event_from_json_dict)
    return Scalar(to_json_dict, lambda value: from_json_dict(value, hint))


def _repeated(item: Scalar) -> Scalar:
    encode, decode = item

    def decode_list(values: Any) -> list[Any]:
        if not isinstance(values, list):
            raise JSONFormError(f"expected a list, got {values!r:.80}")
        result = []
        for index, value in enumerate(values):
            try:
                result.append(decode(value))
            except Unset:
                continue
            except JSONFormError as err:
                raise err.below(str(index)) from None
        return result

    return Scalar(lambda values: [encode(value) for value in values], decode_list)


def _map(item: Scalar, key_type: type) -> Scalar:
    encode, decode = item

    def decode_map(values: Any) -> dict[str, Any]:
        if not isinstance(values, dict):
            raise JSONFormError(f"expected an object, got {values!r:.80}")
        result = {}
        for key, value in values.items():
            try:
                result[key if key_type is str else INT32.decode(key)] = decode(value)
            except JSONFormError as err:
                raise err.below(key) from None
        return result

    return Scalar(lambda values: {str(key): encode(value) for key, value in values.items()}, decode_map)


def _attributes_key(attributes_type: type) -> str:
    name = attributes_type.__name__
    return name[0].lower() + name[1:]


@cache
def _command_attributes() -> dict[str, tuple[type[Message], int]]:
    """Key -> (attributes struct, command type)."""
    module = importlib.import_module(Command.__module__)
    table = {}
    for command_type in CommandType:
        words = command_type.name.removeprefix("COMMAND_TYPE_").split("_")
        struct = getattr(module, "".join(map(str.capitalize, words)) + "CommandAttributes", None)
        if struct is not None:
            table[_attributes_key(struct)] = struct, int(command_type)
    return table


def _decode_command_attributes(value: dict[str, Any], command: Command) -> None:
    for key, (struct, command_type) in _command_attributes().items():
        item = value.get(key)
        if item is not None:
            try:
                command.attributes = from_json_dict(item, struct)
            except JSONFormError as err:
                raise err.below(key) from None
            command.command_type = command.command_type or command_type


def _encode_any(message: Message) -> dict[str, Any]:
    name = f"{type(message).__module__}.{type(message).__name__}".removeprefix("perdure.")
    return {"@type": f"{_TYPE_URL}temporal.{name}", **to_json_dict(message)}


def _decode_any(value: Any) -> Message:
    url = value.get("@type") if isinstance(value, dict) else None
    module_name, _, name = str(url).rpartition("/")[2].rpartition(".")
    if not module_name.startswith("temporal.api."):
        raise JSONFormError(f"expected an object whose @type is a Temporal message, got {value!r:.80}")
    try:
        struct = getattr(importlib.import_module("perdure." + module_name.removeprefix("temporal.")), name)
    except (ImportError, AttributeError):
        raise JSONFormError(f"there is no message {url!r}") from None
    return from_json_dict(value, cast("type[Message]", struct))
