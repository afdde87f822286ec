"""Finding the run a request names, and waiting for news of it."""

from __future__ import annotations

import asyncio

from perdure.api.common import v1 as common_v1
from perdure.engine import limits
from perdure.engine.core import Core
from perdure.engine.errors import invalid_argument, not_found
from perdure.engine.run import Run
from perdure.store.api import RunKey

_HEX = frozenset("0123456789abcdef-")


def check_run_id(run_id: str) -> None:
    """Refuse a run id that is not a UUID."""
    if run_id and (len(run_id) != 36 or not _HEX.issuperset(run_id.lower())):
        raise invalid_argument(f"Invalid RunId: {run_id!r} is not a UUID.")


async def find_run(
    core: Core, namespace_id: str, execution: common_v1.WorkflowExecution | None, first_run_id: str = ""
) -> Run:
    """The run an execution names: exactly that run, or the current one when it names none.

    With ``first_run_id`` the current run, if it belongs to that chain. Raises NOT_FOUND.
    """
    workflow_id = "" if execution is None else execution.workflow_id
    limits.check_id(workflow_id, "WorkflowId")
    run_id = "" if execution is None else execution.run_id
    check_run_id(run_id)
    if run_id and not first_run_id:
        run = await core.load(RunKey(namespace_id, workflow_id, run_id))
    else:
        run = await core.current(namespace_id, workflow_id)
    if run is None or (first_run_id and run.state.first_run_id != first_run_id):
        raise not_found(f"workflow not found for ID: {workflow_id}" + (f" and RunID: {run_id}" if run_id else ""))
    return run


async def find_open_run(
    core: Core, namespace_id: str, execution: common_v1.WorkflowExecution | None, first_run_id: str = ""
) -> Run:
    """As :func:`find_run`; NOT_FOUND also when the run has closed."""
    run = await find_run(core, namespace_id, execution, first_run_id)
    if not run.is_open:
        raise not_found("workflow execution already completed")
    return run


async def changed(core: Core, run: Run, seconds: float) -> bool:
    """Wait until something of the run is durable that was not; False when nothing came in time."""
    waiter: asyncio.Future[None] = core.loop.create_future()
    run.event_waiters.append(waiter)
    try:
        await core.deadlines.wait(waiter, seconds)
    finally:
        if waiter in run.event_waiters:
            run.event_waiters.remove(waiter)
    return waiter.done()
