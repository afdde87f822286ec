"""What a message looks like in protobuf, from Temporal's descriptors: one table for each of our structs.

The structs have Temporal's names, so that a table needs only what a name does not say: field numbers and wire kinds.
Tables are made on first use; ``Tables`` is given the codec that reads them.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import TYPE_CHECKING, Any, cast

import perdure.api
from perdure._native.protobuf.tables import Kind, Mode
from perdure.api._message import Message
from perdure.api.command.v1 import Command
from perdure.api.history._registry import ATTRIBUTES
from perdure.api.history.v1 import EventExtras

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor, FieldDescriptor

    from perdure._native.protobuf.tables import Table


class EmptyMessage(Message):
    """``google.protobuf.Empty``: the request of TestService's GetCurrentTime."""


class HealthCheckRequest(Message):
    """``grpc.health.v1.HealthCheckRequest``."""

    service: str = ""


class HealthCheckResponse(Message):
    """``grpc.health.v1.HealthCheckResponse``: status 1 is SERVING, 2 NOT_SERVING, 3 SERVICE_UNKNOWN."""

    status: int = 0


class Status(Message):
    """``google.rpc.Status``: how a call ended, in the trailer ``grpc-status-details-bin``."""

    code: int = 0
    message: str = ""
    details: list[object] = []


class UnknownMessage(Message):
    """A ``google.protobuf.Any`` whose message is none of ours; written back as it came."""

    type_url: str = ""
    value: bytes = b""


#: FieldDescriptor.TYPE_... -> kind
_SCALARS = {
    3: Kind.INT64,
    5: Kind.INT32,
    14: Kind.INT32,
    13: Kind.UINT32,
    8: Kind.BOOL,
    9: Kind.STRING,
    12: Kind.BYTES,
    1: Kind.DOUBLE,
    2: Kind.FLOAT,
}
_WELL_KNOWN = {
    "google.protobuf.Timestamp": Kind.TIMESTAMP,
    "google.protobuf.Duration": Kind.DURATION,
    "google.protobuf.Empty": Kind.EMPTY,
    "google.protobuf.FieldMask": Kind.FIELD_MASK,
    "google.protobuf.Any": Kind.ANY,
    "google.protobuf.DoubleValue": Kind.DOUBLE_VALUE,
    "temporal.api.history.v1.HistoryEvent": Kind.EVENT,
}


_Field = tuple[int, Kind, Mode, int, "Table | None"]  # number, kind, mode, map key's kind, message's table

#: Messages that are not of Temporal's API: protobuf's name and fields.
_OTHERS: dict[type[Message], tuple[str, dict[str, _Field]]] = {
    EmptyMessage: ("google.protobuf.Empty", {}),
    HealthCheckRequest: ("grpc.health.v1.HealthCheckRequest", {"service": (1, Kind.STRING, Mode.PLAIN, 0, None)}),
    HealthCheckResponse: ("grpc.health.v1.HealthCheckResponse", {"status": (1, Kind.INT32, Mode.PLAIN, 0, None)}),
    Status: (
        "google.rpc.Status",
        {
            "code": (1, Kind.INT32, Mode.PLAIN, 0, None),
            "message": (2, Kind.STRING, Mode.PLAIN, 0, None),
            "details": (3, Kind.ANY, Mode.REPEATED, 0, None),
        },
    ),
}


