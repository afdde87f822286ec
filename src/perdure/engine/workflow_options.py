"""Options of a run that can be changed while it is open: its versioning override and its priority."""

from __future__ import annotations

import msgspec

from perdure._native import transitions
from perdure.api.common import v1 as common_v1
from perdure.api.deployment import v1 as deployment_v1
from perdure.api.enums.v1 import EventType, VersioningBehavior
from perdure.api.history import v1 as history_v1
from perdure.api.workflow import v1 as workflow_v1
from perdure.api.workflowservice import v1 as ws
from perdure.engine.backlog import check_priority
from perdure.engine.core import Core
from perdure.engine.deployments import Deployments
from perdure.engine.errors import failed_precondition, invalid_argument
from perdure.engine.lookup import find_open_run
from perdure.engine.namespaces import Namespaces
from perdure.engine.routing import effective, override_of, priority_of_run
from perdure.engine.run import Run

_OPTIONS_UPDATED = int(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_OPTIONS_UPDATED)
_PINNED = int(VersioningBehavior.VERSIONING_BEHAVIOR_PINNED)
_PRIORITY_FIELDS = ("priority_key", "fairness_key", "fairness_weight")


class WorkflowOptions:
    """Temporal's UpdateWorkflowExecutionOptions."""

    def __init__(self, core: Core, namespaces: Namespaces, deployments: Deployments) -> None:
        self._core = core
        self._namespaces = namespaces
        self._deployments = deployments

    async def update(
        self, request: ws.UpdateWorkflowExecutionOptionsRequest
    ) -> ws.UpdateWorkflowExecutionOptionsResponse:
        """Temporal's UpdateWorkflowExecutionOptions. A pending workflow task goes where it belongs from now on."""
        core = self._core
        namespace_id = self._namespaces.get(request.namespace).namespace_id
        run = await find_open_run(core, namespace_id, request.workflow_execution)
        options = change_options(run, request.workflow_execution_options, request.update_mask, request.identity, core)
        s = run.state
        if s.task_scheduled_id and not s.task_started_id:
            core.dispatch_workflow_task(run)
        core.touch(run)
        await core.durable(run)
        return ws.UpdateWorkflowExecutionOptionsResponse(options, core.now())


def change_options(
    run: Run, new: workflow_v1.WorkflowExecutionOptions | None, mask: list[str] | None, identity: str, core: Core
) -> workflow_v1.WorkflowExecutionOptions:
    """Write WorkflowExecutionOptionsUpdated unless nothing changes; returns the options that hold now."""
    if mask is None:
        raise invalid_argument("UpdateMask is not set on the request.")
    new = new or workflow_v1.WorkflowExecutionOptions()
    before = workflow_v1.WorkflowExecutionOptions(override_of(run), priority_of_run(run))
    after = msgspec.structs.replace(before)
    for path in mask:
        outer, _, inner = path.partition(".")
        if path in ("versioning_override", "versioning_override.behavior", "versioning_override.deployment"):
            after.versioning_override = _override(run, new.versioning_override)
        elif path == "priority":
            after.priority = new.priority
        elif outer == "priority" and inner in _PRIORITY_FIELDS:
            after.priority = msgspec.structs.replace(after.priority or common_v1.Priority())
            setattr(after.priority, inner, getattr(new.priority or common_v1.Priority(), inner))
        else:
            raise invalid_argument(f"UpdateMask names {path!r}, which is not an option of a workflow that can change.")
    check_priority(after.priority)
    if after != before:
        transitions.note(
            run.state,
            core.now(),
            _OPTIONS_UPDATED,
            history_v1.WorkflowExecutionOptionsUpdatedEventAttributes(
                versioning_override=after.versioning_override,
                unset_versioning_override=after.versioning_override is None,
                identity=identity,
                priority=after.priority,
            ),
        )
    return after


def _override(run: Run, given: workflow_v1.VersioningOverride | None) -> workflow_v1.VersioningOverride | None:
    """An override; one that pins without a version pins to the run's own."""
    if given is None or given.pinned is None or given.pinned.version is not None:
        return given
    behavior, version = effective(run)
    if behavior != _PINNED or version is None:
        raise failed_precondition(
            "must specify a specific pinned override version: the workflow is not pinned to any version yet"
        )
    pinned = msgspec.structs.replace(
        given.pinned, version=deployment_v1.WorkerDeploymentVersion(version.build_id, version.deployment)
    )
    return msgspec.structs.replace(given, pinned=pinned)
