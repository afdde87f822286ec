"""How many tasks a worker takes at a time: slot suppliers and the tuner that names one for each kind of task."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

from perdure.common import WorkerDeploymentVersion

logger = logging.getLogger("perdure.worker")

DEFAULT_SLOTS = 100
_DEFAULT_RESOURCE_SLOTS = 500
#: Where a custom supplier alone decides, this only keeps a mistake in it from eating all memory.
_CUSTOM_SLOTS = 10_000
_SUPPLIER_RETRY_SECONDS = 1.0


@dataclass(frozen=True)
class FixedSizeSlotSupplier:
    """At most ``num_slots`` tasks at a time."""

    num_slots: int


@dataclass(frozen=True)
class ResourceBasedTunerConfig:
    """Targets of a :class:`ResourceBasedSlotSupplier`, as shares from 0 to 1 of the machine."""

    target_memory_usage: float
    target_cpu_usage: float


@dataclass(frozen=True)
class ResourceBasedSlotConfig:
    """Bounds of a :class:`ResourceBasedSlotSupplier`.

    ``minimum_slots`` defaults to 5 for workflow tasks and 1 for activities, ``maximum_slots`` to 500 and
    ``ramp_throttle``, the least time between new slots past the minimum, to 0 and 50 ms.
    """

    minimum_slots: int | None = None
    maximum_slots: int | None = None
    ramp_throttle: timedelta | None = None


@dataclass(frozen=True)
class ResourceBasedSlotSupplier:
    """As many tasks as memory and CPU allow, within bounds.

    The worker does not measure the machine yet: it takes as many tasks as ``maximum_slots`` says.
    """

    slot_config: ResourceBasedSlotConfig
    tuner_config: ResourceBasedTunerConfig


class SlotPermit:
    """The permission to run one task; extend it to carry data of your own."""


@dataclass
class SlotReserveContext:
    """What a :class:`CustomSlotSupplier` is asked for."""

    slot_type: Literal["workflow", "activity", "local-activity", "nexus"]
    task_queue: str
    worker_identity: str
    #: Deprecated: use ``worker_deployment_version``.
    worker_build_id: str
    worker_deployment_version: WorkerDeploymentVersion | None
    is_sticky: bool


@runtime_checkable
class WorkflowSlotInfo(Protocol):
    """The workflow task that uses a slot."""

    workflow_type: str
    is_sticky: bool


@runtime_checkable
class ActivitySlotInfo(Protocol):
    """The activity that uses a slot."""

    activity_type: str


@runtime_checkable
class LocalActivitySlotInfo(Protocol):
    """The local activity that uses a slot."""

    activity_type: str


@runtime_checkable
class NexusSlotInfo(Protocol):
    """The Nexus task that uses a slot."""

    service: str
    operation: str


SlotInfo: TypeAlias = WorkflowSlotInfo | ActivitySlotInfo | LocalActivitySlotInfo | NexusSlotInfo


@dataclass(frozen=True)
class SlotMarkUsedContext:
    """A permit and the task that now uses it."""

    slot_info: SlotInfo
    permit: SlotPermit


@dataclass(frozen=True)
class SlotReleaseContext:
    """A permit that is given back, and the task that used it; None if none did."""

    slot_info: SlotInfo | None
    permit: SlotPermit


class CustomSlotSupplier(ABC):
    """Decides by code of your own when one more task may be taken."""

    @abstractmethod
    async def reserve_slot(self, ctx: SlotReserveContext) -> SlotPermit:
        """Wait until a slot is free. May be cancelled; any other exception is logged and the call repeated."""

    @abstractmethod
    def try_reserve_slot(self, ctx: SlotReserveContext) -> SlotPermit | None:
        """A slot for an eager task, or None; must not block."""

    @abstractmethod
    def mark_slot_used(self, ctx: SlotMarkUsedContext) -> None:
        """A task came for a permit; must not block."""

    @abstractmethod
    def release_slot(self, ctx: SlotReleaseContext) -> None:
        """A permit is not needed any more; must not block."""


SlotSupplier: TypeAlias = FixedSizeSlotSupplier | ResourceBasedSlotSupplier | CustomSlotSupplier


class WorkerTuner(ABC):
    """Names the slot supplier of each kind of task."""

    @classmethod
    def create_resource_based(
        cls,
        *,
        target_memory_usage: float,
        target_cpu_usage: float,
        workflow_config: ResourceBasedSlotConfig | None = None,
        activity_config: ResourceBasedSlotConfig | None = None,
        local_activity_config: ResourceBasedSlotConfig | None = None,
        nexus_config: ResourceBasedSlotConfig | None = None,
    ) -> WorkerTuner:
        """Every kind of task by the same resource targets."""
        targets = ResourceBasedTunerConfig(target_memory_usage, target_cpu_usage)
        return _CompositeTuner(
            *(
                ResourceBasedSlotSupplier(config or ResourceBasedSlotConfig(), targets)
                for config in (workflow_config, activity_config, local_activity_config, nexus_config)
            )
        )

    @classmethod
    def create_fixed(
        cls,
        *,
        workflow_slots: int | None = None,
        activity_slots: int | None = None,
        local_activity_slots: int | None = None,
        nexus_slots: int | None = None,
    ) -> WorkerTuner:
        """A fixed number of slots for each kind of task, 100 where none is given."""
        return _CompositeTuner(
            *(
                FixedSizeSlotSupplier(slots or DEFAULT_SLOTS)
                for slots in (workflow_slots, activity_slots, local_activity_slots, nexus_slots)
            )
        )

    @classmethod
    def create_composite(
        cls,
        *,
        workflow_supplier: SlotSupplier,
        activity_supplier: SlotSupplier,
        local_activity_supplier: SlotSupplier,
        nexus_supplier: SlotSupplier,
    ) -> WorkerTuner:
        """One supplier for each kind of task."""
        return _CompositeTuner(workflow_supplier, activity_supplier, local_activity_supplier, nexus_supplier)

    @abstractmethod
    def _get_workflow_task_slot_supplier(self) -> SlotSupplier: ...

    @abstractmethod
    def _get_activity_task_slot_supplier(self) -> SlotSupplier: ...

    @abstractmethod
    def _get_local_activity_task_slot_supplier(self) -> SlotSupplier: ...

    @abstractmethod
    def _get_nexus_slot_supplier(self) -> SlotSupplier: ...


@dataclass(frozen=True)
class _CompositeTuner(WorkerTuner):
    workflow_supplier: SlotSupplier
    activity_supplier: SlotSupplier
    local_activity_supplier: SlotSupplier
    nexus_supplier: SlotSupplier

    def _get_workflow_task_slot_supplier(self) -> SlotSupplier:
        return self.workflow_supplier

    def _get_activity_task_slot_supplier(self) -> SlotSupplier:
        return self.activity_supplier

    def _get_local_activity_task_slot_supplier(self) -> SlotSupplier:
        return self.local_activity_supplier

    def _get_nexus_slot_supplier(self) -> SlotSupplier:
        return self.nexus_supplier


def maximum_slots(supplier: SlotSupplier) -> int:
    """The most tasks that a supplier ever allows at a time."""
    match supplier:
        case FixedSizeSlotSupplier(num_slots):
            return num_slots
        case ResourceBasedSlotSupplier(config):
            return config.maximum_slots or _DEFAULT_RESOURCE_SLOTS
        case CustomSlotSupplier():
            return _CUSTOM_SLOTS
    raise TypeError(f"Unknown slot supplier type: {supplier!r}")


@dataclass
class _WorkflowSlot:
    workflow_type: str
    is_sticky: bool


@dataclass
class _ActivitySlot:
    activity_type: str


@dataclass
class _NexusSlot:
    service: str
    operation: str


class CustomSlots:
    """A custom supplier as one worker's pollers use it."""

    def __init__(
        self,
        supplier: CustomSlotSupplier,
        *,
        slot_type: Literal["workflow", "activity", "local-activity", "nexus"],
        task_queue: str,
        identity: str,
        build_id: str,
        deployment_version: WorkerDeploymentVersion | None,
        is_sticky: bool = False,
    ) -> None:
        self._supplier = supplier
        self._context = SlotReserveContext(slot_type, task_queue, identity, build_id, deployment_version, is_sticky)

    async def reserve(self) -> SlotPermit:
        """Wait for a permit, also through errors of the supplier."""
        while True:
            try:
                return await self._supplier.reserve_slot(self._context)
            except Exception:
                logger.warning("Error in custom slot supplier `reserve_slot`", exc_info=True)
                await asyncio.sleep(_SUPPLIER_RETRY_SECONDS)

    def try_reserve(self) -> SlotPermit | None:
        """A permit if the supplier has one at once."""
        try:
            return self._supplier.try_reserve_slot(self._context)
        except Exception:
            logger.warning("Error in custom slot supplier `try_reserve_slot`", exc_info=True)
            return None

    def mark_used(self, permit: Any, task: Any) -> None:
        """Tell the supplier what uses the permit."""
        try:
            self._supplier.mark_slot_used(SlotMarkUsedContext(self._info(task), permit))
        except Exception:
            logger.warning("Error in custom slot supplier `mark_slot_used`", exc_info=True)

    def release(self, permit: Any, task: Any | None) -> None:
        """Give the permit back."""
        try:
            self._supplier.release_slot(SlotReleaseContext(None if task is None else self._info(task), permit))
        except Exception:
            logger.warning("Error in custom slot supplier `release_slot`", exc_info=True)

    def _info(self, task: Any) -> SlotInfo:
        if self._context.slot_type == "workflow":
            return _WorkflowSlot(task.workflow_type.name if task.workflow_type else "", self._context.is_sticky)
        if self._context.slot_type == "nexus":
            target = task.request.start_operation or task.request.cancel_operation
            return _NexusSlot(target.service, target.operation)
        return _ActivitySlot(task.activity_type.name if task.activity_type else "")