class Tables:
    """The tables of one codec, which has a class ``Table`` and is told the rest by ``configure``."""

    def __init__(self, codec: Any) -> None:
        self._codec = codec
        self._tables: dict[type[Message], Table] = {}
        event = _by_name()["temporal.api.history.v1.HistoryEvent"]
        numbers = {name: field.number for name, field in event.fields_by_name.items()}
        codec.configure(
            table_of=self.of,
            table_named=self.named,
            unknown=UnknownMessage,
            event_numbers=tuple(
                numbers[name]
                for name in ("event_id", "event_time", "event_type", "version", "task_id", "worker_may_ignore")
            ),
            attributes={
                number: (numbers[name], _later(self, struct))
                for number, (name, struct) in ATTRIBUTES.items()
                if name in numbers
            },
            extras=self.of(EventExtras),
        )

    def of(self, message_type: type[Message]) -> Table:
        """The table of a struct.

        Raises:
            TypeError: it is no message of Temporal's, or the installed ``temporalio`` does not know it.
        """
        table = self._tables.get(message_type)
        return self._make(message_type) if table is None else table

    def named(self, full_name: str) -> Table | None:
        """The table of the message that protobuf knows by this name, None if we have no such struct."""
        descriptor = _by_name().get(full_name)
        message_type = None if descriptor is None else _struct(descriptor)
        return None if message_type is None else self.of(message_type)

    def _make(self, message_type: type[Message]) -> Table:
        if message_type in _OTHERS:
            full_name, others = _OTHERS[message_type]
            table = self._tables[message_type] = self._new(message_type, full_name)
            table.fill([(index, name, *others[name]) for index, name in enumerate(message_type.__struct_fields__)])
            return table
        descriptor = _descriptors().get(_key(message_type))
        if descriptor is None:
            raise TypeError(
                f"{message_type!r} is no message of the installed temporalio; is there a newer one? "
                f"pip install -U 'perdure[temporal]'"
            )
        table = self._tables[message_type] = self._new(message_type, descriptor.full_name)
        fields: list[tuple[Any, ...]] = []  # after the table is known: messages contain each other
        for index, name in enumerate(message_type.__struct_fields__):
            if message_type is Command and name == "attributes":
                fields.append((index, name, 0, Kind.VARIANT, Mode.OPTIONAL, 0, self._variants(descriptor)))
            elif name in descriptor.fields_by_name:
                absent = message_type.__struct_defaults__[index] is None
                fields.append((index, name, *self._field(descriptor.fields_by_name[name], absent)))
        table.fill(fields)
        return table

    def _new(self, message_type: type[Message], full_name: str) -> Table:
        return cast("Table", self._codec.Table(message_type, full_name, message_type.__struct_defaults__))

    def _field(self, field: FieldDescriptor, absent: bool) -> _Field:
        """``absent``: whether the struct can say so. Not of some members of a oneof, whose default means it."""
        message = field.message_type
        if message is not None and message.GetOptions().map_entry:
            key = _SCALARS[message.fields_by_name["key"].type]
            kind, table = self._value(message.fields_by_name["value"])
            return field.number, kind, Mode.MAP, key, table
        kind, table = self._value(field)
        if field.is_repeated:
            return field.number, kind, Mode.REPEATED, 0, table
        return field.number, kind, Mode.OPTIONAL if absent else Mode.PLAIN, 0, table

    def _value(self, field: FieldDescriptor) -> tuple[Kind, Table | None]:
        message = field.message_type
        if message is None:
            return _SCALARS[field.type], None
        kind = _WELL_KNOWN.get(message.full_name)
        if kind is not None:
            return kind, None
        struct = _struct(message)
        if struct is None:
            raise TypeError(f"perdure has no struct for {message.full_name}")
        return Kind.MESSAGE, self.of(struct)

    def _variants(self, descriptor: Descriptor) -> dict[int, Table]:
        """The commands' attributes: a oneof in protobuf, one field in our struct."""
        variants = {}
        for field in descriptor.oneofs_by_name["attributes"].fields:
            struct = None if field.message_type is None else _struct(field.message_type)
            if struct is not None:
                variants[field.number] = self.of(struct)
        return variants


def _later(tables: Tables, struct: Any) -> Any:
    return lambda: tables.of(struct)


def _key(message_type: type[Message]) -> tuple[str, str]:
    if message_type is EventExtras:
        return "history", "HistoryEvent"  # whose last fields it holds
    return message_type.__module__.split(".")[-2], message_type.__name__


def _flat(descriptor: Descriptor) -> str:
    """A nested message's name as our structs have it: ``Payload.ExternalPayloadDetails`` without the dot."""
    outer = descriptor.containing_type
    return descriptor.name if outer is None else _flat(outer) + descriptor.name


def _struct(descriptor: Descriptor) -> type[Message] | None:
    package = descriptor.file.package  # temporal.api.common.v1
    if not package.startswith("temporal.api."):
        return None
    try:
        module = importlib.import_module("perdure." + package.removeprefix("temporal."))
    except ModuleNotFoundError:
        return None
    found = getattr(module, _flat(descriptor), None)
    return found if isinstance(found, type) and issubclass(found, Message) else None


@cache
def _by_name() -> dict[str, Descriptor]:
    """Every message of Temporal's API by its full name."""
    try:
        import temporalio.api
    except ModuleNotFoundError as err:
        raise ModuleNotFoundError(
            "Temporal's protocol needs temporalio: pip install 'perdure[temporal]'", name=err.name
        ) from err
    found: dict[str, Descriptor] = {}

    def add(message: Descriptor) -> None:
        found[message.full_name] = message
        for nested in message.nested_types:
            if not nested.GetOptions().map_entry:
                add(nested)

    theirs = {package.name for package in pkgutil.iter_modules(temporalio.api.__path__)}
    for package in pkgutil.iter_modules(perdure.api.__path__):
        if package.name not in theirs or not package.ispkg:
            continue
        module = importlib.import_module(f"temporalio.api.{package.name}.v1")
        for info in pkgutil.iter_modules(module.__path__):
            if info.name.endswith("_pb2") and info.name != "service_pb2":
                file = importlib.import_module(f"{module.__name__}.{info.name}").DESCRIPTOR
                for message in file.message_types_by_name.values():
                    add(message)
    return found


@cache
def _descriptors() -> dict[tuple[str, str], Descriptor]:
    """The same by our package and struct name."""
    return {
        (descriptor.file.package.split(".")[-2], _flat(descriptor)): descriptor
        for descriptor in _by_name().values()
        if descriptor.file.package.startswith("temporal.api.")
    }
