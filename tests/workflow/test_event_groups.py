"""Event groups: marks from scopes and arguments on every kind of command, and on its event."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from perdure import Client, Worker, activity, workflow
from perdure.api.enums.v1 import EventType

SOON = timedelta(seconds=30)


@activity.defn
async def work() -> None: ...


@workflow.defn
class Child:
    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: False)

    @workflow.signal
    def poke(self) -> None: ...


@workflow.defn
class Grouped:
    @workflow.run
    async def run(self, again: bool = True) -> str:
        if not again:
            return "done"
        given: Any = {"event_groups": [workflow.create_event_group("given", label="Given")]}
        scoped = workflow.create_event_group("scoped")
        outer = workflow.create_event_group("outer")
        await workflow.sleep(0.001)
        with outer.scope():
            with scoped.scope():
                task = asyncio.ensure_future(workflow.execute_activity(work, start_to_close_timeout=SOON, **given))
            await task
        await workflow.execute_local_activity(work, start_to_close_timeout=SOON, **given)
        await workflow.sleep(0.001, **given)
        with pytest.raises(asyncio.TimeoutError):
            await workflow.wait_condition(lambda: False, timeout=0.001, **given)
        child = await workflow.start_child_workflow(
            Child.run, parent_close_policy=workflow.ParentClosePolicy.TERMINATE, **given
        )
        await child.signal(Child.poke, **given)
        other = workflow.get_external_workflow_handle(child.id)
        await other.signal(Child.poke, **given)
        await other.cancel(**given)
        workflow.upsert_memo({"a": 1}, **given)
        assert workflow.patched("patch", **given)
        with pytest.raises(TypeError, match="create_event_group"):
            workflow.upsert_memo({"a": 1}, event_groups=["no group"])  # type: ignore[list-item]
        with pytest.raises(ValueError, match="id cannot be empty"):
            workflow.create_event_group("")
        with pytest.raises(ValueError, match="label cannot be empty"):
            workflow.create_event_group("a", label="")
        return workflow.continue_as_new(False, **given)


async def test_every_command_can_belong_to_groups() -> None:
    async with (
        await Client.connect("memory:") as client,
        Worker(client, task_queue="q", workflows=[Grouped, Child], activities=[work], max_cached_workflows=0),
    ):
        handle = await client.start_workflow(Grouped.run, id="g", task_queue="q")
        assert await handle.result() == "done"
        first = client.get_workflow_handle("g", run_id=handle.result_run_id)
        events = (await first.fetch_history()).events
    marked = [
        (EventType(event.event_type).name.removeprefix("EVENT_TYPE_"), [m.label.id for m in event.event_group_markers])
        for event in events
        if event.event_group_markers
    ]
    assert marked == [
        ("ACTIVITY_TASK_SCHEDULED", ["outer", "scoped", "given"]),
        ("MARKER_RECORDED", ["given"]),
        ("TIMER_STARTED", ["given"]),
        ("TIMER_STARTED", ["given"]),
        ("START_CHILD_WORKFLOW_EXECUTION_INITIATED", ["given"]),
        ("SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED", ["given"]),
        ("SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED", ["given"]),
        ("REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED", ["given"]),
        ("WORKFLOW_PROPERTIES_MODIFIED", ["given"]),
        ("MARKER_RECORDED", ["given"]),
        ("UPSERT_WORKFLOW_SEARCH_ATTRIBUTES", ["given"]),
        ("WORKFLOW_EXECUTION_CONTINUED_AS_NEW", ["given"]),
    ]
    label = next(event for event in events if event.event_type == 25).event_group_markers[0].label
    assert label.label.data == b'"Given"'
