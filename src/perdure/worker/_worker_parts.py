"""What a worker is made of: its halves for workflows, activities and Nexus operations, and the pollers that feed them."""

from __future__ import annotations

import concurrent.futures
import os
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

from perdure.api.common.v1 import WorkerVersionCapabilities
from perdure.api.deployment.v1 import WorkerDeploymentOptions, WorkerDeploymentVersion
from perdure.api.enums.v1 import TaskQueueKind
from perdure.api.taskqueue.v1 import TaskQueue, TaskQueueMetadata
from perdure.api.workflowservice import v1 as ws
from perdure.client import Client
from perdure.common import HeaderCodecBehavior, MetricMeter
from perdure.runtime import Runtime
from perdure.runtime._named_metrics import NamedMetrics, named_metrics
from perdure.service import WorkflowService
from perdure.worker._activity_registry import ActivityRegistry
from perdure.worker._activity_worker import ActivityWorker
from perdure.worker._config import (
    WorkerConfig,
    remote_polls,
)
from perdure.worker._heartbeats import Heartbeats, interval_of, wants_heartbeats
from perdure.worker._interceptor import Interceptor
from perdure.worker._local_activity import LocalActivityExecutor
from perdure.worker._plugin import Plugin
from perdure.worker._pollers import PollerGroup, Slots
from perdure.worker._runner import enforced_restrictions
from perdure.worker._service_metrics import MeasuredService
from perdure.worker._tuning import CustomSlots, CustomSlotSupplier, RateLimit, WorkerTuner, maximum_slots
from perdure.worker._workflow_metrics import RunMetrics
from perdure.worker._workflow_runtime import RunOptions
from perdure.worker._workflow_worker import WorkflowWorker, run_options_interceptors

if TYPE_CHECKING:
    from perdure.worker._nexus_worker import NexusWorker

_ACTIVITY_POLLERS = 128


