"""TLS, client certificates, API keys and JSON Web Tokens."""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc.aio
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from perdure.api.errordetails import v1 as errordetails_v1
from perdure.api.operatorservice.v1 import DeleteNamespaceRequest
from perdure.api.workflowservice import v1 as ws
from perdure.server import ApiKey, Auth, JWTAuth, Server, ServerTLS
from perdure.server._access import Role, access_of, allows
from perdure.wire.codec import encode
from perdure.wire.errors import from_wire
from perdure.wire.methods import OPERATOR_SERVICE, SERVICES, WORKFLOW_SERVICE
from tests.server.certificates import Authority
from tests.server.raw import Raw, connected

WRITE_KEY, READ_KEY, WORKER_KEY, ADMIN_KEY = (
    "a-secret-to-write",
    "a-secret-to-read",
    "a-secret-to-work",
    "a-secret-to-rule",
)
AUTH = Auth(
    [
        ApiKey("writer", ["default:write"], WRITE_KEY),
        ApiKey("reader", ["default:read"], READ_KEY),
        ApiKey("worker", ["default:worker"], sha256=hashlib.sha256(WORKER_KEY.encode()).hexdigest()),
        ApiKey("ruler", ["system:admin"], ADMIN_KEY),
    ]
)


async def code(call: Awaitable[object]) -> grpc.StatusCode:
    """How a call ends."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def bearer(token: str) -> tuple[str, str]:
    return "authorization", f"Bearer {token}"


def system_info(raw: Raw) -> Any:
    return raw.call("get_system_info", ws.GetSystemInfoRequest())


def list_runs(raw: Raw, namespace: str = "default") -> Any:
    return raw.call("list_workflow_executions", ws.ListWorkflowExecutionsRequest(namespace))


def list_namespaces(raw: Raw) -> Any:
    return raw.call("list_namespaces", ws.ListNamespacesRequest())


OK, DENIED = grpc.StatusCode.OK, grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        # system info, list runs, start, poll, list namespaces
        (WRITE_KEY, (OK, OK, OK, OK, DENIED)),
        (READ_KEY, (OK, OK, DENIED, DENIED, DENIED)),
        (WORKER_KEY, (OK, DENIED, DENIED, OK, DENIED)),
        (ADMIN_KEY, (OK, OK, OK, OK, OK)),
        ("a-secret-nobody-has", (OK, DENIED, DENIED, DENIED, DENIED)),
        ("", (OK, DENIED, DENIED, DENIED, DENIED)),
    ],
)
async def test_api_keys(key: str, expected: tuple[grpc.StatusCode, ...]) -> None:
    metadata = (bearer(key),) if key else ()
    async with Server("memory:", port=0, auth=AUTH) as server, connected(server.address, *metadata) as raw:
        calls: tuple[Callable[[], Any], ...] = (
            lambda: system_info(raw),
            lambda: list_runs(raw),
            lambda: raw.start(),
            lambda: raw.poll(timeout=1.1),
            lambda: list_namespaces(raw),
        )
        assert tuple([await code(call()) for call in calls]) == expected


async def test_a_role_ends_with_its_namespace() -> None:
    async with (
        Server("memory:", port=0, auth=AUTH, namespaces=["default", "other"]) as server,
        connected(server.address, bearer(WRITE_KEY)) as raw,
    ):
        assert await code(list_runs(raw)) is OK
        assert await code(list_runs(raw, "other")) is DENIED


async def test_an_id_does_not_get_around_the_namespace_of_a_role() -> None:
    auth = Auth([ApiKey("one", ["default:admin"], WRITE_KEY), ApiKey("ruler", ["system:admin"], ADMIN_KEY)])
    async with (
        Server("memory:", port=0, auth=auth, namespaces=["default", "other"]) as server,
        connected(server.address, bearer(WRITE_KEY)) as one,
        connected(server.address, bearer(ADMIN_KEY)) as ruler,
    ):
        described = await ruler.call("describe_namespace", ws.DescribeNamespaceRequest("other"))
        by_id = ws.DescribeNamespaceRequest("default", id=described.namespace_info.id)
        assert await code(one.call("describe_namespace", by_id)) is DENIED
        by_id_alone = ws.DescribeNamespaceRequest(id=described.namespace_info.id)
        assert await code(one.call("describe_namespace", by_id_alone)) is DENIED
        assert await code(ruler.call("describe_namespace", by_id_alone)) is OK
        delete = DeleteNamespaceRequest("default", described.namespace_info.id)
        path = f"/{OPERATOR_SERVICE}/DeleteNamespace"
        assert await code(one.send(path, encode(delete))) is DENIED
        assert await code(one.call("describe_namespace", ws.DescribeNamespaceRequest("default"))) is OK


async def test_a_task_token_is_of_use_in_its_own_namespace_only() -> None:
    auth = Auth([ApiKey("one", ["default:write"], WRITE_KEY), ApiKey("two", ["other:write"], ADMIN_KEY)])
    async with (
        Server("memory:", port=0, auth=auth, namespaces=["default", "other"]) as server,
        connected(server.address, bearer(WRITE_KEY)) as one,
        connected(server.address, bearer(ADMIN_KEY)) as two,
    ):
        await one.start()
        task = await one.poll()
        stolen = ws.RespondWorkflowTaskCompletedRequest(task.task_token, namespace="other")
        assert await code(two.call("respond_workflow_task_completed", stolen)) is grpc.StatusCode.INVALID_ARGUMENT
        own = ws.RespondWorkflowTaskCompletedRequest(task.task_token, namespace="default")
        assert await code(one.call("respond_workflow_task_completed", own)) is OK


@pytest.mark.parametrize("header", ["Basic abc", "Bearer", "", "bearer " + WRITE_KEY])
async def test_odd_headers(header: str) -> None:
    async with Server("memory:", port=0, auth=AUTH) as server:
        async with connected(server.address, ("authorization", header)) as raw:
            expected = OK if header.startswith("bearer") else DENIED
            assert await code(list_runs(raw)) is expected


async def test_a_refusal_says_no_more_than_that() -> None:
    async with Server("memory:", port=0, auth=AUTH) as server, connected(server.address) as raw:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await list_runs(raw)
        error = refused.value
        assert error.details() == "Request unauthorized."
        known = from_wire(error.code(), error.details(), error.trailing_metadata())
        assert known.details == (errordetails_v1.PermissionDeniedFailure(),)


# ---- JSON Web Tokens


class Issuer:
    """Signs tokens."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "jwks.json"
        self.keys: dict[str, ec.EllipticCurvePrivateKey] = {}
        self.rotate("first")

    def rotate(self, key_id: str) -> None:
        """Sign with a new key from now on."""
        self.key_id = key_id
        self.keys = {key_id: ec.generate_private_key(ec.SECP256R1())}
        public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(self.keys[key_id].public_key()))
        self.path.write_text(json.dumps({"keys": [{**public, "kid": key_id, "use": "sig", "alg": "ES256"}]}))

    def token(self, *permissions: str, **claims: Any) -> str:
        """A token that is good for an hour."""
        payload = {"sub": "someone", "exp": _in(hours=1), "permissions": list(permissions), **claims}
        payload = {name: value for name, value in payload.items() if value is not None}
        return jwt.encode(payload, self.keys[self.key_id], "ES256", {"kid": self.key_id})


