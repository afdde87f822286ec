"""The converter classes: composition, contexts, raw values, transfer types, codecs, search attributes."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
import temporalio.api.common.v1
import temporalio.common
import temporalio.converter
from google.protobuf.wrappers_pb2 import StringValue

from perdure import converter
from perdure.api.common.v1 import Memo, Payload, Payloads, SearchAttributes
from perdure.common import RawValue, SearchAttributeKey, SearchAttributePair, TypedSearchAttributes, _arg_unset
from perdure.converter import (
    CompositePayloadConverter,
    DataConverter,
    DefaultPayloadConverter,
    EncodingPayloadConverter,
    JSONPlainPayloadConverter,
    JSONTypeConverter,
    PayloadCodec,
    PayloadConverter,
    SerializationContext,
    TransferTypeConverter,
    WithSerializationContext,
    WorkflowSerializationContext,
    transfer_type_convertible,
)


class ReverseCodec(PayloadCodec):
    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [
            Payload(
                {
                    "encoding": b"reversed",
                    **{k: v for k, v in p.metadata.items() if k != "encoding"},
                    "was": p.metadata["encoding"],
                },
                p.data[::-1],
            )
            for p in payloads
        ]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [Payload({"encoding": p.metadata["was"]}, p.data[::-1]) for p in payloads]


class HexConverter(EncodingPayloadConverter):
    @property
    def encoding(self) -> str:
        return "test/hex"

    def to_payload(self, value: Any) -> Payload | None:
        return Payload({"encoding": b"test/hex"}, value.hex().encode()) if isinstance(value, bytes) else None

    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        return bytes.fromhex(payload.data.decode())


class ContextConverter(HexConverter, WithSerializationContext):
    context: SerializationContext | None = None

    def with_context(self, context: SerializationContext) -> ContextConverter:
        copy = ContextConverter()
        copy.context = context
        return copy


class ContextPayloadConverter(CompositePayloadConverter):
    def __init__(self) -> None:
        super().__init__(ContextConverter(), *DefaultPayloadConverter.default_encoding_payload_converters)


def test_defaults_are_shared() -> None:
    assert converter.default() is DataConverter.default
    assert PayloadConverter.default is DataConverter.default.payload_converter
    assert converter.FailureConverter.default is DataConverter.default.failure_converter


def test_every_public_name_of_temporals_is_here() -> None:
    waits = {name for name in temporalio.converter.__all__ if name.startswith(("Storage", "ExternalStorage"))}
    assert set(temporalio.converter.__all__) - waits <= set(converter.__all__)


def test_raw_values_pass_through() -> None:
    payload = Payload({"encoding": b"anything"}, b"x")
    default = PayloadConverter.default
    assert default.to_payloads([1, RawValue(payload)])[1] is payload
    assert default.from_payloads([payload], [RawValue]) == [RawValue(payload)]
    with pytest.raises(KeyError, match="Unknown payload encoding anything"):
        default.from_payload(payload)


def test_hints_may_be_fewer_than_payloads() -> None:
    default = PayloadConverter.default
    payloads = default.to_payloads(["1", 2, None, b"4"])
    assert default.from_payloads(payloads, [str]) == ["1", 2, None, b"4"]
    assert default.from_payloads(payloads, []) == ["1", 2, None, b"4"]
    assert default.from_payloads_wrapper(Payloads(payloads)) == ["1", 2, None, b"4"]
    assert default.from_payloads_wrapper(default.to_payloads_wrapper([])) == []
    assert default.from_payloads_wrapper(None) == []


def test_damaged_payloads_say_where() -> None:
    default = PayloadConverter.default
    damaged = Payload({"encoding": b"json/plain"}, b"{")
    with pytest.raises(RuntimeError, match="Payload at index 1 with encoding json/plain could not be converted"):
        default.from_payloads([default.to_payload(1), damaged])
    with pytest.raises(RuntimeError, match="index 0 with encoding binary/null"):
        default.from_payload(Payload({"encoding": b"binary/null"}, b"x"))
    with pytest.raises(KeyError, match="Unknown payload encoding <unknown>"):
        default.from_payload(Payload())


def test_converters_are_tried_in_order() -> None:
    mine = CompositePayloadConverter(HexConverter(), JSONPlainPayloadConverter())
    assert mine.to_payload(b"\x01").metadata == {"encoding": b"test/hex"}
    assert mine.from_payloads(mine.to_payloads([b"\x01", [2]]), [bytes, list[int]]) == [b"\x01", [2]]
    with pytest.raises(RuntimeError, match="Value at index 1 of type <class 'int'> has no known converter"):
        CompositePayloadConverter(HexConverter()).to_payloads([b"", 1])


def test_replacing_the_converters_of_a_default_converter_counts() -> None:
    mine = DefaultPayloadConverter()
    mine.converters = {b"test/hex": HexConverter(), **mine.converters}
    assert mine.to_payload(b"\x01").metadata == {"encoding": b"test/hex"}
    assert mine.from_payload(mine.to_payload(b"\x01")) == b"\x01"


def test_a_subclass_with_other_converters_is_not_short_cut() -> None:
    class Shout(JSONTypeConverter):
        def to_typed_value(self, hint: type, value: Any) -> Any:
            return value + "!" if hint is str else JSONTypeConverter.Unhandled

    class Mine(DefaultPayloadConverter):
        def __init__(self) -> None:
            super().__init__()
            self._set_converters(JSONPlainPayloadConverter(custom_type_converters=[Shout()]))

    assert Mine().from_payload(Mine().to_payload("a"), str) == "a!"


def test_contexts_reach_the_parts_that_want_them() -> None:
    context = WorkflowSerializationContext("ns", "wf")
    assert DataConverter.default.with_context(context) is DataConverter.default
    mine = DataConverter(ContextPayloadConverter).with_context(context)
    assert isinstance(mine.payload_converter, ContextPayloadConverter)
    part = mine.payload_converter.converters[b"test/hex"]
    assert isinstance(part, ContextConverter)
    assert part.context == context
    assert mine.payload_converter.from_payload(mine.payload_converter.to_payload(b"a")) == b"a"


class MoneyConverter(TransferTypeConverter["Money", str]):
    transfer_type = str

    def to_transfer_type(self, value: Money) -> str:
        return f"{value.cents}c"

    def from_transfer_type(self, value: str, type_hint: type[Money]) -> Money:
        return Money(int(value[:-1]))


@transfer_type_convertible(MoneyConverter)
@dataclasses.dataclass
class Money:
    cents: int


def test_classes_may_travel_as_another_type() -> None:
    for mine in (PayloadConverter.default, ContextPayloadConverter()):
        payloads = mine.to_payloads([Money(5), 1])
        assert payloads[0].data == b'"5c"'
        assert mine.from_payloads(payloads, [Money, int]) == [Money(5), 1]
        assert mine.from_payloads(payloads, [Money, int]) == [Money(5), 1]
    with pytest.raises(TypeError, match="class Money already has a transfer type converter"):
        transfer_type_convertible(MoneyConverter)(Money)


def test_protobuf_messages_convert_like_temporals() -> None:
    message = StringValue(value="x")
    default = PayloadConverter.default
    payload = default.to_payload(message)
    assert payload.metadata == {"encoding": b"json/protobuf", "messageType": b"google.protobuf.StringValue"}
    assert default.from_payload(payload, StringValue) == message
    binary = converter.BinaryProtoPayloadConverter()
    packed = binary.to_payload(message)
    assert packed is not None
    assert default.from_payload(packed) == message
    unknown = Payload({"encoding": b"json/protobuf", "messageType": b"no.Such"}, b"{}")
    with pytest.raises(RuntimeError, match="could not be converted") as error:
        default.from_payload(unknown)
    assert str(error.value.__cause__) == "Unknown Protobuf type no.Such"


def test_protobuf_is_not_imported_for_values_of_other_types() -> None:
    code = (
        "import sys, perdure.converter as c; p = c.PayloadConverter.default;"
        "p.from_payloads(p.to_payloads([1, b'x', None, {'a': {1}}, range(2)]));"
        "sys.exit('google.protobuf' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


async def test_the_codec_sees_every_payload() -> None:
    mine = DataConverter(payload_codec=ReverseCodec())
    payloads = await mine.encode(["ab", None])
    assert [p.data for p in payloads] == [b'"ba"', b""]
    assert await mine.decode(payloads, [str]) == ["ab", None]
    assert await mine.decode_wrapper(await mine.encode_wrapper([1])) == [1]
    assert await mine.decode_wrapper(None) == []


async def test_memos_encode_values_and_keep_payloads() -> None:
    mine = DataConverter(payload_codec=ReverseCodec())
    raw = (await mine.encode([5]))[0]
    memo = await mine._encode_memo({"a": 12, "raw": raw})
    assert memo.fields["a"].data == b"21"
    assert await mine._decode_memo(memo) == {"a": 12, "raw": 5}
    assert await mine._decode_memo_field(memo, "a", _arg_unset, float) == 12.0
    assert await mine._decode_memo_field(Memo(), "a", "none", None) == "none"
    with pytest.raises(KeyError, match="Memo does not have a value for key b"):
        await mine._decode_memo_field(memo, "b", _arg_unset, None)


NOW = datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)
ATTRIBUTES: list[tuple[str, Any]] = [
    ("text", "some words"),
    ("keyword", "é"),
    ("int", 3),
    ("float", 2.0),
    ("bool", True),
    ("datetime", NOW),
    ("keyword_list", ["a", "b"]),
]


@pytest.mark.parametrize(("kind", "value"), ATTRIBUTES)
def test_typed_search_attributes_are_temporals(kind: str, value: Any) -> None:
    key = getattr(SearchAttributeKey, f"for_{kind}")("Name")
    ours = SearchAttributes()
    converter.encode_search_attributes(TypedSearchAttributes([SearchAttributePair(key, value)]), ours)
    their_key = getattr(temporalio.common.SearchAttributeKey, f"for_{kind}")("Name")
    theirs = temporalio.converter.encode_typed_search_attribute_value(their_key, value)
    payload = ours.indexed_fields["Name"]
    assert (payload.metadata, payload.data) == (dict(theirs.metadata), theirs.data)
    assert converter.decode_typed_search_attributes(ours) == TypedSearchAttributes([SearchAttributePair(key, value)])
    payload.metadata["type"] = f"INDEXED_VALUE_TYPE_{key.indexed_value_type.name}".encode()
    assert converter.decode_typed_search_attributes(ours)[key] == value


def test_search_attributes_that_do_not_fit_are_refused_or_left_out() -> None:
    encode = converter.encode_typed_search_attribute_value
    with pytest.raises(TypeError, match="not suitable for indexed value type"):
        encode(SearchAttributeKey.for_int("n"), "1")
    with pytest.raises(TypeError, match="keyword list must be strings"):
        encode(SearchAttributeKey.for_keyword_list("n"), [1])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="Timezone"):
        encode(SearchAttributeKey.for_datetime("n"), datetime(2024, 1, 1))
    assert encode(SearchAttributeKey.for_int("n"), None).metadata == {"encoding": b"binary/null"}
    default = PayloadConverter.default
    untyped = default.to_payload("a")
    listed = default.to_payload([1.0])
    listed.metadata["type"] = b"Double"
    several = default.to_payload(["a", "b"])
    several.metadata["type"] = b"Keyword"
    misfit = default.to_payload("a")
    misfit.metadata["type"] = b"Int"
    api = SearchAttributes({"untyped": untyped, "listed": listed, "several": several, "misfit": misfit})
    decoded = converter.decode_typed_search_attributes(api)
    assert list(decoded) == [SearchAttributePair(SearchAttributeKey.for_float("listed"), 1.0)]


@pytest.mark.parametrize("values", [["a"], [1, 2], [1.5], [True], [NOW], []], ids=repr)
def test_untyped_search_attributes_are_temporals(values: Any) -> None:
    ours = SearchAttributes()
    converter.encode_search_attributes({"Name": values}, ours)
    theirs = temporalio.converter.encode_search_attribute_values(values)
    assert ours.indexed_fields["Name"].data == theirs.data
    ours.indexed_fields["Name"].metadata["type"] = b"Datetime" if values == [NOW] else b""
    assert converter.decode_search_attributes(ours) == {"Name": values}


@pytest.mark.parametrize("values", ["a", [1, "a"], [None], [datetime(2024, 1, 1)]], ids=repr)
def test_untyped_search_attributes_that_do_not_fit_are_refused(values: Any) -> None:
    with pytest.raises((TypeError, ValueError)) as theirs:
        temporalio.converter.encode_search_attribute_values(values)
    with pytest.raises(type(theirs.value)):
        converter.encode_search_attribute_values(values)


def test_validation_errors_are_not_retried() -> None:
    error = converter.create_payload_validation_error({"field": "a"})
    assert error.type == "PayloadValidationError"
    assert error.non_retryable
    assert list(error.details) == [{"field": "a"}]
    assert not converter.create_payload_validation_error(None).details
