"""What a worker is made from, and what is wrong with it, in one sentence each."""

from __future__ import annotations

import concurrent.futures
import sys
import warnings
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict

from perdure.common import VersioningBehavior, WorkerDeploymentVersion
from perdure.worker._interceptor import Interceptor
from perdure.worker._runner import WorkflowRunner
from perdure.worker._shared_state import SharedStateManager
from perdure.worker._tuning import WorkerTuner, maximum_slots

if TYPE_CHECKING:
    from perdure.client import Client
    from perdure.worker._plugin import Plugin


@dataclass(frozen=True)
class PollerBehaviorSimpleMaximum:
    """At most ``maximum`` polls at a time. Concerns homes with a wire; in process a worker has a poller per slot."""

    maximum: int = 5


@dataclass(frozen=True)
class PollerBehaviorAutoscaling:
    """Between ``minimum`` and ``maximum`` polls at a time. Concerns homes with a wire, which take ``initial``."""

    minimum: int = 1
    maximum: int = 100
    initial: int = 5


PollerBehavior: TypeAlias = PollerBehaviorSimpleMaximum | PollerBehaviorAutoscaling


@dataclass
class WorkerDeploymentConfig:
    """The worker's place in Worker Versioning."""

    version: WorkerDeploymentVersion
    use_worker_versioning: bool
    default_versioning_behavior: VersioningBehavior = VersioningBehavior.UNSPECIFIED


class WorkerConfig(TypedDict, total=False):
    """The arguments of :class:`Worker`."""

    client: Client
    task_queue: str
    activities: Sequence[Callable[..., Any]]
    nexus_service_handlers: Sequence[Any]
    workflows: Sequence[type]
    activity_executor: concurrent.futures.Executor | None
    workflow_task_executor: concurrent.futures.ThreadPoolExecutor | None
    nexus_task_executor: concurrent.futures.ThreadPoolExecutor | None
    workflow_runner: WorkflowRunner
    unsandboxed_workflow_runner: WorkflowRunner
    plugins: Sequence[Plugin]
    interceptors: Sequence[Interceptor]
    build_id: str | None
    identity: str | None
    max_cached_workflows: int
    max_cached_workflow_bytes: int
    max_concurrent_workflow_tasks: int | None
    max_concurrent_activities: int | None
    max_concurrent_local_activities: int | None
    max_concurrent_nexus_tasks: int | None
    tuner: WorkerTuner | None
    max_concurrent_workflow_task_polls: int | None
    nonsticky_to_sticky_poll_ratio: float
    max_concurrent_activity_task_polls: int | None
    no_remote_activities: bool
    sticky_queue_schedule_to_start_timeout: timedelta
    max_heartbeat_throttle_interval: timedelta
    default_heartbeat_throttle_interval: timedelta
    max_activities_per_second: float | None
    max_task_queue_activities_per_second: float | None
    max_eager_activity_reservations_per_workflow_task: int
    graceful_shutdown_timeout: timedelta
    plugin_shutdown_timeout: timedelta | None
    workflow_failure_exception_types: Sequence[type[BaseException]]
    shared_state_manager: SharedStateManager | None
    debug_mode: bool
    deadlock_timeout: timedelta | None
    disable_eager_activity_execution: bool
    on_fatal_error: Callable[[BaseException], Awaitable[None]] | None
    use_worker_versioning: bool
    disable_safe_workflow_eviction: bool
    deployment_config: WorkerDeploymentConfig | None
    patch_activation_callback: Callable[[Any], bool] | None
    workflow_task_poller_behavior: PollerBehavior
    activity_task_poller_behavior: PollerBehavior
    nexus_task_poller_behavior: PollerBehavior
    disable_payload_error_limit: bool
    max_workflow_task_external_storage_concurrency: int


_COUNTS = (
    "max_concurrent_workflow_tasks",
    "max_concurrent_activities",
    "max_concurrent_local_activities",
    "max_concurrent_nexus_tasks",
    "max_concurrent_workflow_task_polls",
    "max_concurrent_activity_task_polls",
    "max_eager_activity_reservations_per_workflow_task",
    "max_workflow_task_external_storage_concurrency",
)
_SIZES = ("max_cached_workflows", "max_cached_workflow_bytes")
_RATES = ("max_activities_per_second", "max_task_queue_activities_per_second")
_DURATIONS = (
    "sticky_queue_schedule_to_start_timeout",
    "max_heartbeat_throttle_interval",
    "default_heartbeat_throttle_interval",
    "graceful_shutdown_timeout",
    "deadlock_timeout",
)


def validate(config: WorkerConfig) -> None:
    """Refuse a configuration that cannot work.

    Raises:
        ValueError, TypeError: With one sentence that names the argument.
    """
    _validate_values(config)
    if not (config.get("activities") or config.get("nexus_service_handlers") or config.get("workflows")):
        raise ValueError("At least one activity, Nexus service, or workflow must be specified")
    if sys.version_info >= (3, 14) and isinstance(
        config.get("activity_executor"), concurrent.futures.InterpreterPoolExecutor
    ):
        raise ValueError(
            "InterpreterPoolExecutor is not supported as an activity_executor. "
            "Use ThreadPoolExecutor or ProcessPoolExecutor instead."
        )
    _validate_versioning(config)
    tuner = config.get("tuner")
    if tuner is not None and any(config.get(name) for name in _COUNTS[:4]):
        raise ValueError(
            "Cannot specify max_concurrent_workflow_tasks, max_concurrent_activities, "
            "max_concurrent_local_activities, or max_concurrent_nexus_tasks when also specifying tuner"
        )
    _warn_of_small_executors(config)


