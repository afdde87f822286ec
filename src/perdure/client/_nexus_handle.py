"""The handle of a standalone Nexus operation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, cast

from perdure.client import _check
from perdure.client._exceptions import NexusOperationFailureError
from perdure.client._nexus_inputs import (
    CancelNexusOperationInput,
    DescribeNexusOperationInput,
    GetNexusOperationResultInput,
    TerminateNexusOperationInput,
)
from perdure.common import _arg_unset
from perdure.types import ReturnType

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from perdure.client._client import Client
    from perdure.client._interceptor import OutboundInterceptor
    from perdure.client._nexus_execution import NexusOperationExecutionDescription


class NexusOperationHandle(Generic[ReturnType]):
    """A standalone operation that was started, or may have been: making a handle asks nobody."""

    def __init__(
        self,
        client: Client,
        operation_id: str,
        *,
        run_id: str | None = None,
        result_type: type | None = None,
        endpoint: str = "",
        service: str = "",
        operation: str = "",
    ) -> None:
        """Made by :meth:`NexusClient.start_operation` and :meth:`Client.get_nexus_operation_handle`."""
        self._client = client
        self._operation_id = operation_id
        self._run_id = run_id
        self._result_type = result_type
        self._endpoint = endpoint
        self._service = service
        self._operation = operation
        self._known_outcome: Any = _arg_unset

    def __repr__(self) -> str:
        """Name the operation."""
        run = f" run {self._run_id}" if self._run_id else ""
        return f"<NexusOperationHandle {self._operation_id!r}{run}>"

    @property
    def operation_id(self) -> str:
        """The operation id."""
        return self._operation_id

    @property
    def run_id(self) -> str | None:
        """The exact run that calls go to; None for the newest of the operation id."""
        return self._run_id

    @property
    def endpoint(self) -> str:
        """The endpoint's name, where the handle came from a start."""
        return self._endpoint

    @property
    def service(self) -> str:
        """The service's name, where the handle came from a start."""
        return self._service

    async def result(
        self, *, rpc_metadata: Mapping[str, str | bytes] = {}, rpc_timeout: timedelta | None = None
    ) -> ReturnType:
        """Wait for the operation to close and return its result.

        Args:
            rpc_metadata: Headers of the calls.
            rpc_timeout: Bounds each call, not the wait.

        Raises:
            NexusOperationFailureError: it failed, timed out, or was cancelled or terminated; its cause says which.
        """
        if self._known_outcome is _arg_unset:
            try:
                self._known_outcome = await self._calls("result", rpc_metadata, rpc_timeout).get_nexus_operation_result(
                    GetNexusOperationResultInput(
                        operation_id=self._operation_id,
                        run_id=self._run_id,
                        endpoint=self._endpoint,
                        service=self._service,
                        operation=self._operation,
                        rpc_metadata=rpc_metadata,
                        rpc_timeout=rpc_timeout,
                        result_type=self._result_type,
                    )
                )
            except NexusOperationFailureError as error:
                self._known_outcome = error
        if isinstance(self._known_outcome, NexusOperationFailureError):
            raise self._known_outcome
        return cast("ReturnType", self._known_outcome)

    async def describe(
        self, *, rpc_metadata: Mapping[str, str | bytes] = {}, rpc_timeout: timedelta | None = None
    ) -> NexusOperationExecutionDescription:
        """All that is known of the operation."""
        return await self._calls("describe", rpc_metadata, rpc_timeout).describe_nexus_operation(
            DescribeNexusOperationInput(self._operation_id, self._run_id, rpc_metadata, rpc_timeout)
        )

    async def cancel(
        self,
        *,
        reason: str | None = None,
        rpc_metadata: Mapping[str, str | bytes] = {},
        rpc_timeout: timedelta | None = None,
    ) -> None:
        """Ask the operation's handler to cancel it; how it ends is up to the handler."""
        await self._calls("cancel", rpc_metadata, rpc_timeout).cancel_nexus_operation(
            CancelNexusOperationInput(self._operation_id, self._run_id, reason, rpc_metadata, rpc_timeout)
        )

    async def terminate(
        self,
        *,
        reason: str | None = None,
        rpc_metadata: Mapping[str, str | bytes] = {},
        rpc_timeout: timedelta | None = None,
    ) -> None:
        """Close the operation now. Its handler is not told, and what it reports counts no more."""
        await self._calls("terminate", rpc_metadata, rpc_timeout).terminate_nexus_operation(
            TerminateNexusOperationInput(self._operation_id, self._run_id, reason, rpc_metadata, rpc_timeout)
        )

    def _calls(
        self, where: str, rpc_metadata: Mapping[str, str | bytes], rpc_timeout: timedelta | None
    ) -> OutboundInterceptor:
        _check.rpc_options(where, rpc_metadata, rpc_timeout)
        self._client._check_usable()
        return self._client._impl
