"""libpq's TLS modes, against a server that takes nothing else on its port."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure.store.api import StoreUnavailableError
from perdure.store.postgres import PostgresStore
from tests.server.certificates import Authority
from tests.support.postgres import FAST, Server, free_port, own_server_or_skip, with_options


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def server(authority: Authority) -> Iterator[Server]:
    own_server_or_skip()
    pair = authority.sign("localhost")
    server = Server(FAST, port=free_port(), tls=(pair.cert, pair.key))
    yield server
    server.remove()


def place(server: Server, mode: str, root: Path | None = None) -> str:
    url = f"postgresql://perdure@localhost:{server.port}/postgres?sslmode={mode}"
    if root is not None:
        url = with_options(url, sslrootcert=root)
    return with_options(url, schema=f"tls_{mode.replace('-', '_')}", partitions=1, connect_timeout=5)


@pytest.mark.parametrize("mode", ["prefer", "require", "verify-ca", "verify-full"])
async def test_encrypted(server: Server, authority: Authority, tmp_path: Path, mode: str) -> None:
    root = tmp_path / "root.pem"
    root.write_bytes(authority.pem)
    store = await PostgresStore.open(place(server, mode, root=root if mode.startswith("verify") else None))
    rows = await store.connections.fetch("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
    assert rows == [(True,)]
    await store.close()


async def test_no_encryption_no_connection(server: Server) -> None:
    with pytest.raises(StoreUnavailableError, match="cannot reach postgresql://perdure@localhost"):
        await PostgresStore.open(place(server, "disable"))


async def test_another_authority_is_not_trusted(server: Server, tmp_path: Path) -> None:
    root = tmp_path / "root.pem"
    root.write_bytes(Authority("other").pem)
    with pytest.raises(StoreUnavailableError, match="cannot reach"):
        await PostgresStore.open(place(server, "verify-ca", root=root))


async def test_another_name_is_not_trusted_where_names_count(authority: Authority, tmp_path: Path) -> None:
    root = tmp_path / "root.pem"
    root.write_bytes(authority.pem)
    pair = authority.sign("elsewhere", host="elsewhere.example")
    server = Server(FAST, port=free_port(), tls=(pair.cert, pair.key))
    try:
        await (await PostgresStore.open(place(server, "verify-ca", root=root))).close()
        with pytest.raises(StoreUnavailableError, match="cannot reach"):
            await PostgresStore.open(place(server, "verify-full", root=root))
    finally:
        server.remove()
