"""Workers that say they live: what each told last, by namespace. In memory; after a restart they tell it again.

A worker that has been silent for five minutes is gone, and one that says it shut down at once.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import orjson

from perdure.api.common.v1 import Payload
from perdure.api.enums.v1 import WorkerStatus
from perdure.api.json._scalars import encode_timestamp
from perdure.api.worker import v1 as worker_v1
from perdure.api.workflowservice import v1 as ws
from perdure.engine.errors import invalid_argument, not_found
from perdure.engine.namespaces import Namespaces
from perdure.store.api import RunKey, VisibilityRecord
from perdure.store.visibility import matches, parse_query

SILENCE_NS = 300 * 1_000_000_000
#: Workers of all namespaces; more are let in only as silent ones go.
MAX_WORKERS = 100_000
_STATUSES = {0: "Unspecified", 1: "Running", 2: "ShuttingDown", 3: "Shutdown"}
_SYSTEM_QUEUE = "temporal-sys-"
#: What a filter may name. ``Status`` is another name of the status.
_FIELDS = {
    "WorkerInstanceKey": "Keyword",
    "WorkerIdentity": "Keyword",
    "HostName": "Keyword",
    "TaskQueue": "Keyword",
    "DeploymentName": "Keyword",
    "BuildId": "Keyword",
    "SdkName": "Keyword",
    "SdkVersion": "Keyword",
    "StartTime": "Datetime",
    "HeartbeatTime": "Datetime",
    "WorkerStatus": "Keyword",
    "Status": "Keyword",
}


class _Entry(msgspec.Struct):
    heartbeat: worker_v1.WorkerHeartbeat
    seen_ns: int


class WorkerRegistry:
    """Answers the RPCs about workers."""

    def __init__(self, namespaces: Namespaces, clock: Callable[[], int]) -> None:
        self._namespaces = namespaces
        self._clock = clock
        #: (namespace id, instance key) -> what the worker told; who was silent longest comes first.
        self._entries: dict[tuple[str, str], _Entry] = {}

    def record(self, request: ws.RecordWorkerHeartbeatRequest) -> ws.RecordWorkerHeartbeatResponse:
        """Temporal's RecordWorkerHeartbeat."""
        namespace_id = self._namespaces.get(request.namespace).namespace_id
        self._forget_silent()
        for heartbeat in request.worker_heartbeat:
            self._note(namespace_id, heartbeat)
        return ws.RecordWorkerHeartbeatResponse()

    def shut_down(self, request: ws.ShutdownWorkerRequest) -> None:
        """A worker stops: it is listed no longer."""
        namespace_id = self._namespaces.get(request.namespace).namespace_id
        keys = {request.worker_instance_key}
        if request.worker_heartbeat is not None:
            keys.add(request.worker_heartbeat.worker_instance_key)
        for key in keys:
            self._entries.pop((namespace_id, key), None)

    def describe(self, request: ws.DescribeWorkerRequest) -> ws.DescribeWorkerResponse:
        """Temporal's DescribeWorker."""
        namespace_id = self._namespaces.get(request.namespace).namespace_id
        self._forget_silent()
        entry = self._entries.get((namespace_id, request.worker_instance_key))
        if entry is None:
            raise not_found(f"Worker {request.worker_instance_key} not found")
        return ws.DescribeWorkerResponse(worker_v1.WorkerInfo(entry.heartbeat))

    def count(self, request: ws.CountWorkersRequest) -> ws.CountWorkersResponse:
        """Temporal's CountWorkers."""
        found = self._matching(request.namespace, request.query, request.include_system_workers)
        return ws.CountWorkersResponse(len(found))

    def page(self, request: ws.ListWorkersRequest) -> ws.ListWorkersResponse:
        """Temporal's ListWorkers, ordered by instance key."""
        found = self._matching(request.namespace, request.query, request.include_system_workers)
        found.sort(key=lambda heartbeat: heartbeat.worker_instance_key)
        if request.next_page_token:
            last = _read_token(request.next_page_token)
            found = [heartbeat for heartbeat in found if heartbeat.worker_instance_key > last]
        token = b""
        if 0 < request.page_size < len(found):
            found = found[: request.page_size]
            token = orjson.dumps(found[-1].worker_instance_key)
        return ws.ListWorkersResponse(
            workers_info=[worker_v1.WorkerInfo(heartbeat) for heartbeat in found],
            workers=[_listed(heartbeat) for heartbeat in found],
            next_page_token=token,
        )

    def _note(self, namespace_id: str, heartbeat: worker_v1.WorkerHeartbeat) -> None:
        key = namespace_id, heartbeat.worker_instance_key
        self._entries.pop(key, None)
        if heartbeat.status != WorkerStatus.WORKER_STATUS_SHUTDOWN and len(self._entries) < MAX_WORKERS:
            self._entries[key] = _Entry(heartbeat, self._clock())

    def _forget_silent(self) -> None:
        limit = self._clock() - SILENCE_NS
        silent = []
        for key, entry in self._entries.items():
            if entry.seen_ns >= limit:
                break
            silent.append(key)
        for key in silent:
            del self._entries[key]

    def _matching(self, namespace: str, query: str, with_system: bool) -> list[worker_v1.WorkerHeartbeat]:
        namespace_id = self._namespaces.get(namespace).namespace_id
        holds = _filter(query)
        self._forget_silent()
        return [
            entry.heartbeat
            for (owner, _), entry in self._entries.items()
            if owner == namespace_id
            and (with_system or not entry.heartbeat.task_queue.startswith(_SYSTEM_QUEUE))
            and holds(entry.heartbeat)
        ]


