"""Payload codecs: compression, encryption and whatever else turns payloads into payloads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from perdure.api.common.v1 import Payloads

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from perdure.api.common.v1 import Payload
    from perdure.api.failure.v1 import Failure


class PayloadCodec(ABC):
    """Encodes payloads on their way out of the process and decodes them on their way in.

    A codec runs outside workflow code, so it may do I/O. Neither method may change the payloads it is given.
    """

    @abstractmethod
    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """The encoded payloads: at least one, at most as many as given."""

    @abstractmethod
    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """The payloads that :meth:`encode` was given."""

    async def encode_wrapper(self, payloads: Payloads) -> None:
        """Replace the payloads of a :class:`Payloads` by their encoded form."""
        payloads.payloads[:] = await self.encode(payloads.payloads)

    async def decode_wrapper(self, payloads: Payloads) -> None:
        """Replace the payloads of a :class:`Payloads` by their decoded form."""
        payloads.payloads[:] = await self.decode(payloads.payloads)

    async def encode_failure(self, failure: Failure) -> None:
        """Encode every payload of a failure and of its causes, in place."""
        await apply_to_failure_payloads(failure, self.encode_wrapper)

    async def decode_failure(self, failure: Failure) -> None:
        """Decode every payload of a failure and of its causes, in place."""
        await apply_to_failure_payloads(failure, self.decode_wrapper)


async def apply_to_failure_payloads(failure: Failure, change: Callable[[Payloads], Awaitable[None]]) -> None:
    """Run ``change`` on all payloads of a failure: encoded attributes, details, and the same of its causes."""
    current: Failure | None = failure
    while current is not None:
        if current.encoded_attributes is not None:
            wrapper = Payloads([current.encoded_attributes])
            await change(wrapper)
            current.encoded_attributes = wrapper.payloads[0]
        details = _details(current)
        if details is not None:
            await change(details)
        current = current.cause


def _details(failure: Failure) -> Payloads | None:
    if (application := failure.application_failure_info) is not None:
        return application.details
    if (timeout := failure.timeout_failure_info) is not None:
        return timeout.last_heartbeat_details
    if (canceled := failure.canceled_failure_info) is not None:
        return canceled.details
    if (reset := failure.reset_workflow_failure_info) is not None:
        return reset.last_heartbeat_details
    return None
