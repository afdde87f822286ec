"""Vocabulary shared by clients, workers, workflows and activities. Names and fields are Temporal's."""

from __future__ import annotations

import inspect
import types
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum
from typing import Any, ClassVar, get_type_hints

import msgspec

from perdure._metrics import (
    MetricAttributes,
    MetricCommon,
    MetricCounter,
    MetricGauge,
    MetricGaugeFloat,
    MetricHistogram,
    MetricHistogramFloat,
    MetricHistogramTimedelta,
    MetricMeter,
)
from perdure._search_attributes import (
    SearchAttributeIndexedValueType,
    SearchAttributeKey,
    SearchAttributePair,
    SearchAttributes,
    SearchAttributeUpdate,
    SearchAttributeValue,
    SearchAttributeValues,
    SearchAttributeValueType,
    TypedSearchAttributes,
)
from perdure._times import duration_from_ns, duration_to_ns
from perdure.api.common import v1 as common_v1
from perdure.api.deployment import v1 as deployment_v1
from perdure.api.workflow import v1 as workflow_v1

__all__ = [
    "ActivityIDConflictPolicy",
    "ActivityIDReusePolicy",
    "AutoUpgradeVersioningOverride",
    "HeaderCodecBehavior",
    "MetricAttributes",
    "MetricCommon",
    "MetricCounter",
    "MetricGauge",
    "MetricGaugeFloat",
    "MetricHistogram",
    "MetricHistogramFloat",
    "MetricHistogramTimedelta",
    "MetricMeter",
    "NexusOperationCancellationState",
    "NexusOperationExecutionStatus",
    "NexusOperationIDConflictPolicy",
    "NexusOperationIDReusePolicy",
    "OneTimeVersioningOverride",
    "PendingNexusOperationExecutionState",
    "PinnedVersioningOverride",
    "Priority",
    "QueryRejectCondition",
    "RawValue",
    "RetryPolicy",
    "SearchAttributeIndexedValueType",
    "SearchAttributeKey",
    "SearchAttributePair",
    "SearchAttributeUpdate",
    "SearchAttributeValue",
    "SearchAttributeValueType",
    "SearchAttributeValues",
    "SearchAttributes",
    "TypedSearchAttributes",
    "VersioningBehavior",
    "VersioningOverride",
    "WorkerDeploymentVersion",
    "WorkflowIDConflictPolicy",
    "WorkflowIDReusePolicy",
]


