"""gRPC's health service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from enum import IntEnum
from typing import Any

import grpc

from perdure.wire._tables import HealthCheckRequest, HealthCheckResponse
from perdure.wire.codec import DecodeError, decode, encode
from perdure.wire.methods import HEALTH_SERVICE


class ServingStatus(IntEnum):
    """gRPC's words for it."""

    SERVING = 1
    NOT_SERVING = 2
    SERVICE_UNKNOWN = 3


class Health:
    """Says whether the server serves: all of its services do, or none."""

    def __init__(self) -> None:
        #: Full names of the services that are there; "" for the server itself.
        self.services = {"", HEALTH_SERVICE}
        self._status = ServingStatus.SERVING
        self._changed = asyncio.Event()

    def stop_serving(self) -> None:
        """From now on it does not; who watches is told, and the watching ends."""
        self._status = ServingStatus.NOT_SERVING
        self._changed.set()

    def handlers(self) -> dict[str, grpc.RpcMethodHandler]:
        """The service's methods by path."""
        return {
            f"/{HEALTH_SERVICE}/Check": grpc.unary_unary_rpc_method_handler(self._check),
            f"/{HEALTH_SERVICE}/Watch": grpc.unary_stream_rpc_method_handler(self._watch),
        }

    async def _asked(self, data: bytes, context: Any) -> str:
        try:
            return decode(HealthCheckRequest, data).service
        except DecodeError as error:
            await context.abort(grpc.StatusCode.INTERNAL, f"grpc: error unmarshalling request: {error}")
            raise AssertionError from None  # abort has raised

    def _answer(self, status: int) -> bytes:
        return encode(HealthCheckResponse(int(status)))

    async def _check(self, data: bytes, context: Any) -> bytes:
        if await self._asked(data, context) not in self.services:
            await context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return self._answer(self._status)

    async def _watch(self, data: bytes, context: Any) -> AsyncIterator[bytes]:
        if await self._asked(data, context) not in self.services:
            yield self._answer(ServingStatus.SERVICE_UNKNOWN)
        else:
            yield self._answer(self._status)
        await self._changed.wait()
        yield self._answer(self._status)
