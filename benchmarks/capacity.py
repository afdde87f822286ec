"""A model of how far PostgreSQL carries: workflows a second and disk, from what one workflow costs.

    python -m benchmarks.capacity
    python -m benchmarks.capacity --server-us 150 --wal-bytes 9000 --stored-bytes 5000   # what you measured yourself

The costs are those of a workflow with one activity, as ``python -m benchmarks.postgresql`` prints them (``--stored`` for the
bytes that a stored run takes). A database is taken to be limited by its processors, of which :data:`BUSY` may be used, or by
what its disk takes as a log; nodes by their processors. It leaves out what it does not know: contention, vacuum, the network.
"""

from __future__ import annotations

import argparse
from typing import NamedTuple

#: The share of a machine's processors that may be in use.
BUSY = 0.7
#: What a commit over several shards costs in comparison: prepared first, then committed.
TWO_PHASE = 2.0


class Cost(NamedTuple):
    """Of one workflow."""

    server_us: float
    node_us: float
    wal_bytes: float
    stored_bytes: float


class Database(NamedTuple):
    """A machine, or several that share the work."""

    name: str
    cores: int
    log_mb: float
    """Megabytes a second that it writes, and ships to its standby, as WAL."""
    machines: int = 1
    factor: float = 1.0
    """How much more a workflow costs than on one machine."""


DATABASES = (
    Database("one database, 4 cores, 100 MB/s of log", 4, 100),
    Database("one database, 16 cores, 400 MB/s", 16, 400),
    Database("one database, 64 cores, 1,000 MB/s", 64, 1000),
    Database("namespaces over 4 databases of 16 cores", 16, 400, 4),
    Database("Citus, 8 workers of 16 cores", 16, 400, 8, TWO_PHASE),
)


def rate(database: Database, cost: Cost) -> tuple[float, str]:
    """Workflows a second, and what limits them."""
    limits = {
        "processors": database.cores * BUSY / (cost.server_us * 1e-6),
        "log": database.log_mb * 1e6 / cost.wal_bytes,
    }
    name = min(limits, key=limits.__getitem__)
    return limits[name] * database.machines / database.factor, name


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="How far PostgreSQL carries, from what one workflow costs.")
    parser.add_argument("--server-us", type=float, default=250, help="microseconds of the database's processors")
    parser.add_argument("--node-us", type=float, default=850, help="microseconds of a node's")
    parser.add_argument("--wal-bytes", type=float, default=6500, help="bytes of WAL")
    parser.add_argument(
        "--stored-bytes", type=float, default=2500, help="bytes that a closed run takes, with its indexes"
    )
    parser.add_argument("--retention-days", type=float, default=3)
    options = parser.parse_args()
    cost = Cost(options.server_us, options.node_us, options.wal_bytes, options.stored_bytes)
    print(
        f"| Home | workflows/s | limit | node cores | TB kept for {options.retention_days:g} days |\n|---|---|---|---|---|"
    )
    for database in DATABASES:
        found, limit = rate(database, cost)
        cores = found * cost.node_us * 1e-6 / BUSY
        kept = found * 86_400 * options.retention_days * cost.stored_bytes / 1e12
        print(f"| {database.name} | {found:,.0f} | {limit} | {cores:.0f} | {kept:.1f} |")


if __name__ == "__main__":
    main()
