"""Temporal's ``temporal.api.compute.v1``."""

from __future__ import annotations

from perdure.api._message import Message
from perdure.api.common import v1 as common_v1


class ComputeConfig(Message):
    """Temporal's ``temporal.api.compute.v1.ComputeConfig``."""

    scaling_groups: dict[str, ComputeConfigScalingGroup] = {}


class ComputeConfigScalingGroup(Message):
    """Temporal's ``temporal.api.compute.v1.ComputeConfigScalingGroup``."""

    task_queue_types: list[int] = []
    region_ids: list[str] = []
    provider: ComputeProvider | None = None
    scaler: ComputeScaler | None = None


class ComputeConfigScalingGroupSummary(Message):
    """Temporal's ``temporal.api.compute.v1.ComputeConfigScalingGroupSummary``."""

    task_queue_types: list[int] = []
    provider_type: str = ""
    region_ids: list[str] = []


class ComputeConfigSummary(Message):
    """Temporal's ``temporal.api.compute.v1.ComputeConfigSummary``."""

    scaling_groups: dict[str, ComputeConfigScalingGroupSummary] = {}


class ComputeProvider(Message):
    """Temporal's ``temporal.api.compute.v1.ComputeProvider``."""

    type: str = ""
    details: common_v1.Payload | None = None
    nexus_endpoint: str = ""


class ComputeScaler(Message):
    """Temporal's ``temporal.api.compute.v1.ComputeScaler``."""

    type: str = ""
    details: common_v1.Payload | None = None
