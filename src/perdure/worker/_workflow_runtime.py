"""What a run knows and tells its workflow code: its info, memo, search attributes, patches and handlers."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import msgspec

from perdure._native import event_facts
from perdure._native.machines import MachineKind
from perdure._native.matcher import Matcher, WorkflowCommand
from perdure._native.seeds import random_seed
from perdure._times import duration_from_ns, optional_duration_from_ns, time_from_ns
from perdure.api._message import Message
from perdure.api.command import v1 as command_v1
from perdure.api.common import v1 as common_v1
from perdure.api.sdk.v1 import EventGroupMarker, UserMetadata, WorkflowTaskCompletedMetadata
from perdure.common import (
    MetricMeter,
    Priority,
    RetryPolicy,
    SearchAttributeIndexedValueType,
    SearchAttributeKey,
    SearchAttributePair,
    SearchAttributes,
    SearchAttributeUpdate,
    WorkerDeploymentVersion,
    _arg_unset,
)
from perdure.converter import (
    ActivitySerializationContext,
    DataConverter,
    FailureConverter,
    PayloadConverter,
    WithSerializationContext,
    WorkflowSerializationContext,
    decode_search_attributes,
    decode_typed_search_attributes,
    encode_search_attribute_values,
    encode_typed_search_attribute_value,
)
from perdure.exceptions import FailureError
from perdure.runtime._meter import RecordingMeter
from perdure.worker._workflow_local import Execute
from perdure.worker._workflow_turn import WorkflowTurn
from perdure.workflow import EventGroup, Info, ParentInfo, RootInfo, _event_groups
from perdure.workflow._handlers import (
    _QueryDefinition,
    _SignalDefinition,
    _UpdateDefinition,
    _warn_async_query,
    _warn_vararg,
)
from perdure.workflow._runtime import _Runtime

if TYPE_CHECKING:
    from perdure.worker._interceptor import WorkflowInboundInterceptor
    from perdure.worker._workflow_metrics import RunMetrics
    from perdure.worker.workflow_sandbox._enforcement import Enforcement

_PATCH = int(MachineKind.PATCH)
_UPSERT_SEARCH_ATTRIBUTES = int(MachineKind.UPSERT_SEARCH_ATTRIBUTES)
_MODIFY_PROPERTIES = int(MachineKind.MODIFY_PROPERTIES)

# CommandType
_C_RECORD_MARKER = 9
_C_UPSERT = 13
_C_MODIFY_PROPERTIES = 16

_VERSION_ATTRIBUTE = "TemporalChangeVersion"
_VERSION_ATTRIBUTE_LIMIT = 2048
_FLAG_UPSERT_ON_PATCH = 2


class _ActivityScheduled(Message):
    """The beginning of ActivityTaskScheduled: what a command is compared with."""

    activity_id: str = ""
    activity_type: common_v1.ActivityType | None = None


class _ChildInitiated(Message):
    """The beginning of StartChildWorkflowExecutionInitiated."""

    namespace: str = ""
    workflow_id: str = ""
    workflow_type: common_v1.WorkflowType | None = None


class _TaskCompleted(Message):
    """The beginning of WorkflowTaskCompleted, up to the flags."""

    scheduled_event_id: int = 0
    started_event_id: int = 0
    identity: str = ""
    binary_checksum: str = ""
    worker_version: common_v1.WorkerVersionStamp | None = None
    sdk_metadata: WorkflowTaskCompletedMetadata | None = None


event_facts.configure(
    {
        event_type: msgspec.msgpack.Decoder(struct).decode
        for event_type, struct in ((7, _TaskCompleted), (10, _ActivityScheduled), (29, _ChildInitiated))
    }
)


@dataclass
class RunOptions:
    """What all runs of one worker share."""

    namespace: str = "default"
    task_queue: str = ""
    identity: str = ""
    data_converter: DataConverter = field(default_factory=lambda: DataConverter.default)
    interceptor_classes: Sequence[type[WorkflowInboundInterceptor]] = ()
    failure_exception_types: Sequence[type[BaseException]] = ()
    disable_eager_activity_execution: bool = False
    extern_functions: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    patch_activation_callback: Callable[[PatchActivationInput], bool] | None = None
    metric_meter: MetricMeter = field(default_factory=lambda: MetricMeter.noop)
    build_id: str = ""
    deployment_version: WorkerDeploymentVersion | None = None
    is_guarded: bool = True
    """Whether the determinism guard watches workflow code."""
    restrictions: Enforcement | None = None
    """What is refused beside; None: nothing."""
    encode_headers: bool = False
    """Whether the payload codec applies to headers."""
    execute_local_activity: Execute | None = None
    """Runs local activities; None: this worker has none."""
    knows_activity: Callable[[str], bool] = lambda _name: True
    """Whether an activity type can be run locally."""
    activity_names: Callable[[], str] = lambda: "none"
    """The activity types that can be run locally, for messages."""
    run_metrics: RunMetrics | None = None
    """Told how workflows close and how long replay takes; None: nobody wants to know."""
    deadlock_timeout: float | None = 2.0
    """Seconds after which workflow code that has not yielded is interrupted; None: never."""
    storage_concurrency: int = 3
    """How many payloads of one workflow task are stored or retrieved at a time."""

    def __post_init__(self) -> None:
        """Find out once whether converters want to know whose payloads they convert, and what a run has to set up."""
        context = WorkflowSerializationContext(self.namespace, "")
        self.takes_context = any(
            isinstance(part, WithSerializationContext) and part.with_context(context) is not part
            for part in (self.data_converter.payload_converter, self.data_converter.failure_converter)
        )
        self.needs_setup = bool(self.interceptor_classes) or self.data_converter._changes_payloads


@dataclass(frozen=True)
class PatchActivationInput:
    """What a worker's patch activation callback gets when ``workflow.patched`` meets a new patch."""

    workflow_info: Info
    patch_id: str


