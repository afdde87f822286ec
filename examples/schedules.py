"""A report every second: paused, triggered by hand, changed, made up for the past, and deleted.

Run it with ``python examples/schedules.py``.
"""

import asyncio
from datetime import UTC, datetime, timedelta

from home import run

from perdure import Client, Worker, activity, workflow
from perdure.client import (
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleBackfill,
    ScheduleCalendarSpec,
    ScheduleHandle,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleRange,
    ScheduleSpec,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from perdure.common import SearchAttributeKey

DUE = SearchAttributeKey.for_datetime("TemporalScheduledStartTime")


@activity.defn
async def write_report(title: str) -> None:
    """Write it."""
    print(f"  {title}")


@workflow.defn
class Report:
    """What the schedule starts; to it there is nothing special about that."""

    @workflow.run
    async def run(self, name: str) -> None:
        due = workflow.info().typed_search_attributes.get(DUE)
        is_late = due is not None and due.date() < workflow.now().date()
        day = f" of {due:%A, %Y-%m-%d}" if is_late else ""
        await workflow.execute_activity(
            write_report, f"report {name}{day}", start_to_close_timeout=timedelta(seconds=10)
        )


async def main(url: str) -> None:
    """Go through the life of a schedule."""
    async with (
        await Client.connect(url) as client,
        Worker(client, task_queue="reports", workflows=[Report], activities=[write_report]),
    ):
        schedule = await client.create_schedule(
            "reports",
            Schedule(
                action=ScheduleActionStartWorkflow(Report.run, "sales", id="report", task_queue="reports"),
                spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=timedelta(seconds=1))]),
                # What to do when the last run is still going on, and how far back to make up for a time without a process.
                policy=SchedulePolicy(
                    overlap=ScheduleOverlapPolicy.SKIP,
                    catchup_window=timedelta(minutes=10),
                ),
            ),
        )
        print("a report every second:")
        await until_acted(schedule, 2)

        await schedule.pause(note="the office is closed")
        print(f"paused: {(await schedule.describe()).schedule.state.note}")
        acted = (await schedule.describe()).info.num_actions
        await schedule.trigger()  # acts all the same
        await until_acted(schedule, acted + 1)

        await schedule.update(every_morning)
        print("every weekday at nine, in Berlin; the next three:")
        for time in (await schedule.describe()).info.next_action_times[:3]:
            print(f"  {time.astimezone(UTC):%H:%M} UTC, {'weekday' if time.weekday() < 5 else 'weekend'}")

        print("what would have been, from Thursday to Monday:")
        await schedule.backfill(
            ScheduleBackfill(
                start_at=datetime(2026, 1, 8, tzinfo=UTC),
                end_at=datetime(2026, 1, 13, tzinfo=UTC),
                overlap=ScheduleOverlapPolicy.BUFFER_ALL,
            )
        )
        await until_acted(schedule, acted + 4)
        await schedule.delete()
        print(f"deleted; there are {len([s async for s in await client.list_schedules()])} schedules")


def every_morning(input: ScheduleUpdateInput) -> ScheduleUpdate:
    """Change a schedule: what there is comes in, what there shall be goes out."""
    schedule = input.description.schedule
    schedule.action = ScheduleActionStartWorkflow(Report.run, "for the desk", id="report", task_queue="reports")
    schedule.spec = ScheduleSpec(
        calendars=[ScheduleCalendarSpec(hour=[ScheduleRange(9)], day_of_week=[ScheduleRange(1, 5)])],
        time_zone_name="Europe/Berlin",
    )
    return ScheduleUpdate(schedule)


async def until_acted(schedule: ScheduleHandle, times: int) -> None:
    """Wait until the schedule has acted so often, and what it started is over."""
    while True:
        info = (await schedule.describe()).info
        if info.num_actions >= times and not info.running_actions:
            return
        await asyncio.sleep(0.02)


if __name__ == "__main__":
    run(main)
