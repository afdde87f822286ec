"""A cron workflow: a run that fails, one that completes and one that sees the last result."""

from typing import Any

from sdk import exceptions, workflow


@workflow.defn
class Cron:
    @workflow.run
    async def run(self) -> int:
        last = workflow.get_last_completion_result(int) if workflow.has_last_completion_result() else 0
        if last == 1 and workflow.get_last_failure() is None:
            raise exceptions.ApplicationError("every second run fails")
        return last + 1


WORKFLOWS = [Cron]


async def drive(d: Any) -> None:
    async with d.worker():
        handle = await d.start(Cron.run, cron_schedule="@every 1s")
        run_id = handle.first_execution_run_id
        for case in ("history", "failed", "third"):
            run = d.client.get_workflow_handle(handle.id, run_id=run_id)
            await d.outcome(run, follow_runs=False)
            d.keep_run(case, handle.id, run_id)
            last = [event async for event in run.fetch_history_events()][-1]
            run_id = (
                last.workflow_execution_failed_event_attributes.new_execution_run_id
                if case == "failed"
                else last.workflow_execution_completed_event_attributes.new_execution_run_id
            )
        await d.client.get_workflow_handle(handle.id).terminate("enough")
        d.keep_run("terminated", handle.id, (await d.client.get_workflow_handle(handle.id).describe()).run_id)
