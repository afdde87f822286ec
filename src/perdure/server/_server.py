"""The server: what it listens on, and how it starts and stops."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from perdure import connect
from perdure.api.workflowservice import v1 as ws
from perdure.server._archival import ArchivalPlaces
from perdure.server._auth import Auth, Authorizer
from perdure.service import RPCError, RPCStatusCode, WorkflowService
from perdure.store.archive import open_archiver

if TYPE_CHECKING:
    import grpc

    from perdure.server._calls import Calls
    from perdure.server._health import Health

logger = logging.getLogger("perdure.server")

DEFAULT_PORT = 7233
_DAY = 86_400 * 1_000_000_000
_DEFAULT_RETENTION = 3 * _DAY
#: What gRPC itself takes in. Between this and Temporal's limit a request is refused in words that SDKs understand.
_MAX_RECEIVED_BYTES = 32 * 1024 * 1024
_MAX_CALLS = 20_000
_OPTIONS = (
    ("grpc.max_receive_message_length", _MAX_RECEIVED_BYTES),
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),
    # SDKs ping every 15 to 30 seconds, also while nothing is under way.
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_ping_strikes", 0),
    # A client that vanished without a word is noticed, and its polls end.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.max_pings_without_data", 0),
)


@dataclass(frozen=True)
class ServerTLS:
    """The server's certificate and key as PEM. With ``client_ca`` clients must show a certificate that it signed."""

    cert: bytes
    key: bytes
    client_ca: bytes | None = None

    @classmethod
    def load(cls, cert: str | Path, key: str | Path, client_ca: str | Path | None = None) -> ServerTLS:
        """Read the files."""
        return cls(
            Path(cert).read_bytes(), Path(key).read_bytes(), None if client_ca is None else Path(client_ca).read_bytes()
        )


