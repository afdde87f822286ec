"""Signalling and cancelling other workflows: there, gone, and while the sender is cancelled."""

import asyncio
from typing import Any

from sdk import exceptions, workflow


@workflow.defn
class Target:
    def __init__(self) -> None:
        self.words: list[str] = []

    @workflow.run
    async def run(self) -> list[str]:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.words.append("cancelled")
        return self.words

    @workflow.signal
    def word(self, word: str) -> None:
        self.words.append(word)


@workflow.defn
class Sender:
    @workflow.run
    async def run(self, target_id: str) -> list[str]:
        seen = []
        target = workflow.get_external_workflow_handle_for(Target.run, target_id)
        await target.signal(Target.word, "hello")
        await target.cancel()
        nobody = workflow.get_external_workflow_handle("there-is-no-such-workflow")
        for attempt in (lambda: nobody.signal("word", "anyone?"), lambda: nobody.cancel()):
            try:
                await attempt()
            except exceptions.ApplicationError as error:
                seen.append(error.type or "ApplicationError")
        return seen


WORKFLOWS = [Target, Sender]


async def drive(d: Any) -> None:
    async with d.worker():
        target = await d.start(Target.run, case="target")
        await d.until(target, "WORKFLOW_TASK_COMPLETED")
        await d.run(Sender.run, target.id)
        assert await target.result() == ["hello", "cancelled"]
        d.keep("target", target)
