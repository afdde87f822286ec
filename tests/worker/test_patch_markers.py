"""What patches leave in a history, compared with a history that Temporal's own SDK and server recorded."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

from perdure import Client, Worker, activity, workflow

RECORDED = Path(__file__).parents[1] / "replay" / "patches"
KINDS = {
    "EVENT_TYPE_MARKER_RECORDED": "markerRecordedEventAttributes",
    "EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES": "upsertWorkflowSearchAttributesEventAttributes",
}


@activity.defn
async def old_way() -> str:
    return "old"


@activity.defn
async def new_way() -> str:
    return "new"


@workflow.defn(name="Aging")
class Patched:
    @workflow.run
    async def run(self) -> list[str]:
        options: Any = {"start_to_close_timeout": timedelta(seconds=20)}
        if workflow.patched("the-new-way"):
            seen = [await workflow.execute_activity(new_way, **options)]
            if workflow.patched("twice"):
                seen.append(await workflow.execute_activity(new_way, **options))
            return seen
        return [await workflow.execute_activity(old_way, **options)]


def marks(history: dict[str, Any]) -> list[tuple[str, str, Any]]:
    """The events that patches leave: id, type and attributes."""
    return [
        (event["eventId"], event["eventType"], event[KINDS[event["eventType"]]])
        for event in history["events"]
        if event["eventType"] in KINDS
    ]


async def test_markers_and_search_attributes_are_as_temporal_records_them() -> None:
    async with (
        await Client.connect("memory:") as client,
        Worker(client, task_queue="q", workflows=[Patched], activities=[old_way, new_way]),
    ):
        handle = await client.start_workflow(Patched.run, id="w", task_queue="q")
        await handle.result()
        ours = marks(json.loads((await handle.fetch_history()).to_json()))
    theirs = marks(json.loads((RECORDED / "history.python-1.35.0.json").read_text()))
    assert len(theirs) == 4
    assert ours == theirs
