"""RPCs about namespaces and their search attributes."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Mapping
from typing import TYPE_CHECKING, NoReturn

import msgspec

from perdure.api.common import v1 as common_v1
from perdure.api.enums.v1 import IndexedValueType, NamespaceState
from perdure.api.namespace import v1 as namespace_v1
from perdure.api.operatorservice import v1 as operatorservice_v1
from perdure.api.replication import v1 as replication_v1
from perdure.api.taskqueue import v1 as taskqueue_v1
from perdure.api.workflowservice import v1 as ws
from perdure.engine.archival import CURSOR
from perdure.engine.archival_settings import archival_changes
from perdure.engine.batches import BATCH
from perdure.engine.core import Core
from perdure.engine.errors import invalid_argument, namespace_already_exists, namespace_not_found
from perdure.engine.limits import (
    MAX_BLOB_SIZE,
    MAX_ID_LENGTH,
    MAX_MEMO_SIZE,
    NS_PER_MS,
    NS_PER_S,
    SERVER_VERSION,
    check_task_queue,
)
from perdure.engine.namespaces import (
    DEFAULT_NAMESPACE,
    DELETED,
    REGISTERED,
    RETENTION_PREFIX,
    Namespace,
    Namespaces,
    activities_of,
)
from perdure.engine.schedule_record import SCHEDULE
from perdure.service import RPCError, RPCStatusCode
from perdure.store.api import RunKey, StoreError, VisibilityRecord
from perdure.store.visibility import SYSTEM_TYPES, TYPE_NAMES, parse_duration

if TYPE_CHECKING:
    from perdure.service import WorkflowService

logger = logging.getLogger("perdure.engine")

_DEPRECATED = int(NamespaceState.NAMESPACE_STATE_DEPRECATED)
_CLUSTER = "active"
#: Who GetClusterInfo says may call, by the names of Temporal's headers.
_CLIENTS = ("temporal-cli", "temporal-go", "temporal-java", "temporal-php", "temporal-python", "temporal-ruby",
            "temporal-server", "temporal-typescript", "temporal-ui")  # fmt: skip
_MIN_RETENTION = 3600 * NS_PER_S
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_FIELD = re.compile(rf"({'|'.join(sorted(TYPE_NAMES, key=len, reverse=True))})(\d\d)")
_DELETE_PAGE = 200
_TYPES_BY_NUMBER = {
    int(kind): next(
        name for name in TYPE_NAMES if name.upper() == kind.name.removeprefix("INDEXED_VALUE_TYPE_").replace("_", "")
    )
    for kind in IndexedValueType
    if kind
}
_NUMBERS_BY_TYPE = {name: number for number, name in _TYPES_BY_NUMBER.items()}


class NamespaceRequests:
    """Registers, describes, changes and deletes namespaces."""

    def __init__(self, core: Core, namespaces: Namespaces, service: WorkflowService) -> None:
        self._core = core
        self._namespaces = namespaces
        self._service = service

    def open(self) -> None:
        """Go on with what a deleted namespace still holds."""
        for namespace in self._namespaces.all():
            if namespace.state == DELETED:
                self._delete_later(namespace)

    # ---- workflow service

    async def register(self, request: ws.RegisterNamespaceRequest) -> ws.RegisterNamespaceResponse:
        """Temporal's RegisterNamespace."""
        name = request.namespace
        if not name:
            raise invalid_argument("Namespace is not set on the request.")
        if len(name) > MAX_ID_LENGTH or not _NAME.fullmatch(name):
            raise invalid_argument(f"Namespace {name!r} is not made of letters, digits, dots, dashes and underscores.")
        if request.is_global_namespace:
            raise invalid_argument("Cannot register global namespace when not enabled")
        retention = _check_retention(request.workflow_execution_retention_period)
        _check_data(request.data)
        if any(namespace.name == name for namespace in self._namespaces.all()):
            raise namespace_already_exists(name)
        archival = await archival_changes(request)
        await self._namespaces.register(
            name,
            retention,
            description=request.description,
            owner_email=request.owner_email,
            data=dict(request.data),
            **archival,
        )
        return ws.RegisterNamespaceResponse()

    def describe(self, request: ws.DescribeNamespaceRequest) -> ws.DescribeNamespaceResponse:
        """Temporal's DescribeNamespace."""
        return _described(self._find(request.namespace, request.id))

    def _find(self, name: str, namespace_id: str) -> Namespace:
        if not namespace_id:
            return self._namespaces.get(name)
        if name:
            raise invalid_argument("GetNamespace operation failed. Both ID and Name specified in request.")
        for namespace in self._namespaces.all():
            if namespace.namespace_id == namespace_id:
                return namespace
        raise namespace_not_found(namespace_id)

    def list_namespaces(self, request: ws.ListNamespacesRequest) -> ws.ListNamespacesResponse:
        """Temporal's ListNamespaces, by name."""
        after = request.next_page_token.decode("utf-8", "replace")
        deleted = request.namespace_filter is not None and request.namespace_filter.include_deleted
        found = [
            namespace
            for namespace in self._namespaces.all()
            if namespace.name > after and (deleted or namespace.state != DELETED)
        ]
        size = request.page_size if request.page_size > 0 else 100
        token = found[size - 1].name.encode() if len(found) > size else b""
        return ws.ListNamespacesResponse([_described(namespace) for namespace in found[:size]], token)

    async def update(self, request: ws.UpdateNamespaceRequest) -> ws.UpdateNamespaceResponse:
        """Temporal's UpdateNamespace. Data is merged by key; an empty ``retention:<workflow type>`` takes that away."""
        namespace = self._namespaces.get(request.namespace)
        if request.promote_namespace:
            raise invalid_argument("Cannot promote a namespace: global namespaces are not enabled.")
        changes: dict[str, object] = {}
        info = request.update_info
        if info is not None:
            if info.description:
                changes["description"] = info.description
            if info.owner_email:
                changes["owner_email"] = info.owner_email
            if info.data:
                _check_data(info.data)
                merged = {**namespace.data, **info.data}
                changes["data"] = {
                    key: value for key, value in merged.items() if value or not key.startswith(RETENTION_PREFIX)
                }
            if info.state not in (0, namespace.state):
                if info.state not in (REGISTERED, _DEPRECATED) or namespace.state != REGISTERED:
                    raise invalid_argument(
                        f"Namespace {namespace.name} cannot go from state {namespace.state} to {info.state}."
                    )
                changes["state"] = info.state
        config = request.config
        if config is not None:
            if config.workflow_execution_retention_ttl is not None:
                changes["retention_ms"] = _check_retention(config.workflow_execution_retention_ttl)
            if config.custom_search_attribute_aliases:
                changes.update(_alias(namespace, config.custom_search_attribute_aliases))
            changes.update(await archival_changes(config, namespace))
        if changes:
            namespace = await self._namespaces.change(namespace.namespace_id, namespace, **changes)
        described = _described(namespace)
        return ws.UpdateNamespaceResponse(
            described.namespace_info, described.config, described.replication_config, 0, False
        )

    async def deprecate(self, request: ws.DeprecateNamespaceRequest) -> ws.DeprecateNamespaceResponse:
        """Temporal's DeprecateNamespace: nothing new starts in it."""
        namespace = self._namespaces.get(request.namespace)
        await self._namespaces.change(namespace.namespace_id, state=_DEPRECATED)
        return ws.DeprecateNamespaceResponse()

    def cluster(self) -> ws.GetClusterInfoResponse:
        """Temporal's GetClusterInfo: one store is one cluster, without shards."""
        store = self._core.store.name
        return ws.GetClusterInfoResponse(
            supported_clients=dict.fromkeys(_CLIENTS, "<3.0.0"),
            server_version=SERVER_VERSION,
            cluster_id=self._namespaces.get(DEFAULT_NAMESPACE).namespace_id,
            cluster_name=_CLUSTER,
            history_shard_count=1,
            persistence_store=store,
            visibility_store=store,
            initial_failover_version=1,
            failover_version_increment=10,
        )

    def partitions(self, request: ws.ListTaskQueuePartitionsRequest) -> ws.ListTaskQueuePartitionsResponse:
        """Temporal's ListTaskQueuePartitions: every queue is one partition."""
        name = check_task_queue(request.task_queue)
        self._namespaces.get(request.namespace)
        only = [taskqueue_v1.TaskQueuePartitionMetadata(name, _CLUSTER)]
        return ws.ListTaskQueuePartitionsResponse(only, only)

    def search_attributes(self) -> ws.GetSearchAttributesResponse:
        """Temporal's GetSearchAttributes: of every namespace."""
        keys = _numbers(SYSTEM_TYPES)
        for namespace in self._namespaces.all():
            keys.update(_numbers(namespace.search_attributes))
        return ws.GetSearchAttributesResponse(keys)

    # ---- operator service

    async def add_search_attributes(
        self, request: operatorservice_v1.AddSearchAttributesRequest
    ) -> operatorservice_v1.AddSearchAttributesResponse:
        """Temporal's AddSearchAttributes. One that is there already is left as it is."""
        if not request.search_attributes:
            raise invalid_argument("Search attributes are not set on request.")
        namespace = self._namespaces.get(request.namespace)
        kinds = {}
        for name, number in request.search_attributes.items():
            if name in SYSTEM_TYPES or name.startswith("Temporal"):
                raise invalid_argument(f"Search attribute {name} is reserved by system.")
            if not name or len(name) > MAX_ID_LENGTH:
                raise invalid_argument(f"Search attribute {name!r} needs a name of 1 to {MAX_ID_LENGTH} bytes.")
            kind = _TYPES_BY_NUMBER.get(number)
            if kind is None:
                raise invalid_argument(f"Unknown search attribute type: {number}.")
            kinds[name] = kind
        await self._namespaces.add_search_attributes(namespace.namespace_id, kinds)
        return operatorservice_v1.AddSearchAttributesResponse()

    async def remove_search_attributes(
        self, request: operatorservice_v1.RemoveSearchAttributesRequest
    ) -> operatorservice_v1.RemoveSearchAttributesResponse:
        """Temporal's RemoveSearchAttributes. Filters no longer know them; values that runs have stay theirs."""
        if not request.search_attributes:
            raise invalid_argument("Search attributes are not set on request.")
        namespace = self._namespaces.get(request.namespace)
        gone = set(request.search_attributes)
        for name in gone:
            if name not in namespace.search_attributes and name in SYSTEM_TYPES:
                raise invalid_argument(f"Unable to remove non-custom search attributes: {name}.")
        await self._namespaces.change(
            namespace.namespace_id,
            namespace,
            search_attributes={name: kind for name, kind in namespace.search_attributes.items() if name not in gone},
            aliases={field: name for field, name in namespace.aliases.items() if name not in gone},
        )
        return operatorservice_v1.RemoveSearchAttributesResponse()

    def list_search_attributes(
        self, request: operatorservice_v1.ListSearchAttributesRequest
    ) -> operatorservice_v1.ListSearchAttributesResponse:
        """Temporal's ListSearchAttributes."""
        namespace = self._namespaces.get(request.namespace)
        return operatorservice_v1.ListSearchAttributesResponse(
            _numbers(namespace.search_attributes), _numbers(SYSTEM_TYPES)
        )

    async def delete(
        self, request: operatorservice_v1.DeleteNamespaceRequest
    ) -> operatorservice_v1.DeleteNamespaceResponse:
        """Temporal's DeleteNamespace.

        Its name is free at once; its runs, schedules and activities go in the background, also after a crash.
        """
        namespace = self._find(request.namespace, request.namespace_id)
        if namespace.name == DEFAULT_NAMESPACE:
            raise invalid_argument(f"Namespace {DEFAULT_NAMESPACE} cannot be deleted: an engine always has it.")
        if namespace.state != DELETED:
            taken = {other.name for other in self._namespaces.all()}
            short = namespace.namespace_id.replace("-", "")
            name = next(
                name
                for size in range(5, len(short) + 1)
                if (name := f"{namespace.name}-deleted-{short[:size]}") not in taken
            )
            delay = max(request.namespace_delete_delay or 0, 0) // NS_PER_MS
            namespace = await self._namespaces.change(
                namespace.namespace_id,
                namespace,
                name=name,
                state=DELETED,
                delete_at_ms=self._core.now() // NS_PER_MS + delay,
            )
            self._delete_later(namespace)
        return operatorservice_v1.DeleteNamespaceResponse(namespace.name)

    def _delete_later(self, namespace: Namespace) -> None:
        self._core.alarms.set(
            ("namespace", namespace.namespace_id),
            namespace.delete_at_ms * NS_PER_MS,
            lambda: self._core.spawn(self._delete(namespace)),
        )
        self._core.alarms.poke()

    async def _delete(self, namespace: Namespace) -> None:
        """Delete all that a namespace holds, then the namespace. Begins again after an error or a restart."""
        delay = 0.05
        while True:
            try:
                await self._delete_contents(namespace)
                await self._namespaces.forget(namespace)
                return
            except (RPCError, StoreError) as error:
                logger.warning("namespace %s is deleted further in %.2f s: %s", namespace.name, delay, error)
                await asyncio.sleep(delay)
                delay = min(delay * 2, 5.0)

    async def _delete_contents(self, namespace: Namespace) -> None:
        store, service, name = self._core.store, self._service, namespace.name
        while schedules := await store.list_documents(namespace.namespace_id, SCHEDULE, _DELETE_PAGE):
            for schedule in schedules:
                await service.delete_schedule(ws.DeleteScheduleRequest(name, schedule.id))
        while jobs := await store.list_documents(namespace.namespace_id, BATCH, _DELETE_PAGE):
            await store.commit([], [msgspec.structs.replace(job, body=b"") for job in jobs])
        if cursors := await store.list_documents(namespace.namespace_id, CURSOR, _DELETE_PAGE):
            await store.commit([], [msgspec.structs.replace(cursor, body=b"") for cursor in cursors])
        await self._core.router.forget(namespace.namespace_id)
        await self._core.settle()
        while records := (await store.list_runs(namespace.namespace_id, None, _DELETE_PAGE)).records:
            executions = [common_v1.WorkflowExecution(key.workflow_id, key.run_id) for key in _keys(records)]
            deletions = [ws.DeleteWorkflowExecutionRequest(name, execution) for execution in executions]
            await asyncio.gather(*(_gone(service.delete_workflow_execution(request)) for request in deletions))
        activities = activities_of(namespace.namespace_id)
        while records := (await store.list_runs(activities, None, _DELETE_PAGE)).records:
            requests = [ws.DeleteActivityExecutionRequest(name, key.workflow_id, key.run_id) for key in _keys(records)]
            await asyncio.gather(*(_gone(service.delete_activity_execution(request)) for request in requests))


