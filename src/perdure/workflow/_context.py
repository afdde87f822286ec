"""What workflow code can ask about itself: info, time, random numbers, memo, search attributes, patches, waiting."""

from __future__ import annotations

import contextvars
import uuid as _uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, overload

from perdure._search_attributes import _warn_on_deprecated_search_attributes as _warn_on_deprecated
from perdure.api.common.v1 import Payload
from perdure.common import (
    MetricMeter,
    Priority,
    RetryPolicy,
    SearchAttributes,
    SearchAttributeUpdate,
    TypedSearchAttributes,
    WorkerDeploymentVersion,
    _arg_unset,
)
from perdure.converter import PayloadConverter
from perdure.types import AnyType, ParamType
from perdure.workflow._event_groups import EventGroup
from perdure.workflow._runtime import _Runtime


@dataclass(frozen=True)
class ParentInfo:
    """The parent of a child workflow."""

    namespace: str
    run_id: str
    workflow_id: str


@dataclass(frozen=True)
class RootInfo:
    """The topmost ancestor of a child workflow."""

    run_id: str
    workflow_id: str


@dataclass(frozen=True)
class UpdateInfo:
    """The update whose handler is running."""

    id: str
    name: str

    @property
    def _logger_details(self) -> Mapping[str, Any]:
        return {"update_id": self.id, "update_name": self.name}


@dataclass(frozen=True)
class Info:
    """About the running workflow. Only upserts of the memo and of search attributes change it."""

    attempt: int
    continued_run_id: str | None
    cron_schedule: str | None
    execution_timeout: timedelta | None
    first_execution_run_id: str
    headers: Mapping[str, Payload]
    namespace: str
    original_execution_run_id: str
    """The run id this run had before a reset; what random numbers are seeded with."""
    parent: ParentInfo | None
    root: RootInfo | None
    priority: Priority
    raw_memo: Mapping[str, Payload]
    retry_policy: RetryPolicy | None
    run_id: str
    run_timeout: timedelta | None
    search_attributes: SearchAttributes
    """Deprecated: use ``typed_search_attributes``."""
    start_time: datetime
    """When the first workflow task started."""
    task_queue: str
    task_timeout: timedelta
    typed_search_attributes: TypedSearchAttributes
    workflow_id: str
    workflow_start_time: datetime
    """When the workflow was started."""
    workflow_type: str

    def _logger_details(self) -> Mapping[str, Any]:
        return {
            "attempt": self.attempt,
            "namespace": self.namespace,
            "run_id": self.run_id,
            "task_queue": self.task_queue,
            "workflow_id": self.workflow_id,
            "workflow_type": self.workflow_type,
        }

    def get_current_build_id(self) -> str:
        """Build id of the worker that runs, or ran, this task. Deprecated: use the deployment version."""
        return _Runtime.current().build_id()

    def get_current_deployment_version(self) -> WorkerDeploymentVersion | None:
        """Deployment version of the worker that runs this task, or ran it when replaying."""
        version: WorkerDeploymentVersion | None = _Runtime.current().deployment_version()
        return version

    def get_current_history_length(self) -> int:
        """How many events the history has, up to the current task."""
        return _Runtime.current().history_length()

    def get_current_history_size(self) -> int:
        """How many bytes the history has, up to the current task."""
        attributes = _Runtime.current().started_attributes()
        return 0 if attributes is None else int(attributes.history_size_bytes)

    def is_continue_as_new_suggested(self) -> bool:
        """Whether the history has grown so long that the workflow had better continue as new."""
        attributes = _Runtime.current().started_attributes()
        return attributes is not None and bool(attributes.suggest_continue_as_new)

    def is_target_worker_deployment_version_changed(self) -> bool:
        """Whether new runs now go to another worker deployment version than this run's."""
        attributes = _Runtime.current().started_attributes()
        return attributes is not None and bool(attributes.target_worker_deployment_version_changed)


_update_info: contextvars.ContextVar[UpdateInfo] = contextvars.ContextVar("perdure_current_update_info")


def _set_current_update_info(info: UpdateInfo) -> None:
    _update_info.set(info)


def current_update_info() -> UpdateInfo | None:
    """The update whose handler runs this code (also in tasks the handler started), or None."""
    return _update_info.get(None)


def info() -> Info:
    """About the running workflow."""
    return _Runtime.current().info()


def instance() -> Any:
    """The instance of the workflow class."""
    return _Runtime.current().instance()


def in_workflow() -> bool:
    """Whether this is called from workflow code."""
    return _Runtime.maybe_current() is not None


def cancellation_reason() -> str | None:
    """The reason the workflow was asked to cancel with (may be empty), or None when nobody asked.

    Tells a cancellation of the workflow from one of an inner task when CancelledError is caught.
    """
    return _Runtime.current().cancel_reason


def is_failure_exception(err: BaseException) -> bool:
    """Whether this exception, left uncaught, fails the workflow and not only the workflow task."""
    return _Runtime.current().is_failure_exception(err)


def extern_functions() -> Mapping[str, Callable[..., Any]]:
    """Functions that interceptors handed into workflows."""
    return _Runtime.current().extern_functions()


def payload_converter() -> PayloadConverter:
    """The payload converter of the workflow."""
    return _Runtime.current().payload_converter()


def metric_meter() -> MetricMeter:
    """A meter that records nothing while replaying."""
    return _Runtime.current().metric_meter()


def get_current_details() -> str:
    """What :func:`set_current_details` set."""
    return _Runtime.current().current_details()


def set_current_details(description: str) -> None:
    """Say how the workflow stands, in Temporal markdown, for user interfaces."""
    _Runtime.current().set_current_details(description)


def has_last_completion_result() -> bool:
    """Whether an earlier run of this cron or schedule left a result."""
    return _Runtime.current().has_last_completion_result()


