"""Activities that are completed from outside their worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from perdure.client import _check
from perdure.client._interceptor import (
    CompleteAsyncActivityInput,
    FailAsyncActivityInput,
    HeartbeatAsyncActivityInput,
    ReportCancellationAsyncActivityInput,
)
from perdure.common import _arg_unset
from perdure.converter import DataConverter, SerializationContext, WithSerializationContext

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import timedelta

    from perdure.client._client import Client


@dataclass(frozen=True)
class AsyncActivityIDReference:
    """An activity named by its ids."""

    workflow_id: str | None
    run_id: str | None
    activity_id: str


class AsyncActivityHandle(WithSerializationContext):
    """An activity that called ``activity.raise_complete_async`` and is heard of through this handle from then on."""

    def __init__(
        self,
        client: Client,
        id_or_token: AsyncActivityIDReference | bytes,
        data_converter_override: DataConverter | None = None,
    ) -> None:
        """Made by :meth:`Client.get_async_activity_handle`."""
        self._client = client
        self._id_or_token = id_or_token
        self._data_converter_override = data_converter_override

    async def heartbeat(
        self, *details: Any, rpc_metadata: Mapping[str, str | bytes] = {}, rpc_timeout: timedelta | None = None
    ) -> None:
        """Say that the activity is alive; ``details`` are what a later attempt finds.

        Raises:
            AsyncActivityCancelledError: the activity should stop.
        """
        _check.rpc_options("heartbeat", rpc_metadata, rpc_timeout)
        self._client._check_usable()
        await self._client._impl.heartbeat_async_activity(
            HeartbeatAsyncActivityInput(
                self._id_or_token, details, rpc_metadata, rpc_timeout, self._data_converter_override
            )
        )

    async def complete(
        self,
        result: Any | None = _arg_unset,
        *,
        rpc_metadata: Mapping[str, str | bytes] = {},
        rpc_timeout: timedelta | None = None,
    ) -> None:
        """Complete the activity."""
        _check.rpc_options("complete", rpc_metadata, rpc_timeout)
        self._client._check_usable()
        await self._client._impl.complete_async_activity(
            CompleteAsyncActivityInput(
                self._id_or_token, result, rpc_metadata, rpc_timeout, self._data_converter_override
            )
        )

    async def fail(
        self,
        error: Exception,
        *,
        last_heartbeat_details: Sequence[Any] = [],
        rpc_metadata: Mapping[str, str | bytes] = {},
        rpc_timeout: timedelta | None = None,
    ) -> None:
        """Fail this attempt of the activity; its retry policy decides about another."""
        _check.instance("fail", "error", error, Exception)
        _check.rpc_options("fail", rpc_metadata, rpc_timeout)
        self._client._check_usable()
        await self._client._impl.fail_async_activity(
            FailAsyncActivityInput(
                self._id_or_token,
                error,
                last_heartbeat_details,
                rpc_metadata,
                rpc_timeout,
                self._data_converter_override,
            )
        )

    async def report_cancellation(
        self, *details: Any, rpc_metadata: Mapping[str, str | bytes] = {}, rpc_timeout: timedelta | None = None
    ) -> None:
        """Say that the activity stopped because it was asked to."""
        _check.rpc_options("report_cancellation", rpc_metadata, rpc_timeout)
        self._client._check_usable()
        await self._client._impl.report_cancellation_async_activity(
            ReportCancellationAsyncActivityInput(
                self._id_or_token, details, rpc_metadata, rpc_timeout, self._data_converter_override
            )
        )

    def with_context(self, context: SerializationContext) -> AsyncActivityHandle:
        """The same activity, with payloads converted in another context."""
        converter = self._client.data_converter.with_context(context)
        if converter is self._client.data_converter:
            return self
        if type(self).__init__ is not AsyncActivityHandle.__init__:
            raise TypeError(
                f"{type(self).__name__} has its own __init__: you must override with_context to return an instance of "
                "your class"
            )
        return type(self)(self._client, self._id_or_token, converter)