@dataclass
class RetryPolicy:
    """When a failed activity or workflow is tried again."""

    initial_interval: timedelta = timedelta(seconds=1)
    """Wait before the second attempt."""

    backoff_coefficient: float = 2.0
    """Each further wait is the one before times this."""

    maximum_interval: timedelta | None = None
    """Longest wait; None means 100 times ``initial_interval``."""

    maximum_attempts: int = 0
    """How many attempts in all; 0 means no limit."""

    non_retryable_error_types: Sequence[str] | None = None
    """Types of application errors that are not tried again."""

    @staticmethod
    def from_proto(proto: common_v1.RetryPolicy) -> RetryPolicy:
        """The policy a message states."""
        return RetryPolicy(
            initial_interval=duration_from_ns(proto.initial_interval or 0),
            backoff_coefficient=proto.backoff_coefficient,
            maximum_interval=None if proto.maximum_interval is None else duration_from_ns(proto.maximum_interval),
            maximum_attempts=proto.maximum_attempts,
            non_retryable_error_types=list(proto.non_retryable_error_types) or None,
        )

    def apply_to_proto(self, proto: common_v1.RetryPolicy) -> None:
        """Write this policy into a message. Raises ValueError, and changes nothing, when the policy is invalid."""
        self._validate()
        proto.initial_interval = duration_to_ns(self.initial_interval)
        proto.backoff_coefficient = self.backoff_coefficient
        proto.maximum_interval = duration_to_ns(self.maximum_interval or self.initial_interval * 100)
        proto.maximum_attempts = self.maximum_attempts
        if self.non_retryable_error_types:
            proto.non_retryable_error_types.extend(self.non_retryable_error_types)

    def _to_proto(self) -> common_v1.RetryPolicy:
        proto = common_v1.RetryPolicy()
        self.apply_to_proto(proto)
        return proto

    def _validate(self) -> None:
        if self.maximum_attempts == 1:
            return  # never retried: the intervals do not matter
        self._validate_types()
        if self.initial_interval < timedelta():
            raise ValueError("Initial interval cannot be negative")
        if self.backoff_coefficient < 1:
            raise ValueError("Backoff coefficient cannot be less than 1")
        if self.maximum_interval:
            if self.maximum_interval < timedelta():
                raise ValueError("Maximum interval cannot be negative")
            if self.maximum_interval < self.initial_interval:
                raise ValueError("Maximum interval cannot be less than initial interval")
        if self.maximum_attempts < 0:
            raise ValueError("Maximum attempts cannot be negative")

    def _validate_types(self) -> None:
        for name in ("initial_interval", "maximum_interval"):
            interval = getattr(self, name)
            if not isinstance(interval, timedelta) and (name == "initial_interval" or interval is not None):
                raise TypeError(f"RetryPolicy: {name} must be a timedelta, not {type(interval).__name__}")
        if not isinstance(self.backoff_coefficient, (int, float)):
            raise TypeError(
                f"RetryPolicy: backoff_coefficient must be a number, not {type(self.backoff_coefficient).__name__}"
            )
        if not isinstance(self.maximum_attempts, int):
            raise TypeError(f"RetryPolicy: maximum_attempts must be an int, not {type(self.maximum_attempts).__name__}")
        if isinstance(self.non_retryable_error_types, str):
            raise TypeError("RetryPolicy: non_retryable_error_types must be a list of names, not a str")


class WorkflowIDReusePolicy(IntEnum):
    """What a start does when the workflow id belongs to a closed run."""

    ALLOW_DUPLICATE = 1
    ALLOW_DUPLICATE_FAILED_ONLY = 2
    REJECT_DUPLICATE = 3
    TERMINATE_IF_RUNNING = 4


class WorkflowIDConflictPolicy(IntEnum):
    """What a start does when the workflow id belongs to a running run."""

    UNSPECIFIED = 0
    FAIL = 1
    USE_EXISTING = 2
    TERMINATE_EXISTING = 3


class ActivityIDReusePolicy(IntEnum):
    """What the start of a standalone activity does when its id belongs to a closed one."""

    UNSPECIFIED = 0
    ALLOW_DUPLICATE = 1
    ALLOW_DUPLICATE_FAILED_ONLY = 2
    REJECT_DUPLICATE = 3


class ActivityIDConflictPolicy(IntEnum):
    """What the start of a standalone activity does when its id belongs to a running one."""

    UNSPECIFIED = 0
    FAIL = 1
    USE_EXISTING = 2


class NexusOperationIDReusePolicy(IntEnum):
    """What the start of a standalone Nexus operation does when its id belongs to a closed one."""

    UNSPECIFIED = 0
    ALLOW_DUPLICATE = 1
    ALLOW_DUPLICATE_FAILED_ONLY = 2
    REJECT_DUPLICATE = 3


class NexusOperationIDConflictPolicy(IntEnum):
    """What the start of a standalone Nexus operation does when its id belongs to a running one."""

    UNSPECIFIED = 0
    FAIL = 1
    USE_EXISTING = 2


class NexusOperationExecutionStatus(IntEnum):
    """Where a standalone Nexus operation stands."""

    UNSPECIFIED = 0
    RUNNING = 1
    COMPLETED = 2
    FAILED = 3
    CANCELED = 4
    TERMINATED = 5
    TIMED_OUT = 6


