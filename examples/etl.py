"""Extract, transform, load: sources in parallel, one of them unreliable, into a database that is safe to load twice.

Run it with ``python examples/etl.py``.
"""

import asyncio
import sqlite3
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from home import run

from perdure import Client, Worker, activity, workflow
from perdure.common import RetryPolicy


@dataclass
class Sale:
    """One row."""

    shop: str
    day: str
    cents: int


@dataclass
class Load:
    """Rows for the warehouse."""

    database: str
    sales: list[Sale]


@activity.defn
def extract(shop: str, day: str) -> list[Sale]:
    """Read one shop's sales. Plain functions run in the worker's thread pool, so they may block."""
    if shop == "Oslo" and activity.info().attempt < 3:
        print(f"  {shop} does not answer")
        raise ConnectionError(shop)
    sales = [Sale(shop, day, cents) for cents in (1250, 400, 99)]
    print(f"  {shop}: {len(sales)} sales")
    return sales


@activity.defn
def load(job: Load) -> int:
    """Write one shop's rows, in one transaction that replaces what an earlier attempt may have written."""
    with closing(sqlite3.connect(job.database)) as connection, connection:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS sales (shop, day, number, cents, PRIMARY KEY (shop, day, number))"
        )
        connection.executemany(
            "INSERT OR REPLACE INTO sales VALUES (?, ?, ?, ?)",
            [(sale.shop, sale.day, number, sale.cents) for number, sale in enumerate(job.sales)],
        )
    return len(job.sales)


@workflow.defn
class LoadDay:
    """Brings the sales of all shops of one day into the warehouse."""

    @workflow.run
    async def run(self, shops: list[str], day: str, database: str) -> int:
        return sum(await asyncio.gather(*(self._one(shop, day, database) for shop in shops)))

    async def _one(self, shop: str, day: str, database: str) -> int:
        options = workflow.ActivityConfig(
            start_to_close_timeout=timedelta(minutes=1),
            retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=50), maximum_attempts=10),
        )
        sales = await workflow.execute_activity(extract, args=[shop, day], **options)
        # Transforming is pure computing, so workflow code may do it.
        good = [sale for sale in sales if sale.cents >= 100]
        return await workflow.execute_activity(load, Load(database, good), **options)


async def main(url: str) -> None:
    """Load a day, and look at the warehouse."""
    with tempfile.TemporaryDirectory(prefix="perdure-etl-") as folder, ThreadPoolExecutor(8) as threads:
        database = str(Path(folder, "warehouse.db"))
        async with (
            await Client.connect(url) as client,
            Worker(
                client,
                task_queue="etl",
                workflows=[LoadDay],
                activities=[extract, load],
                activity_executor=threads,
            ),
        ):
            rows = await client.execute_workflow(
                LoadDay.run,
                args=[["Rome", "Oslo", "Lima"], "2026-11-24", database],
                id="etl-2026-11-24",  # the same day is never loaded by two at once
                task_queue="etl",
            )
        print(f"{rows} rows loaded")
        with closing(sqlite3.connect(database)) as connection:
            for shop, cents in connection.execute("SELECT shop, SUM(cents) FROM sales GROUP BY shop ORDER BY shop"):
                print(f"{shop:5} {cents / 100:6.2f}")


if __name__ == "__main__":
    run(main)
