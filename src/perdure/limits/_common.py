"""What the limits share: their workflow types, and reaching the workflow that keeps one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from perdure import workflow
from perdure.exceptions import ApplicationError, WorkflowAlreadyStartedError

PREFIX = "perdure.limits."
"""What the types of these workflows begin with; a worker looks for such a type here."""

ASK_AGAIN = timedelta(minutes=5)
"""How long nothing may happen before it is checked whether the others are still there."""


async def tell(workflow_id: str, signal: str, *args: Any) -> bool:
    """Signal a workflow; False when there is none of that id."""
    try:
        await workflow.get_external_workflow_handle(workflow_id).signal(signal, args=args)
    except ApplicationError:
        return False
    return True


async def reach(
    keeper_id: str, signal: str, args: Sequence[Any], start: Callable[..., Any], start_args: Sequence[Any]
) -> None:
    """Signal the workflow that keeps a limit, or start it with the same news when there is none."""
    while not await tell(keeper_id, signal, *args):
        try:
            await workflow.start_child_workflow(
                start, args=start_args, id=keeper_id, parent_close_policy=workflow.ParentClosePolicy.ABANDON
            )
            return
        except WorkflowAlreadyStartedError:
            continue  # somebody else was faster


def check_key(where: str, key: str) -> None:
    """Refuse what cannot be part of a workflow id."""
    if not isinstance(key, str) or not key:
        raise ValueError(f"{where}: key must be a text that is not empty, not {key!r}")


def check_limit(where: str, limit: int) -> None:
    """Refuse a limit nobody could ever pass."""
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise ValueError(f"{where}: limit must be a whole number from 1 on, not {limit!r}")


def check_duration(where: str, name: str, value: timedelta) -> float:
    """A duration's seconds; refuse one that is not positive."""
    if not isinstance(value, timedelta) or value <= timedelta():
        raise ValueError(f"{where}: {name} must be a timedelta above zero, not {value!r}")
    return value.total_seconds()
