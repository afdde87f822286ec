"""The worker: takes tasks from one task queue and runs the workflows and activities it knows."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import os
import uuid
import warnings
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

from perdure.api.workflowservice import v1 as ws
from perdure.client import Client
from perdure.service import RPCError, RPCStatusCode, WorkflowService
from perdure.service._measured import unmeasured
from perdure.worker._config import (
    PollerBehavior,
    PollerBehaviorSimpleMaximum,
    WorkerConfig,
    WorkerDeploymentConfig,
    validate,
)
from perdure.worker._eager_activities import EagerActivities
from perdure.worker._heartbeats import Heartbeats
from perdure.worker._interceptor import Interceptor
from perdure.worker._plugin import Plugin
from perdure.worker._poll_shutdown import end_polls, ends_polls
from perdure.worker._pollers import PollerGroup
from perdure.worker._runner import UnsandboxedWorkflowRunner, WorkflowRunner
from perdure.worker._shared_state import SharedStateManager
from perdure.worker._tuning import WorkerTuner
from perdure.worker._worker_parts import WorkerParts
from perdure.worker._workflow_runtime import PatchActivationInput
from perdure.worker.workflow_sandbox import SandboxedWorkflowRunner

if TYPE_CHECKING:
    pass

logger = logging.getLogger("perdure.worker")

_DEFAULT_CACHE_BYTES = 256 * 1024 * 1024


class Worker(WorkerParts):
    """Runs workflows and activities for one task queue.

    ``async with Worker(client, task_queue=..., workflows=[...], activities=[...]):`` runs it for the block;
    :meth:`run` runs it until :meth:`shutdown`. A worker that is killed loses nothing: its workflows go on in another
    worker, and its activities are tried again.

    A worker belongs to one event loop: its client's.
    """

    def __init__(
        self,
        client: Client,
        *,
        task_queue: str,
        activities: Sequence[Callable[..., Any]] = [],
        nexus_service_handlers: Sequence[Any] = [],
        workflows: Sequence[type] = [],
        activity_executor: concurrent.futures.Executor | None = None,
        workflow_task_executor: concurrent.futures.ThreadPoolExecutor | None = None,
        nexus_task_executor: concurrent.futures.ThreadPoolExecutor | None = None,
        workflow_runner: WorkflowRunner = SandboxedWorkflowRunner(),  # noqa: B008
        unsandboxed_workflow_runner: WorkflowRunner = UnsandboxedWorkflowRunner(),  # noqa: B008
        plugins: Sequence[Plugin] = [],
        interceptors: Sequence[Interceptor] = [],
        build_id: str | None = None,
        identity: str | None = None,
        max_cached_workflows: int = 1000,
        max_cached_workflow_bytes: int = _DEFAULT_CACHE_BYTES,
        max_concurrent_workflow_tasks: int | None = None,
        max_concurrent_activities: int | None = None,
        max_concurrent_local_activities: int | None = None,
        max_concurrent_nexus_tasks: int | None = None,
        tuner: WorkerTuner | None = None,
        max_concurrent_workflow_task_polls: int | None = None,
        nonsticky_to_sticky_poll_ratio: float = 0.2,
        max_concurrent_activity_task_polls: int | None = None,
        no_remote_activities: bool = False,
        sticky_queue_schedule_to_start_timeout: timedelta = timedelta(seconds=10),
        max_heartbeat_throttle_interval: timedelta = timedelta(seconds=60),
        default_heartbeat_throttle_interval: timedelta = timedelta(seconds=30),
        max_activities_per_second: float | None = None,
        max_task_queue_activities_per_second: float | None = None,
        max_eager_activity_reservations_per_workflow_task: int = 3,
        graceful_shutdown_timeout: timedelta = timedelta(),
        plugin_shutdown_timeout: timedelta | None = timedelta(seconds=60),
        workflow_failure_exception_types: Sequence[type[BaseException]] = [],
        shared_state_manager: SharedStateManager | None = None,
        debug_mode: bool = False,
        deadlock_timeout: timedelta | None = timedelta(seconds=2),
        disable_eager_activity_execution: bool = False,
        on_fatal_error: Callable[[BaseException], Awaitable[None]] | None = None,
        use_worker_versioning: bool = False,
        disable_safe_workflow_eviction: bool = False,
        deployment_config: WorkerDeploymentConfig | None = None,
        patch_activation_callback: Callable[[PatchActivationInput], bool] | None = None,
        workflow_task_poller_behavior: PollerBehavior = PollerBehaviorSimpleMaximum(maximum=5),  # noqa: B008
        activity_task_poller_behavior: PollerBehavior = PollerBehaviorSimpleMaximum(maximum=5),  # noqa: B008
        nexus_task_poller_behavior: PollerBehavior = PollerBehaviorSimpleMaximum(maximum=5),  # noqa: B008
        disable_payload_error_limit: bool = False,
        max_workflow_task_external_storage_concurrency: int = 3,
    ) -> None:
        """Make a worker; it does nothing until it runs.

        Args:
            client: Whose home and namespace the worker serves, with its data converter, interceptors and plugins.
            task_queue: Where it takes its tasks from.
            activities: Functions, methods or callable objects decorated with ``@activity.defn``.
            nexus_service_handlers: Must be empty: Nexus services do not run yet.
            workflows: Classes decorated with ``@workflow.defn``.
            activity_executor: Where ``def`` activities run. Unless given, the worker makes a thread pool of its own
                with a thread per activity slot; it never uses the event loop's default executor, which other code may
                fill. A process pool needs ``shared_state_manager`` and picklable activities.
            workflow_task_executor: Accepted: workflow code runs on the event loop's thread.
            nexus_task_executor: Accepted.
            workflow_runner: ``UnsandboxedWorkflowRunner()`` switches the determinism guard off; modules are never
                imported anew either way.
            unsandboxed_workflow_runner: Accepted: workflows with ``sandboxed=False`` run without the guard.
            plugins: Take part in making and running the worker, after the client's that are worker plugins.
            interceptors: Wrap workflows and activities, inside the client's that are worker interceptors.
            build_id: Recorded with what this worker completes. Deprecated: use ``deployment_config``.
            identity: Names this worker in histories; the client's unless given.
            max_cached_workflows: How many workflows stay in memory between their tasks; 0 replays them every time.
            max_cached_workflow_bytes: What those may take in memory by the worker's estimate.
            max_concurrent_workflow_tasks: Workflow tasks at a time, 100 unless given. Not with ``tuner``.
            max_concurrent_activities: Activities at a time, 100 unless given. Not with ``tuner``.
            max_concurrent_local_activities: Local activities at a time, 100 unless given. Not with ``tuner``.
            max_concurrent_nexus_tasks: Accepted. Not with ``tuner``.
            tuner: Slot suppliers instead of the four numbers above.
            max_concurrent_workflow_task_polls: Polls at a home with a wire.
            nonsticky_to_sticky_poll_ratio: Share of those polls that ask the normal queue.
            max_concurrent_activity_task_polls: Polls at a home with a wire.
            no_remote_activities: Take no activity tasks; activities run as local activities only.
            sticky_queue_schedule_to_start_timeout: After this time a task for a cached workflow goes to any worker.
            max_heartbeat_throttle_interval: Longest interval between two heartbeats of an activity.
            default_heartbeat_throttle_interval: The interval for activities without a heartbeat timeout; for others
                it is 0.8 of that timeout.
            max_activities_per_second: Most activities this worker starts per second.
            max_task_queue_activities_per_second: Most activities the service hands out per second for the task queue,
                to all workers together.
            max_eager_activity_reservations_per_workflow_task: Accepted: in process every activity whose worker has a
                free slot starts eagerly.
            graceful_shutdown_timeout: How long a shutdown lets activities run before it cancels them.
            plugin_shutdown_timeout: How long leaving ``async with`` waits for plugins after the shutdown.
            workflow_failure_exception_types: Exceptions that fail the workflow instead of the workflow task.
            shared_state_manager: Events and heartbeats across processes, for a process pool.
            debug_mode: Do not watch for workflow code that blocks; also by the environment variable
                ``TEMPORAL_DEBUG``.
            deadlock_timeout: How long workflow code may run without yielding before its task fails, with a log entry
                that says where it was. None: for ever.
            disable_eager_activity_execution: Send every activity through its task queue.
            on_fatal_error: Awaited with the error before the worker shuts down because of it.
            use_worker_versioning: Deprecated: use ``deployment_config``.
            disable_safe_workflow_eviction: Accepted: eviction is always safe.
            deployment_config: The worker's deployment version.
            patch_activation_callback: Decides whether ``workflow.patched`` activates a patch.
            workflow_task_poller_behavior: Polls at a home with a wire.
            activity_task_poller_behavior: Polls at a home with a wire.
            nexus_task_poller_behavior: Accepted.
            disable_payload_error_limit: Leave size limits to the service.
            max_workflow_task_external_storage_concurrency: How many payloads of one workflow task may be on their way to
                or from external storage at a time.

        Raises:
            ValueError, TypeError: An argument cannot work; the message says which and why.
            RuntimeError: The client is closed or lazy.
        """
        arguments = dict(locals())
        del arguments["self"]
        config = cast(WorkerConfig, arguments)
        if not isinstance(client, Client):
            raise TypeError(f"Worker needs a perdure.client.Client, not {client!r}; get one with Client.connect(url).")
        of_client: Sequence[object] = client.config()["plugins"]
        from_client = [plugin for plugin in of_client if isinstance(plugin, Plugin)]
        given = [type(plugin) for plugin in plugins]
        for plugin in from_client:
            if type(plugin) in given:
                warnings.warn(
                    f"The same plugin type {type(plugin)} is present from both client and worker. It may run twice and "
                    "may not be the intended behavior.",
                    stacklevel=2,
                )
        self._plugins: list[Plugin] = [*from_client, *plugins]
        for plugin in self._plugins:
            if not isinstance(plugin, Plugin):
                raise TypeError(f"plugins must hold perdure.worker.Plugin objects, not {plugin!r}.")
        self._initial_config = config.copy()
        for plugin in self._plugins:
            config = plugin.configure_worker(config)
        validate(config)
        self._config = config
        self._client = client
        self._check_client(client)
        self._service = self._measured(client)
        self._pid = os.getpid()
        self._started = False
        self._shutdown_requested = asyncio.Event()
        self._shutdown_complete = asyncio.Event()
        self._failure: BaseException | None = None
        self._context_task: asyncio.Task[Any] | None = None
        self._context_run: asyncio.Task[None] | None = None
        self._context_error: BaseException | None = None
        self._context_cancelled = False
        self._context_exiting = False
        self._own_executor: concurrent.futures.ThreadPoolExecutor | None = None
        self._groups: list[PollerGroup] = []
        self._eager_tasks: set[asyncio.Task[None]] = set()
        self._instance_key = uuid.uuid4().hex
        #: Whether the service ends our polls when it hears that we shut down.
        self._ends_polls = False
        self._heartbeats: Heartbeats | None = None
        self._is_ready = asyncio.Event()
        self._make_halves()

    def config(self, *, active_config: bool = False) -> WorkerConfig:
        """The arguments of this worker as a dictionary; with ``active_config`` as the plugins left them."""
        config = (self._config if active_config else self._initial_config).copy()
        config["activities"] = list(config.get("activities", []))
        config["workflows"] = list(config.get("workflows", []))
        return config

    @property
    def task_queue(self) -> str:
        """The task queue the worker takes its tasks from."""
        return self._config["task_queue"]

    @property
    def client(self) -> Client:
        """The worker's client."""
        return self._client

    @client.setter
    def client(self, value: Client) -> None:
        """Use another client of the same home and namespace from the next call on."""
        self._check_client(value)
        if value.service_client.config.runtime is not self._client.service_client.config.runtime:
            raise ValueError("New client is not on the same runtime as the existing client")
        if (
            not _is_same_home(value.workflow_service, self._client.workflow_service)
            or value.namespace != self._client.namespace
        ):
            raise ValueError(
                "The new client must share the home and namespace of the old one; make another worker for another home."
            )
        self._client = value
        self._config["client"] = value
        self._service = self._measured(value)
        self._show_sizes()
        if self._activities is not None:
            self._activities.client, self._activities.service = value, self._service
        if self._workflows is not None:
            self._workflows.service = self._service
        if self._nexus is not None:
            self._nexus.client, self._nexus.service = value, self._service

    @property
    def is_running(self) -> bool:
        """Whether the worker was started and has not shut down."""
        return self._started and not self.is_shutdown

    @property
    def is_shutdown(self) -> bool:
        """Whether the worker ran and has shut down."""
        return self._shutdown_complete.is_set()

    async def run(self) -> None:
        """Run the worker until :meth:`shutdown`, and return when it is complete.

        Cancelling this call shuts the worker down too.

        Raises:
            RuntimeError: The worker was started before, does not belong to this loop, thread or process, or failed.
        """
        run: Callable[[Worker], Awaitable[None]] = Worker._run
        for plugin in reversed(self._plugins):
            run = _through(plugin, run)
        await run(self)

    async def shutdown(self) -> None:
        """Shut the worker down and return when it is complete: no task is lost, activities had their grace.

        May be called before the worker runs, and more than once.
        """
        self._shutdown_requested.set()
        await self._shutdown_complete.wait()

    async def __aenter__(self) -> Self:
        """Start the worker. If it fails, this task is cancelled and leaving the block raises the worker's error."""
        if self._context_task is not None:
            raise RuntimeError("Already started")
        self._context_task = asyncio.current_task()
        if self._context_task is None:
            raise RuntimeError("Can only use async with inside a task")
        self._context_run = asyncio.get_running_loop().create_task(self._run_in_context(), name="perdure worker")
        self._offer_eagerly()
        return self

    async def _run_in_context(self) -> None:
        try:
            await self.run()
        except BaseException as error:
            self._context_error = error
            if not self._context_exiting and self._context_task is not None:
                self._context_cancelled = True
                self._context_task.cancel()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Shut the worker down."""
        run = self._context_run
        if run is None:
            raise RuntimeError("Never started")
        try:
            await self.shutdown()
        except asyncio.CancelledError:
            if not self._context_cancelled:
                raise
            kind = asyncio.CancelledError
        self._context_exiting = True
        timeout = self._config.get("plugin_shutdown_timeout", timedelta(seconds=60))
        try:
            await asyncio.wait([run], timeout=None if timeout is None else timeout.total_seconds())
        except asyncio.CancelledError:
            run.cancel()
            raise
        if not run.done():
            run.cancel()
        if self._context_cancelled and self._context_task is not None:
            self._context_task.uncancel()
        if self._context_error is not None and (kind is None or kind is asyncio.CancelledError):
            raise self._context_error

    async def _run(self) -> None:
        if self._started:
            raise RuntimeError("Already started")
        if self._pid != os.getpid():
            raise AssertionError(
                f"Cannot use worker across forks: it was made in process {self._pid}; make another one in the child"
            )
        self._check_client(self._client)
        self._started = True
        try:
            await self._check_namespace()
            self._start()
            self._is_ready.set()
        except BaseException:
            self._refuse_eagerly()
            for task in self._eager_tasks:
                task.cancel()
            self._shutdown_complete.set()
            raise
        error: BaseException | None = None
        try:
            await self._shutdown_requested.wait()
            error = self._failure
        except asyncio.CancelledError as cancelled:
            error = cancelled
        try:
            if self._failure is not None:
                await self._tell_fatal_error(self._failure)
            await self._shut_down()
        finally:
            self._shutdown_complete.set()
        if error is not None:
            raise error

    def _check_client(self, client: Client) -> None:
        """Refuse a client that is closed, lazy, or lives on another loop, thread or process."""
        if client.service_client.config.lazy:
            raise RuntimeError("Lazy clients cannot be used for workers; connect with lazy=False.")
        if client._pid != os.getpid():
            raise AssertionError(
                f"Cannot create worker across forks: its client was connected in process {client._pid}; connect another "
                "one in the child"
            )
        if asyncio._get_running_loop() is not None:
            client._check_usable()

    async def _check_namespace(self) -> None:
        try:
            described = await self._service.describe_namespace(
                ws.DescribeNamespaceRequest(namespace=self._client.namespace)
            )
            self._ends_polls = not self._service.in_process and ends_polls(described)
            self._heartbeats = self._make_heartbeats(described)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                raise RuntimeError(
                    f"Worker validation failed: namespace {self._client.namespace!r} does not exist; connect the "
                    "client with one that does."
                ) from error
            raise

    def _start(self) -> None:
        config = self._config
        in_process = self._service.in_process
        if self._activities is not None:
            self._activities.start()
            if not config.get("no_remote_activities"):
                self._groups.append(self._activity_pollers(self._activities, in_process))
        if self._workflows is not None:
            if not in_process:
                self._workflows.eager_activities = EagerActivities(
                    next(iter(self._groups), None), config["max_eager_activity_reservations_per_workflow_task"]
                )
            self._groups += self._workflow_pollers(self._workflows, in_process)
            self._workflows.start()
            self._offer_eagerly()
        if self._nexus is not None:
            self._groups.append(self._nexus_pollers(self._nexus, in_process))
        for group in self._groups:
            group.start()
        if self._heartbeats is not None:
            self._heartbeats.start()

    def _fail(self, error: BaseException) -> None:
        """End the worker because of an error; only the first counts. On the loop."""
        if self._failure is not None or self._shutdown_requested.is_set():
            return
        logger.error("The worker of task queue %r failed and shuts down: %s", self.task_queue, error, exc_info=error)
        self._failure = error
        if self._activities is not None:
            self._activities.has_failed = True
        self._shutdown_requested.set()

    async def _tell_fatal_error(self, error: BaseException) -> None:
        handler = self._config.get("on_fatal_error")
        if handler is None:
            return
        try:
            await handler(error)
        except Exception:
            logger.warning("Fatal error handler failed", exc_info=True)

    def _eager_key(self) -> tuple[str, str]:
        return self._client.namespace, self._config["task_queue"]

    def _offer_eagerly(self) -> None:
        """Ask for the first tasks of workflows that this connection starts eagerly."""
        if self._workflows is not None:
            self._client.service_client._eager_workers[self._eager_key()] = self._take_eagerly

    def _refuse_eagerly(self) -> None:
        eager_workers = self._client.service_client._eager_workers
        if eager_workers.get(self._eager_key()) == self._take_eagerly:
            del eager_workers[self._eager_key()]

    def _take_eagerly(self, task: ws.PollWorkflowTaskQueueResponse) -> None:
        """Handle the workflow task that came with a start."""
        handling = asyncio.get_running_loop().create_task(self._handle_eagerly(task))
        self._eager_tasks.add(handling)
        handling.add_done_callback(self._eager_tasks.discard)

    async def _handle_eagerly(self, task: ws.PollWorkflowTaskQueueResponse) -> None:
        assert self._workflows is not None
        try:
            await self._is_ready.wait()
            await self._workflows.handle(task, cast("asyncio.Task[None]", asyncio.current_task()))
        except Exception as error:
            self._fail(error)

    async def _end_polls(self) -> None:
        # A service wants a name; that of a queue which is not there does no harm.
        sticky = self._instance_key if self._workflows is None else self._workflows.sticky_task_queue.name
        request = ws.ShutdownWorkerRequest(
            namespace=self._client.namespace,
            sticky_task_queue=sticky,
            identity=self._identity,
            worker_instance_key=self._instance_key,
            task_queue=self._config["task_queue"],
        )
        await end_polls(self._service, self._groups, request=request)

    async def _shut_down(self) -> None:
        grace = self._config["graceful_shutdown_timeout"].total_seconds()
        self._refuse_eagerly()
        if self._heartbeats is not None:
            await self._heartbeats.stop()
        if self._activities is not None:
            self._activities.notify_shutdown()
        if self._nexus is not None:
            self._nexus.notify_shutdown()
        if self._ends_polls and self._failure is None:
            await self._end_polls()
        for group in self._groups:
            group.stop()
        drained = asyncio.gather(*(group.wait() for group in self._groups), *self._eager_tasks)
        try:
            if self._nexus is not None and self._activities is None:
                await asyncio.wait([drained], timeout=grace)
                self._nexus.cancel_all()
            if self._activities is not None:
                await asyncio.wait([drained], timeout=grace)
                if not drained.done():
                    self._activities.cancel_all()
                    if self._nexus is not None:
                        self._nexus.cancel_all()
                    if self._workflows is not None:
                        self._workflows.leave_local_activities()
            await drained
            if self._activities is not None:
                await self._activities.close()
            if self._workflows is not None:
                await self._workflows.close()
        finally:
            drained.cancel()
            if self._own_executor is not None:
                self._own_executor.shutdown(wait=False)


def _is_same_home(one: WorkflowService, other: WorkflowService) -> bool:
    """Whether two connections reach the same service: then their methods are bound to the same object.

    Where a service with a wire stands, is up to who connected it.
    """
    if not one.in_process and not other.in_process:
        return True
    return unmeasured(one).describe_namespace == unmeasured(other).describe_namespace


def _through(plugin: Plugin, next: Callable[[Worker], Awaitable[None]]) -> Callable[[Worker], Awaitable[None]]:
    return lambda worker: plugin.run_worker(worker, next)
