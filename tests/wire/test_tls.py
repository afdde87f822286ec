"""TLS, client certificates and API keys, against ``perdure server``."""

from __future__ import annotations

import pytest

from perdure.client import Client
from perdure.server import ApiKey, Auth, Server, ServerTLS
from perdure.service import RPCError, RPCStatusCode, TLSConfig
from tests.server.certificates import Authority

KEY = "a-key-that-is-long-enough-for-anybody"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


async def test_an_api_key_over_tls(authority: Authority) -> None:
    tls = TLSConfig(server_root_ca_cert=authority.pem)
    auth = Auth([ApiKey("writer", ["default:write"], KEY)])
    async with Server("memory:", port=0, tls=ServerTLS(*authority.sign("localhost")), auth=auth) as server:
        client = await Client.connect(f"temporal://{server.address}", tls=tls, api_key=KEY)
        assert (await client.count_workflows()).count == 0
        client.api_key = "another"
        with pytest.raises(RPCError) as refused:
            await client.count_workflows()
        assert refused.value.status in (RPCStatusCode.UNAUTHENTICATED, RPCStatusCode.PERMISSION_DENIED)
        await client.close()


async def test_client_certificates(authority: Authority) -> None:
    pair = authority.sign("worker")
    mutual = ServerTLS(*authority.sign("localhost"), client_ca=authority.pem)
    async with Server("memory:", port=0, tls=mutual) as server:
        tls = TLSConfig(
            server_root_ca_cert=authority.pem, client_cert=pair.cert, client_private_key=pair.key, domain="localhost"
        )
        async with await Client.connect(server.address, tls=tls) as client:
            assert (await client.count_workflows()).count == 0


@pytest.mark.parametrize("kind", ["no TLS", "another CA", "another name"])
async def test_no_trust_no_connection(authority: Authority, kind: str) -> None:
    from datetime import timedelta

    tls: bool | TLSConfig = TLSConfig(
        server_root_ca_cert=Authority("other").pem if kind == "another CA" else authority.pem,
        domain="elsewhere.example" if kind == "another name" else None,
    )
    async with Server("memory:", port=0, tls=ServerTLS(*authority.sign("localhost"))) as server:
        with pytest.raises(RuntimeError, match="Failed client connect"):
            await Client.connect(
                server.address,
                tls=False if kind == "no TLS" else tls,
                connect_timeout=timedelta(seconds=1),
            )
