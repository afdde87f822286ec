"""The ready-made codecs: round trips, rotation, damage, chains, and what a codec server answers."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any, Self

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure import workflow
from perdure.api.common.v1 import Payload, PayloadExternalPayloadDetails, Payloads
from perdure.client import Client, WorkflowFailureError
from perdure.contrib.codecs import CodecChain, answer_codec_request
from perdure.contrib.compression import ZlibCodec, ZstdCodec
from perdure.contrib.encryption import AESGCMCodec
from perdure.converter import (
    DataConverter,
    DefaultFailureConverterWithEncodedAttributes,
    PayloadCodec,
    SerializationContext,
    WithSerializationContext,
    WorkflowSerializationContext,
)
from perdure.exceptions import ApplicationError
from perdure.worker import Worker
from tests.converters.conftest import Connect

LONG = Payload({"encoding": b"json/plain"}, b'"%s"' % (b"na" * 100_000))
SHORT = Payload({"encoding": b"binary/null"})
KEYS = {"old": b"o" * 32, "new": b"n" * 32}


def aes(key_id: str = "new", **options: Any) -> AESGCMCodec:
    return AESGCMCodec(KEYS, key_id, **options)


payloads = st.lists(
    st.builds(
        Payload,
        st.dictionaries(st.text(max_size=8), st.binary(max_size=300), max_size=3),
        st.binary(max_size=2000),
        st.lists(st.builds(PayloadExternalPayloadDetails, st.integers(0, 2**40)), max_size=2),
    ),
    max_size=4,
)


@settings(deadline=None)
@given(payloads)
async def test_every_payload_comes_back(some: list[Payload]) -> None:
    codec = CodecChain(ZlibCodec(min_size=0), ZstdCodec(min_size=0), aes())
    assert await codec.decode(await codec.encode(some)) == some


@settings(deadline=None)
@given(payloads)
def test_payload_bytes_are_protobuf(some: list[Payload]) -> None:
    from temporalio.api.common.v1 import Payload as Theirs
    from temporalio.api.common.v1 import Payloads as TheirPayloads

    for payload in some:
        data = payload.SerializeToString()
        assert len(data) == payload.ByteSize()
        theirs = Theirs.FromString(data)
        assert (dict(theirs.metadata), theirs.data) == (payload.metadata, payload.data)
        assert [details.size_bytes for details in theirs.external_payloads] == [
            details.size_bytes for details in payload.external_payloads
        ]
        assert Payload.FromString(theirs.SerializeToString()) == payload
        copy = payload.__deepcopy__()
        assert copy == payload
        assert copy.metadata is not payload.metadata
    together = Payloads(some).SerializeToString()
    assert [it.data for it in TheirPayloads.FromString(together).payloads] == [payload.data for payload in some]
    assert Payloads.FromString(together) == Payloads(some)


@settings(deadline=None)
@given(st.binary(max_size=40))
def test_bytes_that_are_no_payload_are_refused(data: bytes) -> None:
    try:
        Payload.FromString(data)
    except (ValueError, UnicodeDecodeError) as error:
        assert str(error)


# --- compression


@pytest.mark.parametrize("codec", [ZlibCodec(), ZstdCodec()])
async def test_compression(codec: PayloadCodec) -> None:
    compressed, untouched = await codec.encode([LONG, SHORT])
    assert len(compressed.data) < 1000
    assert untouched is SHORT
    assert await codec.decode([compressed, untouched]) == [LONG, SHORT]
    for data in (compressed.data[:-3], b"other bytes", b""):
        with pytest.raises(RuntimeError, match="cannot be decompressed"):
            await codec.decode([Payload(compressed.metadata, data)])
    with pytest.raises(RuntimeError, match="more than max_size, 1000 bytes"):
        await type(codec)(max_size=1000).decode([compressed])  # type: ignore[call-arg]


async def test_what_does_not_get_smaller_stays() -> None:
    noise = Payload({"encoding": b"binary/plain"}, bytes(range(256)))
    assert await ZlibCodec().encode([noise]) == [noise]


async def test_zlib_is_that_of_temporals_go_sdk() -> None:
    [compressed] = await ZlibCodec().encode([LONG])
    assert compressed.metadata == {"encoding": b"binary/zlib"}
    assert Payload.FromString(zlib.decompress(compressed.data)) == LONG


# --- encryption


async def test_nothing_of_an_encrypted_payload_can_be_read() -> None:
    [encrypted] = await aes().encode([LONG])
    assert encrypted.metadata == {"encoding": b"binary/encrypted", "encryption-key-id": b"new"}
    assert b"nana" not in encrypted.data
    assert b"json" not in encrypted.data
    [again] = await aes().encode([LONG])
    assert again.data != encrypted.data


async def test_rotation_of_keys() -> None:
    before = await aes("old").encode([LONG])
    after = await aes("new").encode([LONG])
    assert await aes("new").decode(before + after) == [LONG, LONG]
    with pytest.raises(RuntimeError, match="key 'old', which this codec does not have"):
        await AESGCMCodec({"new": KEYS["new"]}, "new").decode(before)


async def test_what_cannot_be_decrypted() -> None:
    [encrypted] = await aes().encode([SHORT])
    changed = Payload(encrypted.metadata, encrypted.data[:-1] + bytes([encrypted.data[-1] ^ 1]))
    for damaged in (changed, Payload(encrypted.metadata, b"short"), Payload(encrypted.metadata)):
        with pytest.raises(RuntimeError, match="it was changed, or that is another key"):
            await aes().decode([damaged])
    assert await aes().decode([SHORT]) == [SHORT]
    with pytest.raises(RuntimeError, match="accepts none that is not"):
        await aes(accepts_plain=False).decode([SHORT])


def test_keys_are_checked_at_once() -> None:
    with pytest.raises(ValueError, match="there is no key 'missing'"):
        aes("missing")
    with pytest.raises(ValueError, match="128, 192, or 256"):
        AESGCMCodec({"a": b"short"}, "a")
    assert len(AESGCMCodec.new_key()) == 32


# --- chains


class Labelled(PayloadCodec, WithSerializationContext):
    def __init__(self, label: bytes = b"") -> None:
        self.label = label

    def with_context(self, context: SerializationContext) -> Self:
        assert isinstance(context, WorkflowSerializationContext)
        return type(self)(context.workflow_id.encode())

    async def encode(self, payloads: Any) -> list[Payload]:
        return [Payload({"label": self.label}, payload.SerializeToString()) for payload in payloads]

    async def decode(self, payloads: Any) -> list[Payload]:
        assert all(payload.metadata == {"label": self.label} for payload in payloads)
        return [Payload.FromString(payload.data) for payload in payloads]


async def test_a_chain_hands_its_context_on() -> None:
    chain = CodecChain(ZlibCodec(), Labelled())
    told = chain.with_context(WorkflowSerializationContext("n", "w"))
    [encoded] = await told.encode([LONG])
    assert encoded.metadata == {"label": b"w"}
    assert await told.decode([encoded]) == [LONG]
    plain = CodecChain(ZlibCodec())
    assert plain.with_context(WorkflowSerializationContext("n", "w")) is plain
    with pytest.raises(ValueError, match="at least one codec"):
        CodecChain()


# --- end to end


@workflow.defn
class Secretive:
    @workflow.run
    async def run(self, word: str) -> str:
        if word == "fail":
            raise ApplicationError("secret reason", "secret detail")
        return f"{word}, {word}"


async def test_what_a_home_holds_and_what_a_codec_server_shows(connect: Connect) -> None:
    codec = CodecChain(ZlibCodec(), aes())
    converter = DataConverter(payload_codec=codec, failure_converter_class=DefaultFailureConverterWithEncodedAttributes)
    client: Client = await connect(data_converter=converter)
    async with Worker(client, task_queue="q", workflows=[Secretive]):
        handle = await client.start_workflow(Secretive.run, "secret", id="a", task_queue="q", memo={"m": "secret"})
        assert await handle.result() == "secret, secret"
        assert await (await handle.describe()).memo_value("m") == "secret"
        failed = await client.start_workflow(Secretive.run, "fail", id="b", task_queue="q")
        with pytest.raises(WorkflowFailureError) as caught:
            await failed.result()
    cause = caught.value.cause
    assert isinstance(cause, ApplicationError)
    assert (cause.message, cause.details) == ("secret reason", ("secret detail",))
    assert "secret" not in (await handle.fetch_history()).to_json()
    history = await failed.fetch_history()
    assert "secret" not in history.to_json()

    failure = history.events[-1].attributes.failure
    assert failure.message == "Encoded failure"
    body = {
        "payloads": [
            {
                "metadata": {k: base64.b64encode(v).decode() for k, v in failure.encoded_attributes.metadata.items()},
                "data": base64.b64encode(failure.encoded_attributes.data).decode(),
            }
        ]
    }
    [shown] = json.loads(await answer_codec_request(codec, "decode", json.dumps(body).encode()))["payloads"]
    assert base64.b64decode(shown["metadata"]["encoding"]) == b"json/plain"
    assert json.loads(base64.b64decode(shown["data"]))["message"] == "secret reason"
    back = await answer_codec_request(codec, "encode", json.dumps({"payloads": [shown]}).encode())
    assert json.loads(await answer_codec_request(codec, "decode", back)) == {"payloads": [shown]}


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"payloads": 1}', b'{"payloads": [{"data": "a"}]}', b'{"payloads":[1]}']
)
async def test_a_codec_server_refuses_what_is_no_request(body: bytes) -> None:
    with pytest.raises(ValueError, match="not JSON with payloads"):
        await answer_codec_request(ZlibCodec(), "decode", body)
    with pytest.raises(ValueError, match="encode and decode, not 'list'"):
        await answer_codec_request(ZlibCodec(), "list", b"{}")
