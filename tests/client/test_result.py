"""Waiting for results: each close event, and the way along a chain of runs."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import pytest

from perdure._native.events import HistoryEvent
from perdure.api.common.v1 import Payload, Payloads
from perdure.api.enums.v1 import EventType
from perdure.api.failure.v1 import ApplicationFailureInfo, Failure
from perdure.api.history import v1 as history
from perdure.api.workflow.v1 import PendingWorkflowTaskInfo
from perdure.api.workflowservice import v1 as ws
from perdure.client import (
    Client,
    FetchWorkflowHistoryEventsInput,
    Interceptor,
    OutboundInterceptor,
    WorkflowContinuedAsNewError,
    WorkflowFailureError,
    WorkflowHistoryEventAsyncIterator,
)
from perdure.converter import DataConverter, PayloadCodec
from perdure.exceptions import ApplicationError, CancelledError, TerminatedError, TimeoutError, TimeoutType
from perdure.service import RPCError, RPCStatusCode
from tests.client.conftest import FakeService
from tests.client.workflows import Order, ShopWorkflow

GET_HISTORY = "get_workflow_execution_history"


def payloads(*values: Any) -> Payloads:
    return Payloads(DataConverter.default.payload_converter.to_payloads(values))


def closed(kind: str, **attributes: Any) -> ws.GetWorkflowExecutionHistoryResponse:
    number = EventType[f"EVENT_TYPE_WORKFLOW_EXECUTION_{kind}"]
    name = "".join(word.capitalize() for word in kind.split("_"))
    struct = getattr(history, f"WorkflowExecution{name}EventAttributes")(**attributes)
    return ws.GetWorkflowExecutionHistoryResponse(history=history.History([HistoryEvent(5, number, 0, struct)]))


async def test_a_completed_workflow_gives_its_result(service: FakeService, client: Client) -> None:
    service.answers[GET_HISTORY] = closed("COMPLETED", result=payloads(Order("tea", 2)))
    of_class: Any = ShopWorkflow
    assert client.get_workflow_handle_for(of_class, "id")._result_type is Order
    handle = client.get_workflow_handle_for(ShopWorkflow.run, "id", run_id="run")  # type: ignore[var-annotated,arg-type]
    assert await handle.result() == Order("tea", 2)
    request = service.only(GET_HISTORY)
    assert (request.execution.workflow_id, request.execution.run_id) == ("id", "run")
    assert request.wait_new_event
    assert request.history_event_filter_type == 2


async def test_no_result_is_none(service: FakeService, client: Client) -> None:
    service.answers[GET_HISTORY] = closed("COMPLETED")
    assert await client.get_workflow_handle("id").result() is None


async def test_several_results_give_the_first_and_a_warning(service: FakeService, client: Client) -> None:
    service.answers[GET_HISTORY] = closed("COMPLETED", result=payloads(1, 2))
    with pytest.warns(UserWarning, match="has 2 values"):
        assert await client.get_workflow_handle("id").result() == 1


async def test_an_empty_long_poll_is_repeated_with_its_token(service: FakeService, client: Client) -> None:
    answers = [
        ws.GetWorkflowExecutionHistoryResponse(history=history.History([]), next_page_token=b"1"),
        ws.GetWorkflowExecutionHistoryResponse(next_page_token=b"2"),
        closed("COMPLETED", result=payloads("done")),
    ]
    tokens = []

    def answer(request: ws.GetWorkflowExecutionHistoryRequest) -> ws.GetWorkflowExecutionHistoryResponse:
        tokens.append(request.next_page_token)
        return answers[len(tokens) - 1]

    service.answers[GET_HISTORY] = answer
    service.answers["describe_workflow_execution"] = ws.DescribeWorkflowExecutionResponse()
    assert await client.get_workflow_handle("id").result() == "done"
    assert tokens == [b"", b"1", b"2"]


async def test_a_workflow_that_fails_its_task_is_reported_once(
    service: FakeService, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    answers = [ws.GetWorkflowExecutionHistoryResponse(next_page_token=b"t")] * 3 + [closed("COMPLETED")]
    service.answers[GET_HISTORY] = lambda request: answers.pop(0)
    service.answers["describe_workflow_execution"] = ws.DescribeWorkflowExecutionResponse(
        pending_workflow_task=PendingWorkflowTaskInfo(attempt=4)
    )
    with caplog.at_level(logging.WARNING, "perdure.service"):
        await client.get_workflow_handle("stuck").result()
    assert [record.getMessage() for record in caplog.records] == [
        "Waiting for the result of workflow 'stuck', whose workflow task keeps failing (attempt 4): "
        "see the worker's log for the error"
    ]


@pytest.mark.parametrize("kind", ["COMPLETED", "FAILED", "TIMED_OUT", "CONTINUED_AS_NEW"])
async def test_runs_are_followed(service: FakeService, client: Client, kind: str) -> None:
    chain = {"first": closed(kind, new_execution_run_id="second"), "second": closed("COMPLETED", result=payloads(9))}
    service.answers[GET_HISTORY] = lambda request: chain[request.execution.run_id]
    assert await client.get_workflow_handle("id", run_id="first").result() == 9


async def test_continue_as_new_is_an_error_when_runs_are_not_followed(service: FakeService, client: Client) -> None:
    service.answers[GET_HISTORY] = closed("CONTINUED_AS_NEW", new_execution_run_id="second")
    with pytest.raises(WorkflowContinuedAsNewError) as caught:
        await client.get_workflow_handle("id").result(follow_runs=False)
    assert caught.value.new_execution_run_id == "second"


async def test_failures_carry_their_cause(service: FakeService, client: Client) -> None:
    failure = Failure(message="out of tea", application_failure_info=ApplicationFailureInfo(type="NoTea"))
    service.answers[GET_HISTORY] = closed("FAILED", failure=failure)
    with pytest.raises(WorkflowFailureError) as caught:
        await client.get_workflow_handle("id").result()
    cause = caught.value.cause
    assert isinstance(cause, ApplicationError)
    assert (cause.message, cause.type) == ("out of tea", "NoTea")


async def test_other_ends(service: FakeService, client: Client) -> None:
    handle = client.get_workflow_handle("id")
    service.answers[GET_HISTORY] = closed("CANCELED", details=payloads("why"))
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    assert isinstance(caught.value.cause, CancelledError)
    assert caught.value.cause.details == ("why",)

    service.answers[GET_HISTORY] = closed("TERMINATED", reason="enough", details=payloads(1))
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    assert isinstance(caught.value.cause, TerminatedError)
    assert caught.value.cause.message == "enough"

    service.answers[GET_HISTORY] = closed("TIMED_OUT")
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    assert isinstance(caught.value.cause, TimeoutError)
    assert caught.value.cause.type == TimeoutType.START_TO_CLOSE


async def test_an_unknown_workflow_is_an_rpc_error(service: FakeService, client: Client) -> None:
    service.answers[GET_HISTORY] = RPCError("workflow not found for ID: id", RPCStatusCode.NOT_FOUND)
    with pytest.raises(RPCError, match="not found"):
        await client.get_workflow_handle("id").result(rpc_timeout=timedelta(seconds=3))
    assert service.options == [(None, timedelta(seconds=3))]


async def test_interceptors_see_the_wait(service: FakeService) -> None:
    service.answers[GET_HISTORY] = closed("COMPLETED", result=payloads(1))
    seen: list[FetchWorkflowHistoryEventsInput] = []

    class Outbound(OutboundInterceptor):
        def fetch_workflow_history_events(
            self, input: FetchWorkflowHistoryEventsInput
        ) -> WorkflowHistoryEventAsyncIterator:
            seen.append(input)
            return super().fetch_workflow_history_events(input)

    class Watching(Interceptor):
        def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
            return Outbound(next)

    client = Client(service, interceptors=[Watching()])  # type: ignore[arg-type]
    assert await client.get_workflow_handle("id").result() == 1
    assert [input.wait_new_event for input in seen] == [True]


class Xor(PayloadCodec):
    """Turns every byte, so that what was not decoded is no JSON."""

    async def encode(self, payloads: Any) -> list[Payload]:
        return [Payload({"encoding": b"xor", "was": p.metadata["encoding"]}, _turned(p.data)) for p in payloads]

    async def decode(self, payloads: Any) -> list[Payload]:
        return [Payload({"encoding": p.metadata["was"]}, _turned(p.data)) for p in payloads]


def _turned(data: bytes) -> bytes:
    return bytes(byte ^ 0x55 for byte in data)


async def test_codecs_apply_and_shared_events_stay_as_they_are(service: FakeService) -> None:
    converter = DataConverter(payload_codec=Xor())
    client = Client(service, data_converter=converter)  # type: ignore[arg-type]
    service.answers["start_workflow_execution"] = ws.StartWorkflowExecutionResponse(run_id="run")
    handle = await client.start_workflow("Shop", "tea", id="id", task_queue="q", memo={"a": 1})
    request = service.only("start_workflow_execution")
    assert request.input.payloads[0].data == _turned(b'"tea"')
    assert request.memo.fields["a"].data == _turned(b"1")

    service.answers[GET_HISTORY] = closed("COMPLETED", result=Payloads(await converter.encode(["tea"])))
    assert await handle.result() == "tea"

    details = Payloads(await converter.encode(["detail"]))
    failed = closed("FAILED", failure=Failure(application_failure_info=ApplicationFailureInfo(details=details)))
    service.answers[GET_HISTORY] = failed
    for _ in range(2):
        with pytest.raises(WorkflowFailureError) as caught:
            await handle.result()
        assert isinstance(caught.value.cause, ApplicationError)
        assert caught.value.cause.details == ("detail",)
    assert details.payloads[0].data == _turned(b'"detail"')