def _validate_values(config: WorkerConfig) -> None:
    task_queue = config.get("task_queue")
    if not isinstance(task_queue, str) or not task_queue:
        raise ValueError(f"task_queue must be a non-empty string, not {task_queue!r}.")
    if len(task_queue.encode()) > 1000:
        raise ValueError(f"task_queue has {len(task_queue.encode())} bytes; at most 1000 are allowed.")
    for name in ("activities", "workflows", "interceptors"):
        if callable(config.get(name)) or isinstance(config.get(name), str):
            raise TypeError(f"{name} must be a sequence, not {config.get(name)!r}; put it in a list.")
    if not isinstance(config.get("workflow_runner"), WorkflowRunner):
        raise TypeError(f"workflow_runner must be a WorkflowRunner, not {config.get('workflow_runner')!r}.")
    _validate_objects(config)
    for name in _COUNTS:
        value = config.get(name)
        if value is not None and (not isinstance(value, int) or value < 1):
            if name == "max_eager_activity_reservations_per_workflow_task":
                raise ValueError(
                    f"{name} must be positive; use disable_eager_activity_execution=True to disable eager activity "
                    "execution"
                )
            raise ValueError(f"{name} must be positive, not {value!r}.")
    for name in _SIZES:
        value = config.get(name)
        if not isinstance(value, int) or value < 0:
            raise ValueError(f"{name} must be 0 or more, not {value!r}.")
    for name in _RATES:
        value = config.get(name)
        if value is not None and (not isinstance(value, int | float) or value <= 0):
            raise ValueError(f"{name} must be more than 0, not {value!r}.")
    for name in _DURATIONS:
        value = config.get(name)
        if value is None and name == "deadlock_timeout":
            continue
        if not isinstance(value, timedelta) or value < timedelta(0):
            raise ValueError(f"{name} must be a timedelta of 0 or more, not {value!r}.")


def _validate_objects(config: WorkerConfig) -> None:
    for interceptor in config.get("interceptors") or ():
        if not isinstance(interceptor, Interceptor):
            raise TypeError(f"interceptors must hold perdure.worker.Interceptor objects, not {interceptor!r}.")
    for error in config.get("workflow_failure_exception_types") or ():
        if not isinstance(error, type) or not issubclass(error, BaseException):
            raise TypeError(f"workflow_failure_exception_types must hold exception classes, not {error!r}.")
    types = (("identity", str), ("tuner", WorkerTuner), ("activity_executor", concurrent.futures.Executor))
    for name, kind in types:
        value = config.get(name)
        if value is not None and not isinstance(value, kind):
            raise TypeError(f"{name} must be a {kind.__name__}, not {value!r}.")
    if config.get("on_fatal_error") is not None and not callable(config.get("on_fatal_error")):
        raise TypeError(f"on_fatal_error must be an async function, not {config.get('on_fatal_error')!r}.")


def _validate_versioning(config: WorkerConfig) -> None:
    deployment = config.get("deployment_config")
    if config.get("use_worker_versioning") and not config.get("build_id"):
        raise ValueError("build_id must be specified when use_worker_versioning is True")
    if deployment is None:
        return
    if config.get("build_id") or config.get("use_worker_versioning"):
        raise ValueError("deployment_config cannot be used with build_id or use_worker_versioning")
    if (
        not deployment.use_worker_versioning
        and deployment.default_versioning_behavior != VersioningBehavior.UNSPECIFIED
    ):
        raise ValueError("default_versioning_behavior must be UNSPECIFIED when use_worker_versioning is False")


def _warn_of_small_executors(config: WorkerConfig) -> None:
    tuner = config.get("tuner")
    for handlers, executor, limit in (
        ("activities", "activity_executor", "max_concurrent_activities"),
        ("nexus_service_handlers", "nexus_task_executor", "max_concurrent_nexus_tasks"),
    ):
        if not config.get(handlers):
            continue
        max_workers = getattr(config.get(executor), "_max_workers", None)
        slots: Any = config.get(limit)
        if tuner is not None:
            slots = maximum_slots(
                tuner._get_activity_task_slot_supplier()
                if handlers == "activities"
                else tuner._get_nexus_slot_supplier()
            )
        if isinstance(max_workers, int) and max_workers < (slots or 0):
            warnings.warn(f"Worker {limit} is {slots} but {executor}'s max_workers is only {max_workers}", stacklevel=4)


def remote_polls(config: WorkerConfig, kind: str) -> int:
    """How many polls a worker keeps at a service with a wire; ``kind`` is ``workflow`` or ``activity``."""
    polls = config.get(f"max_concurrent_{kind}_task_polls")
    if isinstance(polls, int):
        return polls
    behavior = config.get(f"{kind}_task_poller_behavior")
    if isinstance(behavior, PollerBehaviorAutoscaling):
        return behavior.initial
    return behavior.maximum if isinstance(behavior, PollerBehaviorSimpleMaximum) else 5
