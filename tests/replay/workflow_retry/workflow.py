"""A workflow with a retry policy: the first run fails, the second knows why and completes."""

from datetime import timedelta
from typing import Any

from sdk import common, exceptions, workflow


@workflow.defn
class Flaky:
    @workflow.run
    async def run(self, until: int) -> str:
        attempt = workflow.info().attempt
        if attempt < until:
            raise exceptions.ApplicationError(f"attempt {attempt}")
        return f"attempt {attempt} after {workflow.get_last_failure()}"


WORKFLOWS = [Flaky]
POLICY = common.RetryPolicy(initial_interval=timedelta(milliseconds=20), maximum_attempts=2)


async def drive(d: Any) -> None:
    async with d.worker():
        for case, until in (("history", 2), ("exhausted", 3)):
            handle = await d.start(Flaky.run, until, case=case, retry_policy=POLICY)
            await d.outcome(handle)
            d.keep_run(case, handle.id, handle.first_execution_run_id)
            last = d.client.get_workflow_handle(handle.id)
            d.keep_run(f"{case}_last", handle.id, (await last.describe()).run_id)
