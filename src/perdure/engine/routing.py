"""Where tasks of few runs go: to the queue of a worker deployment version, and to their place by priority.

A task queue that workers of a version poll is in truth several queues of one name: one for workers without a version,
and one per version (:func:`versioned`). Which one a task goes to is decided when it is dispatched, and again when the
routing of a deployment changes. Runs and queues without versions and priorities never come here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from perdure._native.mutable_state import ActivityInfo
from perdure.api.common import v1 as common_v1
from perdure.api.deployment import v1 as deployment_v1
from perdure.api.enums.v1 import ContinueAsNewInitiator, ContinueAsNewVersioningBehavior, VersioningBehavior
from perdure.api.history import v1 as history_v1
from perdure.api.workflow import v1 as workflow_v1
from perdure.api.workflowservice import v1 as ws
from perdure.engine.activity_operations import priority_of
from perdure.engine.backlog import DEFAULT_RANK, Rank, add_ranked
from perdure.engine.core import Core
from perdure.engine.errors import invalid_argument
from perdure.engine.farmhash import fingerprint32
from perdure.engine.limits import MAX_SEARCH_ATTRIBUTE_SIZE
from perdure.engine.matching import Task, TaskQueue
from perdure.engine.run import Run
from perdure.engine.wiring import encode
from perdure.store.api import TaskKind

if TYPE_CHECKING:
    from perdure.engine.deployments import Deployments
    from perdure.engine.queue_limits import QueueLimits

_PINNED = int(VersioningBehavior.VERSIONING_BEHAVIOR_PINNED)
_AUTO_UPGRADE = int(VersioningBehavior.VERSIONING_BEHAVIOR_AUTO_UPGRADE)
_VERSIONED = 2
#: ContinueAsNewVersioningBehavior: the first workflow task of the next run goes to the ramping version, if there is one.
_USE_RAMPING = int(ContinueAsNewVersioningBehavior.CONTINUE_AS_NEW_VERSIONING_BEHAVIOR_USE_RAMPING_VERSION)
_BY_RETRY = int(ContinueAsNewInitiator.CONTINUE_AS_NEW_INITIATOR_RETRY)
_BEHAVIORS = {_PINNED: "Pinned", _AUTO_UPGRADE: "AutoUpgrade"}
_USED = "TemporalUsedWorkerDeploymentVersions"
_ATTRIBUTES = (
    "TemporalWorkerDeployment",
    "TemporalWorkerDeploymentVersion",
    "TemporalWorkflowVersioningBehavior",
    _USED,
)
_decode_priority = msgspec.msgpack.Decoder(common_v1.Priority).decode
_decode_override = msgspec.msgpack.Decoder(workflow_v1.VersioningOverride).decode


class Version(NamedTuple):
    """A version of a worker deployment."""

    deployment: str
    build_id: str


def versioned(queue: str, version: Version | None) -> str:
    """The name of a queue's part for a version; None: for workers without a version."""
    return queue if version is None else f"{queue}\0{version.deployment}\0{version.build_id}"


def override_of(run: Run) -> workflow_v1.VersioningOverride | None:
    """What overrules the versioning behavior that the run's worker states."""
    extra = run.state.extra
    return _decode_override(extra["override"]) if extra is not None and "override" in extra else None


def effective(run: Run, stated: tuple[int, Version] | None = None) -> tuple[int, Version | None]:
    """The versioning behavior of a run that holds now, and the version that it holds for.

    ``stated`` is what the worker says that is just answering.
    """
    extra = run.state.extra
    if extra is None:
        return stated or (0, None)
    behavior, version = 0, None
    if stated is not None:
        behavior, version = stated
    elif "version" in extra:
        behavior, deployment, build_id = extra["version"]
        version = Version(deployment, build_id)
    elif "inherited" in extra:
        behavior, version = _PINNED, Version(*extra["inherited"])
    override = override_of(run)
    if override is not None:
        if override.auto_upgrade or override.behavior == _AUTO_UPGRADE:
            return _AUTO_UPGRADE, version
        pinned = pinned_version(override)
        if pinned is not None:
            return _PINNED, pinned
    return behavior, version


