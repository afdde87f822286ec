"""One workload on one peer, in a process of its own: `python -m benchmarks.measure JSON` prints its metrics as JSON.

The runner starts this under the peer's own interpreter, so only the peer's packages need to be there.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from . import workloads
from .peers import Adapter, NotOffered, Where


async def measure(task: dict[str, Any]) -> workloads.Metrics:
    module, name = task["adapter"].split(":")
    adapter_class: type[Adapter] = getattr(import_module(f"benchmarks.peers.{module}"), name)
    where = Where(Path(task["folder"]), task["address"], task["server_pid"], task["options"])
    adapter = adapter_class(where)
    if task["workload"] == "replay":
        return await workloads.replay(adapter, workloads.Sizes(**task["sizes"]))
    await adapter.open()
    try:
        if task["workload"] == "first_result":
            await adapter.one_activity()
            return {}
        return await workloads.plan(workloads.Sizes(**task["sizes"]))[task["workload"]](adapter)
    finally:
        if task["workload"] != "sleeping":
            await adapter.close()


async def answer(task: dict[str, Any]) -> None:
    try:
        result: dict[str, Any] = {"metrics": await measure(task)}
    except NotOffered as reason:
        result = {"not_offered": str(reason)}
    sys.stdout.write(f"\n{json.dumps(result)}\n")
    sys.stdout.flush()
    # Some workflows sleep for an hour, some peers keep threads: the process does not wait for them.
    os._exit(0)


def main() -> None:
    try:
        run: Any = import_module("uvloop").run
    except ModuleNotFoundError:
        run = asyncio.run
    run(answer(json.loads(sys.argv[1])))


if __name__ == "__main__":
    main()