def _in(**time: float) -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC) + datetime.timedelta(**time)


async def test_tokens(tmp_path: Path) -> None:
    issuer = Issuer(tmp_path)
    stranger = Issuer(tmp_path / "..")
    auth = Auth(jwt=JWTAuth(str(issuer.path), audience="perdure"))
    audience = {"aud": "perdure"}
    cases = {
        issuer.token("default:read", **audience): OK,
        issuer.token("temporal-system:read", **audience): OK,
        issuer.token("other:read", "nonsense", "default:nothing", **audience): DENIED,
        issuer.token("default:read", aud="another"): DENIED,
        issuer.token("default:read"): DENIED,
        issuer.token("default:read", exp=_in(hours=-1), **audience): DENIED,
        issuer.token("default:read", exp=None, **audience): DENIED,
        issuer.token("default:read", permissions="default:read", **audience): DENIED,
        stranger.token("default:read", **audience): DENIED,
        jwt.encode({"sub": "x", "exp": _in(hours=1), "permissions": ["system:admin"], **audience}, "k" * 32): DENIED,
        "a.b.c": DENIED,
    }
    async with Server("memory:", port=0, auth=auth) as server:
        for token, expected in cases.items():
            async with connected(server.address, bearer(token)) as raw:
                assert await code(list_runs(raw)) is expected


async def test_new_keys_are_picked_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perdure.server._jwt._LOOK_AGAIN", 0.0)
    issuer = Issuer(tmp_path)
    async with Server("memory:", port=0, auth=Auth(jwt=JWTAuth(str(issuer.path)))) as server:
        old = issuer.token("default:read")
        issuer.rotate("second")
        for token, expected in ((issuer.token("default:read"), OK), (old, DENIED)):
            async with connected(server.address, bearer(token)) as raw:
                assert await code(list_runs(raw)) is expected


async def test_a_server_without_its_keys_does_not_start(tmp_path: Path) -> None:
    server = Server("memory:", port=0, auth=Auth(jwt=JWTAuth(str(tmp_path / "nothing.json"))))
    with pytest.raises(ValueError, match="no keys from"):
        await server.start()


# ---- TLS


async def test_tls(tmp_path: Path) -> None:
    authority = Authority()
    pair = authority.sign("localhost")
    async with Server("memory:", port=0, tls=ServerTLS(*pair)) as server:
        trusting = grpc.ssl_channel_credentials(authority.pem)
        async with connected(server.address, credentials=trusting) as raw:
            assert await code(list_runs(raw)) is OK
        strange = grpc.ssl_channel_credentials(Authority("another").pem)
        async with connected(server.address, credentials=strange) as raw:
            assert await code(list_runs(raw)) is grpc.StatusCode.UNAVAILABLE