def _keys(records: list[VisibilityRecord]) -> list[RunKey]:
    return [record.key for record in records]


async def _gone(deletion: Awaitable[object]) -> None:
    """Wait for a deletion; what is not there any more is deleted."""
    try:
        await deletion
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise


def _described(namespace: Namespace) -> ws.DescribeNamespaceResponse:
    return ws.DescribeNamespaceResponse(
        namespace_info=namespace_v1.NamespaceInfo(
            name=namespace.name,
            state=namespace.state,
            description=namespace.description,
            owner_email=namespace.owner_email,
            data=dict(namespace.data),
            id=namespace.namespace_id,
            capabilities=namespace_v1.NamespaceInfoCapabilities(
                eager_workflow_start=True,
                sync_update=True,
                async_update=True,
                reported_problems_search_attribute=True,
                worker_heartbeats=True,
                workflow_pause=True,
                standalone_activities=True,
                poller_autoscaling=True,
            ),
            limits=namespace_v1.NamespaceInfoLimits(
                blob_size_limit_error=MAX_BLOB_SIZE, memo_size_limit_error=MAX_MEMO_SIZE
            ),
            supports_schedules=True,
        ),
        config=namespace_v1.NamespaceConfig(
            workflow_execution_retention_ttl=namespace.retention_ms * NS_PER_MS // NS_PER_S * NS_PER_S,
            history_archival_state=namespace.history_archival_state,
            history_archival_uri=namespace.history_archival_uri,
            visibility_archival_state=namespace.visibility_archival_state,
            visibility_archival_uri=namespace.visibility_archival_uri,
            custom_search_attribute_aliases=dict(namespace.aliases),
        ),
        replication_config=replication_v1.NamespaceReplicationConfig(
            active_cluster_name=_CLUSTER, clusters=[replication_v1.ClusterReplicationConfig(_CLUSTER)]
        ),
    )


