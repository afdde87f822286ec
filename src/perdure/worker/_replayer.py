"""Replaying histories: does today's code still make yesterday's commands?"""

from __future__ import annotations

import concurrent.futures
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

from perdure.api.common.v1 import WorkflowExecution, WorkflowType
from perdure.api.workflowservice import v1 as ws
from perdure.common import HeaderCodecBehavior
from perdure.converter import DataConverter
from perdure.exceptions import ApplicationError
from perdure.worker._interceptor import Interceptor, WorkflowInterceptorClassInput
from perdure.worker._runner import enforced_restrictions
from perdure.worker._workflow_run import WorkflowRun
from perdure.worker._workflow_runtime import RunOptions
from perdure.worker._workflow_worker import WorkflowRegistry
from perdure.workflow import NondeterminismError

if TYPE_CHECKING:
    from perdure.client import WorkflowHistory
    from perdure.worker._plugin import Plugin

_WORKFLOW_STARTED = 1


class ReplayerConfig(TypedDict, total=False):
    """The arguments of :class:`Replayer`."""

    workflows: Sequence[type]
    workflow_task_executor: concurrent.futures.ThreadPoolExecutor | None
    workflow_runner: Any
    unsandboxed_workflow_runner: Any
    namespace: str
    data_converter: DataConverter
    interceptors: Sequence[Interceptor]
    build_id: str | None
    identity: str | None
    workflow_failure_exception_types: Sequence[type[BaseException]]
    debug_mode: bool
    runtime: Any
    disable_safe_workflow_eviction: bool
    header_codec_behavior: HeaderCodecBehavior


@dataclass(frozen=True)
class WorkflowReplayResult:
    """How the replay of one history went."""

    history: WorkflowHistory
    replay_failure: Exception | None
    """None when it went well. That the workflow itself failed is no failure of the replay."""


@dataclass(frozen=True)
class WorkflowReplayResults:
    """How the replay of several histories went."""

    replay_failures: Mapping[str, Exception]
    """The failures by run id."""


