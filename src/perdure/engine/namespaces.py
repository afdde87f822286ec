"""Namespaces: who may name workflows, and how long closed ones are kept."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from typing import Any

import msgspec

from perdure.api.common import v1 as common_v1
from perdure.api.enums.v1 import ArchivalState, NamespaceState
from perdure.engine.errors import invalid_argument, namespace_not_found, namespace_not_registered, unavailable
from perdure.engine.limits import NS_PER_MS
from perdure.service import RPCError
from perdure.store.api import NamespaceRecord, Store
from perdure.store.visibility import SYSTEM_TYPES, parse_duration, payload_value

DEFAULT_NAMESPACE = "default"
DEFAULT_RETENTION_MS = 3 * 24 * 3600 * 1000

#: What a namespace's data says ``retention:<workflow type>`` of, as a duration such as ``12h`` or ``30d``.
RETENTION_PREFIX = "retention:"
REGISTERED = int(NamespaceState.NAMESPACE_STATE_REGISTERED)
DELETED = int(NamespaceState.NAMESPACE_STATE_DELETED)
ARCHIVAL_DISABLED = int(ArchivalState.ARCHIVAL_STATE_DISABLED)
ENABLED = int(ArchivalState.ARCHIVAL_STATE_ENABLED)

_RESERVED_PREFIX = "Temporal"
_NOTHING = (b"", b"null", b"[]")
_ID_SPACE = uuid.UUID("6b1f0c3e-9d1c-4b43-9c3a-5f7a3a4d2f10")


class Namespace(msgspec.Struct, array_like=True):
    """What the engine keeps of a namespace."""

    namespace_id: str
    name: str
    retention_ms: int = DEFAULT_RETENTION_MS
    description: str = ""
    owner_email: str = ""
    #: Custom search attributes and their types: those that were added, and those learned from the values that were set.
    search_attributes: dict[str, str] = {}
    state: int = REGISTERED
    data: dict[str, str] = {}
    #: Names of fields as Temporal's SQL stores have them (``Keyword01``) and which attribute each stands for.
    aliases: dict[str, str] = {}
    #: When a deleted namespace's runs are to go, in milliseconds since the epoch.
    delete_at_ms: int = 0
    #: Whether closed runs go to an archive, and to which; a URI stays once it is set.
    history_archival_state: int = ARCHIVAL_DISABLED
    history_archival_uri: str = ""
    visibility_archival_state: int = ARCHIVAL_DISABLED
    visibility_archival_uri: str = ""
    #: Counts the changes where several engines make them.
    version: int = 0

    @property
    def is_archived(self) -> bool:
        """Whether closed runs go to an archive."""
        return self.state != DELETED and ENABLED in (self.history_archival_state, self.visibility_archival_state)


def activities_of(namespace_id: str) -> str:
    """The id under which a store keeps a namespace's standalone activities, apart from its workflows."""
    return str(uuid.uuid5(uuid.UUID(namespace_id), "activities"))


def operations_of(namespace_id: str) -> str:
    """The id under which a store keeps a namespace's standalone Nexus operations, apart from its workflows."""
    return str(uuid.uuid5(uuid.UUID(namespace_id), "nexus-operations"))


