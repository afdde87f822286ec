"""What a feature's `drive` coroutine gets: starts, workers, waits and keeps, the same for either SDK."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from types import ModuleType
from typing import Any

from perdure.api.enums.v1 import EventType


class Driver:
    """Runs one feature against a service and notes the runs whose histories are worth keeping."""

    def __init__(
        self,
        feature: str,
        module: ModuleType,
        client: Any,
        make_worker: Callable[..., contextlib.AbstractAsyncContextManager[Any]],
        reset: Callable[[str, str, int], Awaitable[str]],
        add_search_attributes: Callable[[dict[str, str]], Awaitable[None]],
        create_nexus_endpoint: Callable[[str, str], Awaitable[None]],
    ) -> None:
        self.feature = feature
        self.module = module
        self.client = client
        self.task_queue = f"replay-{feature}"
        self.kept: dict[str, tuple[str, str]] = {}
        self._make_worker = make_worker
        self._reset = reset
        self.add_search_attributes = add_search_attributes
        self.create_nexus_endpoint = create_nexus_endpoint

    @contextlib.asynccontextmanager
    async def worker(self, **options: Any) -> AsyncIterator[None]:
        """A worker with everything the module lists, while the block runs."""
        options.setdefault("task_queue", self.task_queue)
        options.setdefault("workflows", self.module.WORKFLOWS)
        options.setdefault("activities", getattr(self.module, "ACTIVITIES", []))
        async with self._make_worker(self.client, **options):
            yield

    def workflow_id(self, case: str) -> str:
        return f"{self.feature}-{case}"

    async def start(self, workflow: Any, *args: Any, case: str = "history", **options: Any) -> Any:
        """Start a workflow whose id says its case."""
        options.setdefault("id", self.workflow_id(case))
        options.setdefault("task_queue", self.task_queue)
        return await self.client.start_workflow(workflow, args=args, **options)

    async def run(self, workflow: Any, *args: Any, case: str = "history", **options: Any) -> Any:
        """Start, wait for the outcome (a value or the exception) and keep the history."""
        handle = await self.start(workflow, *args, case=case, **options)
        outcome = await self.outcome(handle)
        self.keep(case, handle)
        return outcome

    async def outcome(self, handle: Any, **options: Any) -> Any:
        """The result, or the exception that stands in its place."""
        try:
            return await handle.result(**options)
        except Exception as error:
            return error

    def keep(self, case: str, handle: Any, run_id: str | None = None) -> None:
        """Keep this run's history as `<case>.<producer>.json`."""
        self.kept[case] = (handle.id, run_id or handle.run_id or handle.first_execution_run_id or handle.result_run_id)

    def keep_run(self, case: str, workflow_id: str, run_id: str) -> None:
        self.kept[case] = (workflow_id, run_id)

    async def reset(self, handle: Any, run_id: str, event_id: int) -> str:
        """Reset to the workflow task that finished at `event_id`; the new run's id."""
        return await self._reset(handle.id, run_id, event_id)

    async def until(self, handle: Any, event: str, count: int = 1) -> Any:
        """Wait for the count-th event of this type and return it."""
        wanted = EventType[f"EVENT_TYPE_{event}"]
        seen = 0
        async for found in handle.fetch_history_events(wait_new_event=True):
            if found.event_type == wanted:
                seen += 1
                if seen == count:
                    return found
        raise AssertionError(f"{handle.id} ended with {seen} of {count} {event} events")
