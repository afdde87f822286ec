"""A report made of chapters: each chapter is a workflow of its own, which the parent starts, watches and outlives.

Run it with ``python examples/child_workflows.py``.
"""

import asyncio
from datetime import timedelta

from home import run

from perdure import Client, Worker, activity, workflow
from perdure.exceptions import ApplicationError, ChildWorkflowError
from perdure.workflow import ParentClosePolicy


@activity.defn
async def write_page(chapter: str, page: int) -> str:
    """Write one page."""
    if chapter == "gossip":
        raise ApplicationError("nothing to say about gossip", non_retryable=True)
    return f"{chapter}, page {page}"


@workflow.defn
class WriteChapter:
    """Two pages."""

    @workflow.run
    async def run(self, chapter: str) -> list[str]:
        return [
            await workflow.execute_activity(
                write_page, args=[chapter, page], start_to_close_timeout=timedelta(seconds=10)
            )
            for page in (1, 2)
        ]


@workflow.defn
class Archive:
    """Slow, and nothing the report has to wait for."""

    @workflow.run
    async def run(self, report: str) -> str:
        await asyncio.sleep(0.5)
        return f"{report} archived"


@workflow.defn
class WriteReport:
    """Several chapters at the same time."""

    @workflow.run
    async def run(self, chapters: list[str]) -> list[str]:
        me = workflow.info().workflow_id
        children = [
            await workflow.start_child_workflow(WriteChapter.run, chapter, id=f"{me}/{chapter}") for chapter in chapters
        ]
        pages: list[str] = []
        for chapter, child in zip(chapters, children, strict=True):
            try:
                pages += await child
            except ChildWorkflowError as error:
                assert error.cause is not None
                pages.append(f"({chapter} is missing: {error.cause.__cause__})")
        # ABANDON: this child goes on when its parent has closed; by default it would be terminated then.
        await workflow.start_child_workflow(
            Archive.run, me, id=f"{me}/archive", parent_close_policy=ParentClosePolicy.ABANDON
        )
        return pages


async def main(url: str) -> None:
    """Write a report."""
    async with (
        await Client.connect(url) as client,
        Worker(client, task_queue="reports", workflows=[WriteReport, WriteChapter, Archive], activities=[write_page]),
    ):
        chapters = ["weather", "sports", "gossip"]
        for page in await client.execute_workflow(WriteReport.run, chapters, id="report", task_queue="reports"):
            print(f"  {page}")
        print("the report is there; its archive is still being written")
        print(await client.get_workflow_handle_for(Archive.run, "report/archive").result())


if __name__ == "__main__":
    run(main)
