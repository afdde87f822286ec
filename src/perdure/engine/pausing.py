"""Pausing a workflow: its events go on being recorded, but no workflow task and no attempt of an activity starts."""

from __future__ import annotations

import json

from perdure._native import transitions
from perdure._native.mutable_state import Effect, Status
from perdure.api.common import v1 as common_v1
from perdure.api.history import v1 as history_v1
from perdure.api.workflow import v1 as workflow_v1
from perdure.api.workflowservice import v1 as ws
from perdure.engine import limits
from perdure.engine.core import Core
from perdure.engine.errors import failed_precondition
from perdure.engine.lookup import find_open_run
from perdure.engine.namespaces import Namespaces
from perdure.engine.run import Run
from perdure.engine.wiring import encode

PAUSED = int(Status.PAUSED)
#: The search attribute that says what of a run is paused.
PAUSE_INFO = "TemporalPauseInfo"
_DISPATCH_ACTIVITY = int(Effect.DISPATCH_ACTIVITY)


class Pausing:
    """Temporal's PauseWorkflowExecution and UnpauseWorkflowExecution."""

    def __init__(self, core: Core, namespaces: Namespaces) -> None:
        self._core = core
        self._namespaces = namespaces

    async def pause(self, request: ws.PauseWorkflowExecutionRequest) -> ws.PauseWorkflowExecutionResponse:
        """Temporal's PauseWorkflowExecution. A started workflow task, and attempts that run, may still end."""
        run = await self._find(request)
        s = run.state
        if s.status == PAUSED:
            pause = (s.extra or {}).get("pause")
            if not (request.request_id and pause is not None and pause[3] == request.request_id):
                raise failed_precondition("workflow is already paused.")
        else:
            attributes = history_v1.WorkflowExecutionPausedEventAttributes(
                request.identity, request.reason, request.request_id
            )
            transitions.pause(s, self._core.now(), attributes)
            self._changed(run)
        await self._core.durable(run)
        return ws.PauseWorkflowExecutionResponse()

    async def unpause(self, request: ws.UnpauseWorkflowExecutionRequest) -> ws.UnpauseWorkflowExecutionResponse:
        """Temporal's UnpauseWorkflowExecution: what waited goes on."""
        run = await self._find(request)
        s = run.state
        if s.status != PAUSED:
            raise failed_precondition("workflow is not paused.")
        attributes = history_v1.WorkflowExecutionUnpausedEventAttributes(
            request.identity, request.reason, request.request_id
        )
        transitions.unpause(s, self._core.now(), attributes)
        for activity in s.activities.values():
            if not (activity.started_ns or activity.is_backing_off or activity.is_paused):
                s.effects.append((_DISPATCH_ACTIVITY, activity.scheduled_event_id))
        self._changed(run)
        await self._core.durable(run)
        return ws.UnpauseWorkflowExecutionResponse()

    async def _find(self, request: ws.PauseWorkflowExecutionRequest | ws.UnpauseWorkflowExecutionRequest) -> Run:
        for value, what in (
            (request.reason, "Reason"),
            (request.request_id, "RequestId"),
            (request.identity, "Identity"),
        ):
            limits.check_id(value, what, required=False)
        namespace_id = self._namespaces.get(request.namespace).namespace_id
        execution = common_v1.WorkflowExecution(request.workflow_id, request.run_id)
        return await find_open_run(self._core, namespace_id, execution)

    def _changed(self, run: Run) -> None:
        show_pauses(run)
        self._core.touch(run)


def show_pauses(run: Run) -> None:
    """Let lists show what of the run is paused."""
    s = run.state
    words = []
    if s.status == PAUSED and s.extra is not None:
        words.append(f"Workflow:{s.workflow_id}")
        if s.extra["pause"][2]:
            words.append(f"Reason:{s.extra['pause'][2]}")
    types = {activity.activity_type for activity in s.activities.values() if activity.is_paused}
    words += [f"property:activityType={name}" for name in sorted(types)]
    if words:
        payload = common_v1.Payload({"encoding": b"json/plain", "type": b"KeywordList"}, json.dumps(words).encode())
        s.search_attributes[PAUSE_INFO] = encode(payload)
        run.visibility_changed = True
    elif s.search_attributes.pop(PAUSE_INFO, None) is not None:
        run.visibility_changed = True


def pause_info(run: Run) -> workflow_v1.WorkflowExecutionPauseInfo | None:
    """Who paused the run, when and why; None when nobody did."""
    pause = None if run.state.extra is None else run.state.extra.get("pause")
    return None if pause is None else workflow_v1.WorkflowExecutionPauseInfo(pause[1], pause[0], pause[2])
