"""Carrying out what transactions of users wrote into ``outbox``: see ``perdure.postgresql``.

One node does it, in order for each workflow. A request that was carried out but not yet taken out of the table when the
node died is carried out again, which its request id makes harmless.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import msgspec

from perdure.api.workflowservice import v1 as ws
from perdure.engine.cluster_calls import Method
from perdure.engine.cluster_core import ClusterCore
from perdure.service import RPCError, RPCStatusCode
from perdure.store.api import StoreError

logger = logging.getLogger("perdure.engine")

_PAGE = 200
#: After these the same request may succeed.
_PASSING = (RPCStatusCode.UNAVAILABLE, RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.RESOURCE_EXHAUSTED)
METHODS = frozenset(
    (
        "start_workflow_execution",
        "signal_with_start_workflow_execution",
        "signal_workflow_execution",
        "request_cancel_workflow_execution",
        "terminate_workflow_execution",
        "respond_activity_task_completed",
        "respond_activity_task_failed",
    )
)


class Outbox:
    """Empties the table while this node is the one to."""

    def __init__(self, core: ClusterCore, local: dict[str, Method]) -> None:
        self._core = core
        self._local = local
        self._is_working = False
        self._is_wanted = False

    def look(self) -> None:
        """There may be something."""
        self._is_wanted = True
        if not self._is_working and not self._core.is_closed:
            self._is_working = True
            self._core.spawn(self._work())

    async def _work(self) -> None:
        try:
            while self._is_wanted:
                self._is_wanted = False
                rows = await self._core.store.read_outbox(_PAGE)
                by_workflow: dict[str, list[Any]] = {}
                for row in rows:
                    # Answers of activities name no workflow and need no order.
                    by_workflow.setdefault(row[1] or f"\0{row[0]}", []).append(row)
                done = await asyncio.gather(*(self._carry_out(group) for group in by_workflow.values()))
                finished = [entry for group in done for entry in group]
                if finished:
                    await self._core.store.finish_outbox(finished)
                    self._is_wanted = self._is_wanted or len(rows) == _PAGE
        except StoreError as error:
            logger.debug("the outbox could not be read: %s", error)
        finally:
            self._is_working = False

    async def _carry_out(self, rows: list[Any]) -> list[tuple[int, str]]:
        """Of requests about one workflow, in order: those that are over, with what went wrong ("": nothing)."""
        over = []
        for number, _, method, body in rows:
            try:
                if method not in METHODS:
                    raise ValueError(f"a newer perdure wrote {method!r}")
                name = "".join(word.capitalize() for word in method.split("_")) + "Request"
                await self._local[method](msgspec.msgpack.decode(body, type=getattr(ws, name)))
                over.append((number, ""))
            except RPCError as error:
                if error.status in _PASSING:
                    break
                logger.warning("what a transaction asked for was refused (outbox %d, %s): %s", number, method, error)
                over.append((number, f"{error.status.name}: {error.message}"))
            except (msgspec.DecodeError, msgspec.ValidationError, ValueError) as error:
                logger.warning("what a transaction asked for cannot be read (outbox %d, %s): %s", number, method, error)
                over.append((number, str(error)))
        return over
