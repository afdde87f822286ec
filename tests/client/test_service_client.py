"""The connection itself, and the errors that come over it."""

from __future__ import annotations

import pytest

from perdure import Client
from perdure.api.errordetails.v1 import NotFoundFailure
from perdure.service import GrpcStatus, RPCError, RPCStatusCode


async def test_health_and_settings() -> None:
    async with await Client.connect("memory:") as client:
        service_client = client.service_client
        assert await service_client.check_health()
        assert service_client.worker_service_client is service_client
        service_client.update_rpc_metadata({"a": "b"})
        service_client.update_api_key("key")
        assert (client.rpc_metadata, client.api_key) == ({"a": "b"}, "key")


async def test_an_error_has_its_details_and_a_status() -> None:
    async with await Client.connect("memory:") as client:
        with pytest.raises(RPCError) as caught:
            await client.get_workflow_handle("nobody").describe()
    error = caught.value
    assert error.detail(NotFoundFailure) is error.details[0]
    assert error.grpc_status == GrpcStatus(5, error.message, error.details)
    again = RPCError(error.message, error.status, error.raw_grpc_status)
    assert again.grpc_status == GrpcStatus(5, error.message, [])
    assert again.details == ()


def test_a_status_from_the_wire() -> None:
    raw = b"\x08\x05\x12\x04gone\x1a\x07\x0a\x05type/"
    error = RPCError("gone", RPCStatusCode.NOT_FOUND, raw)
    assert error.raw_grpc_status == raw
    assert error.grpc_status == GrpcStatus(5, "gone", [b"\x0a\x05type/"])
