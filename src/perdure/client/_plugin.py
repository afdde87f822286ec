"""Plugins: objects that take part in making a client."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from perdure.client._client_config import ClientConfig
    from perdure.service import ConnectConfig, ServiceClient


class Plugin(abc.ABC):
    """Changes a client's configuration and how it connects. Earlier plugins wrap later ones."""

    def name(self) -> str:
        """The plugin's name in messages."""
        return f"{type(self).__module__}.{type(self).__qualname__}"

    @abc.abstractmethod
    def configure_client(self, config: ClientConfig) -> ClientConfig:
        """Return the configuration the client shall have."""

    @abc.abstractmethod
    async def connect_service_client(
        self, config: ConnectConfig, next: Callable[[ConnectConfig], Awaitable[ServiceClient]]
    ) -> ServiceClient:
        """Connect, usually by ``return await next(config)`` with a changed configuration."""
