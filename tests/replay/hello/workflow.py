"""The smallest workflow: one workflow task and an end."""

from typing import Any

from sdk import workflow


@workflow.defn
class Hello:
    @workflow.run
    async def run(self, name: str) -> str:
        return f"Hello, {name}!"


WORKFLOWS = [Hello]


async def drive(d: Any) -> None:
    async with d.worker():
        assert await d.run(Hello.run, "history") == "Hello, history!"
