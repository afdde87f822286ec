"""Payload converters: values to payloads and back, without I/O."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar, overload

from perdure.api.common.v1 import Payload, Payloads
from perdure.common import RawValue
from perdure.converter._serialization_context import SerializationContext, WithSerializationContext
from perdure.converter._transfer_type import transfer_type_converter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

AnyType = TypeVar("AnyType")


class PayloadConverter(ABC):
    """Converts values to payloads and back. Runs inside workflow code: deterministic, no I/O."""

    default: ClassVar[PayloadConverter]
    """The converter used when none is configured."""

    @abstractmethod
    def to_payloads(self, values: Sequence[Any]) -> list[Payload]:
        """The payloads of ``values``: at least one, at most as many as values.

        A :class:`~perdure.common.RawValue` gives the payload it holds.
        """

    @abstractmethod
    def from_payloads(self, payloads: Sequence[Payload], type_hints: list[type] | None = None) -> list[Any]:
        """The values of ``payloads``.

        Args:
            payloads: what to convert.
            type_hints: the types wanted, one for each payload, where they are known. For
                :class:`~perdure.common.RawValue` the payload comes back unconverted.
        """

    def to_payloads_wrapper(self, values: Sequence[Any]) -> Payloads:
        """:meth:`to_payloads`, wrapped in the message that holds several payloads."""
        return Payloads(self.to_payloads(values))

    def from_payloads_wrapper(self, payloads: Payloads | None) -> list[Any]:
        """:meth:`from_payloads` of a wrapper; an absent one holds no values."""
        if payloads is None or not payloads.payloads:
            return []
        return self.from_payloads(payloads.payloads)

    def to_payload(self, value: Any) -> Payload:
        """The payload of one value."""
        return self.to_payloads([value])[0]

    @overload
    def from_payload(self, payload: Payload) -> Any: ...

    @overload
    def from_payload(self, payload: Payload, type_hint: type[AnyType]) -> AnyType: ...

    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        """The value of one payload."""
        return self.from_payloads([payload], None if type_hint is None else [type_hint])[0]


class EncodingPayloadConverter(ABC):
    """Converts the values that one payload encoding can hold; part of a :class:`CompositePayloadConverter`."""

    @property
    @abstractmethod
    def encoding(self) -> str:
        """The encoding's name, which payloads carry in their metadata."""

    @abstractmethod
    def to_payload(self, value: Any) -> Payload | None:
        """The value's payload, or None when this encoding is not for it."""

    @abstractmethod
    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        """The payload's value. Raises RuntimeError when the payload is damaged."""


class CompositePayloadConverter(PayloadConverter, WithSerializationContext):
    """Tries encodings in order; the first that takes a value writes it, the one a payload names reads it."""

    converters: Mapping[bytes, EncodingPayloadConverter]
    """The converters by encoding, in order."""

    def __init__(self, *converters: EncodingPayloadConverter) -> None:
        """Combine ``converters``, most specific first."""
        self._set_converters(*converters)

    def _set_converters(self, *converters: EncodingPayloadConverter) -> None:
        self.converters = {converter.encoding.encode(): converter for converter in converters}

    def to_payloads(self, values: Sequence[Any]) -> list[Payload]:
        """One payload per value. Raises RuntimeError when no converter takes a value."""
        return [self._to_payload_at(index, value) for index, value in enumerate(values)]

    def from_payloads(self, payloads: Sequence[Payload], type_hints: list[type] | None = None) -> list[Any]:
        """One value per payload. Raises KeyError for an unknown encoding, RuntimeError for a damaged payload."""
        hints = type_hints or ()
        known = len(hints)
        return [
            self._from_payload_at(index, payload, hints[index] if index < known else None)
            for index, payload in enumerate(payloads)
        ]

    def _to_payload_at(self, index: int, value: Any) -> Payload:
        if isinstance(value, RawValue):
            return value.payload
        transfer = transfer_type_converter(type(value))
        if transfer is not None:
            value = transfer.to_transfer_type(value)
        for converter in self.converters.values():
            payload = converter.to_payload(value)
            if payload is not None:
                return payload
        raise RuntimeError(f"Value at index {index} of type {type(value)} has no known converter")

    def _from_payload_at(self, index: int, payload: Payload, type_hint: type | None) -> Any:
        if type_hint is RawValue:
            return RawValue(payload)
        transfer = None if type_hint is None else transfer_type_converter(type_hint)
        encoding = payload.metadata.get("encoding", b"<unknown>")
        converter = self.converters.get(encoding)
        if converter is None:
            raise KeyError(f"Unknown payload encoding {encoding.decode(errors='replace')}")
        try:
            value = converter.from_payload(payload, type_hint if transfer is None else transfer.transfer_type)
        except RuntimeError as err:
            name = encoding.decode(errors="replace")
            raise RuntimeError(f"Payload at index {index} with encoding {name} could not be converted") from err
        return value if transfer is None or type_hint is None else transfer.from_transfer_type(value, type_hint)

    def with_context(self, context: SerializationContext) -> Self:
        """This converter with every component given the context; itself when none wants it.

        A subclass needs a constructor that works without arguments.
        """
        converters = self.get_converters_with_context(context)
        if converters is None:
            return self
        instance = type(self)()
        instance._set_converters(*converters)
        return instance

    def get_converters_with_context(self, context: SerializationContext) -> list[EncodingPayloadConverter] | None:
        """The components given the context, or None when that changes none of them."""
        if not self._any_converter_takes_context:
            return None
        before = list(self.converters.values())
        after = [
            converter.with_context(context) if isinstance(converter, WithSerializationContext) else converter
            for converter in before
        ]
        return None if all(new is old for new, old in zip(after, before, strict=True)) else after

    @cached_property
    def _any_converter_takes_context(self) -> bool:
        return any(isinstance(converter, WithSerializationContext) for converter in self.converters.values())
