"""Interceptors around the handlers of Nexus operations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import nexusrpc.handler


@dataclass
class ExecuteNexusOperationStartInput:
    """What :meth:`NexusOperationInboundInterceptor.execute_nexus_operation_start` gets."""

    ctx: nexusrpc.handler.StartOperationContext
    input: Any


@dataclass
class ExecuteNexusOperationCancelInput:
    """What :meth:`NexusOperationInboundInterceptor.execute_nexus_operation_cancel` gets."""

    ctx: nexusrpc.handler.CancelOperationContext
    token: str


class NexusOperationInboundInterceptor:
    """Wraps the requests to start and to cancel an operation. Extend it and override what you need."""

    def __init__(self, next: NexusOperationInboundInterceptor) -> None:
        """Wrap the next interceptor."""
        self.next = next

    async def execute_nexus_operation_start(
        self, input: ExecuteNexusOperationStartInput
    ) -> nexusrpc.handler.StartOperationResultSync[Any] | nexusrpc.handler.StartOperationResultAsync:
        """Start the operation."""
        return await self.next.execute_nexus_operation_start(input)

    async def execute_nexus_operation_cancel(self, input: ExecuteNexusOperationCancelInput) -> None:
        """Cancel the operation."""
        return await self.next.execute_nexus_operation_cancel(input)
