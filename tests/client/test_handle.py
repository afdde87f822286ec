"""What handles send, and what they make of the answers."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from perdure._native.events import HistoryEvent
from perdure.activity import ActivityCancellationDetails
from perdure.api.common.v1 import Memo, Payloads, SearchAttributes, WorkflowExecution, WorkflowType
from perdure.api.enums.v1 import EventType, ResetReapplyExcludeType
from perdure.api.failure.v1 import ApplicationFailureInfo, Failure
from perdure.api.history import v1 as history
from perdure.api.query.v1 import QueryRejected
from perdure.api.sdk.v1 import UserMetadata
from perdure.api.update.v1 import Outcome, UpdateRef
from perdure.api.workflow.v1 import WorkflowExecutionConfig, WorkflowExecutionInfo
from perdure.api.workflowservice import v1 as ws
from perdure.client import (
    AsyncActivityCancelledError,
    Client,
    WorkflowExecutionStatus,
    WorkflowHandle,
    WorkflowHistory,
    WorkflowHistoryEventFilterType,
    WorkflowQueryFailedError,
    WorkflowQueryRejectedError,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
    WorkflowUpdateStage,
)
from perdure.common import QueryRejectCondition, SearchAttributeKey
from perdure.converter import DataConverter
from perdure.exceptions import ApplicationError
from perdure.service import RPCError, RPCStatusCode
from tests.client.conftest import FakeService
from tests.client.workflows import Order, ShopWorkflow

SECOND = 1_000_000_000
GET_HISTORY = "get_workflow_execution_history"


def payloads(*values: Any) -> Payloads:
    return Payloads(DataConverter.default.payload_converter.to_payloads(values))


@pytest.fixture
def handle(client: Client) -> WorkflowHandle[Any, Any]:
    return client.get_workflow_handle("id", run_id="run", first_execution_run_id="first")


async def test_signals(service: FakeService, handle: WorkflowHandle[Any, Any]) -> None:
    service.answers["signal_workflow_execution"] = ws.SignalWorkflowExecutionResponse()
    await handle.signal(ShopWorkflow.add, "tea")
    await handle.signal(ShopWorkflow.drop)
    await handle.signal("anything", args=[1, 2])
    sent = [request for _, request in service.requests]
    assert [request.signal_name for request in sent] == ["add", "drop-item", "anything"]
    assert [request.input and len(request.input.payloads) for request in sent] == [1, None, 2]
    assert sent[0].workflow_execution == WorkflowExecution("id", "run")
    assert len({request.request_id for request in sent}) == 3


async def test_queries(service: FakeService, handle: WorkflowHandle[Any, Any]) -> None:
    service.answers["query_workflow"] = ws.QueryWorkflowResponse(query_result=payloads(Order("tea")))
    assert await handle.query(ShopWorkflow.item, 3) == Order("tea")
    assert await handle.query("item", 3) == {"item": "tea", "amount": 1}
    assert await handle.query("item", 3, result_type=Order) == Order("tea")
    service.answers["query_workflow"] = ws.QueryWorkflowResponse()
    assert await handle.query(ShopWorkflow.total, reject_condition=QueryRejectCondition.NOT_OPEN) is None
    first, last = service.requests[0][1], service.requests[-1][1]
    assert (first.query.query_type, first.query.query_args.payloads[0].data) == ("item", b"3")
    assert (first.query_reject_condition, last.query_reject_condition) == (0, 2)


async def test_the_clients_reject_condition_is_the_default(service: FakeService) -> None:
    client = Client(
        service,  # type: ignore[arg-type]
        default_workflow_query_reject_condition=QueryRejectCondition.NOT_COMPLETED_CLEANLY,
    )
    service.answers["query_workflow"] = ws.QueryWorkflowResponse(query_rejected=QueryRejected(5))
    with pytest.raises(WorkflowQueryRejectedError, match="TERMINATED") as caught:
        await client.get_workflow_handle("id").query("q")
    assert caught.value.status is WorkflowExecutionStatus.TERMINATED
    assert service.only("query_workflow").query_reject_condition == 3


async def test_query_failures(service: FakeService, handle: WorkflowHandle[Any, Any]) -> None:
    service.answers["query_workflow"] = RPCError("no such query", RPCStatusCode.INVALID_ARGUMENT)
    with pytest.raises(WorkflowQueryFailedError, match="no such query"):
        await handle.query("q")
    service.answers["query_workflow"] = RPCError("no worker", RPCStatusCode.DEADLINE_EXCEEDED)
    with pytest.raises(RPCError, match="no worker"):
        await handle.query("q")


async def test_cancel_and_terminate(service: FakeService, handle: WorkflowHandle[Any, Any]) -> None:
    service.answers["request_cancel_workflow_execution"] = ws.RequestCancelWorkflowExecutionResponse()
    service.answers["terminate_workflow_execution"] = ws.TerminateWorkflowExecutionResponse()
    await handle.cancel(reason="because")
    await handle.terminate("detail", reason="enough")
    cancel, terminate = (request for _, request in service.requests)
    assert (cancel.reason, cancel.first_execution_run_id) == ("because", "first")
    assert (terminate.reason, terminate.first_execution_run_id) == ("enough", "first")
    assert terminate.details.payloads[0].data == b'"detail"'


async def test_describe(service: FakeService, client: Client, handle: WorkflowHandle[Any, Any]) -> None:
    colour = DataConverter.default.payload_converter.to_payload("red")
    colour.metadata["type"] = b"Keyword"
    summary, details = payloads("one line", "more").payloads
    service.answers["describe_workflow_execution"] = ws.DescribeWorkflowExecutionResponse(
        execution_config=WorkflowExecutionConfig(user_metadata=UserMetadata(summary, details)),
        workflow_execution_info=WorkflowExecutionInfo(
            execution=WorkflowExecution("id", "run"),
            type=WorkflowType("Shop"),
            start_time=1_700_000_000 * SECOND + 1_500,
            close_time=1_700_000_001 * SECOND,
            status=2,
            history_length=7,
            parent_execution=WorkflowExecution("parent", "parent-run"),
            root_execution=WorkflowExecution("root", "root-run"),
            memo=Memo({"order": payloads(Order("tea")).payloads[0]}),
            search_attributes=SearchAttributes({"Colour": colour}),
            task_queue="queue",
        ),
    )
    description = await handle.describe()
    assert service.only("describe_workflow_execution").execution == WorkflowExecution("id", "run")
    assert (description.id, description.run_id, description.workflow_type) == ("id", "run", "Shop")
    assert description.status is WorkflowExecutionStatus.COMPLETED
    assert description.start_time == datetime(2023, 11, 14, 22, 13, 20, 1, tzinfo=UTC)
    assert description.close_time == datetime(2023, 11, 14, 22, 13, 21, tzinfo=UTC)
    assert description.execution_time is None
    assert (description.parent_id, description.parent_run_id) == ("parent", "parent-run")
    assert (description.root_id, description.root_run_id) == ("root", "root-run")
    assert description.typed_search_attributes[SearchAttributeKey.for_keyword("Colour")] == "red"
    assert description.search_attributes == {"Colour": ["red"]}
    assert await description.memo() == {"order": {"item": "tea", "amount": 1}}
    assert await description.memo_value("order", type_hint=Order) == Order("tea")
    assert await description.memo_value("none", 5) == 5
    with pytest.raises(KeyError, match="has no value for 'none'"):
        await description.memo_value("none")
    assert await description.static_summary() == "one line"
    assert await description.static_details() == "more"


async def test_describe_of_the_least(service: FakeService, handle: WorkflowHandle[Any, Any]) -> None:
    service.answers["describe_workflow_execution"] = ws.DescribeWorkflowExecutionResponse(
        workflow_execution_info=WorkflowExecutionInfo(execution=WorkflowExecution("id", "run"))
    )
    description = await handle.describe()
    assert description.status is None
    assert description.parent_id is None
    assert await description.memo() == {}
    assert await description.static_summary() is None


def history_of(count: int) -> list[HistoryEvent]:
    started = history.WorkflowExecutionStartedEventAttributes(original_execution_run_id="run")
    first = HistoryEvent(1, EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED, SECOND, started)
    timers = [
        HistoryEvent(number, EventType.EVENT_TYPE_TIMER_FIRED, SECOND, history.TimerFiredEventAttributes(str(number)))
        for number in range(2, count + 1)
    ]
    return [first, *timers]


def serve_history(service: FakeService, events: list[HistoryEvent], page: int) -> None:
    def answer(request: ws.GetWorkflowExecutionHistoryRequest) -> ws.GetWorkflowExecutionHistoryResponse:
        begin = int(request.next_page_token or b"0")
        end = begin + (request.maximum_page_size or page)
        token = str(end).encode() if end < len(events) else b""
        return ws.GetWorkflowExecutionHistoryResponse(history.History(events[begin:end]), next_page_token=token)

    service.answers[GET_HISTORY] = answer


async def test_histories_come_in_pages(service: FakeService, handle: WorkflowHandle[Any, Any]) -> None:
    events = history_of(7)
    serve_history(service, events, 3)
    fetched = await handle.fetch_history()
    assert list(fetched.events) == events
    assert (fetched.workflow_id, fetched.run_id) == ("id", "run")
    assert len(service.requests) == 3
    iterator = handle.fetch_history_events(page_size=2, event_filter_type=WorkflowHistoryEventFilterType.ALL_EVENT)
    await iterator.fetch_next_page()
    assert iterator.current_page == events[:2]
    assert iterator.next_page_token == b"2"
    assert [event.event_id async for event in iterator] == list(range(1, 8))


async def test_listing(service: FakeService, client: Client) -> None:
    infos = [
        WorkflowExecutionInfo(execution=WorkflowExecution(f"id-{number}", f"run-{number}"), status=1)
        for number in range(5)
    ]

    def answer(request: ws.ListWorkflowExecutionsRequest) -> ws.ListWorkflowExecutionsResponse:
        begin = int(request.next_page_token or b"0")
        end = begin + min(request.page_size, 2)
        return ws.ListWorkflowExecutionsResponse(infos[begin:end], str(end).encode() if end < len(infos) else b"")

    service.answers["list_workflow_executions"] = answer
    listed = client.list_workflows("WorkflowType = 'Shop'")
    assert [execution.id async for execution in listed] == [f"id-{number}" for number in range(5)]
    assert [request.page_size for _, request in service.requests] == [1000, 1000, 1000]
    assert {request.query for _, request in service.requests} == {"WorkflowType = 'Shop'"}
    service.requests.clear()
    assert len([execution async for execution in client.list_workflows(limit=3)]) == 3
    assert [request.page_size for _, request in service.requests] == [3, 1]

    serve_history(service, history_of(2), 10)
    histories = [each async for each in client.list_workflows(limit=2).map_histories()]
    assert [each.workflow_id for each in histories] == ["id-0", "id-1"]
    assert [len(each.events) for each in histories] == [2, 2]


async def test_counting(service: FakeService, client: Client) -> None:
    running = DataConverter.default.payload_converter.to_payload("Running")
    running.metadata["type"] = b"Keyword"
    group = ws.CountWorkflowExecutionsResponseAggregationGroup([running], 4)
    service.answers["count_workflow_executions"] = ws.CountWorkflowExecutionsResponse(4, [group])
    count = await client.count_workflows("GROUP BY ExecutionStatus")
    assert (count.count, count.groups[0].count, list(count.groups[0].group_values)) == (4, 4, ["Running"])


async def test_updates(service: FakeService, handle: WorkflowHandle[Any, Any]) -> None:
    reference = UpdateRef(WorkflowExecution("id", "run"), "u")
    answers = [
        ws.UpdateWorkflowExecutionResponse(stage=1),
        ws.UpdateWorkflowExecutionResponse(update_ref=reference, stage=2),
    ]
    service.answers["update_workflow_execution"] = lambda request: answers.pop(0)
    polls = [
        ws.PollWorkflowExecutionUpdateResponse(stage=2),
        ws.PollWorkflowExecutionUpdateResponse(outcome=Outcome(success=payloads(Order("tea"))), stage=3),
    ]
    service.answers["poll_workflow_execution_update"] = lambda request: polls.pop(0)
    assert await handle.execute_update(ShopWorkflow.pay, 5, id="u") == Order("tea")
    names = [name for name, _ in service.requests]
    assert names == ["update_workflow_execution"] * 2 + ["poll_workflow_execution_update"] * 2
    request = service.requests[0][1]
    assert (request.request.meta.update_id, request.request.input.name) == ("u", "pay")
    assert request.first_execution_run_id == "first"
    assert request.wait_policy.lifecycle_stage == 3
    assert service.requests[-1][1].update_ref == UpdateRef(WorkflowExecution("id", "run"), "u")


async def test_rejected_updates(service: FakeService, handle: WorkflowHandle[Any, Any]) -> None:
    failure = Failure(message="no", application_failure_info=ApplicationFailureInfo(type="No"))
    service.answers["update_workflow_execution"] = ws.UpdateWorkflowExecutionResponse(
        outcome=Outcome(failure=failure), stage=3
    )
    update = await handle.start_update("pay", 5, wait_for_stage=WorkflowUpdateStage.ACCEPTED)
    with pytest.raises(WorkflowUpdateFailedError) as caught:
        await update.result()
    assert isinstance(caught.value.cause, ApplicationError)
    assert caught.value.cause.type == "No"


async def test_the_wait_for_an_update_may_end_first(service: FakeService, handle: WorkflowHandle[Any, Any]) -> None:
    update = handle.get_update_handle_for(ShopWorkflow.pay, "u")
    assert (update.id, update.workflow_id, update.workflow_run_id) == ("u", "id", "run")
    for error in (RPCError("late", RPCStatusCode.DEADLINE_EXCEEDED), asyncio.CancelledError()):
        service.answers["poll_workflow_execution_update"] = error
        with pytest.raises(WorkflowUpdateRPCTimeoutOrCancelledError):
            await update.result()
        service.answers["update_workflow_execution"] = error
        with pytest.raises(WorkflowUpdateRPCTimeoutOrCancelledError):
            await handle.execute_update("pay")
    service.answers["poll_workflow_execution_update"] = RPCError("unknown", RPCStatusCode.NOT_FOUND)
    with pytest.raises(RPCError, match="unknown"):
        await update.result()


async def test_reset(service: FakeService, handle: WorkflowHandle[Any, Any]) -> None:
    service.answers["reset_workflow_execution"] = ws.ResetWorkflowExecutionResponse("new-run")
    reset = await handle.reset(
        workflow_task_finish_event_id=4,
        reason="again",
        reapply_exclude_types=[ResetReapplyExcludeType.RESET_REAPPLY_EXCLUDE_TYPE_SIGNAL],
    )
    request = service.only("reset_workflow_execution")
    assert request.workflow_task_finish_event_id == 4
    assert request.reset_reapply_exclude_types == [1]
    assert request.request_id
    assert (reset.run_id, reset.result_run_id) == ("new-run", "new-run")


async def test_reset_to_the_last_workflow_task(service: FakeService, handle: WorkflowHandle[Any, Any]) -> None:
    completed = EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
    pages = {
        b"": (history_of(3)[:0:-1], b"more"),
        b"more": ([HistoryEvent(8, completed), HistoryEvent(4, completed)], b""),
    }

    def answer(request: ws.GetWorkflowExecutionHistoryReverseRequest) -> ws.GetWorkflowExecutionHistoryReverseResponse:
        events, token = pages[request.next_page_token]
        return ws.GetWorkflowExecutionHistoryReverseResponse(history.History(events), token)

    service.answers["get_workflow_execution_history_reverse"] = answer
    service.answers["reset_workflow_execution"] = ws.ResetWorkflowExecutionResponse("new-run")
    await handle.reset()
    assert service.requests[-1][1].workflow_task_finish_event_id == 8
    pages[b"more"] = ([], b"")
    with pytest.raises(RPCError, match="no point to reset it to"):
        await handle.reset()


async def test_delete(service: FakeService, handle: WorkflowHandle[Any, Any]) -> None:
    service.answers["delete_workflow_execution"] = ws.DeleteWorkflowExecutionResponse()
    await handle.delete()
    assert service.only("delete_workflow_execution").workflow_execution == WorkflowExecution("id", "run")


@pytest.mark.parametrize("by_id", [True, False])
async def test_async_activities(service: FakeService, client: Client, by_id: bool) -> None:
    suffix = "_by_id" if by_id else ""
    kind = "ById" if by_id else ""
    activity = (
        client.get_async_activity_handle(workflow_id="id", run_id="run", activity_id="a")
        if by_id
        else client.get_async_activity_handle(task_token=b"token")
    )
    for name in ("completed", "failed", "canceled"):
        response = getattr(ws, f"RespondActivityTask{name.capitalize()}{kind}Response")()
        service.answers[f"respond_activity_task_{name}{suffix}"] = response
    heartbeat = f"record_activity_task_heartbeat{suffix}"
    response_type = getattr(ws, f"RecordActivityTaskHeartbeat{kind}Response")
    service.answers[heartbeat] = response_type()
    await activity.heartbeat("half")
    await activity.complete(5)
    await activity.complete()
    await activity.fail(ApplicationError("bad", type="Bad"), last_heartbeat_details=["last"])
    await activity.report_cancellation("stopped")
    beat, done, empty, failed, cancelled = (request for _, request in service.requests)
    for request in (beat, done, failed, cancelled):
        if by_id:
            assert (request.workflow_id, request.run_id, request.activity_id) == ("id", "run", "a")
        else:
            assert request.task_token == b"token"
        assert (request.namespace, request.identity) == ("default", client.identity)
    assert beat.details.payloads[0].data == b'"half"'
    assert done.result.payloads[0].data == b"5"
    assert empty.result is None
    assert failed.failure.application_failure_info.type == "Bad"
    assert failed.last_heartbeat_details.payloads[0].data == b'"last"'
    assert cancelled.details.payloads[0].data == b'"stopped"'

    service.answers[heartbeat] = response_type(cancel_requested=True)
    with pytest.raises(AsyncActivityCancelledError) as caught:
        await activity.heartbeat()
    assert caught.value.details == ActivityCancellationDetails(cancel_requested=True)


BAD_CALLS: list[tuple[str, Any, type[Exception], str]] = [
    ("signal by an undecorated method", lambda h: h.signal(ShopWorkflow.undecorated), ValueError, "@workflow.signal"),
    ("dynamic signal", lambda h: h.signal(ShopWorkflow.other), ValueError, "dynamic signal handler"),
    ("signal by a number", lambda h: h.signal(5), TypeError, "signal handler or name, not int"),
    ("empty signal", lambda h: h.signal(""), ValueError, "signal must not be empty"),
    ("query by a signal", lambda h: h.query(ShopWorkflow.add), ValueError, "decorate it with @workflow.query"),
    (
        "query reject condition",
        lambda h: h.query("q", reject_condition=5),
        TypeError,
        "reject_condition must be one of",
    ),
    ("update by a query", lambda h: h.execute_update(ShopWorkflow.total), ValueError, "@workflow.update"),
    ("update stage", lambda h: h.start_update("u", wait_for_stage=3), TypeError, "wait_for_stage must be one of"),
    (
        "update admitted",
        lambda h: h.start_update("u", wait_for_stage=WorkflowUpdateStage.ADMITTED),
        ValueError,
        "not ADMITTED",
    ),
    ("update id", lambda h: h.execute_update("u", id=""), ValueError, "id must not be empty"),
    ("cancel reason", lambda h: h.cancel(reason=5), TypeError, "reason must be a str"),
    ("terminate reason", lambda h: h.terminate(reason=5), TypeError, "reason must be a str"),
    ("result timeout", lambda h: h.result(rpc_timeout=1.5), TypeError, "rpc_timeout must be a timedelta"),
    ("describe timeout", lambda h: h.describe(rpc_timeout=timedelta(-1)), ValueError, "rpc_timeout must be positive"),
    ("reset event", lambda h: h.reset(workflow_task_finish_event_id=1), ValueError, "must be at least 2"),
    ("reset exclusion", lambda h: h.reset(reapply_exclude_types=["x"]), TypeError, "reapply_exclude_types must be"),
]


@pytest.mark.parametrize(("call", "kind", "message"), [c[1:] for c in BAD_CALLS], ids=[c[0] for c in BAD_CALLS])
async def test_bad_calls_send_nothing(
    service: FakeService, handle: WorkflowHandle[Any, Any], call: Any, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        await call(handle)
    assert service.requests == []


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda c: c.get_workflow_handle(""), ValueError, "workflow_id must not be empty"),
        (lambda c: c.get_workflow_handle(5), TypeError, "workflow_id must be a str"),
        (lambda c: c.get_workflow_handle("a", run_id=5), TypeError, "run_id must be a str"),
        (lambda c: c.get_workflow_handle_for(ShopWorkflow.add, "a"), ValueError, "@workflow.run"),
        (lambda c: c.list_workflows(5), TypeError, "query must be a str"),
        (lambda c: c.list_workflows(page_size=0), ValueError, "page_size must be at least 1"),
        (lambda c: c.list_workflows(limit=1.5), TypeError, "limit must be an int"),
        (lambda c: c.list_workflows(next_page_token="x"), TypeError, "next_page_token must be bytes"),
        (lambda c: c.get_async_activity_handle(task_token="x"), TypeError, "task_token must be bytes"),
        (lambda c: c.get_async_activity_handle(task_token=b""), ValueError, "task_token must not be empty"),
        (lambda c: c.get_async_activity_handle(workflow_id="a", run_id=None), TypeError, "activity_id must be a str"),
        (lambda c: c.get_async_activity_handle(task_token=b"x", activity_id="a"), ValueError, "not both"),
        (lambda c: c.get_workflow_handle("a").get_update_handle(""), ValueError, "id must not be empty"),
        (lambda c: c.get_workflow_handle("a").fetch_history_events(page_size=-1), ValueError, "at least 1"),
    ],
)
async def test_bad_handles_are_refused(client: Client, call: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        call(client)


async def test_histories_go_to_json_and_back(service: FakeService, handle: WorkflowHandle[Any, Any]) -> None:
    serve_history(service, history_of(3), 10)
    fetched = await handle.fetch_history()
    for form in (fetched.to_json(), fetched.to_json_dict()):
        read = WorkflowHistory.from_json("id", form)
        assert (read.run_id, list(read.events)) == ("run", list(fetched.events))
    for broken in ("no json", "[]", {"events": 5}):
        with pytest.raises(ValueError, match=r"history|History"):
            WorkflowHistory.from_json("id", broken)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="has no events"):
        _ = WorkflowHistory("id", []).run_id
    with pytest.raises(RuntimeError, match="does not begin with its start"):
        _ = WorkflowHistory("id", fetched.events[1:]).run_id
