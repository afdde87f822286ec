"""ExecuteMultiOperation: a start and an update in one, known as update-with-start."""

from __future__ import annotations

from perdure.api.errordetails import v1 as errordetails_v1
from perdure.api.failure import v1 as failure_v1
from perdure.api.workflowservice import v1 as ws
from perdure.engine.core import Core
from perdure.engine.errors import invalid_argument, unavailable
from perdure.engine.namespaces import Namespaces
from perdure.engine.run import Run
from perdure.engine.starts import FAIL, RUNNING, USE_EXISTING, Starts, check_start, may_start, policies
from perdure.engine.update_registry import ABORTED_BY_CLOSING, COMPLETED, RunContinued, stage_of
from perdure.engine.workflow_updates import WorkflowUpdates, check_update, reference
from perdure.service import RPCError, RPCStatusCode

Failure = RPCError | None

_ABORTED = RPCError("Operation was aborted.", RPCStatusCode.ABORTED, [failure_v1.MultiOperationExecutionAborted()])


class MultiOperations:
    """Starts a workflow unless it runs, and updates it; both or neither."""

    def __init__(self, core: Core, namespaces: Namespaces, starts: Starts, updates: WorkflowUpdates) -> None:
        self._core = core
        self._namespaces = namespaces
        self._starts = starts
        self._updates = updates

    async def execute(
        self, request: ws.ExecuteMultiOperationRequest, timeout: float | None
    ) -> ws.ExecuteMultiOperationResponse:
        """Temporal's ExecuteMultiOperation.

        Atomic: a run that is started by it has the update before its first workflow task can start.
        """
        start, update = _operations(request)
        namespace = self._namespaces.get(request.namespace)
        stage = _check(request.namespace, start, update)
        deadline = None if timeout is None else self._core.loop.time() + timeout
        if start.search_attributes is not None:
            try:
                await self._namespaces.learn(namespace, start.search_attributes)
            except RPCError as error:
                raise _failed(error, _ABORTED) from None
        is_last_try = False
        while True:
            try:
                return await self._try(namespace.namespace_id, start, update, stage, deadline)
            except RunContinued:
                continue
            except _ClosedMeanwhile:
                if is_last_try:
                    closed = RPCError(ABORTED_BY_CLOSING, RPCStatusCode.ABORTED)
                    raise _failed(_ABORTED, closed) from None
                is_last_try = True

    async def _try(
        self,
        namespace_id: str,
        start: ws.StartWorkflowExecutionRequest,
        update: ws.UpdateWorkflowExecutionRequest,
        stage: int,
        deadline: float | None,
    ) -> ws.ExecuteMultiOperationResponse:
        core = self._core
        update_id = update.request.meta.update_id  # type: ignore[union-attr]  # check_update saw one
        current = await core.current(namespace_id, start.workflow_id)
        is_repeated = False
        if current is not None:
            is_repeated = bool(start.request_id) and current.state.create_request_id == start.request_id
            known = stage_of(current, update_id)
            if known == COMPLETED:
                await core.durable(current)
                outcome = await self._updates.outcome(current, update_id)
                return _responses(
                    _start_response(current, is_started=False),
                    ws.UpdateWorkflowExecutionResponse(reference(current, update_id), outcome, COMPLETED),
                )
            if current.is_open and (is_repeated or known or start.workflow_id_conflict_policy == USE_EXISTING):
                return await self._update(current, update, stage, deadline)
        try:
            if is_repeated:
                raise unavailable("Workflow was not started: the request was carried out before.")
            if current is not None:
                may_start(current, *policies(start, FAIL))
        except RPCError as error:
            raise _failed(error, _ABORTED) from None
        run = self._starts.replace(namespace_id, current, start)
        response = _start_response(run, is_started=True)
        self._updates.admit(run, update)
        try:
            try:
                updated = await self._updates.response(run, update, stage, deadline)
            except RunContinued:
                left = None if deadline is None else max(deadline - core.loop.time(), 0.0)
                updated = await self._updates.update(update, left)
        except RPCError as error:
            raise _failed(None, error) from None
        return _responses(response, updated)

    async def _update(
        self, run: Run, update: ws.UpdateWorkflowExecutionRequest, stage: int, deadline: float | None
    ) -> ws.ExecuteMultiOperationResponse:
        """Update the run there is."""
        response = _start_response(run, is_started=False)
        try:
            self._updates.admit(run, update)
            return _responses(response, await self._updates.response(run, update, stage, deadline))
        except RPCError as error:
            if error.message == ABORTED_BY_CLOSING:
                raise _ClosedMeanwhile from None
            raise _failed(_ABORTED, error) from None


