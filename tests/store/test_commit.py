"""What a commit keeps, refuses, and leaves alone."""

from __future__ import annotations

import asyncio

import pytest

from perdure.store.api import (
    HistoryPage,
    NamespaceRecord,
    RunKey,
    RunUpdate,
    StaleRunError,
    Store,
    StoreClosedError,
    StoredRun,
    StoreUnavailableError,
)
from tests.store.backends import Backend
from tests.store.builders import NAMESPACE, OTHER_NAMESPACE, contents, first, record, run_id, run_key, task


async def test_first_commit_is_there_in_every_place(store: Store) -> None:
    key = run_key()
    row = task(key, 7, body=b"body", owner_epoch=3)
    await store.commit([first(key, timer=(0, 500), put_tasks=[row], visibility=(None, record(key)))])
    assert await store.load_run(key) == StoredRun(1, b"state 1")
    assert await store.current_run(NAMESPACE, key.workflow_id) == key.run_id
    assert await store.find_run(NAMESPACE, key.run_id) == key
    assert await store.read_history(key) == HistoryPage([b"batch 1"], 0)
    assert await store.due_runs(500, 10) == [(500, key)]
    assert await store.pending_tasks(10) == [row]
    assert (await store.list_runs(NAMESPACE, None, 10)).records == [record(key)]


async def test_nothing_is_there_before(store: Store) -> None:
    key = run_key()
    assert await contents(store, key) == [[], [], None, None, None, HistoryPage([], 0), HistoryPage([], 0), ([], b"")]
    assert await store.load_namespaces() == []
    assert await store.count_runs(NAMESPACE, None) == {(): 0}


@pytest.mark.parametrize("text", ["", "nonsense", run_id(1).upper(), run_id(1)[:-1] + "g", "\0", "é" * 18])
async def test_ids_no_run_can_have_are_not_found(store: Store, text: str) -> None:
    await store.commit([first(run_key())])
    assert await store.load_run(RunKey(NAMESPACE, "workflow-1", text)) is None
    assert await store.find_run(NAMESPACE, text) is None
    assert await store.find_run(text, run_id(1)) is None
    assert await store.current_run(text, "workflow-1") is None
    assert await store.read_history(RunKey(NAMESPACE, "workflow-1", text)) == HistoryPage([], 0)


async def test_a_run_is_not_found_under_another_workflow_id(store: Store) -> None:
    await store.commit([first(run_key())])
    assert await store.load_run(RunKey(NAMESPACE, "other", run_id(1))) is None


async def test_defaults_change_nothing(store: Store) -> None:
    key = run_key()
    await store.commit([first(key, timer=(0, 9), put_tasks=[task(key, 1)], visibility=(None, record(key)))])
    before = await contents(store, key)
    await store.commit([RunUpdate(key, 2)])
    after = await contents(store, key)
    assert after[2] == StoredRun(2, b"state 1")
    assert [*after[:2], *after[3:]] == [*before[:2], *before[3:]]


async def test_later_update_replaces_state_and_moves_entries(store: Store) -> None:
    key = run_key()
    old = record(key)
    await store.commit([first(key, timer=(0, 9), put_tasks=[task(key, 1), task(key, 2)], visibility=(None, old))])
    new = record(key, close_time=5_000)
    update = RunUpdate(
        key,
        2,
        b"state 2",
        [(3, 1, b"batch 2"), (4, 5, b"batch 3")],
        timer=(9, 20),
        put_tasks=[task(key, 3)],
        delete_tasks=[task(key, 1)],
        visibility=(old, new),
    )
    await store.commit([update])
    assert await store.load_run(key) == StoredRun(2, b"state 2")
    assert (await store.read_history(key)).batches == [b"batch 1", b"batch 2", b"batch 3"]
    assert await store.due_runs(100, 10) == [(20, key)]
    assert [row.task_id for row in await store.pending_tasks(10)] == [2, 3]
    assert (await store.list_runs(NAMESPACE, None, 10)).records == [new]


async def test_a_record_can_change_in_place(store: Store) -> None:
    key = run_key()
    old = record(key)
    new = record(key, memo=b"memo")
    await store.commit([first(key, visibility=(None, old))])
    await store.commit([RunUpdate(key, 2, visibility=(old, new))])
    assert (await store.list_runs(NAMESPACE, None, 10)).records == [new]


