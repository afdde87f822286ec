"""Where to connect, from a file and the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from perdure import Client
from perdure.envconfig import ClientConfig, ClientConfigProfile, ClientConfigTLS
from perdure.service import TLSConfig

FILE = """
[profile.default]
address = "memory:"
namespace = "one"
[profile.default.grpc_meta]
Some_Header = "value"

[profile.secure]
address = "host:7233"
api_key = "key"
[profile.secure.tls]
server_name = "name"
client_cert_data = "cert"
client_key_data = "key"
server_ca_cert_data = "ca"

[profile.off]
api_key = "key"
[profile.off.tls]
disabled = true
"""


def load(name: str | None = None, env: dict[str, str] | None = None, **options: Any) -> ClientConfigProfile:
    options.setdefault("config_source", FILE)
    return ClientConfigProfile.load(name, override_env_vars=env or {}, **options)


def test_profiles() -> None:
    assert load().to_client_connect_config() == {
        "target_host": "memory:",
        "namespace": "one",
        "rpc_metadata": {"some-header": "value"},
    }
    assert load("secure").to_client_connect_config() == {
        "target_host": "host:7233",
        "api_key": "key",
        "tls": TLSConfig(domain="name", server_root_ca_cert=b"ca", client_cert=b"cert", client_private_key=b"key"),
    }
    assert load(env={"TEMPORAL_PROFILE": "off"}).to_client_connect_config() == {"api_key": "key", "tls": False}
    assert load(config_source="[profile.other]") == ClientConfigProfile()
    with pytest.raises(RuntimeError, match="Profile 'missing' not found"):
        load("missing")


def test_the_environment_is_on_top(tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    key.write_bytes(b"secret")
    profile = load(
        env={
            "TEMPORAL_ADDRESS": "lmdb:x",
            "TEMPORAL_NAMESPACE": "two",
            "TEMPORAL_API_KEY": "mine",
            "TEMPORAL_TLS": "TRUE",
            "TEMPORAL_TLS_SERVER_NAME": "other",
            "TEMPORAL_TLS_CLIENT_KEY_PATH": str(key),
            "TEMPORAL_TLS_CLIENT_CERT_DATA": "cert",
            "TEMPORAL_GRPC_META_SOME_HEADER": "",
            "TEMPORAL_GRPC_META_NEW_ONE": "1",
        }
    )
    assert profile == ClientConfigProfile(
        "lmdb:x",
        "two",
        "mine",
        ClientConfigTLS(False, "other", client_cert=b"cert", client_private_key=key),
        {"new-one": "1"},
    )
    tls = profile.to_client_connect_config()["tls"]
    assert isinstance(tls, TLSConfig)
    assert tls.client_private_key == b"secret"
    assert load(env={"TEMPORAL_ADDRESS": "x"}, disable_env=True).address == "memory:"
    assert load(env={"TEMPORAL_ADDRESS": "x"}, disable_file=True) == ClientConfigProfile("x")


def test_where_the_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(FILE)
    assert set(ClientConfig.load(override_env_vars={"TEMPORAL_CONFIG_FILE": str(file)}).profiles) == {
        "default",
        "secure",
        "off",
    }
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", str(tmp_path / "none.toml"))
    assert ClientConfig.load().profiles == {}
    connect = ClientConfig.load_client_connect_config(config_file=str(file), override_env_vars={})
    assert connect["namespace"] == "one"
    for platform in ("linux", "darwin", "win32"):
        monkeypatch.setattr("sys.platform", platform)
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
        monkeypatch.setenv("APPDATA", str(tmp_path))
        ClientConfig.load(override_env_vars={})


@pytest.mark.parametrize(
    ("content", "env", "message"),
    [
        ("not toml", {}, "TOML parse error"),
        ("[profile.default]\naddress = 5", {}, "`address` in profile 'default' must be str"),
        ("profile = 5", {}, "`profile` in the file must be a table"),
        ("[profile]\ndefault = 5", {}, "`default` in the file must be a table"),
        (
            "[profile.default.tls]\nclient_cert_path = 'a'\nclient_cert_data = 'b'",
            {},
            "Cannot specify both client_cert_path and client_cert_data",
        ),
        (
            "",
            {"TEMPORAL_TLS_CLIENT_KEY_PATH": "a", "TEMPORAL_TLS_CLIENT_KEY_DATA": "b"},
            "Cannot specify both TEMPORAL_TLS_CLIENT_KEY_PATH",
        ),
        (
            "[profile.default.tls]\nclient_cert_path = 'a'",
            {"TEMPORAL_TLS_CLIENT_CERT_DATA": "b"},
            "cert data via TEMPORAL_TLS_CLIENT_CERT_DATA when cert path is already specified",
        ),
        (
            "[profile.default.tls]\nserver_ca_cert_data = 'a'",
            {"TEMPORAL_TLS_SERVER_CA_CERT_PATH": "b"},
            "server CA cert path via TEMPORAL_TLS_SERVER_CA_CERT_PATH when server CA cert data",
        ),
    ],
)
def test_what_makes_no_sense(content: str, env: dict[str, str], message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        load(env=env, config_source=content)


def test_strictness() -> None:
    content = "[profile.default]\nunrecognized = 1"
    assert load(config_source=content) == ClientConfigProfile()
    with pytest.raises(RuntimeError, match="unknown field `unrecognized`"):
        load(config_source=content, config_file_strict=True)
    with pytest.raises(RuntimeError, match="Cannot disable both"):
        load(disable_file=True, disable_env=True)
    with pytest.raises(TypeError, match=r"must be a pathlib\.Path"):
        load(config_source=5)


def test_dictionaries(tmp_path: Path) -> None:
    config = ClientConfig(
        {
            "a": ClientConfigProfile(
                "x", "n", "k", ClientConfigTLS(True, "s", b"ca", Path("cert"), "key"), {"header": "1"}
            ),
            "b": ClientConfigProfile(),
        }
    )
    fields = config.to_dict()
    assert fields["b"] == {}
    assert fields["a"]["tls"] == {
        "disabled": True,
        "server_name": "s",
        "server_ca_cert": {"data": "ca"},
        "client_cert": {"path": "cert"},
        "client_key": {"data": "key"},
    }
    assert ClientConfig.from_dict(fields).to_dict() == fields


async def test_a_client_connects_with_it() -> None:
    async with await Client.connect(**load().to_client_connect_config()) as client:
        assert client.namespace == "one"
        assert client.rpc_metadata == {"some-header": "value"}