class _ClosedMeanwhile(Exception):
    """The run closed before it took the update; another one may be started."""


def _operations(
    request: ws.ExecuteMultiOperationRequest,
) -> tuple[ws.StartWorkflowExecutionRequest, ws.UpdateWorkflowExecutionRequest]:
    operations = request.operations
    if len(operations) == 2:
        start, update = operations[0].start_workflow, operations[1].update_workflow
        if start is not None and update is not None:
            return start, update
    raise invalid_argument("Operations have to be exactly [Start, Update].")


def _check(namespace: str, start: ws.StartWorkflowExecutionRequest, update: ws.UpdateWorkflowExecutionRequest) -> int:
    """Refuse two operations of which one cannot be; the stage the update's caller waits for."""
    start_error: Failure = None
    update_error: Failure = None
    stage = 0
    try:
        _check_start(namespace, start)
    except RPCError as error:
        start_error = error
    try:
        stage = _check_update(namespace, start, update)
    except RPCError as error:
        update_error = error
    if start_error is not None or update_error is not None:
        raise _failed(start_error or _ABORTED, update_error or _ABORTED)
    return stage


def _check_start(namespace: str, start: ws.StartWorkflowExecutionRequest) -> None:
    _check_namespace(namespace, start.namespace)
    check_start(start)
    if start.cron_schedule:
        raise invalid_argument("CronSchedule is not allowed.")
    if start.request_eager_execution:
        raise invalid_argument("RequestEagerExecution is not supported.")
    if start.workflow_start_delay:
        raise invalid_argument("WorkflowStartDelay is not supported.")
    policies(start, FAIL)


def _check_update(
    namespace: str, start: ws.StartWorkflowExecutionRequest, update: ws.UpdateWorkflowExecutionRequest
) -> int:
    _check_namespace(namespace, update.namespace)
    update.namespace = namespace
    stage = check_update(update)
    execution = update.workflow_execution
    if update.first_execution_run_id:
        raise invalid_argument("FirstExecutionRunId is not allowed.")
    if execution is not None and execution.run_id:
        raise invalid_argument("RunId is not allowed.")
    if execution is not None and execution.workflow_id != start.workflow_id:
        raise invalid_argument("WorkflowId is not consistent with previous operation(s).")
    return stage


def _check_namespace(namespace: str, own: str) -> None:
    if own and own != namespace:
        raise invalid_argument("Operation namespace did not match request's namespace.")


def _start_response(run: Run, *, is_started: bool) -> ws.StartWorkflowExecutionResponse:
    return ws.StartWorkflowExecutionResponse(
        run_id=run.key.run_id,
        started=is_started,
        status=RUNNING if is_started else run.state.status,
        first_execution_run_id=run.state.first_run_id,
    )


def _responses(
    start: ws.StartWorkflowExecutionResponse, update: ws.UpdateWorkflowExecutionResponse
) -> ws.ExecuteMultiOperationResponse:
    return ws.ExecuteMultiOperationResponse(
        [
            ws.ExecuteMultiOperationResponseResponse(start_workflow=start),
            ws.ExecuteMultiOperationResponseResponse(update_workflow=update),
        ]
    )


def _failed(*errors: Failure) -> RPCError:
    """The error of both operations: the status of the first that is at fault, and the details of each."""
    code = next(
        (
            error.status
            for error in errors
            if error is not None and error.status not in (RPCStatusCode.OK, RPCStatusCode.ABORTED)
        ),
        RPCStatusCode.ABORTED,
    )
    return RPCError(
        "Update-with-Start could not be executed.",
        code,
        [
            errordetails_v1.MultiOperationExecutionFailure(
                [
                    errordetails_v1.MultiOperationExecutionFailureOperationStatus()
                    if error is None
                    else errordetails_v1.MultiOperationExecutionFailureOperationStatus(
                        int(error.status), error.message, list(error.details)
                    )
                    for error in errors
                ]
            )
        ],
    )