async def test_records_are_copied(store: Store) -> None:
    key = run_key()
    mine = record(key)
    await store.commit([first(key, visibility=(None, mine))])
    mine.status = 7
    assert (await store.list_runs(NAMESPACE, None, 10)).records[0].status == 1


@pytest.mark.parametrize("version", [1, 2, 4, 5])
async def test_a_stale_update_is_refused_whole(store: Store, version: int) -> None:
    key, other = run_key(1), run_key(2)
    await store.commit([first(key)])
    await store.commit([RunUpdate(key, 2)])
    before = await contents(store, key, other)
    with pytest.raises(StaleRunError) as caught:
        await store.commit([first(other, timer=(0, 5)), RunUpdate(key, version, b"x", [(3, 1, b"x")])])
    assert (caught.value.key, caught.value.expected, caught.value.found) == (key, version - 1, 2)
    assert await contents(store, key, other) == before


async def test_one_commit_may_move_a_run_twice(store: Store) -> None:
    key = run_key()
    await store.commit([first(key), RunUpdate(key, 2, b"state 2", [(3, 1, b"batch 2")])])
    assert await store.load_run(key) == StoredRun(2, b"state 2")
    with pytest.raises(StaleRunError):
        await store.commit([RunUpdate(key, 3), RunUpdate(key, 5)])
    assert await store.load_run(key) == StoredRun(2, b"state 2")


async def test_commits_under_way_apply_in_the_order_of_the_calls(store: Store) -> None:
    key = run_key()
    commits = [first(key), *(RunUpdate(key, n, b"%d" % n, [(n + 1, 1, b"%d" % n)]) for n in range(2, 200))]
    await asyncio.gather(*(store.commit([update]) for update in commits))
    assert await store.load_run(key) == StoredRun(199, b"199")
    assert len((await store.read_history(key)).batches) == 199


async def test_only_the_stale_one_of_the_commits_under_way_fails(store: Store) -> None:
    keys = [run_key(n) for n in range(10)]
    await store.commit([first(keys[0])])
    results = await asyncio.gather(*(store.commit([first(key)]) for key in keys), return_exceptions=True)
    assert isinstance(results[0], StaleRunError)
    assert results[1:] == [None] * 9
    assert [await store.load_run(key) for key in keys] == [StoredRun(1, b"state 1")] * 10


async def test_delete_forgets_the_run(store: Store) -> None:
    key, neighbour = run_key(1), run_key(2)
    shown = record(key)
    await store.commit([first(key, timer=(0, 9), put_tasks=[task(key, 1)], visibility=(None, shown)), first(neighbour)])
    await store.commit([RunUpdate(key, n, history=[(n + 1, 1, b"x")]) for n in range(2, 50)])
    kept = await contents(store, neighbour)
    await store.commit(
        [RunUpdate(key, 50, timer=(9, 0), delete_tasks=[task(key, 1)], visibility=(shown, None), delete=True)]
    )
    assert await contents(store, key) == [[], [], None, None, None, HistoryPage([], 0), HistoryPage([], 0), ([], b"")]
    assert (await contents(store, neighbour))[2:] == [*kept[2:-1], ([], b"")]


async def test_delete_leaves_a_newer_current_run(store: Store) -> None:
    old, new = run_key(1, "same"), run_key(2, "same")
    await store.commit([first(old)])
    await store.commit([first(new)])
    await store.commit([RunUpdate(old, 2, delete=True)])
    assert await store.current_run(NAMESPACE, "same") == new.run_id


async def test_delete_needs_the_version(store: Store) -> None:
    key = run_key()
    await store.commit([first(key)])
    with pytest.raises(StaleRunError):
        await store.commit([RunUpdate(key, 3, delete=True)])
    await store.commit([RunUpdate(key, 2, delete=True)])
    await store.commit([first(key)])
    assert await store.load_run(key) == StoredRun(1, b"state 1")