class Replayer:
    """Runs workflow code against recorded histories, without a service.

    Put the histories of your workflows in your tests: a change of code that would break running workflows fails there.
    """

    def __init__(
        self,
        *,
        workflows: Sequence[type],
        workflow_task_executor: concurrent.futures.ThreadPoolExecutor | None = None,
        workflow_runner: Any = None,
        unsandboxed_workflow_runner: Any = None,
        namespace: str = "ReplayNamespace",
        data_converter: DataConverter = DataConverter.default,
        interceptors: Sequence[Interceptor] = (),
        plugins: Sequence[Plugin] = (),
        build_id: str | None = None,
        identity: str | None = None,
        workflow_failure_exception_types: Sequence[type[BaseException]] = (),
        debug_mode: bool = False,
        runtime: Any = None,
        disable_safe_workflow_eviction: bool = False,
        header_codec_behavior: HeaderCodecBehavior = HeaderCodecBehavior.NO_CODEC,
    ) -> None:
        """Make a replayer; see :class:`Worker` for what the arguments mean.

        Give what the worker was given: converters, codecs and interceptors decide what workflow code sees.
        ``workflow_task_executor``, ``runtime`` and ``disable_safe_workflow_eviction`` are accepted as Temporal's and
        have no meaning here: a replay runs on the calling thread.
        """
        if isinstance(workflows, (type, str)):
            raise TypeError(f"workflows must be a sequence, not {workflows!r}; put it in a list.")
        self._config = ReplayerConfig(
            workflows=list(workflows),
            workflow_task_executor=workflow_task_executor,
            workflow_runner=workflow_runner,
            unsandboxed_workflow_runner=unsandboxed_workflow_runner,
            namespace=namespace,
            data_converter=data_converter,
            interceptors=interceptors,
            build_id=build_id,
            identity=identity,
            workflow_failure_exception_types=workflow_failure_exception_types,
            debug_mode=debug_mode,
            runtime=runtime,
            disable_safe_workflow_eviction=disable_safe_workflow_eviction,
            header_codec_behavior=header_codec_behavior,
        )
        self._initial_config = self._config.copy()
        self.plugins = plugins
        for plugin in plugins:
            self._config = plugin.configure_replayer(self._config)
        if not self._config.get("workflows"):
            raise ValueError("At least one workflow must be specified")
        self._registry = WorkflowRegistry(self._config["workflows"])
        self._options = self._make_options()

    def _make_options(self) -> RunOptions:
        config = self._config
        extern_functions: dict[str, Callable[..., Any]] = {}
        interceptor_classes = []
        for interceptor in config.get("interceptors", ()):
            interceptor_class = interceptor.workflow_interceptor_class(WorkflowInterceptorClassInput(extern_functions))
            if interceptor_class is not None:
                interceptor_classes.append(interceptor_class)
        return RunOptions(
            namespace=config.get("namespace", "ReplayNamespace"),
            task_queue=f"replay-{config.get('build_id') or ''}",
            identity=config.get("identity") or "",
            data_converter=config.get("data_converter", DataConverter.default),
            interceptor_classes=interceptor_classes,
            failure_exception_types=config.get("workflow_failure_exception_types", ()),
            extern_functions=extern_functions,
            build_id=config.get("build_id") or "",
            restrictions=enforced_restrictions(config.get("workflow_runner"), config.get("debug_mode", False)),
            encode_headers=config.get("header_codec_behavior") not in (None, HeaderCodecBehavior.NO_CODEC),
        )

    def config(self, *, active_config: bool = False) -> ReplayerConfig:
        """The arguments this replayer was made with; with ``active_config``, as plugins changed them."""
        config = (self._config if active_config else self._initial_config).copy()
        config["workflows"] = list(config.get("workflows", ()))
        return config

    async def replay_workflow(
        self, history: WorkflowHistory, *, raise_on_replay_failure: bool = True
    ) -> WorkflowReplayResult:
        """Replay one history.

        Raises:
            NondeterminismError: the code makes other commands than the history records.
            RuntimeError: the replay failed for another reason; the cause says which.
        """

        async def one() -> AsyncIterator[WorkflowHistory]:
            yield history

        async with self.workflow_replay_iterator(one()) as results:
            async for result in results:
                if raise_on_replay_failure and result.replay_failure is not None:
                    raise result.replay_failure
                return result
        raise RuntimeError("No histories")

    async def replay_workflows(
        self, histories: AsyncIterator[WorkflowHistory], *, raise_on_replay_failure: bool = True
    ) -> WorkflowReplayResults:
        """Replay histories one after the other; by default the first failure is raised."""
        failures: dict[str, Exception] = {}
        async with self.workflow_replay_iterator(histories) as results:
            async for result in results:
                if result.replay_failure is not None:
                    if raise_on_replay_failure:
                        raise result.replay_failure
                    failures[result.history.run_id] = result.replay_failure
        return WorkflowReplayResults(failures)

    def workflow_replay_iterator(
        self, histories: AsyncIterator[WorkflowHistory]
    ) -> AbstractAsyncContextManager[AsyncIterator[WorkflowReplayResult]]:
        """Replay histories as they come: ``async with`` gives an iterator for ``async for``."""

        def wrap(plugin: Plugin, next: Any) -> Any:
            return lambda replayer, wanted: plugin.run_replayer(replayer, wanted, next)

        replay: Any = Replayer._replay_iterator
        for plugin in reversed(self.plugins):
            replay = wrap(plugin, replay)
        manager: AbstractAsyncContextManager[AsyncIterator[WorkflowReplayResult]] = replay(self, histories)
        return manager

    @asynccontextmanager
    async def _replay_iterator(
        self, histories: AsyncIterator[WorkflowHistory]
    ) -> AsyncIterator[AsyncIterator[WorkflowReplayResult]]:
        async def results() -> AsyncGenerator[WorkflowReplayResult, None]:
            async for history in histories:
                yield WorkflowReplayResult(history, await self._replay(history))

        iterator = results()
        try:
            yield iterator
        finally:
            await iterator.aclose()

    async def _replay(self, history: WorkflowHistory) -> Exception | None:
        events = list(history.events)
        if not events or events[0].event_type != _WORKFLOW_STARTED:
            return RuntimeError(
                f"history of workflow {history.workflow_id} does not begin with WorkflowExecutionStarted"
            )
        started = events[0].attributes
        type_name = started.workflow_type.name
        definition = self._registry.find(type_name)
        if definition is None:
            return RuntimeError(
                f"Workflow class {type_name} is not registered on this replayer, available workflows: "
                f"{self._registry.names()}"
            )
        workflow_id = started.workflow_id or history.workflow_id
        run_id = started.original_execution_run_id
        task = ws.PollWorkflowTaskQueueResponse(
            workflow_execution=WorkflowExecution(workflow_id, run_id),
            workflow_type=WorkflowType(type_name),
            # All of it is replay, also a last task that was never answered.
            previous_started_event_id=events[-1].event_id,
            attempt=1,
        )
        run = WorkflowRun(definition, self._options, workflow_id, run_id, type_name)
        try:
            error: BaseException | None = None
            if run.codec is not None:
                try:
                    task, events = await run.codec.decode(task, events)
                except Exception as undecodable:
                    error = undecodable
                    if isinstance(undecodable, ApplicationError) and undecodable.non_retryable:
                        # A worker would fail the workflow here, and the history goes on.
                        error = NondeterminismError(f"The workflow fails where its history goes on: {undecodable}")
                        error.__cause__ = undecodable
            if error is None:
                run.replay(task, events)
                error = run.last_error
        finally:
            run.evict()
        if error is None or isinstance(error, NondeterminismError):
            return error
        root: BaseException = error
        while root.__cause__ is not None:
            root = root.__cause__
        reason = str(error) if root is error else f"{error}: {root}"
        failure = RuntimeError(f"Replay of workflow {workflow_id}, run {run_id}, failed: {reason}")
        failure.__cause__ = error
        return failure
