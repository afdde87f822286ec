"""Every method of every interceptor is called, each once for what it stands for, and headers travel."""

from __future__ import annotations

import asyncio
import inspect
from collections import Counter
from datetime import timedelta
from typing import Any

from perdure import Client, Worker, activity, workflow
from perdure.client import Interceptor as ClientInterceptor
from perdure.client import OutboundInterceptor
from perdure.converter import PayloadConverter
from perdure.worker import (
    ActivityInboundInterceptor,
    ActivityOutboundInterceptor,
    Interceptor,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)

SOON = timedelta(seconds=30)
KEY = "user"
calls: Counter[str] = Counter()
#: What arrives in headers, by where.
arrived: dict[str, set[str]] = {}


def counting(base: type) -> type:
    """A subclass that counts the calls of every method, and sends the header where a call has headers."""

    def override(name: str, method: Any) -> Any:
        def note(args: tuple[Any, ...]) -> None:
            calls[f"{base.__name__}.{name}"] += 1
            for given in args:
                headers = getattr(given, "headers", None)
                if headers is None:
                    continue
                if "Inbound" in base.__name__:
                    value = PayloadConverter.default.from_payload(headers[KEY], str) if KEY in headers else "nobody"
                    arrived.setdefault(name, set()).add(value)
                else:
                    given.headers = {**headers, KEY: PayloadConverter.default.to_payloads(["ada"])[0]}

        if inspect.iscoroutinefunction(method):

            async def call_async(self: Any, *args: Any) -> Any:
                note(args)
                return await method(self, *args)

            return call_async

        def call(self: Any, *args: Any) -> Any:
            note(args)
            return method(self, *args)

        return call

    methods = {name: method for name, method in vars(base).items() if not name.startswith("_") and callable(method)}
    return type(f"Counting{base.__name__}", (base,), {name: override(name, method) for name, method in methods.items()})


class Outbound(counting(WorkflowOutboundInterceptor)):  # type: ignore[misc]
    pass


class Inbound(counting(WorkflowInboundInterceptor)):  # type: ignore[misc]
    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        super().init(Outbound(outbound))


class ActivityOutbound(counting(ActivityOutboundInterceptor)):  # type: ignore[misc]
    pass


class ActivityInbound(counting(ActivityInboundInterceptor)):  # type: ignore[misc]
    def init(self, outbound: ActivityOutboundInterceptor) -> None:
        super().init(ActivityOutbound(outbound))


ClientOutbound = counting(OutboundInterceptor)


class Counting(ClientInterceptor, Interceptor):
    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        return ClientOutbound(next)  # type: ignore[no-any-return]

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return ActivityInbound(next)  # type: ignore[no-any-return]

    def workflow_interceptor_class(self, input: WorkflowInterceptorClassInput) -> type[WorkflowInboundInterceptor]:
        return Inbound


@activity.defn
async def act() -> None:
    activity.heartbeat(activity.info().activity_id)


@activity.defn
async def elsewhere() -> str:
    activity.raise_complete_async()


@workflow.defn
class Child:
    def __init__(self) -> None:
        self.is_done = False

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: self.is_done)

    @workflow.signal
    def finish(self) -> None:
        self.is_done = True


@workflow.defn
class Parent(Child):
    @workflow.run
    async def run(self, again: bool = True) -> str:
        if not again:
            return workflow.info().workflow_id
        await workflow.execute_activity(act, start_to_close_timeout=SOON)
        await workflow.execute_local_activity(act, start_to_close_timeout=SOON)
        for_child = await workflow.start_child_workflow(Child.run)
        await for_child.signal(Child.finish)
        await for_child
        other = await workflow.start_child_workflow(Child.run)
        await workflow.get_external_workflow_handle(other.id).signal(Child.finish)
        await other
        await workflow.execute_activity(elsewhere, start_to_close_timeout=SOON, activity_id="there")
        await workflow.wait_condition(lambda: self.is_done)
        return workflow.continue_as_new(False)

    @workflow.query
    def ask(self) -> None: ...

    @workflow.update
    def change(self) -> None: ...

    @change.validator
    def check(self) -> None: ...