@overload
def get_last_completion_result() -> Any | None: ...


@overload
def get_last_completion_result(type_hint: type[ParamType]) -> ParamType | None: ...


def get_last_completion_result(type_hint: type | None = None) -> Any | None:
    """The result of the last run that completed, or None."""
    return _Runtime.current().last_completion_result(type_hint)


def get_last_failure() -> BaseException | None:
    """The failure of the run before, or None when it did not fail."""
    return _Runtime.current().last_failure()


def memo() -> Mapping[str, Any]:
    """The memo, values converted without type hints."""
    return _Runtime.current().memo()


@overload
def memo_value(key: str, default: Any = _arg_unset) -> Any: ...


@overload
def memo_value(key: str, *, type_hint: type[ParamType]) -> ParamType: ...


@overload
def memo_value(key: str, default: AnyType, *, type_hint: type[ParamType]) -> AnyType | ParamType: ...


def memo_value(key: str, default: Any = _arg_unset, *, type_hint: type | None = None) -> Any:
    """One value of the memo.

    Raises:
        KeyError: there is none of that key, and no default.
    """
    return _Runtime.current().memo_value(key, default, type_hint)


def upsert_memo(updates: Mapping[str, Any], *, event_groups: Sequence[EventGroup] | None = None) -> None:
    """Set memo values; None removes one. Others stay.

    Replay: a command, ModifyWorkflowProperties.
    """
    _Runtime.current().upsert_memo(updates, event_groups)


def upsert_search_attributes(
    attributes: SearchAttributes | Sequence[SearchAttributeUpdate[Any]],
    *,
    event_groups: Sequence[EventGroup] | None = None,
) -> None:
    """Set or remove search attributes by updates made from their keys (a dictionary is deprecated).

    Replay: a command, UpsertWorkflowSearchAttributes.
    """
    if not attributes:
        return
    _warn_on_deprecated(attributes)
    _Runtime.current().upsert_search_attributes(attributes, event_groups)


def now() -> datetime:
    """The workflow's time: when the current workflow task started. UTC.

    Replay: the same as the first time.
    """
    return datetime.fromtimestamp(_Runtime.current().time_ns / 1e9, UTC)


def time() -> float:
    """As :func:`now`, in seconds since the epoch."""
    return _Runtime.current().time_ns / 1e9


def time_ns() -> int:
    """As :func:`now`, in nanoseconds since the epoch."""
    return _Runtime.current().time_ns


def random() -> Random:
    """The workflow's random numbers. Not for secrets.

    Replay: the same numbers, as long as the same code draws them in the same order.
    """
    return _Runtime.current().random()


def random_seed() -> int:
    """The seed of :func:`random`; a reset changes it."""
    return _Runtime.current().random_seed()


def register_random_seed_callback(callback: Callable[[int], None]) -> None:
    """Have ``callback(seed)`` called when the seed changes."""
    _Runtime.current().register_random_seed_callback(callback)


def new_random() -> Random:
    """A generator of one's own with the workflow's seed, reseeded when that changes."""
    generator = Random(random_seed())
    register_random_seed_callback(generator.seed)
    return generator


def uuid4() -> _uuid.UUID:
    """A version 4 UUID made of :func:`random`."""
    return _uuid.UUID(bytes=random().getrandbits(128).to_bytes(16, "big"), version=4)


def uuid7() -> _uuid.UUID:
    """A version 7 UUID made of :func:`time_ns` and :func:`random`: those of later tasks sort later."""
    milliseconds = (time_ns() // 1_000_000) & 0xFFFF_FFFF_FFFF
    generator = random()
    rand_a = generator.getrandbits(12)
    rand_b = generator.getrandbits(62)
    return _uuid.UUID(int=(milliseconds << 80) | (0x7 << 76) | (rand_a << 64) | (0b10 << 62) | rand_b)


def patched(id: str, *, event_groups: Sequence[EventGroup] | None = None) -> bool:
    """Whether to take the new code: True unless this point was passed before the patch existed.

    Replay: True exactly when the history has the patch's marker. The first answer of a run holds for the whole run.
    """
    return _Runtime.current().patch(id, False, event_groups)


def deprecate_patch(id: str, *, event_groups: Sequence[EventGroup] | None = None) -> None:
    """Say that no workflow on the old code is left: the ``patched`` call and the old code may go.

    Replay: histories with and without the patch's marker go through.
    """
    _Runtime.current().patch(id, True, event_groups)


async def sleep(
    duration: float | timedelta, *, summary: str | None = None, event_groups: Sequence[EventGroup] | None = None
) -> None:
    """Sleep; survives restarts.

    Args:
        duration: seconds, or a timedelta.
        summary: one line about this timer for user interfaces.
        event_groups: the groups its events belong to.

    Replay: a command, StartTimer.
    """
    seconds = duration.total_seconds() if isinstance(duration, timedelta) else duration
    await _Runtime.current().sleep(seconds, summary, event_groups)


async def wait_condition(
    fn: Callable[[], bool],
    *,
    timeout: timedelta | float | None = None,
    timeout_summary: str | None = None,
    event_groups: Sequence[EventGroup] | None = None,
) -> None:
    """Wait until ``fn()`` is true. It is called whenever the workflow has done something.

    Args:
        fn: plain function without parameters and without side effects.
        timeout: seconds or timedelta after which :class:`asyncio.TimeoutError` is raised.
        timeout_summary: one line about the timeout's timer for user interfaces.
        event_groups: the groups the timeout's events belong to.

    Replay: with a timeout, a command: StartTimer.
    """
    await _Runtime.current().wait_condition(
        fn, timeout.total_seconds() if isinstance(timeout, timedelta) else timeout, timeout_summary, event_groups
    )
