"""Runs workflows whose retention is short and archives them, until it is killed: ``victim.py HOME URI FIRST``.

Says of each run that has ended, in a line, its workflow id and its run id.
"""

from __future__ import annotations

import asyncio
import sys

from perdure.api.namespace import v1 as namespace_v1
from perdure.api.workflowservice import v1 as ws
from perdure.client import Client
from perdure.engine import archival
from tests.archival.programs import QUEUE, Double, working

#: Retention by workflow type may be as short as one likes.
RETENTION = {"retention:Double": "300ms"}
_AT_ONCE = 4


async def open_home(home: str, uri: str) -> Client:
    """A client of a home that archives and soon forgets."""
    archival.INTERVAL, archival.SETTLED_NS, archival.ATTEMPT_MS = 0.1, 0, 500
    client = await Client.connect(home)
    config = namespace_v1.NamespaceConfig(
        history_archival_state=2, history_archival_uri=uri, visibility_archival_state=2, visibility_archival_uri=uri
    )
    info = namespace_v1.UpdateNamespaceInfo(data=RETENTION)
    await client.workflow_service.update_namespace(ws.UpdateNamespaceRequest("default", info, config))
    return client


async def main(home: str, uri: str, first: int) -> None:
    """Run workflows until the end."""
    client = await open_home(home, uri)
    numbers = iter(range(first, sys.maxsize))

    async def lane() -> None:
        for number in numbers:
            handle = await client.start_workflow(Double.run, number, id=f"w{number}", task_queue=QUEUE)
            await handle.result()
            print(handle.id, handle.result_run_id, flush=True)

    async with working(client):
        await asyncio.gather(*(lane() for _ in range(_AT_ONCE)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