class Server:
    """Serves a home to other processes, over Temporal's gRPC API.

    ``async with Server("lmdb:./data") as server:`` listens from here on; at the end it stops taking calls, ends polls,
    lets calls under way finish for ``drain_seconds``, and gives the home back.

    Args:
        home: A URL, or a service that is open already and stays so.
        host: Where to listen. Beyond the machine itself (``0.0.0.0``, ``::``) only with ``tls`` and ``auth``.
        port: 0 takes one that is free; see :attr:`address`.
        tls: Certificate and key; ``client_ca`` makes clients show theirs.
        auth: Who may call, and what; everybody everything unless given.
        namespaces: Made if they do not exist.
        allow_insecure: Listen beyond the machine without TLS or without auth.
        drain_seconds: How long calls under way may take to finish at the end.
        archival_uris: Where callers may have namespaces archived to, at these places or below; nowhere unless given.

    Raises:
        ValueError: something does not fit; the sentence says what to do.
    """

    def __init__(
        self,
        home: str | WorkflowService,
        host: str = "127.0.0.1",
        port: int = DEFAULT_PORT,
        *,
        tls: ServerTLS | None = None,
        auth: Auth | None = None,
        namespaces: Sequence[str] = ("default",),
        allow_insecure: bool = False,
        drain_seconds: float = 10.0,
        archival_uris: Sequence[str] = (),
    ) -> None:
        if not 0 <= port <= 65535:
            raise ValueError(f"port {port} does not exist; use one from 1 to 65535, or 0 for any free one")
        if not allow_insecure and not _is_loopback(host) and (tls is None or auth is None):
            missing = " and ".join(name for name, given in (("TLS", tls), ("auth", auth)) if given is None)
            raise ValueError(
                f"host {host!r} is reachable from other machines, and there is no {missing}: anybody there could "
                f"{'read and change everything' if auth is None else 'read what is sent'}. "
                "Configure both, listen on 127.0.0.1, or allow it explicitly"
            )
        if auth is not None and auth.client_certificates and (tls is None or tls.client_ca is None):
            raise ValueError("auth by client certificates needs TLS with a CA for them (client_ca)")
        self._home = home
        self._host = host
        self._port = port
        self._tls = tls
        self._auth = auth
        self._namespaces = namespaces
        self._drain_seconds = drain_seconds
        self._archival_uris = tuple(archival_uris)
        for uri in archival_uris:
            open_archiver(uri)  # says what is wrong with it
        #: Then its namespaces are archived where its own configuration says.
        self._is_of_temporal = isinstance(home, str) and connect.parse(home).scheme == "temporal"
        self._owned: WorkflowService | None = None
        self._service: WorkflowService | None = None
        self._server: grpc.aio.Server | None = None
        self._calls: Calls
        self._health: Health

    @property
    def address(self) -> str:
        """``host:port`` for clients."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{host}:{self._port}"

    @property
    def service(self) -> WorkflowService:
        """The home that is served, for this process."""
        if self._service is None:
            raise RuntimeError("this server has not been started")
        return self._service

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop."""
        await self.stop()

    async def start(self) -> None:
        """Open the home and listen.

        Raises:
            OSError: the address is taken, or none of this machine.
            RuntimeError: gRPC is not installed, or the home cannot be opened.
        """
        if self._server is not None:
            raise RuntimeError("this server has been started before; make another one")
        grpc = _import_grpc()
        authorizer = None
        if self._auth is not None:
            authorizer = Authorizer(self._auth)
            await authorizer.open()
        service: Any = self._home
        if isinstance(service, str):
            service = self._owned = await connect.connect(service)
        self._service = service
        try:
            for namespace in self._namespaces:
                await _register(service, namespace)
            remote = service.remote if service.in_process else service
            if not self._is_of_temporal:
                remote = ArchivalPlaces(remote, self._archival_uris)
            self._server = self._assemble(grpc, remote, authorizer)
            self._port = self._listen(grpc, self._server)
            await self._server.start()
        except BaseException:
            await self._close_home()
            raise
        logger.info("serving on %s", self.address)

    def _assemble(self, grpc: Any, service: Any, authorizer: Authorizer | None) -> grpc.aio.Server:
        from perdure.server._calls import Calls
        from perdure.server._health import Health
        from perdure.server._reflection import Reflection

        self._health = Health()
        reflection = Reflection()
        self._calls = Calls(service, authorizer, self._health.handlers() | reflection.handlers())
        self._health.services |= self._calls.services
        reflection.services |= self._calls.services
        server: Any = grpc.aio.server(options=_OPTIONS, maximum_concurrent_rpcs=_MAX_CALLS)
        server.add_generic_rpc_handlers((self._calls,))
        return server

    def _listen(self, grpc: Any, server: grpc.aio.Server) -> int:
        address = self.address
        try:
            if self._tls is None:
                return int(server.add_insecure_port(address))
            credentials = grpc.ssl_server_credentials(
                [(self._tls.key, self._tls.cert)], self._tls.client_ca, self._tls.client_ca is not None
            )
            return int(server.add_secure_port(address, credentials))
        except RuntimeError as error:
            hint = "; are certificate and key PEM, and a pair?" if self._tls is not None else ""
            raise OSError(f"cannot listen on {address}: {error}{hint}") from None

    async def stop(self) -> None:
        """Take no more calls, finish those under way, give the home back. Safe to repeat."""
        server, self._server = self._server, None
        if server is not None:
            self._health.stop_serving()
            stopping = asyncio.ensure_future(server.stop(self._drain_seconds))
            await asyncio.sleep(0)
            self._calls.stop_waiting()
            await stopping
            await self._close_home()

    async def _close_home(self) -> None:
        owned, self._owned = self._owned, None
        if owned is not None:
            await owned.close()


async def _register(service: WorkflowService, namespace: str) -> None:
    try:
        await service.register_namespace(
            ws.RegisterNamespaceRequest(namespace, workflow_execution_retention_period=_DEFAULT_RETENTION)
        )
    except RPCError as error:
        if error.status is not RPCStatusCode.ALREADY_EXISTS:
            raise


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _import_grpc() -> Any:
    try:
        import grpc.aio
    except ImportError:
        raise RuntimeError("a server needs gRPC: pip install 'perdure[server]'") from None
    return grpc
