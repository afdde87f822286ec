"""What tools that know no protocol learn from the server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import grpc.aio
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from perdure.server import Server
from perdure.server._reflection import REFLECTION_SERVICES, _class
from perdure.wire.methods import OPERATOR_SERVICE, WORKFLOW_SERVICE


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with Server("memory:", port=0, drain_seconds=1) as running:
        yield running


def text(field: int, value: str) -> bytes:
    """A request as protobuf spells it: one field with a text."""
    return bytes([field << 3 | 2, len(value)]) + value.encode()


async def ask(server: Server, questions: Sequence[bytes], service: str = REFLECTION_SERVICES[0]) -> list[bytes]:
    """One conversation."""
    async with grpc.aio.insecure_channel(server.address) as channel:
        call = channel.stream_stream(f"/{service}/ServerReflectionInfo")(iter(questions), timeout=20)
        return [answer async for answer in call]


@pytest.mark.parametrize("service", REFLECTION_SERVICES)
async def test_services_are_listed(server: Server, service: str) -> None:
    (answer,) = await ask(server, [text(7, "*")], service)
    assert WORKFLOW_SERVICE.encode() in answer
    assert OPERATOR_SERVICE.encode() in answer
    assert b"TestService" not in answer


async def test_descriptors_with_all_they_import(server: Server) -> None:
    symbol, name = await ask(server, [text(4, WORKFLOW_SERVICE), text(3, "temporal/api/common/v1/message.proto")])
    answer = _class("Response").FromString(symbol)
    assert answer.original_request.file_containing_symbol == WORKFLOW_SERVICE
    files = [FileDescriptorProto.FromString(file) for file in answer.file_descriptor_response.file_descriptor_proto]
    assert files[0].service[0].name == "WorkflowService"
    assert {imported for file in files for imported in file.dependency} <= {file.name for file in files}
    (file, *_) = _class("Response").FromString(name).file_descriptor_response.file_descriptor_proto
    assert FileDescriptorProto.FromString(file).package == "temporal.api.common.v1"


async def test_what_is_not_there(server: Server) -> None:
    unknown, extensions = await ask(server, [text(4, "no.such.Service"), text(6, "temporal.api.common.v1.Payload")])
    assert _class("Response").FromString(unknown).error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]
    failure = _class("Response").FromString(extensions).error_response
    assert failure.error_code == grpc.StatusCode.UNIMPLEMENTED.value[0]
    with pytest.raises(grpc.aio.AioRpcError, match="error unmarshalling"):
        await ask(server, [b"\x22\xff"])
