"""A workflow with a timer, signals, a query and activities, kept on disk; and then its history.

Run it with ``python examples/hello.py``, or with a folder to keep: ``python examples/hello.py ./data``.
"""

import asyncio
import sys
import tempfile
from datetime import timedelta

from perdure import Client, Worker, activity, workflow
from perdure.api.enums.v1 import EventType
from perdure.client import WorkflowHistory


@activity.defn
async def compose(greeting: str, name: str) -> str:
    """What touches the world is an activity: it may fail and is tried again."""
    return f"{greeting}, {name}!"


@workflow.defn
class GreetingWorkflow:
    """Greets whoever is signalled, until it is told to stop. A crash at any point loses nothing of it."""

    def __init__(self) -> None:
        self.waiting: list[str] = []
        self.greetings: list[str] = []
        self.stopping = False

    @workflow.run
    async def run(self, greeting: str) -> list[str]:
        await asyncio.sleep(0.5)  # a durable timer: it goes on while no process runs
        while True:
            await workflow.wait_condition(lambda: bool(self.waiting) or self.stopping)
            if not self.waiting:
                return self.greetings
            composed = await workflow.execute_activity(
                compose, args=[greeting, self.waiting.pop(0)], start_to_close_timeout=timedelta(seconds=10)
            )
            self.greetings.append(composed)

    @workflow.signal
    def greet(self, name: str) -> None:
        self.waiting.append(name)

    @workflow.signal
    def stop(self) -> None:
        self.stopping = True

    @workflow.query
    def who_waits(self) -> list[str]:
        return self.waiting


async def main(folder: str) -> None:
    """Run one workflow on a store in this folder, and tell what happens."""
    async with (
        await Client.connect(f"lmdb:{folder}") as client,
        Worker(client, task_queue="greetings", workflows=[GreetingWorkflow], activities=[compose]),
    ):
        handle = await client.start_workflow(GreetingWorkflow.run, "Hello", id="greeting", task_queue="greetings")
        print(f"started   {handle.id}, run {handle.result_run_id}")
        for name in ("World", "Ada"):
            await handle.signal(GreetingWorkflow.greet, name)
            print(f"signalled greet({name!r})")
        print(f"queried   who_waits() = {await handle.query(GreetingWorkflow.who_waits)}")
        await handle.signal(GreetingWorkflow.stop)
        print("signalled stop()")
        print(f"result    {await handle.result()}")
        description = await handle.describe()
        assert description.status is not None
        print(f"status    {description.status.name}, {description.history_length} events:")
        show(await handle.fetch_history())


def show(history: WorkflowHistory) -> None:
    """Print a history, one event a line."""
    begin = history.events[0].event_time
    for event in history.events:
        name = EventType(event.event_type).name.removeprefix("EVENT_TYPE_").replace("_", " ").capitalize()
        attributes = event.attributes
        detail = (
            getattr(attributes, "signal_name", "")
            or getattr(getattr(attributes, "activity_type", None), "name", "")
            or getattr(getattr(attributes, "workflow_type", None), "name", "")
        )
        print(f"  {event.event_id:3}  {(event.event_time - begin) / 1e6:7.1f} ms  {name:32}  {detail}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(main(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory(prefix="perdure-hello-") as temporary:
            asyncio.run(main(temporary))
