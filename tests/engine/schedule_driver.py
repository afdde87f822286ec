"""Requests about schedules, and the workflows they start, as tests write them."""

from __future__ import annotations

import builtins
import itertools
from datetime import UTC, datetime
from typing import Any

from perdure.api.common import v1 as common_v1
from perdure.api.enums.v1 import ScheduleOverlapPolicy
from perdure.api.schedule import v1 as schedule_v1
from perdure.api.workflow import v1 as workflow_v1
from perdure.api.workflowservice import v1 as ws
from tests.engine.driver import Driver, S, queue

M = 60 * S
H = 3600 * S


def overlap(name: str) -> int:
    """A ScheduleOverlapPolicy by its name without prefix; 0 for an empty one."""
    return int(ScheduleOverlapPolicy[f"SCHEDULE_OVERLAP_POLICY_{name}"]) if name else 0


def every(interval: int, **options: Any) -> schedule_v1.ScheduleSpec:
    """A spec of one interval, in nanoseconds."""
    return schedule_v1.ScheduleSpec(interval=[schedule_v1.IntervalSpec(interval)], **options)


def action(workflow_id: str = "w", **options: Any) -> schedule_v1.ScheduleAction:
    """Start a workflow of type W on queue q."""
    options.setdefault("workflow_type", common_v1.WorkflowType("W"))
    options.setdefault("task_queue", queue())
    return schedule_v1.ScheduleAction(workflow_v1.NewWorkflowExecutionInfo(workflow_id, **options))


def schedule(spec: schedule_v1.ScheduleSpec | None = None, policy: str = "", **options: Any) -> schedule_v1.Schedule:
    """A schedule that acts every hour."""
    policies = schedule_v1.SchedulePolicies(
        overlap(policy),
        options.pop("catchup_window", None),
        options.pop("pause_on_failure", False),
        options.pop("keep_original_workflow_id", False),
    )
    options.setdefault("action", action())
    return schedule_v1.Schedule(spec=spec or every(H), policies=policies, **options)


class ScheduleDriver:
    """The schedules of one engine."""

    def __init__(self, d: Driver) -> None:
        self.d = d
        self._request_ids = itertools.count(1)

    def request_id(self) -> str:
        """One that was not used before."""
        return f"r{next(self._request_ids)}"

    async def create(self, made: schedule_v1.Schedule | None = None, schedule_id: str = "s", **options: Any) -> bytes:
        """Create a schedule; returns its conflict token."""
        options.setdefault("request_id", self.request_id())
        response = await self.d.engine.create_schedule(
            ws.CreateScheduleRequest("default", schedule_id, made or schedule(), **options)
        )
        return response.conflict_token

    async def describe(self, schedule_id: str = "s") -> ws.DescribeScheduleResponse:
        """Describe a schedule."""
        return await self.d.engine.describe_schedule(ws.DescribeScheduleRequest("default", schedule_id))

    async def info(self, schedule_id: str = "s") -> schedule_v1.ScheduleInfo:
        """What a schedule did."""
        info = (await self.describe(schedule_id)).info
        assert info is not None
        return info

    async def state(self, schedule_id: str = "s") -> schedule_v1.ScheduleState:
        """Whether a schedule acts."""
        described = (await self.describe(schedule_id)).schedule
        assert described is not None and described.state is not None
        return described.state

    async def patch(self, schedule_id: str = "s", **patch: Any) -> None:
        """Patch a schedule."""
        await self.d.engine.patch_schedule(
            ws.PatchScheduleRequest(
                "default", schedule_id, schedule_v1.SchedulePatch(**patch), request_id=self.request_id()
            )
        )

    async def trigger(self, policy: str = "", schedule_id: str = "s") -> None:
        """Trigger a schedule."""
        await self.patch(schedule_id, trigger_immediately=schedule_v1.TriggerImmediatelyRequest(overlap(policy)))

    async def backfill(self, start: int, end: int, policy: str = "", schedule_id: str = "s") -> None:
        """Backfill a schedule."""
        await self.patch(schedule_id, backfill_request=[schedule_v1.BackfillRequest(start, end, overlap(policy))])

    async def update(self, made: schedule_v1.Schedule, schedule_id: str = "s", **options: Any) -> None:
        """Replace a schedule."""
        options.setdefault("request_id", self.request_id())
        await self.d.engine.update_schedule(ws.UpdateScheduleRequest("default", schedule_id, made, **options))

    async def delete(self, schedule_id: str = "s") -> None:
        """Delete a schedule."""
        await self.d.engine.delete_schedule(ws.DeleteScheduleRequest("default", schedule_id))

    async def list(self, query: str = "", **options: Any) -> list[str]:
        """The ids of the schedules a list filter finds."""
        response = await self.d.engine.list_schedules(ws.ListSchedulesRequest("default", query=query, **options))
        return [entry.schedule_id for entry in response.schedules]

    async def count(self, query: str = "") -> ws.CountSchedulesResponse:
        """Count schedules."""
        return await self.d.engine.count_schedules(ws.CountSchedulesRequest("default", query))

    async def workflows(self) -> builtins.list[str]:
        """The times in the ids of all workflows, oldest first: ``09:00:00``."""
        return sorted(workflow_id[-9:-1] for workflow_id in await self.d.list())


def at(text: str) -> int:
    """Nanoseconds of an ISO time in UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * S


async def started(d: Driver, time: str) -> Any:
    """The Started attributes of the workflow of a nominal time."""
    return (await d.history(f"w-2027-01-15T{time}Z"))[0].attributes
