"""Worker deployments: which versions of a worker there are, and which one new and moving workflows go to.

A version comes into being when a worker of it polls, for each task queue it polls. A deployment's routing names a
current version and may name a ramping one, which gets a percentage of the workflow ids. Deployments are documents of
the store; the task queues of a version are part of them.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from perdure.api.deployment import v1 as deployment_v1
from perdure.api.enums.v1 import VersionDrainageStatus, WorkerDeploymentVersionStatus
from perdure.api.taskqueue import v1 as taskqueue_v1
from perdure.api.workflowservice import v1 as ws
from perdure.engine import limits
from perdure.engine.backlog import parts_of
from perdure.engine.core import Core
from perdure.engine.deployment_record import (
    UNVERSIONED,
    DeploymentRecord,
    VersionRecord,
    check_names,
    named_build_id,
    routing_config,
    version_message,
    version_text,
)
from perdure.engine.errors import already_exists, failed_precondition, invalid_argument, not_found
from perdure.engine.namespaces import Namespaces
from perdure.engine.routing import Router, Version, ramp_position, versioned
from perdure.store.api import Document, TaskKind
from perdure.store.visibility import parse_query

if TYPE_CHECKING:
    from perdure.engine.matching import Task, TaskQueue

KIND = "deployment"
_PAGE = 1000
#: A queue counts as polled while somebody polled it within this many seconds.
_RECENT = 300.0
_VERSIONED = 2
_Status = WorkerDeploymentVersionStatus
_INACTIVE = int(_Status.WORKER_DEPLOYMENT_VERSION_STATUS_INACTIVE)
_CURRENT = int(_Status.WORKER_DEPLOYMENT_VERSION_STATUS_CURRENT)
_RAMPING = int(_Status.WORKER_DEPLOYMENT_VERSION_STATUS_RAMPING)
_DRAINING = int(_Status.WORKER_DEPLOYMENT_VERSION_STATUS_DRAINING)
_DRAINED = int(_Status.WORKER_DEPLOYMENT_VERSION_STATUS_DRAINED)


class Deployments:
    """Every worker deployment, in memory."""

    def __init__(self, core: Core, namespaces: Namespaces, router: Router) -> None:
        self._core = core
        self._namespaces = namespaces
        self._by_name: dict[tuple[str, str], DeploymentRecord] = {}
        #: (namespace id, TaskKind, task queue) -> the deployments whose workers poll it.
        self._owners: dict[tuple[str, int, str], list[DeploymentRecord]] = {}
        #: (namespace id, TaskKind, task queue, deployment, build id) of the versions known to poll.
        self._polled: set[tuple[str, int, str, str, str]] = set()
        router.deployments = self

    async def open(self) -> None:
        """Read them, and send what waits where it belongs."""
        records: list[DeploymentRecord] = []
        for namespace in await self._core.store.load_namespaces():
            after = ""
            while True:
                page = await self._core.store.list_documents(namespace.namespace_id, KIND, _PAGE, after)
                records += [msgspec.msgpack.decode(document.body, type=DeploymentRecord) for document in page]
                if len(page) < _PAGE:
                    break
                after = page[-1].id
        self._by_name.clear()
        self._owners.clear()
        self._polled.clear()
        for record in records:
            self._take(record)
        if self._by_name:
            self._core.is_routing = True
            for namespace_id, kind, name in list(self._owners):
                await self._reroute(namespace_id, kind, name)

    async def read_again(self) -> None:
        """Take over what another engine over the same store changed."""
        await self.open()

    def _take(self, record: DeploymentRecord) -> None:
        self._by_name[record.namespace_id, record.name] = record
        for version in record.versions.values():
            for kind, name in version.queues:
                self._own(record, version, kind, name)

    def _own(self, record: DeploymentRecord, version: VersionRecord, kind: int, name: str) -> None:
        owners = self._owners.setdefault((record.namespace_id, kind, name), [])
        if record not in owners:
            owners.append(record)
        self._polled.add((record.namespace_id, kind, name, record.name, version.build_id))

    def _put(self, record: DeploymentRecord) -> asyncio.Future[None]:
        record.revision += 1
        batch = self._core.put_document(
            Document(record.namespace_id, KIND, record.name, msgspec.msgpack.encode(record), record.revision)
        )
        waiter: asyncio.Future[None] = self._core.loop.create_future()
        batch.waiters.append(waiter)
        return waiter

    async def forget(self, namespace_id: str) -> None:
        """A namespace is deleted, and its deployments with it."""
        gone = [key for key in self._by_name if key[0] == namespace_id]
        for key in gone:
            del self._by_name[key]
        self._owners = {key: owners for key, owners in self._owners.items() if key[0] != namespace_id}
        self._polled = {key for key in self._polled if key[0] != namespace_id}
        if gone:
            await self._core.store.commit([], [Document(namespace_id, KIND, name) for _, name in gone])

    # ---- workers

    async def polled_by(
        self, namespace_id: str, kind: TaskKind, name: str, options: deployment_v1.WorkerDeploymentOptions
    ) -> str:
        """A worker of a deployment polls a queue; returns the name of the part of the queue that is its own."""
        if options.worker_versioning_mode != _VERSIONED:
            return name
        deployment, build_id = options.deployment_name, options.build_id
        if (namespace_id, int(kind), name, deployment, build_id) not in self._polled:
            check_names(deployment, build_id)
            now = self._core.now()
            key = (namespace_id, deployment)
            record = self._by_name.get(key)
            if record is None:
                record = self._by_name[key] = DeploymentRecord(namespace_id, deployment, now)
            version = record.versions.get(build_id)
            if version is None:
                version = record.versions[build_id] = VersionRecord(build_id, now)
            version.queues.append((int(kind), name))
            self._own(record, version, int(kind), name)
            self._core.is_routing = True
            await self._put(record)
            await self._reroute(namespace_id, int(kind), name)
        return versioned(name, Version(deployment, build_id))

    def polls(self, namespace_id: str, version: Version, kind: TaskKind, name: str) -> bool:
        """Whether workers of a version poll a queue."""
        return (namespace_id, int(kind), name, *version) in self._polled

    def target(
        self, namespace_id: str, kind: TaskKind, name: str, workflow_id: str, *, use_ramping: bool = False
    ) -> Version | None:
        """The version that a task without a version of its own goes to; None for workers without one.

        ``use_ramping`` prefers the ramping version, whatever its percentage.
        """
        for record in self._owners.get((namespace_id, int(kind), name), ()):
            ramps = record.is_ramping and (
                (use_ramping and record.ramping is not None) or ramp_position(workflow_id) < record.percentage
            )
            chosen = record.ramping if ramps else record.current
            if chosen is not None and self.polls(namespace_id, Version(record.name, chosen), kind, name):
                return Version(record.name, chosen)
        return None

    def routing_revision(self, namespace_id: str, name: str) -> int:
        """How often the routing of the deployments whose workers poll a workflow task queue has changed."""
        owners = self._owners.get((namespace_id, int(TaskKind.WORKFLOW), name), ())
        return sum(record.routing_revision for record in owners)

    async def _reroute(self, namespace_id: str, kind: int, name: str) -> None:
        """Send the tasks that wait in any part of a queue where they belong now."""
        core = self._core
        waiting: list[Task] = []
        for queue in parts_of(core.matching, namespace_id, kind, name):
            _take_all(queue, waiting)
        for task in waiting:
            run = await core.load(task.key)
            if run is None or not run.is_open:
                continue
            if kind == int(TaskKind.WORKFLOW):
                if task.query:
                    core.matching.queue(namespace_id, TaskKind.WORKFLOW, name).add(task)
                elif run.state.task_scheduled_id and not run.state.task_started_id:
                    core.on_dispatch_workflow_task(run)
            elif task.scheduled_event_id in run.state.activities:
                core.on_dispatch_activity(run, task.scheduled_event_id)
                core.touch(run)

    # ---- routing

    async def set_current(
        self, request: ws.SetWorkerDeploymentCurrentVersionRequest
    ) -> ws.SetWorkerDeploymentCurrentVersionResponse:
        """Temporal's SetWorkerDeploymentCurrentVersion."""
        record = self._find(request.namespace, request.deployment_name)
        build_id = named_build_id(record, request.build_id, request.version)
        self._check(record, request.conflict_token, request.identity)
        previous = record.current
        if build_id is not None:
            self._check_target(record, build_id, request.ignore_missing_task_queues, request.allow_no_pollers)
        now = self._core.now()
        if build_id != previous:
            self._deactivate(record, previous, now)
            record.current, record.current_changed = build_id, now
            if build_id is not None:
                version = record.versions[build_id]
                version.current_since = version.routing_changed = now
                version.first_activated = version.first_activated or now
                version.drained_at = version.ramping_since = 0
            if record.is_ramping and record.ramping == build_id:
                record.is_ramping, record.ramping, record.percentage = False, None, 0.0
                record.ramping_changed = record.percentage_changed = now
        await self._changed(record, request.identity, build_id)
        return ws.SetWorkerDeploymentCurrentVersionResponse(
            record.token(), version_text(record, previous), version_message(record, previous)
        )

    async def set_ramping(
        self, request: ws.SetWorkerDeploymentRampingVersionRequest
    ) -> ws.SetWorkerDeploymentRampingVersionResponse:
        """Temporal's SetWorkerDeploymentRampingVersion. No version and no percentage end a ramp."""
        record = self._find(request.namespace, request.deployment_name)
        if not 0 <= request.percentage <= 100:
            raise invalid_argument("Percentage must lie between 0 and 100.")
        build_id = named_build_id(record, request.build_id, request.version)
        self._check(record, request.conflict_token, request.identity)
        is_unversioned = request.version == UNVERSIONED
        was_ramping, previous, percentage = record.is_ramping, record.ramping, record.percentage
        now = self._core.now()
        ends = build_id is None and not request.percentage and not is_unversioned
        if not ends and build_id == record.current:
            what = "unversioned workers are" if build_id is None else f"version {build_id!r} is"
            raise failed_precondition(f"{what} already current: the ramping version must be another one.")
        if build_id is not None:
            self._check_target(record, build_id, request.ignore_missing_task_queues, request.allow_no_pollers)
        if was_ramping and (ends or previous != build_id):
            self._deactivate(record, previous, now)
        if ends != (not was_ramping) or previous != build_id:
            record.ramping_changed = now
        if request.percentage != percentage:
            record.percentage_changed = now
        record.is_ramping = not ends
        record.ramping = build_id
        record.percentage = 0.0 if ends else request.percentage
        if build_id is not None:
            version = record.versions[build_id]
            version.ramping_since = version.ramping_since or now
            version.first_activated = version.first_activated or now
            version.routing_changed = now
            version.drained_at = 0
        await self._changed(record, request.identity, build_id)
        return ws.SetWorkerDeploymentRampingVersionResponse(
            record.token(),
            version_text(record, previous) if was_ramping else "",
            percentage,
            version_message(record, previous),
        )

    def _deactivate(self, record: DeploymentRecord, build_id: str | None, now: int) -> None:
        version = None if build_id is None else record.versions.get(build_id)
        if version is not None:
            if version.current_since:
                version.last_current = now
            version.current_since = version.ramping_since = 0
            version.deactivated = version.routing_changed = now
            version.drained_at = 0

    async def _changed(self, record: DeploymentRecord, identity: str, build_id: str | None) -> None:
        record.modifier = identity
        record.routing_revision += 1
        if build_id is not None:
            record.versions[build_id].modifier = identity
        await self._put(record)
        for owned, owners in list(self._owners.items()):
            if record in owners:
                await self._reroute(*owned)

    def _check_target(
        self, record: DeploymentRecord, build_id: str, ignore_missing: bool, allow_no_pollers: bool
    ) -> None:
        version = record.versions.get(build_id)
        if version is None:
            if not allow_no_pollers:
                raise failed_precondition(
                    f"Version {build_id!r} of deployment {record.name!r} does not exist: no worker of it has polled yet."
                )
            record.versions[build_id] = VersionRecord(build_id, self._core.now())
            return
        current = None if record.current is None else record.versions.get(record.current)
        if current is None or ignore_missing or current is version:
            return
        missing = [
            name
            for kind, name in current.queues
            if (kind, name) not in version.queues and self._is_busy(record, current, kind, name)
        ]
        if missing:
            raise failed_precondition(
                f"New version {build_id!r} is missing task queues of the current one: {', '.join(sorted(set(missing)))}."
            )

    def _is_busy(self, record: DeploymentRecord, version: VersionRecord, kind: int, name: str) -> bool:
        queue = self._core.matching.known(
            record.namespace_id, TaskKind(kind), versioned(name, Version(record.name, version.build_id))
        )
        return queue is not None and (bool(len(queue.tasks)) or self._core.loop.time() - queue.last_poll < _RECENT)

    # ---- one deployment

    def _find(self, namespace: str, name: str) -> DeploymentRecord:
        limits.check_id(name, "DeploymentName")
        record = self._by_name.get((self._namespaces.get(namespace).namespace_id, name))
        if record is None:
            raise not_found(f"Worker Deployment {name!r} not found")
        return record

    def _version(
        self, namespace: str, given: deployment_v1.WorkerDeploymentVersion | None, text: str
    ) -> tuple[DeploymentRecord, VersionRecord]:
        if given is not None:
            name, build_id = given.deployment_name, given.build_id
        else:
            name, dot, build_id = text.partition(".")
            if not dot:
                raise invalid_argument("DeploymentVersion is not set on the request.")
        record = self._find(namespace, name)
        version = record.versions.get(build_id)
        if version is None:
            raise not_found(f"Worker Deployment Version {name}.{build_id} not found")
        return record, version

    def _check(self, record: DeploymentRecord, token: bytes, identity: str) -> None:
        if token and token != record.token():
            raise failed_precondition("conflict token mismatch: the deployment changed since it was described.")
        if record.manager and record.manager != identity:
            raise failed_precondition(
                f"Deployment {record.name!r} is managed by {record.manager!r}: only that identity changes it."
            )

    async def describe(self, request: ws.DescribeWorkerDeploymentRequest) -> ws.DescribeWorkerDeploymentResponse:
        """Temporal's DescribeWorkerDeployment."""
        record = self._find(request.namespace, request.deployment_name)
        summaries = [await self._summary(record, version) for version in record.versions.values()]
        return ws.DescribeWorkerDeploymentResponse(
            record.token(),
            deployment_v1.WorkerDeploymentInfo(
                name=record.name,
                version_summaries=summaries,
                create_time=record.created,
                routing_config=routing_config(record),
                last_modifier_identity=record.modifier,
                manager_identity=record.manager,
            ),
        )

    async def describe_version(
        self, request: ws.DescribeWorkerDeploymentVersionRequest
    ) -> ws.DescribeWorkerDeploymentVersionResponse:
        """Temporal's DescribeWorkerDeploymentVersion."""
        record, version = self._version(request.namespace, request.deployment_version, request.version)
        status, drainage = await self._status(record, version)
        is_ramping = record.is_ramping and record.ramping == version.build_id
        response = ws.DescribeWorkerDeploymentVersionResponse(
            deployment_v1.WorkerDeploymentVersionInfo(
                version=version_text(record, version.build_id),
                deployment_name=record.name,
                create_time=version.created,
                routing_changed_time=version.routing_changed or None,
                current_since_time=version.current_since or None,
                ramping_since_time=version.ramping_since or None,
                ramp_percentage=record.percentage if is_ramping else 0.0,
                task_queue_infos=[
                    deployment_v1.WorkerDeploymentVersionInfoVersionTaskQueueInfo(name, kind)
                    for kind, name in version.queues
                ],
                drainage_info=drainage,
                metadata=deployment_v1.VersionMetadata(dict(version.metadata)),
                deployment_version=version_message(record, version.build_id),
                first_activation_time=version.first_activated or None,
                last_deactivation_time=version.deactivated or None,
                status=status,
                last_current_time=version.last_current or None,
                last_modifier_identity=version.modifier,
            )
        )
        for kind, name in version.queues:
            queue = self._core.matching.known(
                record.namespace_id, TaskKind(kind), versioned(name, Version(record.name, version.build_id))
            )
            stats = taskqueue_v1.TaskQueueStats(0 if queue is None else len(queue.tasks))
            response.version_task_queues.append(
                ws.DescribeWorkerDeploymentVersionResponseVersionTaskQueue(
                    name, kind, stats if request.report_task_queue_stats else None
                )
            )
        return response

    async def list_deployments(self, request: ws.ListWorkerDeploymentsRequest) -> ws.ListWorkerDeploymentsResponse:
        """Temporal's ListWorkerDeployments, in the order of their names."""
        namespace_id = self._namespaces.get(request.namespace).namespace_id
        names = sorted(name for owner, name in self._by_name if owner == namespace_id)
        if request.next_page_token:
            after = request.next_page_token.decode(errors="replace")
            names = [name for name in names if name > after]
        size = request.page_size if 0 < request.page_size <= limits.MAX_PAGE_SIZE else 100
        response = ws.ListWorkerDeploymentsResponse(names[size - 1].encode() if len(names) > size else b"")
        for name in names[:size]:
            record = self._by_name[namespace_id, name]
            newest = max(record.versions.values(), key=lambda version: version.created, default=None)
            response.worker_deployments.append(
                ws.ListWorkerDeploymentsResponseWorkerDeploymentSummary(
                    name=name,
                    create_time=record.created,
                    routing_config=routing_config(record),
                    latest_version_summary=None if newest is None else await self._summary(record, newest),
                    current_version_summary=await self._summary_of(record, record.current),
                    ramping_version_summary=await self._summary_of(record, record.ramping),
                )
            )
        return response

    async def _summary_of(
        self, record: DeploymentRecord, build_id: str | None
    ) -> deployment_v1.WorkerDeploymentInfoWorkerDeploymentVersionSummary | None:
        version = None if build_id is None else record.versions.get(build_id)
        return None if version is None else await self._summary(record, version)

    async def _summary(
        self, record: DeploymentRecord, version: VersionRecord
    ) -> deployment_v1.WorkerDeploymentInfoWorkerDeploymentVersionSummary:
        status, drainage = await self._status(record, version)
        return deployment_v1.WorkerDeploymentInfoWorkerDeploymentVersionSummary(
            version=version_text(record, version.build_id),
            create_time=version.created,
            drainage_status=0 if drainage is None else drainage.status,
            deployment_version=version_message(record, version.build_id),
            drainage_info=drainage,
            current_since_time=version.current_since or None,
            ramping_since_time=version.ramping_since or None,
            routing_update_time=version.routing_changed or None,
            first_activation_time=version.first_activated or None,
            last_deactivation_time=version.deactivated or None,
            status=status,
            last_current_time=version.last_current or None,
        )

    async def _status(
        self, record: DeploymentRecord, version: VersionRecord
    ) -> tuple[int, deployment_v1.VersionDrainageInfo | None]:
        """A version's status; one that is left drains until no open workflow is pinned to it."""
        if record.current == version.build_id:
            return _CURRENT, None
        if record.is_ramping and record.ramping == version.build_id:
            return _RAMPING, None
        if not version.deactivated:
            return _INACTIVE, None
        if not version.drained_at and not await self.pinned_to(record, version):
            version.drained_at = self._core.now()
        drained = VersionDrainageStatus.VERSION_DRAINAGE_STATUS_DRAINED
        draining = VersionDrainageStatus.VERSION_DRAINAGE_STATUS_DRAINING
        return _DRAINED if version.drained_at else _DRAINING, deployment_v1.VersionDrainageInfo(
            int(drained if version.drained_at else draining),
            version.drained_at or version.deactivated,
            self._core.now(),
        )

    async def pinned_to(self, record: DeploymentRecord, version: VersionRecord) -> int:
        """How many open workflows are pinned to a version."""
        await self._core.settle()
        text = (
            f"TemporalWorkerDeploymentVersion = '{record.name}:{version.build_id}' AND "
            "TemporalWorkflowVersioningBehavior = 'Pinned' AND ExecutionStatus = 'Running'"
        )
        counts = await self._core.store.count_runs(record.namespace_id, parse_query(text, {}))
        return sum(counts.values())

    # ---- changes that route nothing

    async def create(self, request: ws.CreateWorkerDeploymentRequest) -> ws.CreateWorkerDeploymentResponse:
        """Temporal's CreateWorkerDeployment: one without versions. The same request again is answered as before."""
        namespace_id = self._namespaces.get(request.namespace).namespace_id
        check_names(request.deployment_name, "build")
        key = namespace_id, request.deployment_name
        record = self._by_name.get(key)
        if record is None:
            record = DeploymentRecord(namespace_id, request.deployment_name, self._core.now())
            record.modifier, record.create_request_id = request.identity, request.request_id
            self._by_name[key] = record
            await self._put(record)
        elif not request.request_id or record.create_request_id != request.request_id:
            raise already_exists(f"Worker Deployment {record.name!r} already exists.")
        return ws.CreateWorkerDeploymentResponse(record.token())

    async def create_version(
        self, request: ws.CreateWorkerDeploymentVersionRequest
    ) -> ws.CreateWorkerDeploymentVersionResponse:
        """Temporal's CreateWorkerDeploymentVersion: one whose workers are still to come."""
        given = request.deployment_version or deployment_v1.WorkerDeploymentVersion()
        check_names(given.deployment_name, given.build_id)
        if request.compute_config is not None:
            raise invalid_argument("ComputeConfig is not supported: start the version's workers yourself.")
        record = self._find(request.namespace, given.deployment_name)
        version = record.versions.get(given.build_id)
        if version is None:
            version = record.versions[given.build_id] = VersionRecord(given.build_id, self._core.now())
            version.modifier, version.create_request_id = request.identity, request.request_id
            await self._put(record)
        elif not request.request_id or version.create_request_id != request.request_id:
            raise already_exists(f"Worker Deployment Version {record.name}.{given.build_id} already exists.")
        return ws.CreateWorkerDeploymentVersionResponse()

    async def delete(self, request: ws.DeleteWorkerDeploymentRequest) -> ws.DeleteWorkerDeploymentResponse:
        """Temporal's DeleteWorkerDeployment: only one without versions goes."""
        namespace_id = self._namespaces.get(request.namespace).namespace_id
        record = self._by_name.get((namespace_id, request.deployment_name))
        if record is not None:
            if record.versions:
                raise failed_precondition(
                    f"Deployment {record.name!r} has versions: delete them first, and stop their workers."
                )
            del self._by_name[namespace_id, record.name]
            for owners in self._owners.values():
                if record in owners:
                    owners.remove(record)
            batch = self._core.put_document(Document(namespace_id, KIND, record.name, b"", record.revision + 1))
            waiter: asyncio.Future[None] = self._core.loop.create_future()
            batch.waiters.append(waiter)
            await waiter
        return ws.DeleteWorkerDeploymentResponse()

    async def delete_version(
        self, request: ws.DeleteWorkerDeploymentVersionRequest
    ) -> ws.DeleteWorkerDeploymentVersionResponse:
        """Temporal's DeleteWorkerDeploymentVersion: not while it is routed to, polled, or draining."""
        record, version = self._version(request.namespace, request.deployment_version, request.version)
        self._check(record, b"", request.identity)
        status, _ = await self._status(record, version)
        if status in (_CURRENT, _RAMPING):
            raise failed_precondition("Version is current or ramping: route to another one first.")
        if status == _DRAINING and not request.skip_drainage:
            raise failed_precondition("Version is draining: workflows are pinned to it.")
        for kind, name in version.queues:
            queue = self._core.matching.known(
                record.namespace_id, TaskKind(kind), versioned(name, Version(record.name, version.build_id))
            )
            if queue is not None and any(not poller.future.done() for poller in queue.pollers):
                raise failed_precondition("Version has active pollers: stop its workers first.")
        del record.versions[version.build_id]
        for kind, name in version.queues:
            self._polled.discard((record.namespace_id, kind, name, record.name, version.build_id))
            still = any((kind, name) in other.queues for other in record.versions.values())
            owners = self._owners.get((record.namespace_id, kind, name), [])
            if not still and record in owners:
                owners.remove(record)
        await self._put(record)
        return ws.DeleteWorkerDeploymentVersionResponse()

    async def update_metadata(
        self, request: ws.UpdateWorkerDeploymentVersionMetadataRequest
    ) -> ws.UpdateWorkerDeploymentVersionMetadataResponse:
        """Temporal's UpdateWorkerDeploymentVersionMetadata."""
        record, version = self._version(request.namespace, request.deployment_version, request.version)
        metadata = {**version.metadata, **request.upsert_entries}
        for name in request.remove_entries:
            metadata.pop(name, None)
        version.metadata = metadata
        version.modifier = request.identity
        await self._put(record)
        return ws.UpdateWorkerDeploymentVersionMetadataResponse(deployment_v1.VersionMetadata(dict(metadata)))

    async def set_manager(self, request: ws.SetWorkerDeploymentManagerRequest) -> ws.SetWorkerDeploymentManagerResponse:
        """Temporal's SetWorkerDeploymentManager."""
        record = self._find(request.namespace, request.deployment_name)
        if request.conflict_token and request.conflict_token != record.token():
            raise failed_precondition("conflict token mismatch: the deployment changed since it was described.")
        previous = record.manager
        record.manager = request.identity if request.self else request.manager_identity or ""
        record.modifier = request.identity
        await self._put(record)
        return ws.SetWorkerDeploymentManagerResponse(record.token(), previous)


def _take_all(queue: TaskQueue, into: list[Task]) -> None:
    tasks = getattr(queue.tasks, "inner", queue.tasks)
    while tasks:
        into.append(tasks.popleft())