class RateLimit:
    """Lets one poller at a time ask, and not before the rate allows; around another supplier if there is one."""

    def __init__(self, per_second: float, inner: CustomSlots | None) -> None:
        self._interval = 1 / per_second
        self._inner = inner
        self._turn = asyncio.Lock()
        self._next_at = 0.0

    async def reserve(self) -> Any:
        """Wait for this poller's turn and for the rate."""
        permit = None if self._inner is None else await self._inner.reserve()
        try:
            await self._turn.acquire()
            try:
                await asyncio.sleep(max(0.0, self._next_at - asyncio.get_running_loop().time()))
            except BaseException:
                self._turn.release()
                raise
        except BaseException:
            if self._inner is not None:
                self._inner.release(permit, None)
            raise
        return permit

    def try_reserve(self) -> None:
        """None: what is limited goes through the queue."""

    def mark_used(self, permit: Any, task: Any) -> None:
        """Count the task and let the next poller ask."""
        now = asyncio.get_running_loop().time()
        self._next_at = max(now, self._next_at) + self._interval
        self._turn.release()
        if self._inner is not None:
            self._inner.mark_used(permit, task)

    def release(self, permit: Any, task: Any | None) -> None:
        """Give the turn back if no task came."""
        if task is None:
            self._turn.release()
        if self._inner is not None:
            self._inner.release(permit, task)