class WorkerParts:
    """Makes the parts of a :class:`~perdure.worker.Worker`."""

    # Set by the worker before it makes its parts.
    _client: Client
    _config: WorkerConfig
    _service: WorkflowService
    _instance_key: str
    _plugins: list[Plugin]
    _own_executor: concurrent.futures.ThreadPoolExecutor | None
    #: Of this worker; None: nobody wants to know.
    _metrics: NamedMetrics | None

    def _fail(self, error: BaseException) -> None:
        """End the worker because of an error."""
        raise NotImplementedError

    def _make_halves(self) -> None:
        config = self._config
        client_config = self._client.config(active_config=True)
        of_client: Sequence[object] = client_config["interceptors"]
        self._interceptors: list[Interceptor] = [i for i in of_client if isinstance(i, Interceptor)]
        self._interceptors += config["interceptors"]
        self._identity = config.get("identity") or self._client.identity
        tuner = config.get("tuner") or WorkerTuner.create_fixed(
            workflow_slots=config.get("max_concurrent_workflow_tasks"),
            activity_slots=config.get("max_concurrent_activities"),
            local_activity_slots=config.get("max_concurrent_local_activities"),
            nexus_slots=config.get("max_concurrent_nexus_tasks"),
        )
        self._tuner = tuner
        self._activities = self._make_activity_worker(tuner) if config.get("activities") else None
        self._nexus = self._make_nexus_worker() if config.get("nexus_service_handlers") else None
        self._workflows: WorkflowWorker | None = None
        if config.get("workflows"):
            self._workflows = WorkflowWorker(
                config=config,
                service=self._service,
                options=self._run_options(),
                deployment_options=self._deployment_options(),
                sticky_queue_name=f"{self._identity}-{uuid.uuid4().hex}",
                metrics=self._metrics,
            )

        self._show_sizes()

    def _measured(self, client: Client) -> WorkflowService:
        """A client's service, with what this worker does with it measured where its runtime wants that."""
        config = client.service_client.config
        labels = {"namespace": client.namespace, "task_queue": self._config["task_queue"]}
        self._metrics = named_metrics(config.runtime, labels)
        if self._metrics is None:
            return client.workflow_service
        return cast("WorkflowService", MeasuredService(client.workflow_service, self._metrics))

    def _show_sizes(self) -> None:
        if isinstance(self._service, MeasuredService):
            if self._workflows is not None:
                cache = self._workflows._cache
                self._service.cache_size = lambda: len(cache)
                self._service.workflow_slots = maximum_slots(self._tuner._get_workflow_task_slot_supplier())
            if self._activities is not None:
                self._service.activity_slots = maximum_slots(self._tuner._get_activity_task_slot_supplier())
            if self._nexus is not None:
                self._service.nexus_slots = maximum_slots(self._tuner._get_nexus_slot_supplier())
                self._nexus.on_unanswered = self._service.left_unanswered

    def _metric_meter(self) -> MetricMeter:
        """Where the client's runtime wants metrics."""
        runtime = self._client.service_client.config.runtime
        return runtime.metric_meter if isinstance(runtime, Runtime) else MetricMeter.noop

    def _run_options(self) -> RunOptions:
        config = self._config
        deployment = config.get("deployment_config")
        classes, extern_functions = run_options_interceptors(self._interceptors)
        client_config = self._client.config(active_config=True)
        is_debugged = config.get("debug_mode") or os.environ.get("TEMPORAL_DEBUG", "").lower() not in ("", "0", "false")
        timeout = config.get("deadlock_timeout")
        options = RunOptions(
            namespace=self._client.namespace,
            task_queue=config["task_queue"],
            identity=self._identity,
            data_converter=client_config["data_converter"],
            interceptor_classes=classes,
            failure_exception_types=config["workflow_failure_exception_types"],
            disable_eager_activity_execution=config["disable_eager_activity_execution"] or self._activities is None,
            extern_functions=extern_functions,
            patch_activation_callback=config.get("patch_activation_callback"),
            metric_meter=self._metric_meter(),
            build_id=config.get("build_id") or ("" if deployment is None else deployment.version.build_id),
            deployment_version=None if deployment is None else deployment.version,
            is_guarded=config["workflow_runner"].is_guarded,
            restrictions=enforced_restrictions(config["workflow_runner"], bool(is_debugged)),
            encode_headers=client_config["header_codec_behavior"] != HeaderCodecBehavior.NO_CODEC,
            deadlock_timeout=None if is_debugged or timeout is None else timeout.total_seconds(),
            storage_concurrency=config["max_workflow_task_external_storage_concurrency"],
        )
        if self._metrics is not None:
            options.run_metrics = RunMetrics(self._metrics)
        if self._activities is None:
            options.knows_activity = lambda _name: False
        else:
            slots = maximum_slots(self._tuner._get_local_activity_task_slot_supplier())
            local = LocalActivityExecutor(self._activities, slots, self._metrics)
            options.execute_local_activity, options.knows_activity = local.execute, local.knows
            options.activity_names = self._activities.registry.names
        return options

    def _make_activity_worker(self, tuner: WorkerTuner) -> ActivityWorker:
        config = self._config
        executor = config.get("activity_executor")
        registry = ActivityRegistry(config["activities"], executor, config.get("shared_state_manager"))
        slots = maximum_slots(tuner._get_activity_task_slot_supplier())
        if executor is None and registry.needs_executor:
            executor = self._own_executor = concurrent.futures.ThreadPoolExecutor(slots, "perdure-activity")
        return ActivityWorker(
            client=self._client,
            service=self._service,
            namespace=self._client.namespace,
            identity=self._identity,
            task_queue=config["task_queue"],
            registry=registry,
            executor=executor,
            shared_state_manager=config.get("shared_state_manager"),
            interceptors=self._interceptors,
            metric_meter=self._metric_meter(),
            max_heartbeat_interval=config["max_heartbeat_throttle_interval"].total_seconds(),
            default_heartbeat_interval=config["default_heartbeat_throttle_interval"].total_seconds(),
            on_fatal=self._fail,
        )

    def _make_nexus_worker(self) -> NexusWorker:
        # Imported here: whoever handles no operations does not need the package nexusrpc.
        from perdure.worker._nexus_worker import NexusWorker

        config = self._config
        return NexusWorker(
            client=self._client,
            service=self._service,
            namespace=self._client.namespace,
            identity=self._identity,
            task_queue=config["task_queue"],
            service_handlers=config["nexus_service_handlers"],
            interceptors=self._interceptors,
            metric_meter=self._metric_meter(),
            executor=config.get("nexus_task_executor"),
            on_fatal=self._fail,
        )

    def _activity_pollers(self, activities: ActivityWorker, in_process: bool) -> PollerGroup:
        config = self._config
        task_queue = config["task_queue"]
        per_second = config.get("max_task_queue_activities_per_second")
        request = ws.PollActivityTaskQueueRequest(
            namespace=self._client.namespace,
            task_queue=TaskQueue(name=task_queue, kind=TaskQueueKind.TASK_QUEUE_KIND_NORMAL),
            identity=self._identity,
            task_queue_metadata=None if per_second is None else TaskQueueMetadata(max_tasks_per_second=per_second),
            worker_instance_key=self._instance_key,
            worker_version_capabilities=self._version_capabilities(),
            deployment_options=self._deployment_options(),
        )
        supplier = self._tuner._get_activity_task_slot_supplier()
        custom: CustomSlots | None = None
        if isinstance(supplier, CustomSlotSupplier):
            custom = self._custom_slots(supplier, "activity", task_queue, is_sticky=False)
        rate = config.get("max_activities_per_second")
        slots: Slots | None = custom if rate is None else RateLimit(rate, custom)
        return PollerGroup(
            f"activity task queue {task_queue!r}",
            poll=lambda: self._service.poll_activity_task_queue(request),
            handle=activities.handle,
            on_fatal=self._fail,
            maximum=maximum_slots(supplier),
            burst=_ACTIVITY_POLLERS,
            in_process=in_process,
            remote_polls=remote_polls(config, "activity"),
            slots=slots,
        )

    def _nexus_pollers(self, nexus: NexusWorker, in_process: bool) -> PollerGroup:
        config = self._config
        task_queue = config["task_queue"]
        request = ws.PollNexusTaskQueueRequest(
            namespace=self._client.namespace,
            identity=self._identity,
            task_queue=TaskQueue(name=task_queue, kind=TaskQueueKind.TASK_QUEUE_KIND_NORMAL),
            worker_instance_key=self._instance_key,
            worker_version_capabilities=self._version_capabilities(),
            deployment_options=self._deployment_options(),
        )
        supplier = self._tuner._get_nexus_slot_supplier()
        custom: CustomSlots | None = None
        if isinstance(supplier, CustomSlotSupplier):
            custom = self._custom_slots(supplier, "nexus", task_queue, is_sticky=False)
        return PollerGroup(
            f"Nexus task queue {task_queue!r}",
            poll=lambda: self._service.poll_nexus_task_queue(request),
            handle=nexus.handle,
            on_fatal=self._fail,
            maximum=maximum_slots(supplier),
            in_process=in_process,
            remote_polls=remote_polls(config, "nexus"),
            slots=custom,
        )

    def _workflow_pollers(self, workflows: WorkflowWorker, in_process: bool) -> list[PollerGroup]:
        config = self._config
        supplier = self._tuner._get_workflow_task_slot_supplier()
        slots = maximum_slots(supplier)
        polls = remote_polls(config, "workflow")
        normal_polls = max(1, round(polls * config["nonsticky_to_sticky_poll_ratio"])) if workflows.is_sticky else polls
        queues = [(TaskQueue(name=config["task_queue"], kind=TaskQueueKind.TASK_QUEUE_KIND_NORMAL), normal_polls)]
        if workflows.is_sticky:
            queues.append((workflows.sticky_task_queue, max(1, polls - normal_polls)))
        groups = []
        for task_queue, count in queues:
            request = ws.PollWorkflowTaskQueueRequest(
                namespace=self._client.namespace,
                task_queue=task_queue,
                identity=self._identity,
                binary_checksum=config.get("build_id") or "",
                worker_instance_key=self._instance_key,
                worker_version_capabilities=self._version_capabilities(),
                deployment_options=self._deployment_options(),
            )
            is_sticky = task_queue.kind == TaskQueueKind.TASK_QUEUE_KIND_STICKY
            groups.append(
                PollerGroup(
                    f"{'sticky ' if is_sticky else ''}workflow task queue {config['task_queue']!r}",
                    poll=self._poll_workflow(request),
                    handle=workflows.handle,
                    on_fatal=self._fail,
                    maximum=slots,
                    in_process=in_process,
                    remote_polls=count,
                    slots=self._custom_slots(supplier, "workflow", config["task_queue"], is_sticky=is_sticky)
                    if isinstance(supplier, CustomSlotSupplier)
                    else None,
                )
            )
        return groups

    def _poll_workflow(
        self, request: ws.PollWorkflowTaskQueueRequest
    ) -> Callable[[], Awaitable[ws.PollWorkflowTaskQueueResponse]]:
        return lambda: self._service.poll_workflow_task_queue(request)

    def _custom_slots(
        self, supplier: CustomSlotSupplier, slot_type: Any, task_queue: str, *, is_sticky: bool
    ) -> CustomSlots:
        deployment = self._config.get("deployment_config")
        return CustomSlots(
            supplier,
            slot_type=slot_type,
            task_queue=task_queue,
            identity=self._identity,
            build_id=self._config.get("build_id") or "",
            deployment_version=None if deployment is None else deployment.version,
            is_sticky=is_sticky,
        )

    def _version_capabilities(self) -> WorkerVersionCapabilities | None:
        """What a worker of build-id sets says of itself: the versioning before deployments, of Temporal servers."""
        if not self._config.get("use_worker_versioning"):
            return None
        return WorkerVersionCapabilities(self._config.get("build_id") or "", use_versioning=True)

    def _deployment_options(self) -> WorkerDeploymentOptions | None:
        deployment = self._config.get("deployment_config")
        if deployment is None:
            return None
        return WorkerDeploymentOptions(
            deployment_name=deployment.version.deployment_name,
            build_id=deployment.version.build_id,
            worker_versioning_mode=2 if deployment.use_worker_versioning else 1,
        )

    def _make_heartbeats(self, described: ws.DescribeNamespaceResponse) -> Heartbeats | None:
        """What tells the service of this worker, where the service and the runtime want that."""
        interval = interval_of(self._client.service_client.config.runtime)
        if interval is None or not wants_heartbeats(described):
            return None
        deployment = self._config.get("deployment_config")
        version = None if deployment is None else deployment.version
        return Heartbeats(
            self._client.workflow_service,
            self._client.namespace,
            interval,
            instance_key=self._instance_key,
            identity=self._identity,
            task_queue=self._config["task_queue"],
            version=None if version is None else WorkerDeploymentVersion(version.build_id, version.deployment_name),
            plugins=[plugin.name() for plugin in self._plugins],
        )
