"""Namespaces: who may name workflows, and how long closed ones are kept."""

from __future__ import annotations

import uuid

import msgspec

from perdure.api.common import v1 as common_v1
from perdure.api.enums.v1 import NamespaceState
from perdure.api.namespace import v1 as namespace_v1
from perdure.api.workflowservice import v1 as ws
from perdure.engine.errors import invalid_argument, namespace_not_found
from perdure.engine.limits import MAX_BLOB_SIZE, MAX_MEMO_SIZE, NS_PER_MS, NS_PER_S
from perdure.store.api import NamespaceRecord, Store

DEFAULT_NAMESPACE = "default"
DEFAULT_RETENTION_MS = 3 * 24 * 3600 * 1000

_ID_SPACE = uuid.UUID("6b1f0c3e-9d1c-4b43-9c3a-5f7a3a4d2f10")


class Namespace(msgspec.Struct, array_like=True):
    """What the engine keeps of a namespace."""

    namespace_id: str
    name: str
    retention_ms: int = DEFAULT_RETENTION_MS
    description: str = ""
    owner_email: str = ""
    #: Custom search attributes and their types, learned from the values that were set.
    search_attributes: dict[str, str] = {}


def activities_of(namespace_id: str) -> str:
    """The id under which a store keeps a namespace's standalone activities, apart from its workflows."""
    return str(uuid.uuid5(uuid.UUID(namespace_id), "activities"))


class Namespaces:
    """The namespaces of a store, all in memory."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._by_name: dict[str, Namespace] = {}
        self._by_id: dict[str, Namespace] = {}
        #: The id of a namespace's standalone activities -> the namespace's own.
        self.activity_ids: dict[str, str] = {}

    async def open(self, default_retention_ms: int | None) -> None:
        """Read them, and make ``default`` on a new store."""
        for record in await self._store.load_namespaces():
            self._take(msgspec.msgpack.decode(record.body, type=Namespace))
        if DEFAULT_NAMESPACE not in self._by_name:
            await self.register(DEFAULT_NAMESPACE)
        if default_retention_ms is not None:
            await self.set_retention(DEFAULT_NAMESPACE, default_retention_ms)

    def _take(self, namespace: Namespace) -> None:
        self._by_name[namespace.name] = namespace
        self._by_id[namespace.namespace_id] = namespace
        activities = activities_of(namespace.namespace_id)
        self._by_id[activities] = namespace
        self.activity_ids[activities] = namespace.namespace_id

    async def _put(self, namespace: Namespace) -> None:
        record = NamespaceRecord(namespace.namespace_id, namespace.name, msgspec.msgpack.encode(namespace))
        await self._store.put_namespace(record)
        self._take(namespace)

    async def register(self, name: str, retention_ms: int = DEFAULT_RETENTION_MS) -> Namespace:
        """Make a namespace, durably."""
        namespace = Namespace(str(uuid.uuid5(_ID_SPACE, name)), name, retention_ms)
        await self._put(namespace)
        return namespace

    async def set_retention(self, name: str, retention_ms: int) -> None:
        """Change how long runs that close from now on are kept."""
        await self._put(msgspec.structs.replace(self.get(name), retention_ms=retention_ms))

    def get(self, name: str) -> Namespace:
        """The namespace of that name; NOT_FOUND when there is none."""
        namespace = self._by_name.get(name)
        if namespace is None:
            if not name:
                raise invalid_argument("Namespace is not set on the request.")
            raise namespace_not_found(name)
        return namespace

    async def learn(self, namespace: Namespace, attributes: common_v1.SearchAttributes | None) -> None:
        """Remember the types of custom search attributes that are set for the first time.

        Raises INVALID_ARGUMENT when an attribute is set with another type than before.
        """
        if attributes is None:
            return
        new = {}
        for name, payload in attributes.indexed_fields.items():
            kind = payload.metadata.get("type", b"").decode()
            known = namespace.search_attributes.get(name)
            if known is None:
                if kind and payload.data:
                    new[name] = kind
            elif kind and kind != known:
                raise invalid_argument(f"search attribute {name} is of type {known}, not {kind}")
        if new:
            await self._put(
                msgspec.structs.replace(namespace, search_attributes={**namespace.search_attributes, **new})
            )

    def by_id(self, namespace_id: str) -> Namespace:
        """The namespace of an id that the engine itself wrote down."""
        return self._by_id[namespace_id]

    def describe(self, request: ws.DescribeNamespaceRequest) -> ws.DescribeNamespaceResponse:
        """Temporal's DescribeNamespace."""
        if request.id:
            found = self._by_id.get(request.id)
            if found is None:
                raise namespace_not_found(request.id)
        else:
            found = self.get(request.namespace)
        return ws.DescribeNamespaceResponse(
            namespace_info=namespace_v1.NamespaceInfo(
                name=found.name,
                state=int(NamespaceState.NAMESPACE_STATE_REGISTERED),
                description=found.description,
                owner_email=found.owner_email,
                id=found.namespace_id,
                capabilities=namespace_v1.NamespaceInfoCapabilities(
                    eager_workflow_start=True, reported_problems_search_attribute=True
                ),
                limits=namespace_v1.NamespaceInfoLimits(
                    blob_size_limit_error=MAX_BLOB_SIZE, memo_size_limit_error=MAX_MEMO_SIZE
                ),
                supports_schedules=False,
            ),
            config=namespace_v1.NamespaceConfig(
                workflow_execution_retention_ttl=found.retention_ms * NS_PER_MS // NS_PER_S * NS_PER_S
            ),
        )
