"""Who is measured: every peer in every variant, at its defaults and at its best."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


class NotOffered(Exception):
    """The peer has nothing that could be measured here; the message says why."""


@dataclass(frozen=True)
class Where:
    """What an adapter gets: a folder of its own, and its server's address and process id if it has one."""

    folder: Path
    address: str = ""
    server_pid: int = 0
    options: Mapping[str, str] = field(default_factory=dict)


class Adapter(ABC):
    """One peer's way to do the workloads. Client and worker share the adapter's process."""

    def __init__(self, where: Where) -> None:
        self.where = where

    @abstractmethod
    async def open(self) -> None:
        """Be ready to run workflows."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of everything."""

    @abstractmethod
    async def one_activity(self) -> None:
        """Start a workflow that runs one no-op activity; return once its result is here."""

    @abstractmethod
    async def chain(self, steps: int) -> None:
        """The same with `steps` activities, one after the other."""

    @abstractmethod
    async def fan_out(self, width: int) -> None:
        """The same with `width` activities at once."""

    @abstractmethod
    async def signals(self, count: int) -> None:
        """Send one workflow `count` signals, 100 in flight; return once it has counted them all and ended."""

    @abstractmethod
    async def sleeping(self, number: int) -> None:
        """Start a workflow that sleeps for an hour; return once its start is acknowledged."""

    async def asleep(self, count: int) -> None:
        """Return once all `count` workflows that were started to sleep do so.

        Workers take starts in order: once a last workflow has run an activity, those before it sleep.
        """
        await self.one_activity()

    async def replay(self, events: int) -> float:
        """Seconds that one replay of a history of about `events` events takes."""
        raise NotOffered("it keeps no history of events that a user can replay")

    def processes(self) -> list[int]:
        """The processes whose memory counts, with all below them."""
        return [os.getpid(), *([self.where.server_pid] if self.where.server_pid else [])]


@dataclass(frozen=True)
class Peer:
    """One line of the tables."""

    name: str
    variant: str
    durability: str
    adapter: str  # module:class, or "go" for the Go program
    module: str = ""  # what a user imports
    distribution: str = ""  # what a user installs with pip
    server: str = ""  # "temporal", "restate", "perdure" or "postgres"
    server_options: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return f"{self.name}, {self.variant}"


POWER, KILL, NONE = "power loss", "kill -9", "none"

# The dev server polls its queues of internal tasks at most 20 times a second by default, which is what its latency is
# made of. "Tuned" lifts that and the limits of the same kind.
TUNED = tuple(
    f"--dynamic-config-value={key}={value}"
    for key, value in {
        "history.transferProcessorMaxPollRPS": 10_000,
        "history.transferProcessorMaxPollHostRPS": 10_000,
        "history.timerProcessorMaxPollRPS": 10_000,
        "history.timerProcessorMaxPollHostRPS": 10_000,
        "history.visibilityProcessorMaxPollRPS": 10_000,
        "history.visibilityProcessorMaxPollHostRPS": 10_000,
        "history.rps": 100_000,
        "frontend.rps": 100_000,
        "frontend.namespaceRPS": 100_000,
        "frontend.namespaceRPS.visibility": 100_000,
        "matching.rps": 100_000,
        "history.persistenceMaxQPS": 100_000,
        "frontend.persistenceMaxQPS": 100_000,
        "matching.persistenceMaxQPS": 100_000,
    }.items()
)


def _temporal(name: str, adapter: str, module: str, distribution: str) -> list[Peer]:
    # Tuned, its file is in WAL mode: one sync a commit. Still all that it acknowledged survives a power loss.
    synced = ("--sqlite-pragma=journal_mode=WAL", "--sqlite-pragma=synchronous=FULL")
    return [
        Peer(
            name,
            f"dev server, {store}, {tuning}",
            NONE if store == "in memory" else POWER,
            adapter,
            module,
            distribution,
            "temporal",
            (*file, *(synced if file and flags else ()), *flags),
        )
        for store, file in (("in memory", ()), ("SQLite file", ("--db-filename", "{folder}/temporal.db")))
        for tuning, flags in (("default", ()), ("tuned", TUNED))
    ]


def _served(name: str, adapter: str, module: str, distribution: str) -> list[Peer]:
    return [
        Peer(
            name,
            f"perdure server, {variant}",
            durability,
            adapter,
            module,
            distribution,
            "perdure",
            ("--store", url),
        )
        for variant, durability, url in (
            ("lmdb full", POWER, "lmdb:{folder}/store"),
            ("lmdb process", KILL, "lmdb:{folder}/store?durability=process"),
            ("memory", NONE, "memory:"),
        )
    ]


PEERS: list[Peer] = [
    Peer(
        "perdure",
        "lmdb full",
        POWER,
        "sdk:Perdure",
        "perdure.client",
        "perdure",
        options={"url": "lmdb:{folder}/store"},
    ),
    Peer(
        "perdure",
        "lmdb process",
        KILL,
        "sdk:Perdure",
        "perdure.client",
        "perdure",
        options={"url": "lmdb:{folder}/store?durability=process"},
    ),
    Peer("perdure", "memory", NONE, "sdk:Perdure", "perdure.client", "perdure", options={"url": "memory:"}),
    Peer(
        "perdure",
        "postgresql full",
        POWER,
        "sdk:Perdure",
        "perdure.client",
        "perdure",
        "postgres",
        options={"url": "{address}"},
    ),
    Peer(
        "perdure",
        "postgresql process",
        KILL,
        "sdk:Perdure",
        "perdure.client",
        "perdure",
        "postgres",
        options={"url": "{address}&durability=process"},
    ),
    *_served("Temporal Go SDK", "go", "", ""),
    *_served("Temporal Python SDK", "sdk:Temporal", "temporalio.client", "temporalio"),
    *_temporal("Temporal Go SDK", "go", "", ""),
    *_temporal("Temporal Python SDK", "sdk:Temporal", "temporalio.client", "temporalio"),
    Peer("DBOS", "SQLite, default", POWER, "dbos_sqlite:Dbos", "dbos", "dbos"),
    Peer("DBOS", "SQLite, WAL", POWER, "dbos_sqlite:Dbos", "dbos", "dbos", options={"wal": "yes"}),
    Peer("DBOS", "PostgreSQL", POWER, "dbos_sqlite:Dbos", "dbos", "dbos", "postgres", options={"url": "{address}"}),
    Peer("Restate", "default", POWER, "restate_http:Restate", "restate", "restate_sdk", "restate"),
    Peer(
        "Restate",
        "2 partitions",
        POWER,
        "restate_http:Restate",
        "restate",
        "restate_sdk",
        "restate",
        ("RESTATE_DEFAULT_NUM_PARTITIONS=2",),
    ),
]