def _filter(query: str) -> Callable[[worker_v1.WorkerHeartbeat], bool]:
    if not query.strip():
        return lambda heartbeat: True
    try:
        parsed = parse_query(query, _FIELDS)
    except ValueError as error:
        raise invalid_argument(str(error)) from None
    return lambda heartbeat: matches(parsed, _record(heartbeat))


def _record(heartbeat: worker_v1.WorkerHeartbeat) -> VisibilityRecord:
    """A worker as a filter sees it: what is empty is null."""
    version = heartbeat.deployment_version
    status = _STATUSES.get(heartbeat.status, str(heartbeat.status))
    texts = {
        "WorkerInstanceKey": heartbeat.worker_instance_key,
        "WorkerIdentity": heartbeat.worker_identity,
        "HostName": "" if heartbeat.host_info is None else heartbeat.host_info.host_name,
        "DeploymentName": "" if version is None else version.deployment_name,
        "BuildId": "" if version is None else version.build_id,
        "SdkName": heartbeat.sdk_name,
        "SdkVersion": heartbeat.sdk_version,
        "WorkerStatus": status,
        "Status": status,
    }
    attributes = {name: _payload(value, b"Keyword") for name, value in texts.items() if value}
    if heartbeat.heartbeat_time is not None:
        attributes["HeartbeatTime"] = _payload(encode_timestamp(heartbeat.heartbeat_time), b"Datetime")
    return VisibilityRecord(
        key=RunKey("", "", ""),
        workflow_type="",
        task_queue=heartbeat.task_queue,
        status=0,
        start_time=heartbeat.start_time or 0,
        execution_time=0,
        search_attributes=msgspec.msgpack.encode(attributes),
    )


def _payload(value: str, kind: bytes) -> Payload:
    return Payload({"encoding": b"json/plain", "type": kind}, orjson.dumps(value))


def _listed(heartbeat: worker_v1.WorkerHeartbeat) -> worker_v1.WorkerListInfo:
    host = heartbeat.host_info or worker_v1.WorkerHostInfo()
    return worker_v1.WorkerListInfo(
        worker_instance_key=heartbeat.worker_instance_key,
        worker_identity=heartbeat.worker_identity,
        task_queue=heartbeat.task_queue,
        deployment_version=heartbeat.deployment_version,
        sdk_name=heartbeat.sdk_name,
        sdk_version=heartbeat.sdk_version,
        status=heartbeat.status,
        start_time=heartbeat.start_time,
        host_name=host.host_name,
        worker_grouping_key=host.worker_grouping_key,
        process_id=host.process_id,
        plugins=heartbeat.plugins,
        drivers=heartbeat.drivers,
    )


def _read_token(token: bytes) -> str:
    try:
        last = orjson.loads(token)
    except orjson.JSONDecodeError:
        last = None
    if not isinstance(last, str):
        raise invalid_argument("Invalid NextPageToken.")
    return last
