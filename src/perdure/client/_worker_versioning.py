"""Worker versioning by build id sets: the calls of Temporal's older versioning.

Homes of this version refuse them with PERMISSION_DENIED, as servers do that have switched it off: use worker
deployments (``Worker(deployment_config=...)``). They are here for code that talks to a home that still has it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from perdure.api.workflowservice import v1 as ws
from perdure.client import _check

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import timedelta

    from perdure.client._client import Client
    from perdure.client._interceptor import OutboundInterceptor


@dataclass(frozen=True)
class BuildIdVersionSet:
    """Build ids that are compatible with each other."""

    build_ids: Sequence[str]
    """Oldest first; the last one is the default."""

    def default(self) -> str:
        """The default build id of the set."""
        return self.build_ids[-1]


@dataclass(frozen=True)
class WorkerBuildIdVersionSets:
    """The version sets of a task queue."""

    version_sets: Sequence[BuildIdVersionSet]
    """The last one is the default."""

    def default_set(self) -> BuildIdVersionSet:
        """The set that new workflows start on."""
        return self.version_sets[-1]

    def default_build_id(self) -> str:
        """The build id that new workflows start on."""
        return self.default_set().default()


class BuildIdOp(ABC):
    """A change of a task queue's version sets."""

    @abstractmethod
    def _apply(self, request: ws.UpdateWorkerBuildIdCompatibilityRequest) -> None: ...


@dataclass(frozen=True)
class BuildIdOpAddNewDefault(BuildIdOp):
    """Add a build id in a new set, which becomes the default."""

    build_id: str

    def _apply(self, request: ws.UpdateWorkerBuildIdCompatibilityRequest) -> None:
        request.add_new_build_id_in_new_default_set = self.build_id


@dataclass(frozen=True)
class BuildIdOpAddNewCompatible(BuildIdOp):
    """Add a build id to the set of another, as its default."""

    build_id: str
    existing_compatible_build_id: str
    """Any build id of that set."""
    promote_set: bool = False
    """Make the set the default."""

    def _apply(self, request: ws.UpdateWorkerBuildIdCompatibilityRequest) -> None:
        request.add_new_compatible_build_id = ws.UpdateWorkerBuildIdCompatibilityRequestAddNewCompatibleVersion(
            self.build_id, self.existing_compatible_build_id, self.promote_set
        )


@dataclass(frozen=True)
class BuildIdOpPromoteSetByBuildId(BuildIdOp):
    """Make the set of a build id the default."""

    build_id: str

    def _apply(self, request: ws.UpdateWorkerBuildIdCompatibilityRequest) -> None:
        request.promote_set_by_build_id = self.build_id


@dataclass(frozen=True)
class BuildIdOpPromoteBuildIdWithinSet(BuildIdOp):
    """Make a build id the default of its set."""

    build_id: str

    def _apply(self, request: ws.UpdateWorkerBuildIdCompatibilityRequest) -> None:
        request.promote_build_id_within_set = self.build_id


@dataclass(frozen=True)
class BuildIdOpMergeSets(BuildIdOp):
    """Make one set of two; the first one's default stays."""

    primary_build_id: str
    secondary_build_id: str

    def _apply(self, request: ws.UpdateWorkerBuildIdCompatibilityRequest) -> None:
        request.merge_sets = ws.UpdateWorkerBuildIdCompatibilityRequestMergeSets(
            self.primary_build_id, self.secondary_build_id
        )


class TaskReachabilityType(Enum):
    """Which workflows may still send tasks to a build id."""

    NEW_WORKFLOWS = 1
    EXISTING_WORKFLOWS = 2
    OPEN_WORKFLOWS = 3
    CLOSED_WORKFLOWS = 4


@dataclass(frozen=True)
class BuildIdReachability:
    """Where a build id can be reached."""

    task_queue_reachability: Mapping[str, Sequence[TaskReachabilityType]]
    """By task queue; none: not reachable there."""
    unretrieved_task_queues: frozenset[str]
    """Queues that were not looked at."""


@dataclass(frozen=True)
class WorkerTaskReachability:
    """Where build ids can be reached."""

    build_id_reachability: Mapping[str, BuildIdReachability]
    """By build id."""

    @staticmethod
    def _from_raw(response: ws.GetWorkerTaskReachabilityResponse) -> WorkerTaskReachability:
        found = {}
        for build in response.build_id_reachability:
            queues: dict[str, Sequence[TaskReachabilityType]] = {}
            unretrieved = set()
            for queue in build.task_queue_reachability:
                if queue.reachability == [0]:
                    unretrieved.add(queue.task_queue)
                else:
                    queues[queue.task_queue] = [TaskReachabilityType(value) for value in queue.reachability]
            found[build.build_id] = BuildIdReachability(queues, frozenset(unretrieved))
        return WorkerTaskReachability(found)


@dataclass
class UpdateWorkerBuildIdCompatibilityInput:
    """Input of :meth:`OutboundInterceptor.update_worker_build_id_compatibility`."""

    task_queue: str
    operation: BuildIdOp
    rpc_metadata: Mapping[str, str | bytes]
    rpc_timeout: timedelta | None


