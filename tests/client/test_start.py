"""Starting workflows: what request is sent, and what comes back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from perdure.api.common.v1 import WorkflowType
from perdure.api.errordetails.v1 import WorkflowExecutionAlreadyStartedFailure
from perdure.api.workflowservice import v1 as ws
from perdure.client import Client, Interceptor, OutboundInterceptor, StartWorkflowInput, WorkflowHandle
from perdure.common import (
    Priority,
    RetryPolicy,
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from perdure.exceptions import WorkflowAlreadyStartedError
from perdure.service import RPCError, RPCStatusCode
from tests.client.conftest import FakeService
from tests.client.workflows import NotAWorkflow, Order, PlainWorkflow, ShopWorkflow

SECOND = 1_000_000_000


async def start(client: Client, **options: Any) -> WorkflowHandle[Any, Any]:
    return await client.start_workflow("Shop", id="id", task_queue="queue", **options)


async def test_a_plain_start(service: FakeService, client: Client) -> None:
    service.answers["start_workflow_execution"] = ws.StartWorkflowExecutionResponse(run_id="run", started=True)
    handle = await client.start_workflow(ShopWorkflow.run, args=[Order("tea", 2), 3.5], id="id", task_queue="queue")
    request = service.only("start_workflow_execution")
    assert request.workflow_type == WorkflowType("Shop")
    assert (request.namespace, request.workflow_id, request.task_queue.name) == ("default", "id", "queue")
    assert [payload.data for payload in request.input.payloads] == [b'{"amount":2,"item":"tea"}', b"3.5"]
    assert request.identity == client.identity
    assert request.workflow_id_reuse_policy == WorkflowIDReusePolicy.ALLOW_DUPLICATE
    assert request.workflow_id_conflict_policy == WorkflowIDConflictPolicy.UNSPECIFIED
    assert (handle.id, handle.run_id, handle.result_run_id, handle.first_execution_run_id) == ("id", None, "run", "run")
    assert handle._result_type is Order


async def test_every_option(service: FakeService, client: Client) -> None:
    service.answers["start_workflow_execution"] = ws.StartWorkflowExecutionResponse(
        run_id="run", first_execution_run_id="first"
    )
    key = SearchAttributeKey.for_datetime("When")
    when = datetime(2026, 1, 2, tzinfo=UTC)
    handle = await start(
        client,
        execution_timeout=timedelta(hours=1),
        run_timeout=timedelta(minutes=1),
        task_timeout=timedelta(seconds=5),
        id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        retry_policy=RetryPolicy(maximum_attempts=3),
        memo={"who": "me"},
        search_attributes=TypedSearchAttributes([SearchAttributePair(key, when)]),
        static_summary="one line",
        static_details="more",
        start_delay=timedelta(seconds=2),
        rpc_metadata={"a": "b"},
        rpc_timeout=timedelta(seconds=9),
        priority=Priority(priority_key=1),
    )
    request = service.only("start_workflow_execution")
    assert request.workflow_execution_timeout == 3600 * SECOND
    assert request.workflow_run_timeout == 60 * SECOND
    assert request.workflow_task_timeout == 5 * SECOND
    assert request.workflow_start_delay == 2 * SECOND
    assert request.workflow_id_reuse_policy == 3
    assert request.workflow_id_conflict_policy == 2
    assert request.retry_policy.maximum_attempts == 3
    assert request.memo.fields["who"].data == b'"me"'
    assert request.search_attributes.indexed_fields["When"].metadata["type"] == b"Datetime"
    assert request.user_metadata.summary.data == b'"one line"'
    assert request.user_metadata.details.data == b'"more"'
    assert request.priority.priority_key == 1
    assert request.input is None
    assert service.options == [({"a": "b"}, timedelta(seconds=9))]
    assert handle.first_execution_run_id == "first"


async def test_request_ids_differ(service: FakeService, client: Client) -> None:
    service.answers["start_workflow_execution"] = ws.StartWorkflowExecutionResponse(run_id="run")
    other = Client(service)  # type: ignore[arg-type]
    for each in (client, client, other):
        await start(each)
    assert len({request.request_id for _, request in service.requests}) == 3


@pytest.mark.parametrize(("started", "first"), [(True, "run"), (False, None)])
async def test_signal_with_start(service: FakeService, client: Client, started: bool, first: str | None) -> None:
    service.answers["signal_with_start_workflow_execution"] = ws.SignalWithStartWorkflowExecutionResponse(
        run_id="run", started=started
    )
    handle = await start(client, start_signal="add", start_signal_args=["tea"], memo={"a": 1})
    request = service.only("signal_with_start_workflow_execution")
    assert (request.signal_name, request.signal_input.payloads[0].data) == ("add", b'"tea"')
    assert request.memo.fields["a"].data == b"1"
    assert request.workflow_type == WorkflowType("Shop")
    assert (handle.result_run_id, handle.first_execution_run_id) == ("run", first)


async def test_a_taken_id_is_an_error_of_its_own(service: FakeService, client: Client) -> None:
    service.answers["start_workflow_execution"] = RPCError(
        "taken", RPCStatusCode.ALREADY_EXISTS, [WorkflowExecutionAlreadyStartedFailure("r", "run", "first")]
    )
    with pytest.raises(WorkflowAlreadyStartedError) as caught:
        await start(client)
    error = caught.value
    assert (error.workflow_id, error.workflow_type, error.run_id, error.first_run_id) == ("id", "Shop", "run", "first")


async def test_other_refusals_pass_through(service: FakeService, client: Client) -> None:
    refusal = RPCError("no", RPCStatusCode.RESOURCE_EXHAUSTED)
    service.answers["start_workflow_execution"] = refusal
    with pytest.raises(RPCError) as caught:
        await start(client)
    assert caught.value is refusal


async def test_interceptors_see_and_change_the_start(service: FakeService) -> None:
    service.answers["start_workflow_execution"] = ws.StartWorkflowExecutionResponse(run_id="run")
    seen: list[str] = []

    class Outbound(OutboundInterceptor):
        def __init__(self, next: OutboundInterceptor, name: str) -> None:
            super().__init__(next)
            self.name = name

        async def start_workflow(self, input: StartWorkflowInput) -> WorkflowHandle[Any, Any]:
            seen.append(self.name)
            input.id += self.name
            return await super().start_workflow(input)

    class Named(Interceptor):
        def __init__(self, name: str) -> None:
            self.name = name

        def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
            return Outbound(next, self.name)

    client = Client(service, interceptors=[Named("-outer"), Named("-inner")])  # type: ignore[arg-type]
    handle = await start(client, static_summary="s")
    assert seen == ["-outer", "-inner"]
    assert handle.id == "id-outer-inner"
    assert service.only("start_workflow_execution").user_metadata.summary.data == b'"s"'


async def test_untyped_search_attributes_are_deprecated(service: FakeService, client: Client) -> None:
    service.answers["start_workflow_execution"] = ws.StartWorkflowExecutionResponse(run_id="run")
    with pytest.warns(DeprecationWarning, match="earch attributes") as warned:
        await client.start_workflow("Shop", id="id", task_queue="q", search_attributes={"Colour": ["red"]})
    assert warned[0].filename == __file__
    request = service.only("start_workflow_execution")
    assert request.search_attributes.indexed_fields["Colour"].data == b'["red"]'


BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"id": ""}, ValueError, "id must not be empty"),
    ({"id": 7}, TypeError, "id must be a str, not int"),
    ({"id": "x" * 1001}, ValueError, "id has 1001 bytes; at most 1000"),
    ({"id": "é" * 501}, ValueError, "id has 1002 bytes"),
    ({"id": "\ud800"}, ValueError, "lone surrogate"),
    ({"task_queue": None}, TypeError, "task_queue must be a str, not None"),
    ({"task_queue": ""}, ValueError, "task_queue must not be empty"),
    ({"workflow": ""}, ValueError, "workflow must not be empty"),
    ({"workflow": 5}, TypeError, "run method or name, not int"),
    ({"workflow": ShopWorkflow}, TypeError, "ShopWorkflow.run, not the class"),
    ({"workflow": NotAWorkflow}, TypeError, "decorate the class with @workflow.defn"),
    ({"workflow": NotAWorkflow.run}, ValueError, "decorate it with @workflow.run"),
    ({"arg": 1, "args": [2]}, ValueError, "either one arg or a list of args"),
    ({"args": "text"}, TypeError, "args must be a list or tuple"),
    ({"args": 5}, TypeError, "args must be a list or tuple"),
    ({"execution_timeout": 5}, TypeError, "execution_timeout must be a timedelta, not int"),
    ({"run_timeout": timedelta(-1)}, ValueError, "run_timeout must not be negative"),
    ({"start_delay": "1s"}, TypeError, "start_delay must be a timedelta"),
    ({"id_reuse_policy": "always"}, TypeError, "id_reuse_policy must be one of WorkflowIDReusePolicy.ALLOW_DUPLICATE"),
    ({"id_conflict_policy": None}, TypeError, "id_conflict_policy must be one of"),
    ({"retry_policy": {"maximum_attempts": 1}}, TypeError, "retry_policy must be RetryPolicy, not dict"),
    ({"retry_policy": RetryPolicy(backoff_coefficient=0.5)}, ValueError, "coefficient"),
    ({"cron_schedule": 5}, TypeError, "cron_schedule must be a str"),
    ({"memo": ["a"]}, TypeError, "memo must be Mapping, not list"),
    ({"memo": {1: 2}}, TypeError, "a memo key must be a str"),
    ({"search_attributes": ["a"]}, TypeError, "search_attributes must be"),
    ({"static_summary": 5}, TypeError, "static_summary must be str"),
    ({"priority": 3}, TypeError, "priority must be Priority"),
    ({"versioning_override": "v1"}, TypeError, "versioning_override must be VersioningOverride"),
    ({"start_signal": ""}, ValueError, "start_signal must not be empty"),
    ({"start_signal": "s", "start_signal_args": "text"}, TypeError, "start_signal_args must be a list or tuple"),
    ({"rpc_timeout": 5}, TypeError, "rpc_timeout must be a timedelta"),
    ({"rpc_timeout": timedelta(0)}, ValueError, "rpc_timeout must be positive"),
    ({"rpc_metadata": {"a": b"b"}}, TypeError, "must end in '-bin'"),
    ({"rpc_metadata": {"a": 1}}, TypeError, "rpc_metadata maps str to str or bytes"),
    ({"rpc_metadata": "a"}, TypeError, "rpc_metadata must be a mapping"),
]


@pytest.mark.parametrize(("options", "kind", "message"), BAD, ids=[str(bad[0])[:40] for bad in BAD])
async def test_bad_input_sends_nothing(
    service: FakeService, client: Client, options: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        await client.start_workflow(**{"workflow": PlainWorkflow.run, "id": "id", "task_queue": "queue", **options})
    assert service.requests == []


async def test_durations_beyond_a_century_are_capped(service: FakeService, client: Client) -> None:
    service.answers["start_workflow_execution"] = ws.StartWorkflowExecutionResponse(run_id="run")
    await start(client, execution_timeout=timedelta.max)
    assert service.only("start_workflow_execution").workflow_execution_timeout == 100 * 365 * 86_400 * SECOND