class PendingNexusOperationExecutionState(IntEnum):
    """What a running Nexus operation is waiting for."""

    UNSPECIFIED = 0
    SCHEDULED = 1
    BACKING_OFF = 2
    STARTED = 3
    BLOCKED = 4


class NexusOperationCancellationState(IntEnum):
    """Where the cancellation of a Nexus operation stands."""

    UNSPECIFIED = 0
    SCHEDULED = 1
    BACKING_OFF = 2
    SUCCEEDED = 3
    FAILED = 4
    TIMED_OUT = 5
    BLOCKED = 6


class QueryRejectCondition(IntEnum):
    """Which workflows refuse a query."""

    NONE = 1
    """None: every workflow answers."""
    NOT_OPEN = 2
    """Those that are closed."""
    NOT_COMPLETED_CLEANLY = 3
    """Those that closed in another way than completing."""


@dataclass(frozen=True)
class RawValue:
    """A payload as it is: given as an argument or result it is not converted, hinted as a type it is not decoded.

    A payload codec still applies.
    """

    payload: common_v1.Payload

    def __getstate__(self) -> object:
        """Pickle as versioned bytes."""
        return b"1" + msgspec.msgpack.encode(self.payload)

    def __setstate__(self, state: object) -> None:
        """Read what :meth:`__getstate__` wrote."""
        if not isinstance(state, bytes):
            raise TypeError(f"Expected bytes state, got {type(state)}")
        if state[:1] != b"1":
            raise ValueError("Bad version prefix")
        object.__setattr__(self, "payload", msgspec.msgpack.decode(state[1:], type=common_v1.Payload))


@dataclass(frozen=True)
class Priority:
    """Which of a task queue's waiting tasks go first. Unset fields are inherited from the calling workflow."""

    priority_key: int | None = None
    """1 (first) to 5 (last) unless the service is configured otherwise; the default is the middle, 3."""

    fairness_key: str | None = None
    """Tasks of one priority are shared out between these keys, a tenant for instance. At most 64 bytes."""

    fairness_weight: float | None = None
    """The share of this task's fairness key, from 0.001 to 1000; the default is 1."""

    default: ClassVar[Priority]
    """The priority with nothing set."""

    def __post_init__(self) -> None:
        """Refuse a priority key that is not a positive integer."""
        if self.priority_key is not None:
            if not isinstance(self.priority_key, int):
                raise TypeError("priority_key must be an integer")
            if self.priority_key < 1:
                raise ValueError("priority_key must be a positive integer")

    @staticmethod
    def _from_proto(proto: common_v1.Priority | None) -> Priority:
        if proto is None:
            return Priority.default
        return Priority(proto.priority_key or None, proto.fairness_key or None, proto.fairness_weight or None)

    def _to_proto(self) -> common_v1.Priority:
        return common_v1.Priority(self.priority_key or 0, self.fairness_key or "", self.fairness_weight or 0.0)


Priority.default = Priority()


class VersioningBehavior(IntEnum):
    """When a running workflow moves to another version of its worker deployment."""

    UNSPECIFIED = 0
    """Not said; a worker that uses versioning must say it."""
    PINNED = 1
    """It stays on the version it started on."""
    AUTO_UPGRADE = 2
    """Its next task goes to the deployment's current version."""


@dataclass(frozen=True)
class WorkerDeploymentVersion:
    """A version of a worker deployment: the deployment's name and a build id."""

    deployment_name: str
    build_id: str

    def to_canonical_string(self) -> str:
        """``<deployment_name>.<build_id>``."""
        return f"{self.deployment_name}.{self.build_id}"

    @staticmethod
    def from_canonical_string(canonical: str) -> WorkerDeploymentVersion:
        """Read ``<deployment_name>.<build_id>``; the name holds no dot."""
        deployment_name, dot, build_id = canonical.partition(".")
        if not dot:
            raise ValueError(
                f"Cannot parse version string: {canonical}, must be in format <deployment_name>.<build_id>"
            )
        return WorkerDeploymentVersion(deployment_name, build_id)

    @staticmethod
    def _from_proto(proto: deployment_v1.WorkerDeploymentVersion) -> WorkerDeploymentVersion:
        return WorkerDeploymentVersion(proto.deployment_name, proto.build_id)

    def _to_proto(self) -> deployment_v1.WorkerDeploymentVersion:
        return deployment_v1.WorkerDeploymentVersion(build_id=self.build_id, deployment_name=self.deployment_name)


