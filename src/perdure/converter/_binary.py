"""Payload converters for None, bytes and protobuf messages.

Protobuf is optional: nothing here imports it before a protobuf value or payload shows up.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from perdure.api.common.v1 import Payload
from perdure.converter._external_storage import refuse_references
from perdure.converter._payload_converter import EncodingPayloadConverter

if TYPE_CHECKING:
    from types import ModuleType


class BinaryNullPayloadConverter(EncodingPayloadConverter):
    """None, as ``binary/null``."""

    @property
    def encoding(self) -> str:
        """``binary/null``."""
        return "binary/null"

    def to_payload(self, value: Any) -> Payload | None:
        """A payload for None; None for anything else."""
        return Payload({"encoding": b"binary/null"}) if value is None else None

    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        """None."""
        if payload.data:
            raise RuntimeError("Expected empty data set for binary/null")
        return None


class BinaryPlainPayloadConverter(EncodingPayloadConverter):
    """Bytes, as ``binary/plain``."""

    @property
    def encoding(self) -> str:
        """``binary/plain``."""
        return "binary/plain"

    def to_payload(self, value: Any) -> Payload | None:
        """A payload for bytes; None for anything else."""
        return Payload({"encoding": b"binary/plain"}, value) if isinstance(value, bytes) else None

    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        """The bytes."""
        return payload.data


def _as_message(value: Any) -> Any:
    """The value if it is a protobuf message. A process that never imported protobuf has none."""
    protobuf = sys.modules.get("google.protobuf.message")
    return value if protobuf is not None and isinstance(value, protobuf.Message) else None


def _new_message(payload: Payload) -> Any:
    """An empty message of the type a payload names."""
    name = payload.metadata.get("messageType", b"<unknown>").decode()
    try:
        symbol_database = _import("google.protobuf.symbol_database")
        return symbol_database.Default().GetSymbol(name)()
    except KeyError as err:
        raise RuntimeError(f"Unknown Protobuf type {name}") from err


def _import(name: str) -> ModuleType:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as err:
        raise RuntimeError("This payload holds a Protobuf message: install the protobuf package to read it") from err


class JSONProtoPayloadConverter(EncodingPayloadConverter):
    """Protobuf messages, as ``json/protobuf``."""

    def __init__(self, ignore_unknown_fields: bool = False) -> None:
        """Make the converter; ``ignore_unknown_fields`` accepts payloads of newer message definitions."""
        self._ignore_unknown_fields = ignore_unknown_fields

    @property
    def encoding(self) -> str:
        """``json/protobuf``."""
        return "json/protobuf"

    def to_payload(self, value: Any) -> Payload | None:
        """A payload for a protobuf message; None for anything else."""
        message = _as_message(value)
        if message is None:
            return None
        fields = _import("google.protobuf.json_format").MessageToDict(message)
        return Payload(
            {"encoding": b"json/protobuf", "messageType": message.DESCRIPTOR.full_name.encode()},
            json.dumps(fields, separators=(",", ":"), sort_keys=True).encode(),
        )

    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        """The message."""
        refuse_references((payload,))
        message = _new_message(payload)
        json_format = _import("google.protobuf.json_format")
        try:
            return json_format.Parse(payload.data, message, ignore_unknown_fields=self._ignore_unknown_fields)
        except json_format.ParseError as err:
            raise RuntimeError("Failed parsing") from err


class BinaryProtoPayloadConverter(EncodingPayloadConverter):
    """Protobuf messages, as ``binary/protobuf``."""

    @property
    def encoding(self) -> str:
        """``binary/protobuf``."""
        return "binary/protobuf"

    def to_payload(self, value: Any) -> Payload | None:
        """A payload for a protobuf message; None for anything else."""
        message = _as_message(value)
        if message is None:
            return None
        return Payload(
            {"encoding": b"binary/protobuf", "messageType": message.DESCRIPTOR.full_name.encode()},
            message.SerializeToString(),
        )

    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        """The message."""
        message = _new_message(payload)
        try:
            message.ParseFromString(payload.data)
        except _import("google.protobuf.message").DecodeError as err:
            raise RuntimeError("Failed parsing") from err
        return message
