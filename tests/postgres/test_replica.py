"""A streaming replica that answers listings and counts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from perdure.store.api import RunUpdate, StoreUnavailableError
from perdure.store.postgres import PostgresStore
from tests.store.builders import NAMESPACE, first, record, run_key
from tests.support.postgres import FAST, Server, own_server_or_skip, with_options


@pytest.fixture(scope="module")
def primary() -> Iterator[Server]:
    own_server_or_skip()
    server = Server({**FAST, "wal_level": "replica", "max_wal_senders": "4"})
    yield server
    server.remove()


@pytest.fixture(scope="module")
def replica(primary: Server) -> Iterator[Server]:
    server = Server({"fsync": "off", "max_wal_senders": "4"}, primary=primary)
    yield server
    server.remove()


async def test_listings_and_counts_are_the_replica_s(primary: Server, replica: Server) -> None:
    place = with_options(primary.url, schema="listed", partitions=1, replica=quote(replica.url, safe=""))
    store = await PostgresStore.open(place)
    for number in range(5):
        key = run_key(number)
        await store.commit([first(key, visibility=(None, record(key)))])
    while len((await store.list_runs(NAMESPACE, None, 10)).records) < 5:
        await asyncio.sleep(0.01)  # a replica is behind by a moment
    assert sum((await store.count_runs(NAMESPACE, None)).values()) == 5
    # What is asked of it is not asked of the primary, and the other way round.
    assert await store._replica.fetch("SELECT pg_is_in_recovery()") == [(True,)]
    assert await store.connections.fetch("SELECT pg_is_in_recovery()") == [(False,)]
    await store.close()


async def test_a_replica_that_is_away_takes_listings_with_it_and_nothing_else(primary: Server, replica: Server) -> None:
    place = with_options(
        primary.url, schema="away", partitions=1, reconnect_timeout=0.2, replica=quote(replica.url, safe="")
    )
    store = await PostgresStore.open(place)
    await store.commit([first(run_key(1))])
    replica.stop()
    try:
        with pytest.raises(StoreUnavailableError, match="cannot reach"):
            await store.list_runs(NAMESPACE, None, 10)
        await store.commit([RunUpdate(run_key(1), 2)])
        found = await store.load_run(run_key(1))
        assert found is not None and found.version == 2
    finally:
        replica.start()
    while not await _is_listed(store):
        await asyncio.sleep(0.01)
    await store.close()


async def _is_listed(store: PostgresStore) -> bool:
    try:
        await store.list_runs(NAMESPACE, None, 10)
    except StoreUnavailableError:
        return False
    return True
