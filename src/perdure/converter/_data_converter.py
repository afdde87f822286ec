"""The data converter: payload converter, failure converter, codec and external storage in one."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from perdure.api.common.v1 import Memo, Payload, Payloads
from perdure.common import _arg_unset
from perdure.converter._default import DefaultPayloadConverter
from perdure.converter._external_storage import (
    ExternalStorage,
    StorageDriverStoreContext,
    is_encoded_reference,
    is_reference,
    refuse_references,
    without_marker,
)
from perdure.converter._failure_converter import DefaultFailureConverter, FailureConverter
from perdure.converter._payload_codec import PayloadCodec, apply_to_failure_payloads
from perdure.converter._payload_converter import PayloadConverter
from perdure.converter._serialization_context import SerializationContext, WithSerializationContext

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from perdure.api.failure.v1 import Failure


@dataclass(frozen=True)
class DataConverter(WithSerializationContext):
    """How values and exceptions become payloads and failures, and back.

    The two converters are classes here, made anew for this object; they run inside workflow code. The codec is an
    object and runs outside.
    """

    payload_converter_class: type[PayloadConverter] = DefaultPayloadConverter
    """Class of the payload converter; called without arguments."""

    payload_codec: PayloadCodec | None = None
    """Compresses or encrypts what the payload converter made; None leaves it as it is."""

    failure_converter_class: type[FailureConverter] = DefaultFailureConverter
    """Class of the failure converter; called without arguments."""

    payload_converter: PayloadConverter = dataclasses.field(init=False)
    """The payload converter."""

    failure_converter: FailureConverter = dataclasses.field(init=False)
    """The failure converter."""

    external_storage: ExternalStorage | None = None
    """Keeps large payloads outside the history, after the codec had them; None keeps everything in it."""

    default: ClassVar[DataConverter]
    """The converter used when none is configured."""

    def __post_init__(self) -> None:
        """Make the converters."""
        object.__setattr__(self, "payload_converter", self.payload_converter_class())
        object.__setattr__(self, "failure_converter", self.failure_converter_class())

    async def encode(self, values: Sequence[Any]) -> list[Payload]:
        """Convert values to payloads, encode them, and store the large ones. A codec may merge payloads, never add some."""
        payloads = self.payload_converter.to_payloads(values)
        return await self._encode_payloads(payloads) if self._changes_payloads else payloads

    async def decode(self, payloads: Sequence[Payload], type_hints: list[type] | None = None) -> list[Any]:
        """Retrieve stored payloads, decode them, then convert them to values."""
        return self.payload_converter.from_payloads(await self._decode_payloads(payloads), type_hints)

    @property
    def _changes_payloads(self) -> bool:
        """Whether anything happens to payloads after the payload converter."""
        return self.payload_codec is not None or self.external_storage is not None

    async def _encode_payloads(self, payloads: Sequence[Payload]) -> list[Payload]:
        if self.payload_codec is not None:
            payloads = await self.payload_codec.encode(payloads)
        if self.external_storage is not None:
            payloads = await self.external_storage._store(payloads)
        return list(payloads)

    async def _decode_payloads(self, payloads: Sequence[Payload]) -> list[Payload]:
        if self.external_storage is None:
            refuse_references(payloads)
        else:
            payloads = [
                await self._decode_reference(payload) if is_encoded_reference(payload) else payload
                for payload in payloads
            ]
            payloads = await self.external_storage._retrieve(payloads)
        if self.payload_codec is not None:
            payloads = await self.payload_codec.decode(payloads)
        return list(payloads)

    async def _decode_reference(self, payload: Payload) -> Payload:
        reference = without_marker(payload)
        if self.payload_codec is not None:
            [reference] = await self.payload_codec.decode([reference])
        if not is_reference(reference):
            raise RuntimeError(
                "[TMPRL1106] Encountered an encoded external storage reference that could not be decoded. "
                "Check that the payload codec used to write it is configured."
            )
        return reference

    async def _encode_in_place(self, payloads: Payloads) -> None:
        payloads.payloads[:] = await self._encode_payloads(payloads.payloads)

    async def _decode_in_place(self, payloads: Payloads) -> None:
        payloads.payloads[:] = await self._decode_payloads(payloads.payloads)

    async def encode_wrapper(self, values: Sequence[Any]) -> Payloads:
        """:meth:`encode`, wrapped in the message that holds several payloads."""
        return Payloads(await self.encode(values))

    async def decode_wrapper(self, payloads: Payloads | None, type_hints: list[type] | None = None) -> list[Any]:
        """:meth:`decode` of a wrapper; an absent one holds no values."""
        if payloads is None or not payloads.payloads:
            return []
        return await self.decode(payloads.payloads, type_hints)

    async def encode_failure(self, exception: BaseException, failure: Failure) -> None:
        """Fill ``failure`` from an exception and encode its payloads."""
        self.failure_converter.to_failure(exception, self.payload_converter, failure)
        if self._changes_payloads:
            await apply_to_failure_payloads(failure, self._encode_in_place)

    async def decode_failure(self, failure: Failure) -> BaseException:
        """The exception for a failure. The failure's payloads are decoded in place."""
        await apply_to_failure_payloads(failure, self._decode_in_place)
        return self.failure_converter.from_failure(failure, self.payload_converter)

    def with_context(self, context: SerializationContext) -> Self:
        """This converter with every part given the context; itself when no part wants it."""
        parts = {
            name: part.with_context(context) if isinstance(part, WithSerializationContext) else part
            for name, part in (
                ("payload_converter", self.payload_converter),
                ("payload_codec", self.payload_codec),
                ("failure_converter", self.failure_converter),
                ("external_storage", self.external_storage),
            )
        }
        if all(part is getattr(self, name) for name, part in parts.items()):
            return self
        return self._replaced(**parts)

    def _with_store_context(self, context: StorageDriverStoreContext) -> DataConverter:
        """This converter, its external storage told who will read what it stores."""
        if self.external_storage is None:
            return self
        return self._replaced(external_storage=self.external_storage._with_store_context(context))

    def _with_contexts(self, context: SerializationContext, store_context: StorageDriverStoreContext) -> DataConverter:
        return self.with_context(context)._with_store_context(store_context)

    def _replaced(self, **parts: Any) -> Self:
        """A copy with these parts, and the other parts as they are now."""
        clone = dataclasses.replace(self)
        for name in ("payload_converter", "payload_codec", "failure_converter", "external_storage"):
            object.__setattr__(clone, name, parts.get(name, getattr(self, name)))
        return clone

    async def _encode_memo(self, source: Mapping[str, Any]) -> Memo:
        fields = {}
        for name, value in source.items():
            fields[name] = value if isinstance(value, Payload) else (await self.encode([value]))[0]
        return Memo(fields)

    async def _decode_memo(self, source: Memo) -> dict[str, Any]:
        return {name: (await self.decode([payload]))[0] for name, payload in source.fields.items()}

    async def _decode_memo_field(self, source: Memo, key: str, default: Any, type_hint: type | None) -> Any:
        payload = source.fields.get(key)
        if payload is None:
            if default is _arg_unset:
                raise KeyError(f"Memo does not have a value for key {key}")
            return default
        return (await self.decode([payload], None if type_hint is None else [type_hint]))[0]


DataConverter.default = DataConverter()
PayloadConverter.default = DataConverter.default.payload_converter
FailureConverter.default = DataConverter.default.failure_converter


def default() -> DataConverter:
    """The default data converter. Deprecated: use :attr:`DataConverter.default`."""
    return DataConverter.default
