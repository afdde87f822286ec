"""Requests that make no sense are refused with a status and a sentence."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.api.common import v1 as common_v1
from perdure.api.operatorservice import v1 as operatorservice_v1
from perdure.api.workflowservice import v1 as ws
from perdure.service import RPCError, RPCStatusCode
from tests.nexus.driver import NexusDriver, payload

NEED_SOMETHING = {
    "poll_nexus_task_queue": ws.PollNexusTaskQueueRequest,
    "respond_nexus_task_completed": ws.RespondNexusTaskCompletedRequest,
    "respond_nexus_task_failed": ws.RespondNexusTaskFailedRequest,
    "start_nexus_operation_execution": ws.StartNexusOperationExecutionRequest,
    "describe_nexus_operation_execution": ws.DescribeNexusOperationExecutionRequest,
    "poll_nexus_operation_execution": ws.PollNexusOperationExecutionRequest,
    "list_nexus_operation_executions": ws.ListNexusOperationExecutionsRequest,
    "count_nexus_operation_executions": ws.CountNexusOperationExecutionsRequest,
    "request_cancel_nexus_operation_execution": ws.RequestCancelNexusOperationExecutionRequest,
    "terminate_nexus_operation_execution": ws.TerminateNexusOperationExecutionRequest,
    "delete_nexus_operation_execution": ws.DeleteNexusOperationExecutionRequest,
    "create_nexus_endpoint": operatorservice_v1.CreateNexusEndpointRequest,
    "update_nexus_endpoint": operatorservice_v1.UpdateNexusEndpointRequest,
    "delete_nexus_endpoint": operatorservice_v1.DeleteNexusEndpointRequest,
    "get_nexus_endpoint": operatorservice_v1.GetNexusEndpointRequest,
}


@pytest.mark.parametrize("name", NEED_SOMETHING)
async def test_empty_requests(d: NexusDriver, name: str) -> None:
    with pytest.raises(RPCError) as caught:
        await getattr(d.engine, name)(NEED_SOMETHING[name]())
    assert caught.value.status is RPCStatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("token", [b"x", b"\xff" * 40, b"\x93\x01\x02\x03", b"\x00"])
async def test_tokens_of_nobody(d: NexusDriver, token: bytes) -> None:
    with pytest.raises(RPCError, match="Invalid Task Token"):
        await d.engine.respond_nexus_task_completed(ws.RespondNexusTaskCompletedRequest("default", "", token))
    callback = common_v1.Callback(
        nexus=common_v1.CallbackNexus("temporal://system", {"temporal-callback-token": token.decode("latin-1")})
    )
    with pytest.raises(RPCError, match="Invalid callback token"):
        await d.start(completion_callbacks=[callback])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"schedule_to_close_timeout": -5}, "is negative"),
        ({"nexus_header": {"a": "b" * 10_000}}, "more than the limit of 8192"),
        ({"operation": "o" * 1001}, "longer than 1000"),
        ({"operation": ""}, "is not set"),
        ({"service": ""}, "is not set"),
        ({"input": payload(b"1" * 3_000_000)}, "more than the limit of 2097152"),
    ],
)
async def test_operations_are_checked(d: NexusDriver, options: dict[str, Any], says: str) -> None:
    given = {"operation_id": "o", "endpoint": "ep", "service": "s", "operation": "op", **options}
    with pytest.raises(RPCError, match=says) as caught:
        await d.engine.start_nexus_operation_execution(
            ws.StartNexusOperationExecutionRequest(namespace="default", **given)
        )
    assert caught.value.status is RPCStatusCode.INVALID_ARGUMENT