async def test_every_method_is_called_once() -> None:
    calls.clear()
    arrived.clear()
    async with (
        await Client.connect("memory:", interceptors=[Counting()]) as client,
        Worker(client, task_queue="q", workflows=[Parent, Child], activities=[act, elsewhere]),
    ):
        handle = await client.start_workflow(Parent.run, id="p", task_queue="q")
        there = client.get_async_activity_handle(workflow_id="p", run_id=None, activity_id="there")
        async with asyncio.timeout(20):
            while not (await handle.describe()).raw_description.pending_activities:
                await asyncio.sleep(0.01)
        calls.pop("OutboundInterceptor.describe_workflow")
        await handle.describe()
        await there.heartbeat(1)
        await there.complete("done")
        await handle.query(Parent.ask)
        await handle.execute_update(Parent.change)
        await handle.signal(Parent.finish)
        assert await handle.result() == "p"
        calls["OutboundInterceptor.fetch_workflow_history_events"] = 0
        await handle.fetch_history()
        assert [found.id async for found in client.list_workflows("WorkflowId = 'p'")] == ["p"] * 2
        assert (await client.count_workflows()).count == 4
        stays = await client.start_workflow(Child.run, id="stays", task_queue="q")
        await stays.cancel()
        other = await client.start_workflow(Child.run, id="other", task_queue="elsewhere")
        await other.terminate()

    assert {name: count for name, count in calls.items() if name.startswith("Outbound")} == {
        "OutboundInterceptor.start_workflow": 3,
        "OutboundInterceptor.describe_workflow": 1,
        "OutboundInterceptor.heartbeat_async_activity": 1,
        "OutboundInterceptor.complete_async_activity": 1,
        "OutboundInterceptor.query_workflow": 1,
        "OutboundInterceptor.start_workflow_update": 1,
        "OutboundInterceptor.signal_workflow": 1,
        "OutboundInterceptor.fetch_workflow_history_events": 1,
        "OutboundInterceptor.list_workflows": 1,
        "OutboundInterceptor.count_workflows": 1,
        "OutboundInterceptor.cancel_workflow": 1,
        "OutboundInterceptor.terminate_workflow": 1,
    }
    workflows = {
        name: count for name, count in calls.items() if name.startswith("Workflow") and not name.endswith(".info")
    }
    assert workflows == {
        "WorkflowInboundInterceptor.init": 5,
        "WorkflowInboundInterceptor.execute_workflow": 5,
        "WorkflowInboundInterceptor.handle_signal": 3,
        "WorkflowInboundInterceptor.handle_query": 1,
        "WorkflowInboundInterceptor.handle_update_validator": 1,
        "WorkflowInboundInterceptor.handle_update_handler": 1,
        "WorkflowOutboundInterceptor.start_activity": 2,
        "WorkflowOutboundInterceptor.start_local_activity": 1,
        "WorkflowOutboundInterceptor.start_child_workflow": 2,
        "WorkflowOutboundInterceptor.signal_child_workflow": 1,
        "WorkflowOutboundInterceptor.signal_external_workflow": 1,
        "WorkflowOutboundInterceptor.continue_as_new": 1,
    }
    assert calls["WorkflowOutboundInterceptor.info"] == 1
    assert {name: count for name, count in calls.items() if name.startswith("Activity")} == {
        "ActivityInboundInterceptor.init": 3,
        "ActivityInboundInterceptor.execute_activity": 3,
        "ActivityOutboundInterceptor.info": 2,
        "ActivityOutboundInterceptor.heartbeat": 2,
    }
    assert arrived == {
        name: {"ada"}
        for name in (
            "execute_workflow",
            "handle_signal",
            "handle_query",
            "handle_update_validator",
            "handle_update_handler",
            "execute_activity",
        )
    }
