"""JSON payloads, and the converter that is used when none is configured."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from perdure._native import json_writer
from perdure.api.common.v1 import Payload
from perdure.common import RawValue
from perdure.converter._binary import (
    BinaryNullPayloadConverter,
    BinaryPlainPayloadConverter,
    BinaryProtoPayloadConverter,
    JSONProtoPayloadConverter,
)
from perdure.converter._json_decode import DEFAULT_COMPILER, HintCompiler, JSONTypeConverter
from perdure.converter._json_encode import AdvancedJSONEncoder, json_bytes
from perdure.converter._payload_converter import CompositePayloadConverter, EncodingPayloadConverter
from perdure.converter._plain import plain_payloads, plain_values
from perdure.converter._transfer_type import TRANSFER_TYPE_CONVERTER, transfer_type_converter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from perdure.converter._json_decode import Convert

_decode_json = msgspec.json.Decoder().decode
json_writer.leave_alone((RawValue,), TRANSFER_TYPE_CONVERTER)


def _loads(data: bytes) -> Any:
    """``json.loads``, through a decoder that is faster but stricter."""
    try:
        return _decode_json(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return json.loads(data)


class JSONPlainPayloadConverter(EncodingPayloadConverter):
    """Anything JSON can hold, as ``json/plain``; see :class:`AdvancedJSONEncoder` for what that is.

    Payloads are byte for byte those of Temporal's Python SDK. Type hints say what to rebuild on the way back.
    """

    def __init__(
        self,
        *,
        encoder: type[json.JSONEncoder] | None = AdvancedJSONEncoder,
        decoder: type[json.JSONDecoder] | None = None,
        encoding: str = "json/plain",
        custom_type_converters: Sequence[JSONTypeConverter] = (),
    ) -> None:
        """Make the converter.

        Args:
            encoder: class that writes the JSON.
            decoder: class that reads it.
            encoding: name of the encoding in payloads.
            custom_type_converters: asked first whenever a value is to become of a hinted type.
        """
        self._encoder = encoder
        self._decoder = decoder
        self._encoding = encoding
        self._metadata = encoding.encode()
        self._compiler = HintCompiler(custom_type_converters) if custom_type_converters else DEFAULT_COMPILER
        self._is_default = encoder is AdvancedJSONEncoder and decoder is None and not custom_type_converters

    @property
    def encoding(self) -> str:
        """The encoding's name."""
        return self._encoding

    def to_payload(self, value: Any) -> Payload | None:
        """A payload for any value; errors of the JSON encoder go to the caller."""
        if self._encoder is AdvancedJSONEncoder:
            data = json_bytes(value)
        else:
            data = json.dumps(value, cls=self._encoder, separators=(",", ":"), sort_keys=True).encode()
        return Payload({"encoding": self._metadata}, data)

    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        """The JSON value, converted to the hint if there is one (TypeError when it does not fit)."""
        try:
            value = _loads(payload.data) if self._decoder is None else json.loads(payload.data, cls=self._decoder)
        except json.JSONDecodeError as err:
            raise RuntimeError("Failed parsing") from err
        return value if type_hint is None else self._compiler.compile(type_hint)(value)


class DefaultPayloadConverter(CompositePayloadConverter):
    """None, bytes, protobuf messages, and everything else as JSON: what Temporal's SDKs agree on."""

    _shortcut_for: Mapping[bytes, EncodingPayloadConverter] | None = None

    default_encoding_payload_converters: ClassVar[tuple[EncodingPayloadConverter, ...]] = (
        BinaryNullPayloadConverter(),
        BinaryPlainPayloadConverter(),
        JSONProtoPayloadConverter(),
        BinaryProtoPayloadConverter(),
        JSONPlainPayloadConverter(),  # last, since it takes or refuses everything
    )
    """The encodings, in order."""

    def __init__(self) -> None:
        """Combine the default encodings."""
        super().__init__(*DefaultPayloadConverter.default_encoding_payload_converters)
        # Hint id -> (hint, conversion) for the short cut below; None as soon as the converters are not the defaults.
        self._shortcut: dict[int, tuple[Any, Convert]] = {}
        self._shortcut_for = self.converters if self._are_defaults() else None

    def _are_defaults(self) -> bool:
        return tuple(map(type, self.converters.values())) == _DEFAULT_TYPES and self._json_converter()._is_default

    def _json_converter(self) -> JSONPlainPayloadConverter:
        converter = self.converters[b"json/plain"]
        assert isinstance(converter, JSONPlainPayloadConverter)
        return converter

    def to_payloads(self, values: Sequence[Any]) -> list[Payload]:
        """One payload per value. Raises RuntimeError when no converter takes a value."""
        if self._shortcut_for is not self.converters:
            return super().to_payloads(values)
        return plain_payloads(values, self._to_payload_at)

    def from_payloads(self, payloads: Sequence[Payload], type_hints: list[type] | None = None) -> list[Any]:
        """One value per payload. Raises KeyError for an unknown encoding, RuntimeError for a damaged payload."""
        if self._shortcut_for is not self.converters:
            return super().from_payloads(payloads, type_hints)
        return plain_values(payloads, type_hints, self._shortcut, self._from_payload_slowly)

    def _from_payload_slowly(self, index: int, payload: Payload, hint: type | None) -> Any:
        """The value of one payload, and a short cut for the next with that hint if there can be one."""
        if hint is not None and hint is not RawValue and transfer_type_converter(hint) is None:
            if len(self._shortcut) >= 4096:
                self._shortcut.clear()
            self._shortcut[id(hint)] = hint, DEFAULT_COMPILER.compile(hint)
        return self._from_payload_at(index, payload, hint)


_DEFAULT_TYPES = tuple(map(type, DefaultPayloadConverter.default_encoding_payload_converters))
