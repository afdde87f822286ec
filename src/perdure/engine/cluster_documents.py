"""What every node has in memory whole, and any node may change: namespaces, deployments, settings of queues, endpoints.

A change names the version that it makes, so of two nodes that change the same thing at once one is refused. It reads
what the other one made and does the request again. Nodes that changed nothing are told, and read again, too.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from perdure.engine.cluster_core import ClusterCore
from perdure.store.api import StoreClosedError, StoreError

logger = logging.getLogger("perdure.engine")

NAMESPACE = "namespace"
_RETRY = 0.2
_MOMENT = 0.001


class Rereads:
    """Reads by kind, one at a time of each."""

    def __init__(self, core: ClusterCore, readers: dict[str, Callable[[], Awaitable[None]]]) -> None:
        self._core = core
        self._readers = readers
        self._wanted: set[str] = set()
        self._marks: dict[str, int] = {}
        self._running: dict[str, asyncio.Future[None]] = {}

    def begin(self, kind: str) -> None:
        """Something of a kind is not, or may not be, what memory has."""
        if kind not in self._readers or self._core.is_closed:
            return
        self._wanted.add(kind)
        if kind not in self._running:
            self._running[kind] = self._core.loop.create_future()
            self._core.spawn(self._read(kind))

    def is_running(self, kind: str) -> bool:
        """Whether a kind is being read."""
        return kind in self._running

    def begin_all(self) -> None:
        """News may have been missed."""
        for kind in self._readers:
            self.begin(kind)

    async def look(self) -> None:
        """Read what changed since the last look: news may have been lost."""
        marks = await self._core.store.document_marks()
        before, self._marks = self._marks, marks
        for kind in self._readers:
            name = "" if kind == NAMESPACE else kind
            if marks.get(name) != before.get(name):
                self.begin(kind)

    async def wait(self) -> None:
        """Until nothing is being read."""
        while self._running:
            await asyncio.wait(list(self._running.values()))

    async def _read(self, kind: str) -> None:
        core = self._core
        try:
            while kind in self._wanted and not core.is_closed:
                self._wanted.discard(kind)
                try:
                    # Nothing is changed here from now on. What still travels would be missing in what is read.
                    while core.documents_in_flight.get(kind):  # noqa: ASYNC110
                        await asyncio.sleep(_MOMENT)
                    await self._readers[kind]()
                except StoreClosedError:
                    return
                except StoreError as error:
                    logger.warning("what other nodes changed (%s) cannot be read yet: %s", kind, error)
                    self._wanted.add(kind)
                    await asyncio.sleep(_RETRY)
        finally:
            self._running.pop(kind).set_result(None)
