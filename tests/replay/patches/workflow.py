"""One workflow type in four ages: before a patch, with it, with it deprecated, without it."""

from datetime import timedelta
from typing import Any

from sdk import activity, workflow


@activity.defn
async def old_way() -> str:
    return "old"


@activity.defn
async def new_way() -> str:
    return "new"


OPTIONS: dict[str, Any] = {"start_to_close_timeout": timedelta(seconds=20)}


@workflow.defn(name="Aging")
class Before:
    @workflow.run
    async def run(self) -> list[str]:
        return [await workflow.execute_activity(old_way, **OPTIONS)]


@workflow.defn(name="Aging")
class Patched:
    @workflow.run
    async def run(self) -> list[str]:
        if workflow.patched("the-new-way"):
            seen = [await workflow.execute_activity(new_way, **OPTIONS)]
            if workflow.patched("twice"):
                seen.append(await workflow.execute_activity(new_way, **OPTIONS))
            return seen
        return [await workflow.execute_activity(old_way, **OPTIONS)]


@workflow.defn(name="Aging")
class Deprecated:
    @workflow.run
    async def run(self) -> list[str]:
        workflow.deprecate_patch("the-new-way")
        seen = [await workflow.execute_activity(new_way, **OPTIONS)]
        workflow.deprecate_patch("twice")
        return [*seen, await workflow.execute_activity(new_way, **OPTIONS)]


@workflow.defn(name="Aging")
class After:
    @workflow.run
    async def run(self) -> list[str]:
        return [await workflow.execute_activity(new_way, **OPTIONS) for _ in range(2)]


WORKFLOWS = [Patched]
ACTIVITIES = [old_way, new_way]
# What each history must replay on besides the code that made it.
REPLAYS = {
    "before": [[Before], [Patched]],
    "history": [[Patched], [Deprecated]],
    "deprecated": [[Deprecated], [After]],
    "after": [[After]],
}


async def drive(d: Any) -> None:
    for case, definition in (("before", Before), ("history", Patched), ("deprecated", Deprecated), ("after", After)):
        async with d.worker(workflows=[definition]):
            outcome = await d.run(definition.run, case=case)
            assert outcome == (["old"] if case == "before" else ["new", "new"]), outcome
