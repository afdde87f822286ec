"""The system Nexus endpoint: operations that workflows call and the service itself carries out, without any worker.

There is one, SignalWithStartWorkflowExecution. Its request id is the operation's, so one that is carried out again after a
crash starts and signals nothing twice.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from perdure.api import system
from perdure.api.command.v1 import ScheduleNexusOperationCommandAttributes
from perdure.api.common.v1 import Link
from perdure.api.workflowservice import v1 as ws
from perdure.engine import limits, nexus_failures
from perdure.engine.core import Core
from perdure.engine.errors import invalid_argument
from perdure.engine.namespaces import Namespaces
from perdure.engine.nexus_operations import NexusOperations
from perdure.engine.nexus_state import by_transfer
from perdure.engine.run import Run
from perdure.engine.starts import check_start
from perdure.service import RPCError, RPCStatusCode

_Code = RPCStatusCode
#: The errors of handlers that refusals count as; any other is tried again.
_KINDS = {
    _Code.INVALID_ARGUMENT: "BAD_REQUEST",
    _Code.ALREADY_EXISTS: "CONFLICT",
    _Code.FAILED_PRECONDITION: "BAD_REQUEST",
    _Code.OUT_OF_RANGE: "BAD_REQUEST",
    _Code.NOT_FOUND: "NOT_FOUND",
    _Code.PERMISSION_DENIED: "UNAUTHORIZED",
    _Code.UNAUTHENTICATED: "UNAUTHENTICATED",
    _Code.UNIMPLEMENTED: "NOT_IMPLEMENTED",
    _Code.RESOURCE_EXHAUSTED: "RESOURCE_EXHAUSTED",
    _Code.UNAVAILABLE: "UNAVAILABLE",
}

SignalWithStart = Callable[
    [ws.SignalWithStartWorkflowExecutionRequest], Awaitable[ws.SignalWithStartWorkflowExecutionResponse]
]


class SystemEndpoint:
    """Checks calls of the endpoint when they are scheduled, and carries them out."""

    #: The service's own RPC: set when the engine is put together.
    signal_with_start: SignalWithStart

    def __init__(self, core: Core, namespaces: Namespaces, operations: NexusOperations) -> None:
        self._core = core
        self._namespaces = namespaces
        self._operations = operations
        self._under_way: set[tuple[str, int]] = set()

    def check(self, namespace_id: str, attributes: ScheduleNexusOperationCommandAttributes) -> None:
        """Refuse a call that cannot be carried out.

        Raises:
            RPCError: INVALID_ARGUMENT or NOT_FOUND, which fails the workflow task.
        """
        if attributes.nexus_header:
            raise invalid_argument(
                "ScheduleNexusOperationCommandAttributes.NexusHeader must be empty when using "
                f"{system.ENDPOINT} endpoint"
            )
        if (attributes.service, attributes.operation) != (system.SERVICE, system.SIGNAL_WITH_START):
            raise invalid_argument(
                f"{system.ENDPOINT} has no operation {attributes.operation!r} of service {attributes.service!r}; "
                f"it has {system.SIGNAL_WITH_START!r} of {system.SERVICE!r}"
            )
        request = self._request(namespace_id, attributes.input)
        check_start(request)
        limits.check_id(request.signal_name, "SignalName")

    def _request(self, namespace_id: str, payload: Any) -> ws.SignalWithStartWorkflowExecutionRequest:
        try:
            request = system.from_payload(payload, ws.SignalWithStartWorkflowExecutionRequest)
        except ValueError as error:
            raise invalid_argument(str(error)) from None
        own = self._namespaces.by_id(namespace_id).name
        request.namespace = request.namespace or own
        if request.namespace != own:
            raise invalid_argument(
                f'Namespace in request "{request.namespace}" does not match namespace in context "{own}"'
            )
        if request.request_id:
            raise invalid_argument("RequestID should not be set on the request")
        if request.links:
            raise invalid_argument("Links should not be set on the request")
        return request

    async def carry_out(self, run: Run, transfer_id: int, link: Link) -> None:
        """Carry out the call that a transfer owes, once at a time."""
        name = (run.key.run_id, transfer_id)
        if name in self._under_way:
            return
        self._under_way.add(name)
        try:
            await self._carry_out(run, transfer_id, link)
        finally:
            self._under_way.discard(name)

    async def _carry_out(self, run: Run, transfer_id: int, link: Link) -> None:
        core = self._core
        found = by_transfer(run.state, transfer_id)
        assert found is not None
        scheduled = await core.event(run, found[0])
        failure = response = None
        try:
            request = self._request(run.key.namespace_id, scheduled.attributes.input)
            request.request_id = found[1]["request_id"]
            request.links = [link]
            response = await self.signal_with_start(request)
        except RPCError as error:
            failure = nexus_failures.handler_failure(_KINDS.get(error.status, "INTERNAL"), error.message)
        current = await core.load(run.key)
        found = None if current is None else by_transfer(current.state, transfer_id)
        if current is None or found is None or not current.is_open:
            return
        if failure is not None:
            self._operations.call_failed(current, transfer_id, failure)
        elif response is not None:
            links = [] if response.signal_link is None else [response.signal_link]
            self._operations.succeeded(current, found[0], found[1], system.to_payload(response), links)
