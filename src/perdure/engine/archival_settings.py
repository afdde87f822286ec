"""A namespace's archival settings, as RegisterNamespace and UpdateNamespace change them: Temporal's rules."""

from __future__ import annotations

from typing import Any

from perdure.api.namespace import v1 as namespace_v1
from perdure.api.workflowservice import v1 as ws
from perdure.engine.errors import invalid_argument
from perdure.engine.namespaces import ARCHIVAL_DISABLED, ENABLED, Namespace
from perdure.store.archive import open_archiver

_STATES = (0, ARCHIVAL_DISABLED, ENABLED)


async def archival_changes(
    request: ws.RegisterNamespaceRequest | namespace_v1.NamespaceConfig, namespace: Namespace | None = None
) -> dict[str, Any]:
    """The fields of a namespace that a request changes; ``namespace`` is what there is already.

    Raises:
        RPCError: INVALID_ARGUMENT, with what is wrong in a sentence.
    """
    changes: dict[str, Any] = {}
    for kind in ("history", "visibility"):
        state_field, uri_field = f"{kind}_archival_state", f"{kind}_archival_uri"
        state, uri = getattr(request, state_field), getattr(request, uri_field)
        old_state = ARCHIVAL_DISABLED if namespace is None else getattr(namespace, state_field)
        old_uri = "" if namespace is None else getattr(namespace, uri_field)
        if state not in _STATES:
            raise invalid_argument(f"Unknown {kind} archival state: {state}.")
        if old_uri and uri and uri != old_uri:
            raise invalid_argument(
                f"Cannot update existing archival URI: the {kind} archive is {old_uri}, and what is there would not be found."
            )
        new = (state or old_state, old_uri or uri)
        if new == (old_state, old_uri):
            continue
        if new[0] == ENABLED and not new[1]:
            raise invalid_argument(
                f"{kind.capitalize()} archival cannot be enabled without a URI that says where to, such as "
                "'file:///var/lib/archive'."
            )
        if new[1]:
            await _check_uri(kind, new[1])
        changes[state_field], changes[uri_field] = new
    return changes


async def _check_uri(kind: str, uri: str) -> None:
    try:
        archiver = open_archiver(uri)
        try:
            await archiver.validate()
        finally:
            await archiver.close()
    except (ValueError, ImportError) as error:
        raise invalid_argument(f"Invalid {kind} {error}." if isinstance(error, ValueError) else f"{error}.") from None