def pinned_version(override: workflow_v1.VersioningOverride) -> Version | None:
    """The version an override pins to."""
    if override.pinned is not None and override.pinned.version is not None:
        return Version(override.pinned.version.deployment_name, override.pinned.version.build_id)
    if override.pinned_version:
        deployment, _, build_id = override.pinned_version.partition(".")
        return Version(deployment, build_id)
    return None


def priority_of_run(run: Run) -> common_v1.Priority | None:
    """The priority of a run's tasks."""
    extra = run.state.extra
    return _decode_priority(extra["priority"]) if extra is not None and extra.get("priority") else None


def merged(own: common_v1.Priority | None, inherited: common_v1.Priority | None) -> common_v1.Priority | None:
    """A priority, with what it leaves open taken from the workflow's."""
    if own is None or inherited is None:
        return own or inherited
    return common_v1.Priority(
        own.priority_key or inherited.priority_key,
        own.fairness_key or inherited.fairness_key,
        own.fairness_weight or inherited.fairness_weight,
    )


class Router:
    """Dispatches what is not plain."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self.deployments: Deployments | None = None
        self.queue_limits: QueueLimits | None = None
        core.on_dispatch_workflow_task = self.dispatch_workflow_task
        core.router = self

    def dispatch_workflow_task(self, run: Run) -> None:
        """Put the pending workflow task where it belongs."""
        core = self._core
        s = run.state
        key = run.key
        version = self._workflow_version(run)
        if s.sticky_queue:
            if version is not None and s.extra is not None and list(s.extra.get("version", ())[1:]) != list(version):
                # Its next task is another version's: the worker that has it in memory is not asked.
                s.sticky_queue = ""
                s.task_deadline_ms = 0
            else:
                sticky = core.matching.known(key.namespace_id, TaskKind.WORKFLOW, s.sticky_queue)
                if sticky is not None and sticky.has_recent_poller(core.loop.time()):
                    sticky.add(Task(key, s.task_scheduled_id))
                    return
        queue = core.matching.queue(key.namespace_id, TaskKind.WORKFLOW, versioned(s.task_queue, version))
        self.add(queue, int(TaskKind.WORKFLOW), Task(key, s.task_scheduled_id), Rank.of(priority_of_run(run)))

    def add(self, queue: TaskQueue, kind: int, task: Task, rank: Rank) -> None:
        """Hand a task to a waiting poll, or let it wait in its place."""
        if rank is not DEFAULT_RANK and self.queue_limits is not None:
            self.queue_limits.ranked(task.key.namespace_id, kind, queue.name)
        add_ranked(queue, task, rank)

    async def forget(self, namespace_id: str) -> None:
        """A namespace is deleted: so is what was said of its workers and queues."""
        if self.deployments is not None:
            await self.deployments.forget(namespace_id)
        if self.queue_limits is not None:
            await self.queue_limits.forget(namespace_id)

    def query_queue(self, run: Run) -> TaskQueue:
        """The queue of a query that any worker of the run's version may answer."""
        s = run.state
        return self._core.matching.queue(
            run.key.namespace_id, TaskKind.WORKFLOW, versioned(s.task_queue, self._workflow_version(run))
        )

    def activity_queue(self, run: Run, activity: ActivityInfo) -> TaskQueue:
        """The queue that an attempt waits in."""
        namespace_id = run.key.namespace_id
        name = activity.task_queue
        if self._core.is_routing and self.deployments is not None:
            namespace_id = self._core.matching.aliases.get(namespace_id, namespace_id)
            _, version = effective(run)
            if version is None or not self.deployments.polls(namespace_id, version, TaskKind.ACTIVITY, name):
                version = self.deployments.target(namespace_id, TaskKind.ACTIVITY, name, run.key.workflow_id)
            name = versioned(name, version)
        return self._core.matching.queue(namespace_id, TaskKind.ACTIVITY, name)

    def activity_rank(self, run: Run, activity: ActivityInfo) -> Rank:
        """The place of an attempt among those that wait."""
        own = priority_of(activity)
        inherited = priority_of_run(run)
        if own is None and inherited is None:
            return DEFAULT_RANK
        return Rank.of(merged(own, inherited))

    def inherited(self, run: Run, task_queue: str) -> deployment_v1.WorkerDeploymentVersion | None:
        """The version that a child or a next run on a queue is pinned to because this run is."""
        if self.deployments is None:
            return None
        behavior, version = effective(run)
        if behavior != _PINNED or version is None:
            return None
        if not self.deployments.polls(run.key.namespace_id, version, TaskKind.WORKFLOW, task_queue):
            return None
        return deployment_v1.WorkerDeploymentVersion(version.build_id, version.deployment)

    def note_target(self, run: Run) -> None:
        """Before a workflow task starts: remember whether the target of a pinned run is another version than its own.

        The events of its workflow tasks say so from then on, until the run is on its target again, is overridden, or
        continues as new; what the run before it declined is not said again until the routing changes.
        """
        extra = run.state.extra
        if extra is None or self.deployments is None:
            return
        behavior, version = effective(run)
        if not behavior:
            return
        if "override" in extra:
            extra.pop("target", None)
            extra.pop("declined", None)
            return
        if behavior != _PINNED:
            extra.pop("target", None)
            return
        namespace_id, queue = run.key.namespace_id, run.state.task_queue
        target = self.deployments.target(namespace_id, TaskKind.WORKFLOW, queue, run.key.workflow_id)
        revision = self.deployments.routing_revision(namespace_id, queue)
        if target == version:
            extra.pop("target", None)
            extra.pop("declined", None)
        elif "declined" not in extra or revision > extra["declined"][0]:
            extra["target"] = (revision, *(target or ("", "")))
            extra.pop("declined", None)

    def hand_down(self, run: Run, started: history_v1.WorkflowExecutionStartedEventAttributes) -> None:
        """Give the run that follows this one its override and its priority.

        One that a retry starts is pinned as this one is only if this one had inherited that; one of cron never is.
        """
        started.priority = priority_of_run(run)
        override = override_of(run)
        started.versioning_override = None if override is None or pinned_version(override) is None else override
        was_inherited = started.inherited_pinned_version is not None
        started.inherited_pinned_version = None
        if started.initiator == _BY_RETRY:
            if was_inherited:
                started.inherited_pinned_version = self.inherited(run, run.state.task_queue)
        else:
            started.inherited_auto_upgrade_info = started.declined_target_version_upgrade = None

    def hand_down_version(
        self,
        run: Run,
        started: history_v1.WorkflowExecutionStartedEventAttributes,
        initial_behavior: int,
        stated: tuple[int, Version] | None,
    ) -> None:
        """Give the run that this one continues as its version, unless it is to begin as an auto-upgrading one."""
        started.inherited_pinned_version = None
        started.inherited_auto_upgrade_info = started.declined_target_version_upgrade = None
        behavior, version = effective(run, stated)
        deployments = self.deployments
        if deployments is None or version is None or started.task_queue is None:
            return
        queue = started.task_queue.name
        if not deployments.polls(run.key.namespace_id, version, TaskKind.WORKFLOW, queue):
            if queue != run.state.task_queue:
                started.versioning_override = None
            return
        message = deployment_v1.WorkerDeploymentVersion(version.build_id, version.deployment)
        if behavior == _PINNED and not initial_behavior:
            started.inherited_pinned_version = message
            started.declined_target_version_upgrade = _declined(run)
        else:
            started.inherited_auto_upgrade_info = deployment_v1.InheritedAutoUpgradeInfo(
                message, deployments.routing_revision(run.key.namespace_id, queue), initial_behavior
            )

    def _workflow_version(self, run: Run) -> Version | None:
        if not self._core.is_routing or self.deployments is None:
            return None
        behavior, version = effective(run)
        if behavior == _PINNED and version is not None:
            return version
        s = run.state
        return self.deployments.target(
            run.key.namespace_id,
            TaskKind.WORKFLOW,
            s.task_queue,
            run.key.workflow_id,
            use_ramping=s.extra is not None
            and s.extra.get("first_behavior") == _USE_RAMPING
            and not s.previous_started_id,
        )


