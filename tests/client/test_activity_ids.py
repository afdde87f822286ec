"""Activity ids that workflow code chooses: free again once the activity has ended."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from perdure import Client, Worker, activity, workflow
from perdure.worker import Replayer
from tests.support.homes import STORES, home_url

_LIMIT = timedelta(seconds=30)


@activity.defn
async def add(one: int, other: int) -> int:
    return one + other


@workflow.defn
class Reuses:
    @workflow.run
    async def run(self) -> list[int | str]:
        found: list[int | str] = []
        for number in range(3):
            first = workflow.start_activity(add, args=[number, 1], activity_id="same", start_to_close_timeout=_LIMIT)
            try:
                workflow.start_activity(add, args=[0, 0], activity_id="same", start_to_close_timeout=_LIMIT)
            except ValueError as error:
                found.append(str(error).partition(":")[2][:38])
            found.append(await first)
        return found


@pytest.mark.parametrize("home", STORES)
async def test_an_id_is_free_when_its_activity_has_ended(home: str, tmp_path: Path) -> None:
    async with (
        await Client.connect(home_url(home, tmp_path)) as client,
        Worker(client, task_queue="q", workflows=[Reuses], activities=[add], max_cached_workflows=0),
    ):
        handle = await client.start_workflow(Reuses.run, id="w", task_queue="q")
        refused = " an activity with id 'same' is pending"
        assert await handle.result() == [refused, 1, refused, 2, refused, 3]
        history = await handle.fetch_history()
    await Replayer(workflows=[Reuses]).replay_workflow(history)
