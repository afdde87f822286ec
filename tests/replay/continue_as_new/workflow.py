"""Three runs of one chain, the second with a memo and search attributes of its own, and a signal carried over."""

from datetime import timedelta
from typing import Any

from sdk import common, workflow

TAG = common.SearchAttributeKey.for_keyword("ReplayKeyword")


@workflow.defn
class Chain:
    @workflow.run
    async def run(self, left: int, log: list[str]) -> list[str]:
        info = workflow.info()
        log = [*log, f"{left} {workflow.memo_value('note', default='none')} {info.typed_search_attributes.get(TAG)}"]
        if left == 2:
            workflow.continue_as_new(
                args=[left - 1, log],
                memo={"note": "changed"},
                search_attributes=common.TypedSearchAttributes([common.SearchAttributePair(TAG, "second")]),
                task_timeout=timedelta(seconds=7),
                run_timeout=timedelta(seconds=60),
            )
        if left == 1:
            workflow.continue_as_new(args=[left - 1, log])
        return log


WORKFLOWS = [Chain]


async def drive(d: Any) -> None:
    await d.add_search_attributes({"ReplayKeyword": "KEYWORD"})
    async with d.worker():
        handle = await d.start(
            Chain.run,
            2,
            [],
            memo={"note": "first"},
            search_attributes=common.TypedSearchAttributes([common.SearchAttributePair(TAG, "first")]),
        )
        assert await handle.result() == ["2 first first", "1 changed second", "0 changed second"]
        run_id = handle.first_execution_run_id
        for case in ("history", "second", "third"):
            d.keep_run(case, handle.id, run_id)
            last = [e async for e in d.client.get_workflow_handle(handle.id, run_id=run_id).fetch_history_events()][-1]
            if case != "third":
                run_id = last.workflow_execution_continued_as_new_event_attributes.new_execution_run_id
