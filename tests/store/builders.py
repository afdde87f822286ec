"""Small updates for store tests: ids that read well, and a run with something in every place."""

from __future__ import annotations

import uuid
from typing import Any

import msgspec
import orjson

from perdure.api.common.v1 import Payload
from perdure.store.api import RunKey, RunUpdate, Store, TaskKind, TaskRow, VisibilityRecord

NAMESPACE = "00000000-0000-4000-8000-000000000001"
OTHER_NAMESPACE = "00000000-0000-4000-8000-000000000002"


def run_id(number: int) -> str:
    return str(uuid.UUID(int=0x018F_0000_0000_7000_8000_0000_0000_0000 + number))


def run_key(number: int = 1, workflow_id: str | None = None, namespace_id: str = NAMESPACE) -> RunKey:
    return RunKey(namespace_id, workflow_id if workflow_id is not None else f"workflow-{number}", run_id(number))


def search_attributes(**values: tuple[str, Any]) -> bytes:
    payloads = {
        name: Payload({"encoding": b"json/plain", "type": kind.encode()}, orjson.dumps(value))
        for name, (kind, value) in values.items()
    }
    return msgspec.msgpack.encode(payloads)


def record(key: RunKey, start_time: int = 1_000, **fields: Any) -> VisibilityRecord:
    fields.setdefault("status", 2 if fields.get("close_time") else 1)
    return VisibilityRecord(
        key, fields.pop("workflow_type", "Order"), "queue", start_time=start_time, execution_time=start_time, **fields
    )


def task(key: RunKey, task_id: int, task_queue: str = "queue", kind: int = TaskKind.ACTIVITY, **fields: Any) -> TaskRow:
    return TaskRow(key, kind, task_queue, task_id, 5, **fields)


def first(key: RunKey, **fields: Any) -> RunUpdate:
    """The first update of a run, with one batch of two events."""
    fields.setdefault("state", b"state 1")
    fields.setdefault("history", [(1, 2, b"batch 1")])
    return RunUpdate(key, 1, make_current=True, **fields)


async def contents(store: Store, *keys: RunKey) -> list[Any]:
    """Everything a store tells of some runs, to compare before and after."""
    found: list[Any] = [await store.due_runs(1 << 60, 1000), await store.pending_tasks(1000)]
    for key in keys:
        found.append(await store.load_run(key))
        found.append(await store.find_run(key.namespace_id, key.run_id))
        found.append(await store.current_run(key.namespace_id, key.workflow_id))
        found.append(await store.read_history(key))
        found.append(await store.read_history_reverse(key))
    for namespace_id in sorted({key.namespace_id for key in keys}):
        found.append(await store.list_runs(namespace_id, None, 1000))
    return found