def _declined(run: Run) -> history_v1.DeclinedTargetVersionUpgrade | None:
    """The target that a run knew of, or one before it, when it continued as new on its own version."""
    extra = run.state.extra or {}
    known = extra.get("target") or extra.get("declined")
    if known is None:
        return None
    revision, deployment, build_id = known
    version = deployment_v1.WorkerDeploymentVersion(build_id, deployment) if build_id else None
    return history_v1.DeclinedTargetVersionUpgrade(version, revision)


def ramp_position(workflow_id: str) -> float:
    """Where a workflow id stands between 0 and 100: it ramps when the percentage is above."""
    return fingerprint32(workflow_id.encode()) / 2**32 * 100


def stated_version(behavior: int, options: deployment_v1.WorkerDeploymentOptions) -> tuple[int, Version] | None:
    """The versioning behavior and the version that a worker answers with."""
    if options.worker_versioning_mode != _VERSIONED:
        return None
    return behavior, Version(options.deployment_name, options.build_id)


def version_stamps(request: ws.RespondWorkflowTaskCompletedRequest) -> dict[str, Any]:
    """What WorkflowTaskCompleted says of the worker's version."""
    options = request.deployment_options
    if options is None or options.worker_versioning_mode != _VERSIONED:
        if request.versioning_behavior:
            raise invalid_argument(
                "versioning behavior cannot be specified without deployment options being set with versioned mode"
            )
        return {}
    return {
        "versioning_behavior": request.versioning_behavior,
        "worker_deployment_version": f"{options.deployment_name}.{options.build_id}",
        "worker_deployment_name": options.deployment_name,
        "deployment_version": deployment_v1.WorkerDeploymentVersion(options.build_id, options.deployment_name),
    }


