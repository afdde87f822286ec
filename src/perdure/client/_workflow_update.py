"""Updates as callers see them."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from enum import IntEnum
from typing import TYPE_CHECKING, Generic, cast

from perdure.api.common.v1 import WorkflowExecution
from perdure.api.enums.v1 import UpdateWorkflowExecutionLifecycleStage as _Stage
from perdure.api.update.v1 import Input, Meta, Outcome, Request, UpdateRef, WaitPolicy
from perdure.api.workflowservice.v1 import PollWorkflowExecutionUpdateRequest, UpdateWorkflowExecutionRequest
from perdure.client import _check
from perdure.client._exceptions import WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError
from perdure.service import RPCError, RPCStatusCode
from perdure.types import LocalReturnType

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import timedelta

    from perdure.client._client import Client
    from perdure.client._interceptor import StartWorkflowUpdateInput, UpdateWithStartUpdateWorkflowInput


class WorkflowUpdateStage(IntEnum):
    """How far an update shall be before ``start_update`` returns."""

    ADMITTED = int(_Stage.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_ADMITTED)
    ACCEPTED = int(_Stage.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_ACCEPTED)
    COMPLETED = int(_Stage.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_COMPLETED)


async def update_request(
    client: Client,
    workflow_id: str,
    run_id: str | None,
    input: StartWorkflowUpdateInput | UpdateWithStartUpdateWorkflowInput,
) -> UpdateWorkflowExecutionRequest:
    """The request of an update; of the current run, if none is named."""
    conversion = client._conversion
    return UpdateWorkflowExecutionRequest(
        namespace=client.namespace,
        workflow_execution=WorkflowExecution(workflow_id, run_id or ""),
        wait_policy=WaitPolicy(int(input.wait_for_stage)),
        request=Request(
            meta=Meta(input.update_id or client._new_request_id(), client.identity),
            input=Input(
                await conversion.encode_headers(input.headers),
                input.update,
                await conversion.encode(workflow_id, input.args, run_id),
            ),
        ),
    )


def update_id_of(request: UpdateWorkflowExecutionRequest) -> str:
    """The id in a request of :func:`update_request`."""
    assert request.request is not None and request.request.meta is not None
    return request.request.meta.update_id


@contextmanager
def waiting_for_update() -> Iterator[None]:
    """Turn the end of a wait, in time or by cancellation, into Temporal's exception: the update itself goes on."""
    try:
        yield
    except RPCError as error:
        if error.status in (RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED):
            raise WorkflowUpdateRPCTimeoutOrCancelledError from error
        raise
    except asyncio.CancelledError as error:
        raise WorkflowUpdateRPCTimeoutOrCancelledError from error


class WorkflowUpdateHandle(Generic[LocalReturnType]):
    """One update of one workflow."""

    def __init__(
        self,
        client: Client,
        id: str,
        workflow_id: str,
        *,
        workflow_run_id: str | None = None,
        result_type: type | None = None,
        known_outcome: Outcome | None = None,
    ) -> None:
        """Made by :meth:`WorkflowHandle.start_update` and :meth:`WorkflowHandle.get_update_handle`."""
        self._client = client
        self._id = id
        self._workflow_id = workflow_id
        self._workflow_run_id = workflow_run_id
        self._result_type = result_type
        self._known_outcome = known_outcome

    @property
    def id(self) -> str:
        """The update's id."""
        return self._id

    @property
    def workflow_id(self) -> str:
        """The id of its workflow."""
        return self._workflow_id

    @property
    def workflow_run_id(self) -> str | None:
        """The run of that workflow, where it is known."""
        return self._workflow_run_id

    async def result(
        self, *, rpc_metadata: Mapping[str, str | bytes] = {}, rpc_timeout: timedelta | None = None
    ) -> LocalReturnType:
        """Wait for the update's result. ``rpc_timeout`` bounds each call made on the way, not the wait.

        Raises:
            WorkflowUpdateFailedError: the update was rejected or failed.
            WorkflowUpdateRPCTimeoutOrCancelledError: the wait ended first; the update goes on.
        """
        _check.rpc_options("result", rpc_metadata, rpc_timeout)
        outcome = await self._outcome(rpc_metadata, rpc_timeout)
        conversion = self._client._conversion
        if outcome.failure is not None:
            raise WorkflowUpdateFailedError(await conversion.decode_failure(self._workflow_id, outcome.failure))
        result = await conversion.decode(
            self._workflow_id, outcome.success, self._result_type, "the result of an update"
        )
        return cast("LocalReturnType", result)

    async def _outcome(
        self, rpc_metadata: Mapping[str, str | bytes] = {}, rpc_timeout: timedelta | None = None
    ) -> Outcome:
        if self._known_outcome is not None:
            return self._known_outcome
        self._client._check_usable()
        request = PollWorkflowExecutionUpdateRequest(
            namespace=self._client.namespace,
            update_ref=UpdateRef(WorkflowExecution(self._workflow_id, self._workflow_run_id or ""), self._id),
            identity=self._client.identity,
            wait_policy=WaitPolicy(int(WorkflowUpdateStage.COMPLETED)),
        )
        metadata = self._client._metadata(rpc_metadata)
        while True:
            with waiting_for_update():
                response = await self._client._service.poll_workflow_execution_update(
                    request, metadata=metadata, timeout=rpc_timeout
                )
            if response.outcome is not None:
                self._known_outcome = response.outcome
                return response.outcome
