"""The updates of one run that no event records yet, and who waits for updates of it.

An update is *admitted* when the run took its request, *sent* when a workflow task carried it, and then accepted or
refused by the worker. Until it is accepted it lives here alone and does not survive the process: whoever asked for it
asks again, with the same id. Accepted and completed ones are in the history and in the run's state.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from perdure.api.enums.v1 import UpdateWorkflowExecutionLifecycleStage
from perdure.api.failure import v1 as failure_v1
from perdure.api.protocol import v1 as protocol_v1
from perdure.api.update import v1 as update_v1
from perdure.engine.errors import not_found, not_ready

if TYPE_CHECKING:
    from perdure.engine.run import Run

ADMITTED = int(UpdateWorkflowExecutionLifecycleStage.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_ADMITTED)
ACCEPTED = int(UpdateWorkflowExecutionLifecycleStage.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_ACCEPTED)
COMPLETED = int(UpdateWorkflowExecutionLifecycleStage.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_COMPLETED)

ABORTED_BY_CLOSING = "workflow update was aborted by closing workflow"
CLOSED_WHILE_ACCEPTED = update_v1.Outcome(
    failure=failure_v1.Failure(
        message="Workflow Update failed because the Workflow completed before the Update completed.",
        source="Server",
        application_failure_info=failure_v1.ApplicationFailureInfo(
            type="AcceptedUpdateCompletedWorkflow", non_retryable=True
        ),
    )
)
_UNPROCESSED = failure_v1.Failure(
    message=(
        "Workflow Update is rejected because it wasn't processed by worker. Probably, Workflow Update is not supported "
        "by the worker."
    ),
    source="Server",
    application_failure_info=failure_v1.ApplicationFailureInfo(type="UnprocessedUpdate", non_retryable=True),
)


class RunContinued(Exception):
    """The run was followed by another one before it took the update, which may be meant for that one."""


class AdmittedUpdate:
    """An update that the workflow has neither accepted nor refused."""

    __slots__ = ("id", "is_sent", "request", "size")

    def __init__(self, id: str, request: update_v1.Request, size: int) -> None:
        self.id = id
        self.request = request
        self.size = size
        self.is_sent = False


class Waiter:
    """Somebody who waits until an update has reached a stage; the future's result is (stage, outcome)."""

    __slots__ = ("future", "stage")

    def __init__(self, stage: int, future: asyncio.Future[tuple[int, update_v1.Outcome | None] | None]) -> None:
        self.stage = stage
        self.future = future


def stage_of(run: Run, update_id: str) -> int:
    """How far an update of the run is; 0 when the run does not know it."""
    s = run.state
    events = None if s.updates is None else s.updates.get(update_id)
    if events is None:
        return ADMITTED if run.updates is not None and update_id in run.updates.admitted else 0
    if events[2] or (events[1] and not run.is_open):
        return COMPLETED
    if events[1]:
        return ACCEPTED
    return ADMITTED if run.is_open else 0


class UpdateRegistry:
    """The updates of one run on their way to its workflow, in the order they came, and all who wait for updates."""

    __slots__ = ("_run", "admitted", "waiters")

    def __init__(self, run: Run) -> None:
        self._run = run
        self.admitted: dict[str, AdmittedUpdate] = {}
        self.waiters: dict[str, list[Waiter]] = {}

    @classmethod
    def of(cls, run: Run) -> UpdateRegistry:
        """The run's registry, made on first use."""
        if run.updates is None:
            run.updates = cls(run)
        return run.updates

    def _leave_if_empty(self) -> None:
        if not self.admitted and not self.waiters and self._run.updates is self:
            self._run.updates = None

    # ---- waiting

    def add_waiter(self, update_id: str, waiter: Waiter) -> None:
        """From now on somebody waits for an update."""
        self.waiters.setdefault(update_id, []).append(waiter)

    def remove_waiter(self, update_id: str, waiter: Waiter) -> None:
        """Nobody is left behind that waiter."""
        waiting = self.waiters.get(update_id)
        if waiting is not None and waiter in waiting:
            waiting.remove(waiter)
            if not waiting:
                del self.waiters[update_id]
        self._leave_if_empty()

    def _release(self, update_id: str, stage: int, outcome: update_v1.Outcome | None) -> None:
        """Tell those who wait for that stage or an earlier one."""
        for waiter in self.waiters.get(update_id, ()):
            if waiter.stage <= stage and not waiter.future.done():
                waiter.future.set_result((stage, outcome))

    def _refuse(self, update_id: str, error: Exception) -> None:
        for waiter in self.waiters.get(update_id, ()):
            if not waiter.future.done():
                waiter.future.set_exception(error)

    # ---- to the worker

    def messages(self, started_event_id: int, resend: bool) -> list[protocol_v1.Message]:
        """What the workflow task that was just started carries; with ``resend`` also what an earlier one carried."""
        found = []
        for update in self.admitted.values():
            if update.is_sent and not resend:
                continue
            update.is_sent = True
            found.append(
                protocol_v1.Message(
                    id=f"{update.id}/request",
                    protocol_instance_id=update.id,
                    event_id=started_event_id - 1,
                    body=update.request,
                )
            )
        return found

    # ---- from the worker

    def accepted(self, update_id: str) -> None:
        """The workflow took it; an event says so."""
        self.admitted.pop(update_id, None)
        self._release(update_id, ACCEPTED, None)
        self._leave_if_empty()

    def completed(self, update_id: str, outcome: update_v1.Outcome) -> None:
        """It has an outcome; an event says so."""
        self.admitted.pop(update_id, None)
        self._release(update_id, COMPLETED, outcome)
        self._leave_if_empty()

    def rejected(self, update_id: str, failure: failure_v1.Failure | None) -> None:
        """The workflow refused it; nothing will say so, and the same id may come again."""
        self.admitted.pop(update_id, None)
        self._release(update_id, COMPLETED, update_v1.Outcome(failure=failure or failure_v1.Failure()))
        self._leave_if_empty()

    def reject_unprocessed(self) -> None:
        """The worker answered a task that carried updates without a word about them."""
        for update in [update for update in self.admitted.values() if update.is_sent]:
            self.rejected(update.id, _UNPROCESSED)

    def task_refused(self) -> None:
        """The service could not take the worker's answer: what the workflow has seen is not tried again."""
        for update in [update for update in self.admitted.values() if update.is_sent]:
            del self.admitted[update.id]
            self._refuse(
                update.id,
                not_ready("Unable to perform workflow execution update due to unexpected workflow task failure."),
            )
        self._leave_if_empty()

    # ---- the end

    def close(self, *, is_continuing: bool) -> None:
        """The run closed: what it accepted fails, what it did not goes to its successor or comes to nothing."""
        self.admitted.clear()
        for update_id in list(self.waiters):
            if stage_of(self._run, update_id) == COMPLETED:
                self._release(update_id, COMPLETED, CLOSED_WHILE_ACCEPTED)
            elif is_continuing:
                self._refuse(update_id, RunContinued())
            else:
                self._refuse(update_id, not_found(ABORTED_BY_CLOSING))
        self._leave_if_empty()

    def fail(self, error: Exception) -> None:
        """The run left memory, and what it had not recorded with it."""
        self.admitted.clear()
        for update_id in list(self.waiters):
            self._refuse(update_id, error)
        self._leave_if_empty()