def show_version(run: Run) -> None:
    """Let lists show the version and the behavior of a run."""
    s = run.state
    behavior, version = effective(run)
    fields: dict[str, tuple[bytes, object]] = {}
    if version is not None:
        text = f"{version.deployment}:{version.build_id}"
        fields["TemporalWorkerDeployment"] = (b"Keyword", version.deployment)
        fields["TemporalWorkerDeploymentVersion"] = (b"Keyword", text)
        if behavior in _BEHAVIORS:
            fields["TemporalWorkflowVersioningBehavior"] = (b"Keyword", _BEHAVIORS[behavior])
    used = [] if s.extra is None else s.extra.get("used", [])
    while used and len(msgspec.json.encode(used)) > MAX_SEARCH_ATTRIBUTE_SIZE:
        used = used[1:]
    if used:
        fields[_USED] = (b"KeywordList", used)
    for name in _ATTRIBUTES:
        kind, value = fields.get(name, (b"", None))
        if value is None:
            if s.search_attributes.pop(name, None) is not None:
                run.visibility_changed = True
            continue
        encoded = encode(common_v1.Payload({"encoding": b"json/plain", "type": kind}, msgspec.json.encode(value)))
        if s.search_attributes.get(name) != encoded:
            s.search_attributes[name] = encoded
            run.visibility_changed = True


def versioning_info(run: Run) -> workflow_v1.WorkflowExecutionVersioningInfo | None:
    """What describe says of a run's version; None when it has none."""
    extra = run.state.extra
    override = override_of(run)
    if extra is None or not ("version" in extra or "inherited" in extra or override is not None):
        return None
    info = workflow_v1.WorkflowExecutionVersioningInfo(versioning_override=override)
    version: Version | None = None
    if "version" in extra:
        info.behavior = extra["version"][0]
        version = Version(*extra["version"][1:])
    elif "inherited" in extra:
        info.behavior = _PINNED
        version = Version(*extra["inherited"])
    if version is not None:
        info.version = f"{version.deployment}.{version.build_id}"
        info.deployment_version = deployment_v1.WorkerDeploymentVersion(version.build_id, version.deployment)
    return info
