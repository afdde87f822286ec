"""The input of a Nexus operation: a payload, decoded when its handler wants the value."""

from __future__ import annotations

from typing import Any

import nexusrpc
from nexusrpc import HandlerError, HandlerErrorType

from perdure.api.common.v1 import Payload
from perdure.converter import DataConverter
from perdure.exceptions import ApplicationError


class InputSerializer:
    """What ``nexusrpc`` asks for the value; the content it passes is of no meaning, the payload is ours."""

    def __init__(self, converter: DataConverter, payload: Payload | None) -> None:
        self._converter = converter
        self._payload = payload or Payload({"encoding": b"binary/null"})

    async def serialize(self, value: Any) -> nexusrpc.Content:
        """Never called: handlers only read."""
        raise NotImplementedError("the input of an operation is read only")

    async def deserialize(self, content: nexusrpc.Content, as_type: type[Any] | None = None) -> Any:
        """The value.

        Raises:
            HandlerError: BAD_REQUEST, the caller's input is no such value; INTERNAL, it could not be decoded here.
        """
        try:
            payloads = await self._converter._decode_payloads([self._payload])
        except Exception as error:
            if _is_invalid(error):
                raise _invalid() from error
            raise HandlerError(
                "Payload codec failed to decode Nexus operation input", type=HandlerErrorType.INTERNAL
            ) from error
        try:
            [value] = self._converter.payload_converter.from_payloads(payloads, [as_type] if as_type else None)
        except Exception as error:
            if _is_invalid(error):
                raise _invalid() from error
            raise HandlerError(
                "Payload converter failed to decode Nexus operation input",
                type=HandlerErrorType.BAD_REQUEST,
                retryable_override=False,
            ) from error
        return value


def _is_invalid(error: Exception) -> bool:
    """Whether a converter understood the input and refused it."""
    return isinstance(error, ApplicationError) and error.non_retryable and error.type == "PayloadValidationError"


def _invalid() -> HandlerError:
    return HandlerError("Invalid operation input", type=HandlerErrorType.BAD_REQUEST, retryable_override=False)