class Namespaces:
    """The namespaces of a store, all in memory."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._by_name: dict[str, Namespace] = {}
        self._by_id: dict[str, Namespace] = {}
        #: Namespace id -> workflow type -> how long its runs are kept.
        self._retention: dict[str, dict[str, int]] = {}
        self._changing = asyncio.Lock()
        #: Name -> id, and id -> name, where the id may be that of a namespace's standalone activities.
        self.ids: dict[str, str] = {}
        self.names: dict[str, str] = {}
        #: The id of a namespace's standalone activities -> the namespace's own.
        self.activity_ids: dict[str, str] = {}
        #: Namespace id -> namespace: those whose closed runs are archived, and those that have an archive of histories.
        self.archived: dict[str, Namespace] = {}
        self.with_archive: dict[str, Namespace] = {}
        #: Whether everybody has to add search attributes before they are set, not only callers of other processes.
        self.learns_nothing = False
        #: Told when a namespace is archived.
        self.on_archival: Callable[[], None] = lambda: None

    async def open(self, default_retention_ms: int | None) -> None:
        """Read them, and make ``default`` on a new store."""
        for record in await self._store.load_namespaces():
            self._take(msgspec.msgpack.decode(record.body, type=Namespace))
        if DEFAULT_NAMESPACE not in self._by_name:
            await self.register(DEFAULT_NAMESPACE)
        if default_retention_ms is not None:
            await self.set_retention(DEFAULT_NAMESPACE, default_retention_ms)

    def _take(self, namespace: Namespace) -> None:
        before = self._by_id.get(namespace.namespace_id)
        if before is not None and before.name != namespace.name:
            del self._by_name[before.name]
            del self.ids[before.name]
        by_type = {
            name.removeprefix(RETENTION_PREFIX): parse_duration(value) // NS_PER_MS
            for name, value in namespace.data.items()
            if name.startswith(RETENTION_PREFIX)
        }
        self._retention.pop(namespace.namespace_id, None)
        if by_type:
            self._retention[namespace.namespace_id] = by_type
        self._by_name[namespace.name] = namespace
        self._by_id[namespace.namespace_id] = namespace
        activities = activities_of(namespace.namespace_id)
        self._by_id[activities] = namespace
        self.ids[namespace.name] = namespace.namespace_id
        self.names[namespace.namespace_id] = self.names[activities] = namespace.name
        self.activity_ids[activities] = namespace.namespace_id
        self._by_id[operations_of(namespace.namespace_id)] = namespace
        self._take_archival(namespace)

    def _take_archival(self, namespace: Namespace) -> None:
        self.archived.pop(namespace.namespace_id, None)
        if namespace.history_archival_uri:
            self.with_archive[namespace.namespace_id] = namespace
        if namespace.is_archived:
            self.archived[namespace.namespace_id] = namespace
            self.on_archival()

    async def _put(self, namespace: Namespace) -> None:
        record = NamespaceRecord(namespace.namespace_id, namespace.name, msgspec.msgpack.encode(namespace))
        await self._store.put_namespace(record)
        self._take(namespace)

    async def register(self, name: str, retention_ms: int = DEFAULT_RETENTION_MS, **fields: Any) -> Namespace:
        """Make a namespace, durably."""
        namespace_id = str(uuid.uuid5(_ID_SPACE, name))
        if namespace_id in self._by_id:
            namespace_id = str(uuid.uuid4())  # one of that name is being deleted
        namespace = Namespace(namespace_id, name, retention_ms, **fields)
        await self._put(namespace)
        return namespace

    async def change(self, namespace_id: str, seen: Namespace | None = None, **fields: Any) -> Namespace:
        """Change fields of a namespace, durably. Others wait, so that no change is lost.

        Args:
            seen: what the values were computed from; UNAVAILABLE when somebody changed it meanwhile.
        """
        async with self._changing:
            before = self._by_id[namespace_id]
            if seen is not None and seen is not before:
                raise self._stale()
            namespace = msgspec.structs.replace(before, **fields)
            await self._put(namespace)
            return namespace

    def _stale(self) -> RPCError:
        return unavailable("The namespace was changed meanwhile. It is safe to try again.")

    async def set_retention(self, name: str, retention_ms: int) -> None:
        """Change how long runs that close from now on are kept."""
        await self.change(self.get(name).namespace_id, retention_ms=retention_ms)

    def retention(self, namespace_id: str, workflow_type: str) -> int:
        """For how many milliseconds a run that closes now is kept."""
        by_type = self._retention.get(namespace_id)
        if by_type is not None and workflow_type in by_type:
            return by_type[workflow_type]
        return self._by_id[namespace_id].retention_ms

    async def add_search_attributes(self, namespace_id: str, attributes: dict[str, str]) -> None:
        """Add custom search attributes that are new; each gets the next free field of its type."""
        async with self._changing:
            namespace = self._by_id[namespace_id]
            known = dict(namespace.search_attributes)
            aliases = dict(namespace.aliases)
            for name, kind in attributes.items():
                if name not in known:
                    known[name] = kind
                    number = next(n for n in range(1, len(aliases) + 2) if f"{kind}{n:02}" not in aliases)
                    aliases[f"{kind}{number:02}"] = name
            if len(known) > len(namespace.search_attributes):
                await self._put(msgspec.structs.replace(namespace, search_attributes=known, aliases=aliases))

    async def forget(self, namespace: Namespace) -> None:
        """Take a namespace without runs out of the store."""
        await self._store.delete_namespace(namespace.namespace_id)
        self._drop(namespace)

    def _drop(self, namespace: Namespace) -> None:
        del self._by_name[namespace.name]
        del self._by_id[namespace.namespace_id]
        activities = activities_of(namespace.namespace_id)
        del self._by_id[activities]
        del self.ids[namespace.name], self.names[namespace.namespace_id], self.names[activities]
        del self.activity_ids[activities]
        del self._by_id[operations_of(namespace.namespace_id)]
        self.archived.pop(namespace.namespace_id, None)
        self.with_archive.pop(namespace.namespace_id, None)

    def all(self) -> list[Namespace]:
        """Every namespace, by name."""
        return [self._by_name[name] for name in sorted(self._by_name)]

    def get(self, name: str) -> Namespace:
        """The namespace of that name; NOT_FOUND when there is none."""
        namespace = self._by_name.get(name)
        if namespace is None:
            if not name:
                raise invalid_argument("Namespace is not set on the request.")
            raise namespace_not_found(name)
        return namespace

    def get_registered(self, name: str) -> Namespace:
        """As :meth:`get`, for what starts something new; FAILED_PRECONDITION when it is deprecated."""
        namespace = self.get(name)
        if namespace.state != REGISTERED:
            raise namespace_not_registered(name, namespace.state)
        return namespace

    async def learn(self, namespace: Namespace, attributes: common_v1.SearchAttributes | None) -> None:
        """Check the types of search attributes, and remember custom ones that are set for the first time.

        A value without a type gets the one its attribute is known to have. Raises INVALID_ARGUMENT when a value is not
        of its attribute's type, and for an attribute that nobody added where nothing is learnt.
        """
        if attributes is None:
            return
        if self.learns_nothing:
            self.check_known(namespace, attributes)
        custom = self._by_id[namespace.namespace_id].search_attributes
        new = {}
        for name, payload in attributes.indexed_fields.items():
            kind = payload.metadata.get("type", b"").decode()
            known = custom.get(name) or SYSTEM_TYPES.get(name)
            if known is None:
                if name.startswith(_RESERVED_PREFIX):
                    raise invalid_argument(
                        f"Namespace {namespace.name} has no mapping defined for search attribute {name}"
                    )
                if not kind or not payload.data:
                    continue
                new[name] = known = kind
            elif kind and kind != known:
                raise invalid_argument(f"search attribute {name} is of type {known}, not {kind}")
            elif not kind:
                typed = {**payload.metadata, "type": known.encode()}
                attributes.indexed_fields[name] = common_v1.Payload(typed, payload.data)
            if payload.data not in _NOTHING and payload_value(payload, known) is None:
                raise invalid_argument(f"invalid value for search attribute {name} of type {known}: {payload.data!r}")
        if new:
            await self.add_search_attributes(namespace.namespace_id, new)

    def check_known(self, namespace: Namespace, attributes: common_v1.SearchAttributes | None) -> None:
        """Refuse search attributes that nobody added: callers of other processes must add them first, as with Temporal.

        Raises INVALID_ARGUMENT.
        """
        if attributes is not None:
            custom = self._by_id[namespace.namespace_id].search_attributes
            for name in attributes.indexed_fields:
                if name not in custom and name not in SYSTEM_TYPES:
                    raise invalid_argument(
                        f"Namespace {namespace.name} has no mapping defined for search attribute {name}"
                    )

    def by_id(self, namespace_id: str) -> Namespace:
        """The namespace of an id that the engine itself wrote down."""
        return self._by_id[namespace_id]