def _check_retention(retention: int | None) -> int:
    """Milliseconds of a retention that may be set."""
    if retention is None or retention < _MIN_RETENTION:
        raise invalid_argument("A valid retention period is not set on request: it must be at least one hour.")
    return retention // NS_PER_MS


def _check_data(data: dict[str, str]) -> None:
    for key, value in data.items():
        if key.startswith(RETENTION_PREFIX) and value:
            try:
                is_valid = parse_duration(value) >= 0
            except ValueError:
                is_valid = False
            if not is_valid:
                raise invalid_argument(f"{key} is {value!r}, which is no duration such as '12h' or '30d'.")


def _alias(namespace: Namespace, wanted: dict[str, str]) -> dict[str, object]:
    """The fields of a namespace after its aliases were changed; an empty alias frees its field."""
    aliases = dict(namespace.aliases)
    attributes = dict(namespace.search_attributes)
    for field, alias in wanted.items():
        match = _FIELD.fullmatch(field)
        if match is None:
            _bad_field(field)
        if not alias:
            attributes.pop(aliases.pop(field, ""), None)
        elif aliases.get(field, alias) != alias:
            raise invalid_argument(f"Custom search attribute field name already allocated: {field}.")
        elif aliases.get(field) is None:
            if alias in attributes or alias in SYSTEM_TYPES or alias.startswith("Temporal"):
                raise invalid_argument(f"Search attribute {alias} already exists.")
            aliases[field] = alias
            attributes[alias] = match[1]
    return {"aliases": aliases, "search_attributes": attributes}


def _bad_field(field: str) -> NoReturn:
    raise invalid_argument(f"{field!r} is no field of a custom search attribute such as Keyword01.")


def _numbers(types: Mapping[str, str]) -> dict[str, int]:
    return {name: _NUMBERS_BY_TYPE[kind] for name, kind in types.items()}