async def test_removing_what_is_not_there_is_fine(store: Store) -> None:
    key = run_key()
    await store.commit([first(key, timer=(77, 0), delete_tasks=[task(key, 1)], visibility=(record(key), None))])
    assert await store.load_run(key) == StoredRun(1, b"state 1")


async def test_namespaces_are_apart(store: Store) -> None:
    one, other = run_key(1, "same"), run_key(1, "same", OTHER_NAMESPACE)
    await store.commit([first(one, visibility=(None, record(one)))])
    assert await contents(store, other) == [[], [], None, None, None, HistoryPage([], 0), HistoryPage([], 0), ([], b"")]
    await store.commit([first(other, state=b"other")])
    assert await store.load_run(one) == StoredRun(1, b"state 1")
    assert await store.load_run(other) == StoredRun(1, b"other")


async def test_put_namespace_creates_and_replaces(store: Store) -> None:
    await store.put_namespace(NamespaceRecord(NAMESPACE, "default", b"1"))
    await store.put_namespace(NamespaceRecord(OTHER_NAMESPACE, "other"))
    await store.put_namespace(NamespaceRecord(NAMESPACE, "default", b"2"))
    assert await store.load_namespaces() == [
        NamespaceRecord(NAMESPACE, "default", b"2"),
        NamespaceRecord(OTHER_NAMESPACE, "other"),
    ]


@pytest.mark.parametrize(
    "update",
    [
        RunUpdate(RunKey(NAMESPACE, "w", "not-a-uuid"), 1),
        RunUpdate(RunKey("default", "w", run_id(1)), 1),
        RunUpdate(run_key(), 0),
        RunUpdate(run_key(), 1, history=[(0, 1, b"")]),
        RunUpdate(run_key(), 1, history=[(1, 0, b"")]),
        RunUpdate(run_key(), 1, history=[(1 << 32, 1, b"")]),
        RunUpdate(run_key(), 1, timer=(0, -1)),
        RunUpdate(run_key(), 1, put_tasks=[task(run_key(namespace_id=OTHER_NAMESPACE), 1)]),
        RunUpdate(run_key(), 1, visibility=(None, record(run_key(namespace_id=OTHER_NAMESPACE)))),
    ],
    ids=str,
)
async def test_updates_no_store_could_keep_are_refused(store: Store, update: RunUpdate) -> None:
    good = run_key(2)
    with pytest.raises(ValueError, match=r"is not a UUID|below 1|out of range|before 1970|of namespace"):
        await store.commit([first(good), update])
    assert await store.load_run(good) is None


@pytest.mark.parametrize("size", [0, 1, 399, 400, 401, 511, 512, 1000])
async def test_long_ids_and_queues(store: Store, size: int) -> None:
    keys = [run_key(n, "x" * size + suffix) for n, suffix in enumerate(("", "a", "b", "\0", "\0\0", "é"))]
    rows = [task(key, 1, key.workflow_id) for key in keys]
    await store.commit([first(key, put_tasks=[row], timer=(0, 1)) for key, row in zip(keys, rows, strict=True)])
    for key in keys:
        assert await store.current_run(NAMESPACE, key.workflow_id) == key.run_id
        assert await store.find_run(NAMESPACE, key.run_id) == key
        assert await store.load_run(key) == StoredRun(1, b"state 1")
    assert await store.current_run(NAMESPACE, "x" * size + "c") is None
    assert set(await store.pending_tasks(10)) == set(rows)
    assert sorted(key for _, key in await store.due_runs(1, 10)) == sorted(keys)
    await store.commit([RunUpdate(keys[0], 2, delete_tasks=[rows[0]])])
    assert set(await store.pending_tasks(10)) == set(rows[1:])


async def test_big_values(store: Store) -> None:
    key = run_key()
    state, batch = bytes(range(256)) * 12_000, b"\x17" * 2_000_000
    await store.commit([first(key, state=state, history=[(1, 2, batch), (3, 1, b"")])])
    assert await store.load_run(key) == StoredRun(1, state)
    assert await store.read_history(key) == HistoryPage([batch, b""], 0)
    await store.commit([RunUpdate(key, 2)])
    assert await store.load_run(key) == StoredRun(2, state)


