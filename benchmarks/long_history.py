"""A long history, made rather than recorded: one workflow that ran activities one after the other."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def activities_history(workflow_type: str, activity_type: str, events: int, *, go: bool = False) -> str:
    """Temporal's JSON form of a closed run with about `events` events, an activity for every six of them.

    Activities are numbered as the SDK that is to replay them does: `go` by their event, the others one by one.
    """
    steps = max(1, (events - 5) // 6)
    queue = {"name": "bench", "kind": "TASK_QUEUE_KIND_NORMAL"}
    made: list[dict[str, Any]] = []

    def add(kind: str, **attributes: Any) -> int:
        number = len(made) + 1
        upper = "".join(f"_{letter}" if letter.isupper() else letter.upper() for letter in kind)
        made.append(
            {
                "eventId": str(number),
                "eventTime": (BEGIN + timedelta(milliseconds=number)).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
                "eventType": f"EVENT_TYPE{upper}",
                f"{kind[0].lower()}{kind[1:]}EventAttributes": attributes,
            }
        )
        return number

    def workflow_task() -> int:
        scheduled = add("WorkflowTaskScheduled", taskQueue=queue, startToCloseTimeout="10s", attempt=1)
        started = add(
            "WorkflowTaskStarted", scheduledEventId=str(scheduled), identity="bench", requestId=f"r{scheduled}"
        )
        return add(
            "WorkflowTaskCompleted", scheduledEventId=str(scheduled), startedEventId=str(started), identity="bench"
        )

    run_id = "01940000-0000-7000-8000-000000000000"
    add(
        "WorkflowExecutionStarted",
        workflowType={"name": workflow_type},
        taskQueue=queue,
        input=_payloads(steps),
        workflowTaskTimeout="10s",
        originalExecutionRunId=run_id,
        firstExecutionRunId=run_id,
        identity="bench",
        attempt=1,
        workflowId="long",
    )
    for step in range(steps):
        completed = workflow_task()
        scheduled = add(
            "ActivityTaskScheduled",
            activityId=str(len(made) + 1 if go else step + 1),
            activityType={"name": activity_type},
            taskQueue=queue,
            input=_payloads(step),
            scheduleToCloseTimeout="0s",
            scheduleToStartTimeout="0s",
            startToCloseTimeout="60s",
            heartbeatTimeout="0s",
            workflowTaskCompletedEventId=str(completed),
        )
        started = add(
            "ActivityTaskStarted", scheduledEventId=str(scheduled), identity="bench", requestId=f"a{step}", attempt=1
        )
        add(
            "ActivityTaskCompleted",
            result=_payloads(step),
            scheduledEventId=str(scheduled),
            startedEventId=str(started),
            identity="bench",
        )
    completed = workflow_task()
    add(
        "WorkflowExecutionCompleted",
        result=_payloads(sum(range(steps))),
        workflowTaskCompletedEventId=str(completed),
    )
    return json.dumps({"events": made})


def _payloads(value: int) -> dict[str, Any]:
    def encode(text: str) -> str:
        return base64.b64encode(text.encode()).decode()

    return {"payloads": [{"metadata": {"encoding": encode("json/plain")}, "data": encode(str(value))}]}
