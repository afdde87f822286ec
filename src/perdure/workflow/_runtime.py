"""How workflow code reaches the run it belongs to.

While workflow code runs, its event loop is the running loop, and the loop's owner is the run. So ``current()`` needs no
global of our own, and a thread that runs two workers' loops one after the other cannot mix them up.
"""

from __future__ import annotations

from asyncio import _get_running_loop
from typing import TYPE_CHECKING, Any, NoReturn

from perdure.workflow._exceptions import _NotInWorkflowEventLoopError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from random import Random

    from perdure.common import MetricMeter, SearchAttributes, SearchAttributeUpdate
    from perdure.converter import PayloadConverter
    from perdure.workflow._activities import ActivityHandle
    from perdure.workflow._context import Info
    from perdure.workflow._event_groups import EventGroup
    from perdure.workflow._nexus import NexusOperationHandle
    from perdure.workflow._workflow_ops import ChildWorkflowHandle, ExternalWorkflowHandle


class _Runtime:
    """What a run offers to workflow code; the worker implements it."""

    __slots__ = ()

    time_ns: int
    is_replaying: bool
    is_read_only: bool
    cancel_reason: str | None

    @staticmethod
    def current() -> _Runtime:
        """The run of the calling workflow code. Raises when called from anywhere else."""
        owner = getattr(_get_running_loop(), "owner", None)
        if isinstance(owner, _Runtime):
            return owner
        raise _NotInWorkflowEventLoopError

    @staticmethod
    def maybe_current() -> _Runtime | None:
        """The run of the calling workflow code, or None."""
        owner = getattr(_get_running_loop(), "owner", None)
        return owner if isinstance(owner, _Runtime) else None

    def info(self) -> Info:
        raise NotImplementedError

    def logger_details(self) -> Mapping[str, Any]:
        raise NotImplementedError

    def instance(self) -> Any:
        raise NotImplementedError

    def is_replaying_history_events(self) -> bool:
        raise NotImplementedError

    def is_guarded(self) -> bool:
        raise NotImplementedError

    def started_attributes(self) -> Any:
        raise NotImplementedError

    def history_length(self) -> int:
        raise NotImplementedError

    def deployment_version(self) -> Any:
        raise NotImplementedError

    def build_id(self) -> str:
        raise NotImplementedError

    def random(self) -> Random:
        raise NotImplementedError

    def random_seed(self) -> int:
        raise NotImplementedError

    def register_random_seed_callback(self, callback: Callable[[int], None]) -> None:
        raise NotImplementedError

    def payload_converter(self) -> PayloadConverter:
        raise NotImplementedError

    def metric_meter(self) -> MetricMeter:
        raise NotImplementedError

    def extern_functions(self) -> Mapping[str, Callable[..., Any]]:
        raise NotImplementedError

    def is_failure_exception(self, err: BaseException) -> bool:
        raise NotImplementedError

    def all_handlers_finished(self) -> bool:
        raise NotImplementedError

    def current_details(self) -> str:
        raise NotImplementedError

    def set_current_details(self, details: str) -> None:
        raise NotImplementedError

    def memo(self) -> Mapping[str, Any]:
        raise NotImplementedError

    def memo_value(self, key: str, default: Any, type_hint: type | None) -> Any:
        raise NotImplementedError

    def upsert_memo(self, updates: Mapping[str, Any], event_groups: Sequence[EventGroup] | None = None) -> None:
        raise NotImplementedError

    def upsert_search_attributes(
        self,
        attributes: SearchAttributes | Sequence[SearchAttributeUpdate[Any]],
        event_groups: Sequence[EventGroup] | None = None,
    ) -> None:
        raise NotImplementedError

    def has_last_completion_result(self) -> bool:
        raise NotImplementedError

    def last_completion_result(self, type_hint: type | None) -> Any:
        raise NotImplementedError

    def last_failure(self) -> BaseException | None:
        raise NotImplementedError

    def patch(self, patch_id: str, deprecated: bool, event_groups: Sequence[EventGroup] | None = None) -> bool:
        raise NotImplementedError

    async def sleep(
        self, seconds: float, summary: str | None, event_groups: Sequence[EventGroup] | None = None
    ) -> None:
        raise NotImplementedError

    async def wait_condition(
        self,
        fn: Callable[[], bool],
        timeout: float | None,
        timeout_summary: str | None,
        event_groups: Sequence[EventGroup] | None = None,
    ) -> None:
        raise NotImplementedError

    def start_activity(self, activity: Any, args: Sequence[Any], *options: Any) -> ActivityHandle[Any]:
        raise NotImplementedError

    def start_local_activity(self, activity: Any, args: Sequence[Any], *options: Any) -> ActivityHandle[Any]:
        raise NotImplementedError

    async def start_child_workflow(
        self, workflow: Any, args: Sequence[Any], options: dict[str, Any]
    ) -> ChildWorkflowHandle[Any, Any]:
        raise NotImplementedError

    async def start_nexus_operation(
        self, endpoint: str, service: str, operation: Any, input: Any, options: dict[str, Any]
    ) -> NexusOperationHandle[Any]:
        raise NotImplementedError

    def external_workflow_handle(self, workflow_id: str, run_id: str | None) -> ExternalWorkflowHandle[Any]:
        raise NotImplementedError

    def continue_as_new(self, workflow: Any, args: Sequence[Any], options: dict[str, Any]) -> NoReturn:
        raise NotImplementedError

    def handler(self, kind: str, name: str | None) -> Callable[..., Any] | None:
        raise NotImplementedError

    def set_handler(
        self,
        kind: str,
        name: str | None,
        handler: Callable[..., Any] | None,
        validator: Callable[..., None] | None = None,
    ) -> None:
        raise NotImplementedError
