"""Operation tokens: which workflow, update or activity stands behind an operation."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Generic, Self

from nexusrpc import OutputT

if TYPE_CHECKING:
    from perdure import client

_ALPHABET = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


class OperationTokenType(IntEnum):
    """What stands behind an operation."""

    WORKFLOW = 1
    ACTIVITY = 2
    UPDATE_WORKFLOW = 3


@dataclass(frozen=True, kw_only=True)
class OperationToken:
    """A token, as text of Base64 without padding around JSON: the form that Temporal's SDKs agree on."""

    type: OperationTokenType
    namespace: str
    workflow_id: str | None = None
    activity_id: str | None = None
    run_id: str | None = None
    update_id: str | None = None
    version: int | None = None

    def encode(self) -> str:
        """The token as text."""
        fields: dict[str, Any] = {"t": int(self.type), "ns": self.namespace}
        for key, value in (
            ("wid", self.workflow_id),
            ("aid", self.activity_id),
            ("v", self.version),
            ("rid", self.run_id),
            ("uid", self.update_id),
        ):
            if value is not None:
                fields[key] = value
        data = json.dumps(fields, separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(data).decode().rstrip("=")

    @classmethod
    def decode(cls, token: str) -> Self:
        """The token that a text is.

        Raises:
            TypeError: it is none; the message says why.
        """
        fields = _fields(token)
        kind = fields.get("t")
        if not isinstance(kind, int) or isinstance(kind, bool):
            raise TypeError(f"invalid token: expected token type to be an int, got {type(kind)}")
        try:
            token_type = OperationTokenType(kind)
        except ValueError:
            known = ", ".join(f"{known.value} ({known.name})" for known in OperationTokenType)
            raise TypeError(f"invalid token: unknown token type, got {kind}. Valid values: {known}") from None
        version = fields.get("v")
        if version is not None and not isinstance(version, int):
            raise TypeError(f"invalid token: expected version to be an int or null, got {type(version)}")
        namespace = fields.get("ns")
        if not isinstance(namespace, str):
            raise TypeError(f"invalid token: expected namespace to be a string, got {type(namespace)}")
        found = cls(
            type=token_type,
            namespace=namespace,
            workflow_id=_text(fields, "wid", "workflow id"),
            activity_id=_text(fields, "aid", "activity id"),
            run_id=_text(fields, "rid", "run_id"),
            update_id=_text(fields, "uid", "update_id"),
            version=version,
        )
        needed = {
            OperationTokenType.WORKFLOW: (("workflow id", found.workflow_id),),
            OperationTokenType.ACTIVITY: (("activity id", found.activity_id),),
            OperationTokenType.UPDATE_WORKFLOW: (("workflow id", found.workflow_id), ("update id", found.update_id)),
        }
        for what, value in needed[token_type]:
            if not value:
                raise TypeError(f"invalid token: expected non-empty {what} for token type `{token_type.name}`")
        return found


def _fields(token: str) -> dict[str, Any]:
    if not token:
        raise TypeError("invalid token: token is empty")
    if not _ALPHABET.issuperset(token):
        raise TypeError("failed to decode token as base64url")
    try:
        data = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except (binascii.Error, ValueError) as error:
        raise TypeError("failed to decode token as base64url") from error
    try:
        fields = json.loads(data.decode())
    except ValueError as error:
        raise TypeError("failed to unmarshal operation token") from error
    if not isinstance(fields, dict):
        raise TypeError(f"invalid token: expected dict, got {type(fields)}")
    return fields


def _text(fields: dict[str, Any], key: str, what: str) -> str | None:
    value = fields.get(key)
    if value is not None and not isinstance(value, str):
        raise TypeError(f"invalid token: expected {what} to be a string, got {type(value)}")
    return value


@dataclass(frozen=True)
class WorkflowHandle(Generic[OutputT]):
    """A workflow that stands behind an operation. Made by :meth:`WorkflowRunOperationContext.start_workflow`."""

    namespace: str
    workflow_id: str
    version: int | None = None
    """Of the token that it was made from; not part of the token that it makes."""

    def _to_client_workflow_handle(
        self, client: client.Client, result_type: type[OutputT] | None = None
    ) -> client.WorkflowHandle[Any, OutputT]:
        """The client's handle of the workflow."""
        if client.namespace != self.namespace:
            raise ValueError(
                f"Client namespace {client.namespace} does not match operation token namespace {self.namespace}"
            )
        return client.get_workflow_handle(self.workflow_id, result_type=result_type)

    @classmethod
    def _unsafe_from_client_workflow_handle(
        cls, workflow_handle: client.WorkflowHandle[Any, OutputT]
    ) -> WorkflowHandle[OutputT]:
        """For a workflow that was started such that it completes an operation; nothing checks that it was."""
        return cls(namespace=workflow_handle._client.namespace, workflow_id=workflow_handle.id)

    def to_token(self) -> str:
        """The operation's token."""
        return OperationToken(
            type=OperationTokenType.WORKFLOW, namespace=self.namespace, workflow_id=self.workflow_id
        ).encode()

    @classmethod
    def from_token(cls, token: str) -> WorkflowHandle[OutputT]:
        """The workflow behind a token.

        Raises:
            TypeError: the text is no token of a workflow.
        """
        found = OperationToken.decode(token)
        if found.type != OperationTokenType.WORKFLOW:
            raise TypeError(f"invalid workflow token type: {found.type}, expected: {OperationTokenType.WORKFLOW}")
        if found.version not in (None, 0):
            raise TypeError("invalid workflow token: 'v' field, if present, must be 0 or null/absent")
        assert found.workflow_id is not None
        return cls(namespace=found.namespace, workflow_id=found.workflow_id, version=found.version)