async def test_client_certificates(tmp_path: Path) -> None:
    authority = Authority()
    tls = ServerTLS(*authority.sign("localhost"), client_ca=authority.pem)
    auth = Auth(client_certificates={"orders": ["default:write"]})

    async def ending(*pair: bytes) -> grpc.StatusCode:
        cert, key = pair or (None, None)
        credentials = grpc.ssl_channel_credentials(authority.pem, key, cert)
        async with connected(server.address, credentials=credentials) as raw:
            return await code(list_runs(raw))

    async with Server("memory:", port=0, tls=tls, auth=auth) as server:
        assert await ending(*authority.sign("orders")) is OK
        assert await ending(*authority.sign("somebody")) is DENIED
        assert await ending(*Authority().sign("orders")) is grpc.StatusCode.UNAVAILABLE
        assert await ending() is grpc.StatusCode.UNAVAILABLE


async def test_a_bad_certificate_is_an_error_at_the_start() -> None:
    server = Server("memory:", port=0, tls=ServerTLS(b"no", b"pem"))
    with pytest.raises(OSError, match="PEM"):
        await server.start()


# ---- configuration


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org"])
def test_nothing_is_open_beyond_the_machine_by_accident(host: str) -> None:
    with pytest.raises(ValueError, match="reachable from other machines"):
        Server("memory:", host)
    with pytest.raises(ValueError, match="no auth"):
        Server("memory:", host, tls=ServerTLS(b"", b""))
    Server("memory:", host, tls=ServerTLS(b"", b""), auth=AUTH)
    Server("memory:", host, allow_insecure=True)


def test_certificates_need_a_ca() -> None:
    with pytest.raises(ValueError, match="client_ca"):
        Server("memory:", tls=ServerTLS(b"", b""), auth=Auth(client_certificates={"a": ["default:read"]}))


def test_a_configuration_file(tmp_path: Path) -> None:
    path = tmp_path / "auth.toml"
    path.write_text(
        f"""
        [[api_keys]]
        name = "ci"
        secret = "{WRITE_KEY}"
        permissions = ["default:write"]

        [jwt]
        jwks = "https://example.org/jwks.json"
        audience = "perdure"

        [client_certificates]
        orders = ["orders:worker"]
        """
    )
    auth = Auth.load(path)
    assert auth.api_keys[0].digest == hashlib.sha256(WRITE_KEY.encode()).digest()
    assert auth.jwt is not None and auth.jwt.audience == "perdure"
    assert auth.client_certificates == {"orders": ["orders:worker"]}
    assert WRITE_KEY not in repr(auth)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("api_keys = 3", "auth.toml"),
        ("", "lets nobody in"),
        ("nothing", "not a TOML file"),
        ("[else]", "unknown section 'else'"),
        ('[[api_keys]]\nname = "a"\npermissions = []', "secret or its sha256"),
        ('[[api_keys]]\nname = "a"\nsecret = "short"\npermissions = []', "16 characters"),
        ('[[api_keys]]\nname = "a"\nsha256 = "12"\npermissions = []', "64 hexadecimal"),
        ('[client_certificates]\na = ["default"]', "no permission"),
        ('[client_certificates]\na = ["default:rule"]', "no permission"),
        ('[client_certificates]\na = "default:read"', "a list"),
        ('[jwt]\nkeys = "x"', "keys"),
    ],
)
def test_a_bad_configuration_file(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "auth.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=words):
        Auth.load(path)


@pytest.mark.parametrize(
    ("jwks", "algorithms", "words"), [("http://x/", ("RS256",), "https"), ("f", ("HS256",), "public keys")]
)
async def test_unsafe_tokens_are_refused(jwks: str, algorithms: tuple[str, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        await Server("memory:", port=0, auth=Auth(jwt=JWTAuth(jwks, algorithms=algorithms))).start()


def test_every_rpc_has_a_rule() -> None:
    """A role includes the smaller ones; a worker's covers what workers do and nothing else."""
    for method in SERVICES[WORKFLOW_SERVICE]:
        for role in (Role.READER, Role.WRITER):
            assert allows(Role.ADMIN, method.path) or not allows(role, method.path)
        assert allows(Role.WRITER, method.path) or not allows(Role.READER, method.path)
        assert allows(Role.ADMIN, method.path)
    prefix = f"/{WORKFLOW_SERVICE}/"
    assert allows(Role.WORKER, prefix + "PollWorkflowTaskQueue")
    assert not allows(Role.WORKER, prefix + "StartWorkflowExecution")
    assert not allows(Role.READER, prefix + "PollWorkflowTaskQueue")
    assert access_of(prefix + "UpdateNamespace") == 8