async def test_failed_writes_keep_nothing_and_the_store_goes_on(failing: Backend, store: Store) -> None:
    assert failing.fail_commits is not None
    keys = [run_key(n) for n in range(4)]
    await store.commit([first(keys[0])])
    before = await contents(store, *keys)
    failing.fail_commits(store, 1)
    with pytest.raises(StoreUnavailableError):
        await store.commit([RunUpdate(keys[0], 2, b"x", [(3, 1, b"x")]), first(keys[1], timer=(0, 4))])
    assert await contents(store, *keys) == before
    await store.commit([RunUpdate(keys[0], 2), first(keys[1])])
    failing.fail_commits(store, 2)
    for _ in range(2):
        with pytest.raises(StoreUnavailableError):
            await store.commit([first(keys[2])])
    await store.commit([first(keys[2])])
    assert [await store.load_run(key) for key in keys[:3]] == [
        StoredRun(2, b"state 1"),
        *[StoredRun(1, b"state 1")] * 2,
    ]


async def test_every_commit_of_a_failed_write_fails_and_the_next_ones_do_not(failing: Backend, store: Store) -> None:
    assert failing.fail_commits is not None
    keys = [run_key(n) for n in range(60)]
    failing.fail_commits(store, 1)
    results = await asyncio.gather(*(store.commit([first(key)]) for key in keys), return_exceptions=True)
    failed = [isinstance(result, StoreUnavailableError) for result in results]
    assert any(failed)
    assert [await store.load_run(key) is None for key in keys] == failed
    await store.commit([first(key) for key, lost in zip(keys, failed, strict=True) if lost])
    assert all([await store.load_run(key) == StoredRun(1, b"state 1") for key in keys])


async def test_a_namespace_survives_the_failure_of_its_first_commit(failing: Backend, store: Store) -> None:
    assert failing.fail_commits is not None
    failing.fail_commits(store, 1)
    with pytest.raises(StoreUnavailableError):
        await store.commit([first(run_key())])
    await store.commit([first(run_key())])
    assert await store.find_run(NAMESPACE, run_id(1)) == run_key()


async def test_a_cancelled_commit_does_not_disturb_the_others(store: Store) -> None:
    tasks = [asyncio.ensure_future(store.commit([first(run_key(n))])) for n in range(20)]
    await asyncio.sleep(0)
    for waiting in tasks[::2]:
        waiting.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await store.commit([first(run_key(100))])
    assert all([await store.load_run(run_key(n)) is not None for n in range(20)])


async def test_a_closed_store_refuses_everything(backend: Backend, tmp_path: object) -> None:
    store = await backend.open(tmp_path)  # type: ignore[arg-type]
    await store.commit([first(run_key())])
    await store.close()
    await store.close()
    calls = [
        store.commit([first(run_key(2))]),
        store.load_run(run_key()),
        store.current_run(NAMESPACE, "workflow-1"),
        store.find_run(NAMESPACE, run_id(1)),
        store.read_history(run_key()),
        store.read_history_reverse(run_key()),
        store.due_runs(1, 1),
        store.pending_tasks(1),
        store.list_runs(NAMESPACE, None, 1),
        store.count_runs(NAMESPACE, None),
        store.load_namespaces(),
        store.put_namespace(NamespaceRecord(NAMESPACE, "default")),
    ]
    for call in calls:
        with pytest.raises(StoreClosedError):
            await call


async def test_close_finishes_what_is_under_way(backend: Backend, tmp_path: object) -> None:
    store = await backend.open(tmp_path)  # type: ignore[arg-type]
    commits = [asyncio.ensure_future(store.commit([first(run_key(n))])) for n in range(50)]
    await asyncio.sleep(0)
    await store.close()
    assert await asyncio.gather(*commits) == [None] * 50


async def test_delete_namespace_forgets_it(store: Store) -> None:
    await store.put_namespace(NamespaceRecord(NAMESPACE, "default", b"1"))
    await store.put_namespace(NamespaceRecord(OTHER_NAMESPACE, "other"))
    await store.delete_namespace(NAMESPACE)
    await store.delete_namespace(NAMESPACE)
    assert await store.load_namespaces() == [NamespaceRecord(OTHER_NAMESPACE, "other")]