class WorkflowRuntime(WorkflowTurn, _Runtime):
    """The state of a run that workflow code can reach."""

    # What most runs never touch is here, not in __init__: making a run is on the way of every workflow.
    cancel_reason: str | None = None
    _seed: int | None = None
    _random: Random | None = None
    _info: Info | None = None
    _logger_details: Mapping[str, Any] | None = None
    _memo: dict[str, Any] | None = None
    _current_details = ""
    _in_query_or_validator = False
    _child_seq = 0
    _signal_seq = 0
    _cancel_seq = 0
    _meter: MetricMeter | None = None
    _last_markers: Sequence[EventGroupMarker] = ()
    """The event groups that continue-as-new was called with or in."""
    _signals: dict[str | None, _SignalDefinition] | None = None
    _queries: dict[str | None, _QueryDefinition] | None = None
    _updates: dict[str | None, _UpdateDefinition] | None = None
    _seed_callbacks: Sequence[Callable[[int], None]] = ()
    _local_cancels: Sequence[WorkflowCommand] = ()
    _upserted: Mapping[str, common_v1.Payload] = MappingProxyType({})
    _patch_answers: Mapping[str, bool] = MappingProxyType({})
    _failure_exception_types: Sequence[type[BaseException]] | None = None
    """Those of a dynamic workflow that chose its own."""

    def _new_matcher(self) -> Matcher:
        return Matcher(self.run_id, self.workflow_type)

    def _set_up(self) -> None:
        if self.takes_context:
            self.converter, self.failures = self._converters(
                WorkflowSerializationContext(self.options.namespace, self.workflow_id)
            )

    # --- small questions

    def info(self) -> Info:
        if self.outbound is not None:
            return self.outbound.info()
        return self.own_info()

    def own_info(self) -> Info:
        """The info no interceptor has touched."""
        if self._info is None:
            self._info = self._make_info()
        return self._info

    def _make_info(self) -> Info:
        start = self._started
        assert start is not None
        parent = start.parent_workflow_execution
        root = start.root_workflow_execution
        attributes = start.search_attributes or common_v1.SearchAttributes()
        return Info(
            attempt=start.attempt,
            continued_run_id=start.continued_execution_run_id or None,
            cron_schedule=start.cron_schedule or None,
            execution_timeout=optional_duration_from_ns(start.workflow_execution_timeout or None),
            first_execution_run_id=start.first_execution_run_id,
            headers={} if start.header is None else dict(start.header.fields),
            namespace=self.options.namespace,
            original_execution_run_id=start.original_execution_run_id,
            parent=None
            if parent is None or not parent.workflow_id
            else ParentInfo(start.parent_workflow_namespace, parent.run_id, parent.workflow_id),
            root=None if root is None or not root.workflow_id else RootInfo(root.run_id, root.workflow_id),
            priority=Priority._from_proto(start.priority),
            raw_memo={} if start.memo is None else dict(start.memo.fields),
            retry_policy=None if start.retry_policy is None else RetryPolicy.from_proto(start.retry_policy),
            run_id=self.run_id,
            run_timeout=optional_duration_from_ns(start.workflow_run_timeout or None),
            search_attributes=dict(decode_search_attributes(attributes)),
            start_time=time_from_ns(self._first_task_time_ns),
            task_queue=self.options.task_queue if start.task_queue is None else start.task_queue.name,
            task_timeout=duration_from_ns(start.workflow_task_timeout or 0),
            typed_search_attributes=decode_typed_search_attributes(attributes),
            workflow_id=self.workflow_id,
            workflow_start_time=time_from_ns(self._start_time_ns),
            workflow_type=self.workflow_type,
        )

    def task_timeout_ns(self) -> int:
        """How long a workflow task may take."""
        timeout = None if self._started is None else self._started.workflow_task_timeout
        return timeout or 10_000_000_000

    def logger_details(self) -> Mapping[str, Any]:
        if self._logger_details is None:
            self._logger_details = self.own_info()._logger_details()
        return self._logger_details

    def instance(self) -> Any:
        return self._object

    def is_replaying_history_events(self) -> bool:
        return self.is_replaying and not self._in_query_or_validator

    def started_attributes(self) -> Any:
        return self.matcher.started_attributes

    def history_length(self) -> int:
        return self.matcher.last_event_id

    def deployment_version(self) -> WorkerDeploymentVersion | None:
        if not self.is_replaying:
            return self.options.deployment_version
        completed = self.matcher.completed_attributes
        if completed is None:  # a query: the task that ran last is this worker's
            return self.options.deployment_version
        if completed.deployment_version is None:
            return None
        return WorkerDeploymentVersion._from_proto(completed.deployment_version)

    def build_id(self) -> str:
        if not self.is_replaying:
            return self.options.build_id
        completed = self.matcher.completed_attributes
        if completed is None:
            return self.options.build_id
        if completed.deployment_version is not None:
            return str(completed.deployment_version.build_id)
        return "" if completed.worker_version is None else str(completed.worker_version.build_id)

    def random(self) -> Random:
        if self.is_read_only:
            self.assert_not_read_only("random")
        return self.guard_random()

    def guard_random(self) -> Random:
        """The run's random numbers, made when first asked for."""
        if self._random is None:
            self._random = Random(self.random_seed())
        return self._random

    @property
    def deadlock_timeout(self) -> float | None:
        """How long the watchdog lets workflow code run without yielding."""
        return self.options.deadlock_timeout

    def random_seed(self) -> int:
        if self._seed is None:
            self._seed = random_seed(self._started.original_execution_run_id if self._started is not None else "")
        return self._seed

    def register_random_seed_callback(self, callback: Callable[[int], None]) -> None:
        self.assert_not_read_only("register random seed callback")
        self._seed_callbacks = [*self._seed_callbacks, callback]

    def payload_converter(self) -> PayloadConverter:
        return self.converter

    def metric_meter(self) -> MetricMeter:
        if self._meter is None:
            meter = self.options.metric_meter
            if isinstance(meter, RecordingMeter):
                meter = meter.recording_if(lambda: not self.is_replaying).with_additional_attributes(
                    {
                        "namespace": self.options.namespace,
                        "task_queue": self.options.task_queue,
                        "workflow_type": self.workflow_type,
                    }
                )
            self._meter = meter
        return self._meter

    def extern_functions(self) -> Mapping[str, Callable[..., Any]]:
        return self.options.extern_functions

    def is_failure_exception(self, err: BaseException) -> bool:
        if isinstance(err, (FailureError, TimeoutError)):
            return True
        own = self._failure_exception_types
        if own is None:
            own = self.definition.failure_exception_types
        return isinstance(err, (*own, *self.options.failure_exception_types))

    def current_details(self) -> str:
        return self._current_details

    def set_current_details(self, details: str) -> None:
        self.assert_not_read_only("set current details")
        self._current_details = details

    def has_last_completion_result(self) -> bool:
        result = None if self._started is None else self._started.last_completion_result
        return result is not None and bool(result.payloads)

    def last_completion_result(self, type_hint: type | None) -> Any:
        result = None if self._started is None else self._started.last_completion_result
        if result is None or not result.payloads:
            return None
        if len(result.payloads) > 1:
            warnings.warn(f"Expected single last completion result, got {len(result.payloads)}", stacklevel=3)
            return None
        # No overload takes both.
        return self.converter.from_payload(result.payloads[0], type_hint)  # type: ignore[arg-type]

    def last_failure(self) -> BaseException | None:
        failure = None if self._started is None else self._started.continued_failure
        return None if failure is None else self.failures.from_failure(failure, self.converter)

    # --- conversion

    def _converters(self, context: Any) -> tuple[PayloadConverter, FailureConverter]:
        payloads: Any = self.options.data_converter.payload_converter
        failures: Any = self.options.data_converter.failure_converter
        if isinstance(payloads, WithSerializationContext):
            payloads = payloads.with_context(context)
        if isinstance(failures, WithSerializationContext):
            failures = failures.with_context(context)
        return payloads, failures

    def converters_for_activity(
        self, activity: str | None, activity_id: str, task_queue: str | None, is_local: bool = False
    ) -> tuple[PayloadConverter, FailureConverter]:
        """The converters for an activity's arguments, result and failure."""
        if not self.options.takes_context:
            return self.converter, self.failures
        return self._converters(
            ActivitySerializationContext(
                namespace=self.options.namespace,
                activity_id=activity_id,
                activity_type=activity,
                activity_task_queue=task_queue or self.options.task_queue,
                workflow_id=self.workflow_id,
                workflow_type=self.workflow_type,
                is_local=is_local,
            )
        )

    def converters_for_workflow(self, workflow_id: str) -> tuple[PayloadConverter, FailureConverter]:
        """The converters for another workflow's payloads."""
        if not self.options.takes_context:
            return self.converter, self.failures
        return self._converters(WorkflowSerializationContext(self.options.namespace, workflow_id))

    def _metadata(self, summary: str | None, details: str | None = None) -> UserMetadata | None:
        if not summary and not details:
            return None
        return UserMetadata(
            summary=self.converter.to_payload(summary) if summary else None,
            details=self.converter.to_payload(details) if details else None,
        )

    # --- memo, search attributes, patches

    def memo(self) -> Mapping[str, Any]:
        if self._memo is None:
            self._memo = {
                key: self.converter.from_payload(payload) for key, payload in self.own_info().raw_memo.items()
            }
        return self._memo

    def memo_value(self, key: str, default: Any, type_hint: type | None) -> Any:
        payload = self.own_info().raw_memo.get(key)
        if payload is None:
            if default is _arg_unset:
                raise KeyError(f"Memo does not have a value for key {key}")
            return default
        return self.converter.from_payload(payload, type_hint)  # type: ignore[arg-type]  # no overload takes both

    @staticmethod
    def _markers(given: Sequence[EventGroup] | None) -> list[EventGroupMarker]:
        """The event groups of a command made now."""
        return _event_groups.markers(given) if given or _event_groups.in_use else []

    def upsert_memo(self, updates: Mapping[str, Any], event_groups: Sequence[EventGroup] | None = None) -> None:
        self.assert_not_read_only("upsert memo")
        if not isinstance(updates, Mapping) or not all(isinstance(key, str) for key in updates):
            raise TypeError("upsert_memo: updates must be a mapping from str to values")
        payloads = {key: self.converter.to_payload(value) for key, value in updates.items()}
        if not payloads:
            return
        self.matcher.schedule(
            _MODIFY_PROPERTIES,
            _C_MODIFY_PROPERTIES,
            0,
            None,
            None,
            None,
            None
            if self.is_replaying
            else command_v1.Command(
                _C_MODIFY_PROPERTIES,
                event_group_markers=self._markers(event_groups),
                attributes=command_v1.ModifyWorkflowPropertiesCommandAttributes(common_v1.Memo(payloads)),
            ),
        )
        # Read-only for the workflow, as Info declares it; the run that owns it writes.
        raw: dict[str, common_v1.Payload] = self.own_info().raw_memo  # type: ignore[assignment]
        for key, value in updates.items():
            if value is None:
                raw.pop(key, None)
            else:
                raw[key] = payloads[key]
        self._memo = None

    def upsert_search_attributes(
        self,
        attributes: SearchAttributes | Sequence[SearchAttributeUpdate[Any]],
        event_groups: Sequence[EventGroup] | None = None,
    ) -> None:
        self.assert_not_read_only("upsert search attributes")
        fields: dict[str, common_v1.Payload] = {}
        info = self.own_info()
        # Read-only for the workflow, as Info declares them; the run that owns them writes.
        untyped: dict[str, Any] = info.search_attributes  # type: ignore[assignment]
        typed = {pair.key.name: pair for pair in info.typed_search_attributes.search_attributes}
        if isinstance(attributes, Mapping):
            for name, values in attributes.items():
                fields[name] = encode_search_attribute_values(values)
        else:
            for update in attributes:
                fields[update.key.name] = encode_typed_search_attribute_value(update.key, update.value)
        if isinstance(attributes, Mapping):
            for name, values in attributes.items():
                untyped[name] = values
                _set_typed(typed, name, values)
        else:
            for update in attributes:
                name = update.key.name
                if update.value is None:
                    typed.pop(name, None)
                    untyped[name] = []
                else:
                    typed[name] = SearchAttributePair(update.key, update.value)
                    is_list = update.key.indexed_value_type == SearchAttributeIndexedValueType.KEYWORD_LIST
                    untyped[name] = list(update.value) if is_list else [update.value]
        # As above.
        pairs: list[SearchAttributePair[Any]] = info.typed_search_attributes.search_attributes  # type: ignore[assignment]
        pairs[:] = sorted(typed.values(), key=lambda pair: pair.key.name)
        self._upserted = {**self._upserted, **fields}
        self._send_upsert(fields, event_groups)

    def _send_upsert(
        self, fields: dict[str, common_v1.Payload], event_groups: Sequence[EventGroup] | None = None
    ) -> None:
        self.matcher.schedule(
            _UPSERT_SEARCH_ATTRIBUTES,
            _C_UPSERT,
            0,
            None,
            None,
            None,
            None
            if self.is_replaying
            else command_v1.Command(
                _C_UPSERT,
                event_group_markers=self._markers(event_groups),
                attributes=command_v1.UpsertWorkflowSearchAttributesCommandAttributes(
                    common_v1.SearchAttributes(fields)
                ),
            ),
        )

    def patch(self, patch_id: str, deprecated: bool, event_groups: Sequence[EventGroup] | None = None) -> bool:
        self.assert_not_read_only("patch")
        answer = self._patch_answers.get(patch_id)
        if answer is not None:
            return answer
        if deprecated or self.is_replaying or patch_id in self._patches:
            answer = not self.is_replaying or patch_id in self._patches
        elif self.options.patch_activation_callback is not None:
            answer = self._ask_patch_callback(patch_id)
        else:
            answer = True
        self._patch_answers = {**self._patch_answers, patch_id: answer}
        if answer:
            self._record_patch(patch_id, deprecated, event_groups)
        return answer

    def _ask_patch_callback(self, patch_id: str) -> bool:
        assert self.options.patch_activation_callback is not None
        self.is_read_only = True
        try:
            answer = self.options.patch_activation_callback(PatchActivationInput(self.own_info(), patch_id))
        finally:
            self.is_read_only = False
        if not isinstance(answer, bool):
            raise TypeError("Patch activation callback must return true or false")
        return answer

    def _record_patch(self, patch_id: str, deprecated: bool, event_groups: Sequence[EventGroup] | None = None) -> None:
        made = self.matcher.patch_made(patch_id)
        if made:
            return
        message = None
        if not self.is_replaying:
            data = json.dumps({"id": patch_id, "deprecated": deprecated}, separators=(",", ":")).encode()
            payload = common_v1.Payload({"encoding": b"json/plain"}, data)
            message = command_v1.Command(
                _C_RECORD_MARKER,
                event_group_markers=self._markers(event_groups),
                attributes=command_v1.RecordMarkerCommandAttributes(
                    "core_patch", {"patch-data": common_v1.Payloads([payload])}
                ),
            )
        self.matcher.schedule(_PATCH, _C_RECORD_MARKER, 0, patch_id, None, None, message)
        if (not self.is_replaying or made is not None) and self.matcher.use_core_flag(_FLAG_UPSERT_ON_PATCH):
            ids = sorted({*self.matcher.made_patches(), patch_id})
            data = json.dumps(ids, separators=(",", ":"), ensure_ascii=False).encode()
            if len(data) < _VERSION_ATTRIBUTE_LIMIT:
                self._send_upsert(
                    {_VERSION_ATTRIBUTE: common_v1.Payload({"encoding": b"json/plain", "type": b"KeywordList"}, data)},
                    event_groups,
                )
        self.matcher.make_patch(patch_id)

    # --- handlers set at run time

    def signals(self) -> Mapping[str | None, _SignalDefinition]:
        """Signal handlers by name."""
        return self.definition.signals if self._signals is None else self._signals

    def queries(self) -> Mapping[str | None, _QueryDefinition]:
        """Query handlers by name."""
        return self.definition.queries if self._queries is None else self._queries

    def updates(self) -> Mapping[str | None, _UpdateDefinition]:
        """Update handlers by name."""
        return self.definition.updates if self._updates is None else self._updates

    def handler(self, kind: str, name: str | None) -> Callable[..., Any] | None:
        handlers: Mapping[str | None, Any] = getattr(self, _HANDLERS[kind])()
        defn = handlers.get(name)
        return None if defn is None else defn.bind_fn(self._object)

    def set_handler(
        self,
        kind: str,
        name: str | None,
        handler: Callable[..., Any] | None,
        validator: Callable[..., None] | None = None,
    ) -> None:
        self.assert_not_read_only(f"set {kind} handler")
        attribute = "_" + _HANDLERS[kind]
        handlers: dict[str | None, Any] | None = getattr(self, attribute)
        if handlers is None:
            handlers = dict(getattr(self.definition, _HANDLERS[kind]))
            setattr(self, attribute, handlers)
        if handler is None:
            handlers.pop(name, None)
            return
        if not callable(handler):
            raise TypeError(f"A {kind} handler must be callable, not {type(handler).__name__}")
        defn = _DEFINITIONS[kind](name=name, fn=handler, is_method=False)
        if validator is not None and isinstance(defn, _UpdateDefinition):
            defn.set_validator(validator)
        handlers[name] = defn
        if kind == "query" and defn.is_async:
            _warn_async_query(4)
        if defn.dynamic_vararg:
            _warn_vararg("signals" if kind == "signal" else "queries", 4)
        if isinstance(defn, _SignalDefinition):
            self.signal_handler_set(name, defn)

    def _loop_exception(self, context: dict[str, Any]) -> None:
        """A callback of the event loop raised, or an exception was never retrieved."""
        raise NotImplementedError

    def signal_handler_set(self, name: str | None, defn: _SignalDefinition) -> None:
        """Signals that waited for this handler are handed over."""
        raise NotImplementedError


_HANDLERS = {"signal": "signals", "query": "queries", "update": "updates"}
_DEFINITIONS: dict[str, Any] = {
    "signal": _SignalDefinition,
    "query": _QueryDefinition,
    "update": _UpdateDefinition,
}


def _set_typed(typed: dict[str, SearchAttributePair[Any]], name: str, values: Any) -> None:
    """Keep the typed attributes in step with an untyped upsert, as far as the types can be guessed."""
    if not values:
        typed.pop(name, None)
        return
    key = SearchAttributeKey._guess_from_untyped_values(name, values)
    if key is None:
        return
    if key.indexed_value_type == SearchAttributeIndexedValueType.KEYWORD_LIST:
        typed[name] = SearchAttributePair(key, values)
    elif len(values) == 1:
        typed[name] = SearchAttributePair(key, values[0])