class VersioningOverride(ABC):
    """Overrules, for one workflow, the versioning behavior its worker states."""

    @abstractmethod
    def _to_proto(self) -> workflow_v1.VersioningOverride: ...


@dataclass(frozen=True)
class PinnedVersioningOverride(VersioningOverride):
    """The workflow stays on one version."""

    version: WorkerDeploymentVersion

    def _to_proto(self) -> workflow_v1.VersioningOverride:
        # behavior and pinned_version: the fields servers before 1.29 read
        return workflow_v1.VersioningOverride(
            behavior=VersioningBehavior.PINNED,
            pinned_version=self.version.to_canonical_string(),
            pinned=workflow_v1.VersioningOverridePinnedOverride(behavior=1, version=self.version._to_proto()),
        )


@dataclass(frozen=True)
class AutoUpgradeVersioningOverride(VersioningOverride):
    """The workflow's next task goes to the deployment's current version."""

    def _to_proto(self) -> workflow_v1.VersioningOverride:
        return workflow_v1.VersioningOverride(behavior=VersioningBehavior.AUTO_UPGRADE, auto_upgrade=True)


@dataclass(frozen=True)
class OneTimeVersioningOverride(VersioningOverride):
    """The workflow's next task goes to one version; once it completed there, the override is gone."""

    target_version: WorkerDeploymentVersion

    def _to_proto(self) -> workflow_v1.VersioningOverride:
        return workflow_v1.VersioningOverride(
            one_time=workflow_v1.VersioningOverrideOneTimeOverride(
                target_deployment_version=self.target_version._to_proto()
            )
        )


class HeaderCodecBehavior(IntEnum):
    """Whether the payload codec applies to headers."""

    NO_CODEC = 1
    """Never."""
    CODEC = 2
    """Always."""
    WORKFLOW_ONLY_CODEC = 3
    """Only on the way in and out of workflows."""


_arg_unset: Any = object()
"""Default of an ``arg`` parameter: None is an argument like any other."""


def _arg_or_args(arg: Any, args: Sequence[Any]) -> Sequence[Any]:
    """The arguments of a call that takes either ``arg`` or ``args``."""
    if arg is _arg_unset:
        return args
    if args:
        raise ValueError("Cannot have arg and args")
    return [arg]


_NON_USER_CALLABLES = (type(type.__call__), type(object().__str__), type(int.from_bytes), types.BuiltinFunctionType)


def _type_hints_from_func(func: Callable[..., Any]) -> tuple[list[type] | None, type | None]:
    """The types of a function's positional parameters (without ``self``) and of its result.

    The parameter types are None when a parameter has no annotation or is not positional: then nothing is known of
    what callers pass.
    """
    if not inspect.isfunction(func) and not isinstance(func, (*_NON_USER_CALLABLES, types.MethodType)):
        call = getattr(func if isinstance(func, type) else type(func), "__call__", None)  # noqa: B004
        if call is not None:
            func = call
    hints = get_type_hints(func)
    result = hints.get("return")
    arguments: list[type] = []
    for index, parameter in enumerate(inspect.signature(func).parameters.values()):
        if index == 0 and parameter.name == "self" and parameter.annotation is inspect.Parameter.empty:
            continue
        if parameter.kind not in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD):
            return None, result
        hint = hints.get(parameter.name, inspect.Parameter.empty)
        if hint is inspect.Parameter.empty:
            return None, result
        arguments.append(hint)
    return arguments, result
