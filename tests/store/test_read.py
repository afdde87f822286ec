"""Pages of histories, timers, tasks."""

from __future__ import annotations

import random

import pytest

from perdure.store.api import HistoryPage, RunUpdate, Store, TaskKind
from tests.store.builders import NAMESPACE, OTHER_NAMESPACE, first, run_id, run_key, task


async def _store_batches(store: Store, *batches: tuple[int, int, bytes]) -> None:
    # Neighbours on both sides, so that a range that runs over shows.
    await store.commit([first(run_key(number), history=list(batches)) for number in (1, 2, 3)])


_BATCHES = ((1, 2, b"1-2"), (3, 1, b"3"), (4, 4, b"4-7"), (8, 1, b"8"))


@pytest.mark.parametrize(
    ("first_event_id", "next_event_id", "max_events", "page"),
    [
        (1, 0, 0, HistoryPage([b"1-2", b"3", b"4-7", b"8"], 0)),
        (2, 0, 0, HistoryPage([b"1-2", b"3", b"4-7", b"8"], 0)),
        (3, 0, 0, HistoryPage([b"3", b"4-7", b"8"], 0)),
        (6, 0, 0, HistoryPage([b"4-7", b"8"], 0)),
        (8, 0, 0, HistoryPage([b"8"], 0)),
        (9, 0, 0, HistoryPage([], 0)),
        (1, 3, 0, HistoryPage([b"1-2"], 0)),
        (1, 5, 0, HistoryPage([b"1-2", b"3", b"4-7"], 0)),
        (3, 3, 0, HistoryPage([], 0)),
        (5, 6, 0, HistoryPage([b"4-7"], 0)),
        (1, 0, 1, HistoryPage([b"1-2"], 3)),
        (1, 0, 2, HistoryPage([b"1-2"], 3)),
        (1, 0, 3, HistoryPage([b"1-2", b"3"], 4)),
        (4, 0, 1, HistoryPage([b"4-7"], 8)),
        (1, 4, 3, HistoryPage([b"1-2", b"3"], 0)),
        (8, 0, 1, HistoryPage([b"8"], 0)),
        (1, 0, 8, HistoryPage([b"1-2", b"3", b"4-7", b"8"], 0)),
    ],
)
async def test_read_history(
    store: Store, first_event_id: int, next_event_id: int, max_events: int, page: HistoryPage
) -> None:
    await _store_batches(store, *_BATCHES)
    assert await store.read_history(run_key(2), first_event_id, next_event_id, max_events=max_events) == page


@pytest.mark.parametrize(
    ("last_event_id", "max_events", "page"),
    [
        (0, 0, HistoryPage([b"8", b"4-7", b"3", b"1-2"], 0)),
        (0, 1, HistoryPage([b"8"], 7)),
        (7, 1, HistoryPage([b"4-7"], 3)),
        (5, 5, HistoryPage([b"4-7", b"3"], 2)),
        (2, 5, HistoryPage([b"1-2"], 0)),
        (1, 0, HistoryPage([b"1-2"], 0)),
        (100, 0, HistoryPage([b"8", b"4-7", b"3", b"1-2"], 0)),
    ],
)
async def test_read_history_reverse(store: Store, last_event_id: int, max_events: int, page: HistoryPage) -> None:
    await _store_batches(store, *_BATCHES)
    assert await store.read_history_reverse(run_key(2), last_event_id, max_events=max_events) == page


@pytest.mark.parametrize("max_events", [0, 1, 7, 1000])
async def test_pages_join_to_the_whole_history(store: Store, max_events: int) -> None:
    rng = random.Random(max_events)
    batches, at = [], 1
    for _ in range(1500):
        count = rng.randint(1, 4)
        batches.append((at, count, b"%d" % at * rng.choice((1, 1, 700))))
        at += count
    await _store_batches(store, *batches)
    forward, go_on = [], 1
    while go_on:
        page = await store.read_history(run_key(2), go_on, max_events=max_events)
        forward += page.batches
        go_on = page.next_event_id
    assert forward == [batch for _, _, batch in batches]
    backward, last = [], None
    while last != 0:
        page = await store.read_history_reverse(run_key(2), last or 0, max_events=max_events)
        backward += page.batches
        last = page.next_event_id
    assert backward[::-1] == forward


async def test_due_runs_in_order_and_pages(store: Store) -> None:
    rng = random.Random(5)
    due = {run_key(n, namespace_id=rng.choice((NAMESPACE, OTHER_NAMESPACE))): rng.randint(1, 40) for n in range(100)}
    await store.commit([first(key, timer=(0, time)) for key, time in due.items()])
    everything = await store.due_runs(40, 1000)
    assert {key: time for time, key in everything} == due
    assert [time for time, _ in everything] == sorted(due.values())
    assert await store.due_runs(20, 1000) == [entry for entry in everything if entry[0] <= 20]
    paged, after = [], None
    while page := await store.due_runs(40, 7, after):
        assert len(page) <= 7
        paged += page
        after = page[-1]
    assert paged == everything
    assert await store.due_runs(0, 10) == []


async def test_an_entry_moves_with_its_timer(store: Store) -> None:
    key = run_key()
    await store.commit([first(key, timer=(0, 10))])
    await store.commit([RunUpdate(key, 2, timer=(10, 10))])
    assert await store.due_runs(100, 10) == [(10, key)]
    await store.commit([RunUpdate(key, 3, timer=(10, 0))])
    assert await store.due_runs(100, 10) == []


async def test_pending_tasks_in_order_and_pages(store: Store) -> None:
    rng = random.Random(6)
    keys = [run_key(n, namespace_id=(NAMESPACE, OTHER_NAMESPACE)[n % 2]) for n in range(4)]
    await store.commit([first(key) for key in keys])
    rows = [
        task(rng.choice(keys), task_id, rng.choice(("a", "b", "ab", "a\0", "q" * 600)), rng.choice(list(TaskKind)))
        for task_id in range(1, 200)
    ]
    for key in keys:
        await store.commit([RunUpdate(key, 2, put_tasks=[row for row in rows if row.key == key])])
    namespaces = [NAMESPACE, OTHER_NAMESPACE]
    expected = sorted(
        rows, key=lambda row: (namespaces.index(row.key.namespace_id), row.kind, row.task_queue, row.task_id)
    )
    assert await store.pending_tasks(1000) == expected
    paged, after = [], None
    while page := await store.pending_tasks(9, after):
        paged += page
        after = page[-1]
    assert paged == expected


async def test_a_task_row_is_replaced_by_its_identity(store: Store) -> None:
    key = run_key()
    await store.commit([first(key, put_tasks=[task(key, 1)])])
    handed_out = task(key, 1, owner_epoch=4, body=b"\0\xff")
    await store.commit([RunUpdate(key, 2, put_tasks=[handed_out])])
    assert await store.pending_tasks(10) == [handed_out]


async def test_find_run_needs_only_the_run_id(store: Store) -> None:
    keys = [run_key(n, "w" * n) for n in range(5)]
    await store.commit([first(key) for key in keys])
    assert [await store.find_run(NAMESPACE, run_id(n)) for n in range(5)] == keys
    assert await store.find_run(NAMESPACE, run_id(5)) is None