@dataclass
class GetWorkerBuildIdCompatibilityInput:
    """Input of :meth:`OutboundInterceptor.get_worker_build_id_compatibility`."""

    task_queue: str
    max_sets: int | None
    rpc_metadata: Mapping[str, str | bytes]
    rpc_timeout: timedelta | None


@dataclass
class GetWorkerTaskReachabilityInput:
    """Input of :meth:`OutboundInterceptor.get_worker_task_reachability`."""

    build_ids: Sequence[str]
    task_queues: Sequence[str]
    reachability: TaskReachabilityType | None
    rpc_metadata: Mapping[str, str | bytes]
    rpc_timeout: timedelta | None


class WorkerVersioningCalls:
    """The part of :class:`~perdure.client.Client` about build id sets."""

    _impl: OutboundInterceptor

    def _check_usable(self) -> None:
        raise NotImplementedError

    async def update_worker_build_id_compatibility(
        self,
        task_queue: str,
        operation: BuildIdOp,
        rpc_metadata: Mapping[str, str | bytes] = {},
        rpc_timeout: timedelta | None = None,
    ) -> None:
        """Change the version sets of a task queue. Deprecated: use worker deployments.

        Raises:
            RPCError: PERMISSION_DENIED where this versioning is switched off, as in every home of this version.
        """
        where = "update_worker_build_id_compatibility"
        _check.text(where, "task_queue", task_queue)
        _check.instance(where, "operation", operation, BuildIdOp)
        _check.rpc_options(where, rpc_metadata, rpc_timeout)
        self._check_usable()
        await self._impl.update_worker_build_id_compatibility(
            UpdateWorkerBuildIdCompatibilityInput(task_queue, operation, rpc_metadata, rpc_timeout)
        )

    async def get_worker_build_id_compatibility(
        self,
        task_queue: str,
        max_sets: int | None = None,
        rpc_metadata: Mapping[str, str | bytes] = {},
        rpc_timeout: timedelta | None = None,
    ) -> WorkerBuildIdVersionSets:
        """The version sets of a task queue. Deprecated: use worker deployments.

        Raises:
            RPCError: PERMISSION_DENIED where this versioning is switched off, as in every home of this version.
        """
        where = "get_worker_build_id_compatibility"
        _check.text(where, "task_queue", task_queue)
        _check.count(where, "max_sets", max_sets, least=0)
        _check.rpc_options(where, rpc_metadata, rpc_timeout)
        self._check_usable()
        return await self._impl.get_worker_build_id_compatibility(
            GetWorkerBuildIdCompatibilityInput(task_queue, max_sets, rpc_metadata, rpc_timeout)
        )

    async def get_worker_task_reachability(
        self,
        build_ids: Sequence[str],
        task_queues: Sequence[str] = [],
        reachability_type: TaskReachabilityType | None = None,
        rpc_metadata: Mapping[str, str | bytes] = {},
        rpc_timeout: timedelta | None = None,
    ) -> WorkerTaskReachability:
        """Where build ids can be reached. Deprecated: use worker deployments.

        Raises:
            RPCError: PERMISSION_DENIED where this versioning is switched off, as in every home of this version.
        """
        where = "get_worker_task_reachability"
        for build_id in build_ids:
            _check.text(where, "a build id", build_id, empty=True)
        for task_queue in task_queues:
            _check.text(where, "a task queue", task_queue)
        _check.rpc_options(where, rpc_metadata, rpc_timeout)
        self._check_usable()
        return await self._impl.get_worker_task_reachability(
            GetWorkerTaskReachabilityInput(build_ids, task_queues, reachability_type, rpc_metadata, rpc_timeout)
        )


class WorkerVersioningClientImpl:
    """The part of :class:`~perdure.client._impl.ClientImpl` about build id sets."""

    _client: Client

    async def update_worker_build_id_compatibility(self, input: UpdateWorkerBuildIdCompatibilityInput) -> None:
        client = self._client
        request = ws.UpdateWorkerBuildIdCompatibilityRequest(client.namespace, input.task_queue)
        input.operation._apply(request)
        await client._service.update_worker_build_id_compatibility(
            request, metadata=client._metadata(input.rpc_metadata), timeout=input.rpc_timeout
        )

    async def get_worker_build_id_compatibility(
        self, input: GetWorkerBuildIdCompatibilityInput
    ) -> WorkerBuildIdVersionSets:
        client = self._client
        response = await client._service.get_worker_build_id_compatibility(
            ws.GetWorkerBuildIdCompatibilityRequest(client.namespace, input.task_queue, input.max_sets or 0),
            metadata=client._metadata(input.rpc_metadata),
            timeout=input.rpc_timeout,
        )
        return WorkerBuildIdVersionSets([BuildIdVersionSet(found.build_ids) for found in response.major_version_sets])

    async def get_worker_task_reachability(self, input: GetWorkerTaskReachabilityInput) -> WorkerTaskReachability:
        client = self._client
        response = await client._service.get_worker_task_reachability(
            ws.GetWorkerTaskReachabilityRequest(
                client.namespace,
                list(input.build_ids),
                list(input.task_queues),
                0 if input.reachability is None else input.reachability.value,
            ),
            metadata=client._metadata(input.rpc_metadata),
            timeout=input.rpc_timeout,
        )
        return WorkerTaskReachability._from_raw(response)
