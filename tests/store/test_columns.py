"""What columns answer is what a filter over every record answers, whenever they were made and whatever changed since."""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from perdure.store.api import Durability, RunUpdate, StoreUnavailableError, VisibilityRecord
from perdure.store.keys import visibility_position
from perdure.store.lmdb import LMDBStore, _sealing, _visibility
from perdure.store.lmdb._columns import Columns
from perdure.store.lmdb._gather import segments
from perdure.store.visibility import (
    Between,
    Compare,
    Field,
    In,
    Page,
    StartsWith,
    group_key,
    matches,
    order_records,
    parse_query,
    run_ranges,
)
from tests.store.builders import NAMESPACE, first, record, run_id, run_key, search_attributes
from tests.store.test_index import GROUPS, ORDERS, QUERIES, TYPES, changed_record, listed, make_record

_OTHER_ORDERS = (
    "ORDER BY WorkflowType DESC, Amount",
    "ORDER BY ExecutionStatus, Customer DESC, StartTime",
    "ORDER BY TemporalNamespaceDivision",
    "ORDER BY TaskQueue, HistorySizeBytes DESC",
    "ORDER BY ExecutionDuration DESC",
    "ORDER BY ExecutionTime",
    "ORDER BY ParentWorkflowId, ParentRunId DESC",
    "ORDER BY RunId",
    "ORDER BY RootWorkflowId DESC",
    "ORDER BY WorkflowId, StartTime, CloseTime, Paid",
)


class _Runs:
    """A store, and every record that it shows."""

    def __init__(self, store: LMDBStore, seed: int) -> None:
        self.store = store
        self.shown: dict[int, VisibilityRecord] = {}
        self._versions: dict[int, int] = {}
        self._rng = random.Random(seed)
        self._next = 0

    async def change(self, times: int) -> None:
        """Start, change, close and forget some runs."""
        for _ in range(times):
            if len(self.shown) < 40 or self._rng.random() < 0.3:
                self._next += 1
                number = self._next
                item = make_record(self._rng, number)
                self.shown[number], self._versions[number] = item, 1
                await self.store.commit([first(item.key, visibility=(None, item))])
                continue
            number = self._rng.choice(sorted(self.shown))
            item = self.shown[number]
            self._versions[number] += 1
            version = self._versions[number]
            if self._rng.random() < 0.3:
                del self.shown[number]
                await self.store.commit([RunUpdate(item.key, version, visibility=(item, None), delete=True)])
            else:
                self.shown[number] = changed_record(self._rng, item)
                await self.store.commit([RunUpdate(item.key, version, visibility=(item, self.shown[number]))])

    async def seal(self) -> None:
        """Seal, with changes in the middle of it."""
        sealing = _sealing_of(self.store)
        submit = sealing._submit

        async def disturbed(batch: Any) -> None:
            sealing._submit = submit
            if self._rng.random() < 0.3:
                await self.change(1)
            await submit(batch)
            if self._rng.random() < 0.3:
                await self.change(1)
            sealing._submit = disturbed

        sealing._submit = disturbed
        horizon = self._rng.choice((None, None, 1_020, 4_500))
        try:
            await sealing.seal(1, horizon, self._rng.choice((5, 30, 1000)))
        finally:
            sealing._submit = submit

    @property
    def records(self) -> list[VisibilityRecord]:
        """In the order of listings."""
        return sorted(self.shown.values(), key=visibility_position)


def _sealing_of(store: LMDBStore) -> _sealing.Sealing:
    assert store._sealing is not None
    return store._sealing


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How often columns were asked, and how often they answered; they are asked whenever they could answer."""
    monkeypatch.setattr(_visibility, "_FEW", 0)
    times = {"asked": 0, "answered": 0}

    def counting(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            answer = method(*arguments)
            times["asked"] += 1
            times["answered"] += answer is not None
            return answer

        return call

    for name in ("list_runs", "count_runs"):
        monkeypatch.setattr(Columns, name, counting(getattr(Columns, name)))
    return times


@pytest.mark.parametrize("seed", range(4))
def test_every_filter_is_answered_as_by_brute_force(seed: int, counted: dict[str, int]) -> None:
    folder = Path(tempfile.mkdtemp(prefix="perdure-columns-"))
    with asyncio.Runner() as runner:
        store = runner.run(LMDBStore.open(folder, durability=Durability.PROCESS))
        runs = _Runs(store, seed)
        rng = random.Random(seed)
        runner.run(runs.change(80))
        runner.run(runs.seal())

        @settings(
            max_examples=50,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.explicit, Phase.generate),
        )
        @given(
            text=QUERIES,
            size=st.sampled_from((3, 20, 1000)),
            group=st.sampled_from(GROUPS),
            order=st.sampled_from(("", *ORDERS, *_OTHER_ORDERS)),
        )
        def check(text: str, size: int, group: str, order: str) -> None:
            runner.run(runs.change(rng.randint(0, 6)))
            if rng.random() < 0.15:
                runner.run(runs.seal())
            if rng.random() < 0.05:
                runner.run(runs.store.close())
                runs.store = runner.run(LMDBStore.open(folder, durability=Durability.PROCESS))
            store, records = runs.store, runs.records
            query = parse_query(text, TYPES)
            expected = [item for item in records if matches(query, item)]
            assert runner.run(listed(store, text, size)) == expected
            if order:
                ordered = parse_query(f"{text} {order}", TYPES)
                shown = [item for item in records if matches(ordered, item)]
                whole = order_records(shown, ordered, Page(1000, None)).records
                assert runner.run(listed(store, f"{text} {order}", size)) == whole
            grouped = parse_query(text + (f" GROUP BY {group}" if group else ""), TYPES)
            counts: dict[tuple[str, ...], int] = {}
            for item in records:
                if matches(grouped, item):
                    counts[group_key(grouped, item)] = counts.get(group_key(grouped, item), 0) + 1
            assert runner.run(store.count_runs(NAMESPACE, grouped)) == (counts or ({} if group else {(): 0}))

        check()
        runner.run(runs.store.close())
    shutil.rmtree(folder)
    assert counted["answered"] > counted["asked"] * 0.5


async def test_sealing_that_ends_anywhere_is_begun_again(tmp_path: Path, counted: dict[str, int]) -> None:
    store = await LMDBStore.open(tmp_path, durability=Durability.PROCESS)
    runs = _Runs(store, 7)
    await runs.change(60)
    await _sealing_of(store).seal(1, rows=10)
    texts = ("HistoryLength > 3", "Customer IS NULL", "StartTime > 0 ORDER BY StartTime", "Tags != 'red'")
    for turns in range(0, 120, 7):
        await runs.change(5)
        task = asyncio.create_task(_sealing_of(store).seal(1, rows=10))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await store.close()
        store = runs.store = await LMDBStore.open(tmp_path, durability=Durability.PROCESS)
        columns = _sealing_of(store).columns(1)
        with columns.snapshot():
            named = sorted(number for number, _ in columns.directory.segments)
        assert _segments(store) == named
        for text in texts:
            query = parse_query(text, TYPES)
            expected = [item for item in runs.records if matches(query, item)]
            assert await store.count_runs(NAMESPACE, parse_query(text.partition("ORDER")[0], TYPES)) == {
                (): len(expected)
            }
            assert sorted(await listed(store, text, 1000), key=visibility_position) == expected
    await store.close()


def _segments(store: LMDBStore) -> list[int]:
    return segments(store._environment, (1).to_bytes(4))


async def test_a_failed_commit_leaves_the_columns_as_they_were(tmp_path: Path, counted: dict[str, int]) -> None:
    store = await LMDBStore.open(tmp_path, durability=Durability.PROCESS)
    runs = _Runs(store, 8)
    await runs.change(60)
    query = parse_query("HistoryLength > 3", TYPES)
    for failed in range(6):
        await runs.change(9)
        sealing = _sealing_of(store)
        submit = sealing._submit
        left = failed

        async def failing(batch: Any, submit: Any = submit) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                store._environment.fail_commits(1, 28)
            await submit(batch)

        sealing._submit = failing
        with pytest.raises(StoreUnavailableError):
            await sealing.seal(1, rows=10)
        sealing._submit = submit
        await runs.change(3)
        expected = [item for item in runs.records if matches(query, item)]
        assert (await store.list_runs(NAMESPACE, query, 1000)).records == expected
        await sealing.seal(1, rows=10)
        assert (await store.list_runs(NAMESPACE, query, 1000)).records == expected
    await store.close()


async def test_new_runs_leave_no_marks(tmp_path: Path) -> None:
    store = await LMDBStore.open(tmp_path, durability=Durability.PROCESS)
    old, new = record(run_key(1), 1_000), record(run_key(2), 2_000)
    await store.commit([first(old.key, visibility=(None, old))])
    await _sealing_of(store).seal(1)
    closed = record(run_key(2), 2_000, close_time=2_500, status=2)
    await store.commit([first(new.key, visibility=(None, new))])
    await store.commit([RunUpdate(new.key, 2, visibility=(new, closed))])
    assert store._environment.stat()["rows"]["mark"] == 0
    ended = record(run_key(1), 1_000, close_time=2_600, status=2)
    await store.commit([RunUpdate(old.key, 2, visibility=(old, ended))])
    assert store._environment.stat()["rows"]["mark"] == 1
    query = parse_query("HistoryLength >= 0", TYPES)
    assert (await store.list_runs(NAMESPACE, query, 10)).records == [ended, closed]
    await _sealing_of(store).seal(1)
    assert store._environment.stat()["rows"]["mark"] == 0
    assert (await store.list_runs(NAMESPACE, query, 10)).records == [ended, closed]
    await store.close()


async def test_small_and_dead_segments_are_made_again(tmp_path: Path) -> None:
    store = await LMDBStore.open(tmp_path, durability=Durability.PROCESS)
    runs = _Runs(store, 9)
    sealing = _sealing_of(store)
    for _ in range(40):
        await runs.change(4)
        await sealing.seal(1)
    columns = sealing.columns(1)
    assert len(columns.directory.segments) <= 6
    for number, item in list(runs.shown.items()):
        version = runs._versions[number] + 1
        await store.commit([RunUpdate(item.key, version, visibility=(item, None), delete=True)])
    await sealing.seal(1)
    assert columns.unsealed() == 0
    assert columns.directory.segments == []
    assert _segments(store) == []
    assert store._environment.stat()["rows"]["mark"] == 0
    await store.close()


async def test_a_filter_has_the_runs_sealed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = await LMDBStore.open(tmp_path, durability=Durability.PROCESS)
    runs = _Runs(store, 10)
    await runs.change(60)
    sealing = _sealing_of(store)
    monkeypatch.setattr(_visibility, "_FEW", 0)
    query = parse_query("Customer != 'bob'", TYPES)
    assert sealing._task is None
    await store.list_runs(NAMESPACE, query, 10)
    assert sealing._task is None
    sealing.worth_it = 10
    expected = [item for item in runs.records if matches(query, item)]
    for _ in range(2):
        assert (await store.list_runs(NAMESPACE, query, 1000)).records == expected
        assert sealing._task is not None
        await sealing._task
        assert sealing.columns(1).unsealed() == 0
    await store.close()


async def test_an_idle_store_seals_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_sealing, "WORTH_IT_UNASKED", 10)
    store = await LMDBStore.open(tmp_path, durability=Durability.PROCESS)
    runs = _Runs(store, 11)
    await runs.change(60)
    sealing = _sealing_of(store)
    sealing._look()
    assert sealing._task is None
    await runs.change(1)
    sealing._look()
    sealing._look()
    assert sealing._task is not None
    await sealing._task
    assert sealing.columns(1).unsealed() == 0
    await store.close()


async def test_a_store_of_format_3_gets_columns(tmp_path: Path, counted: dict[str, int]) -> None:
    import lmdb

    store = await LMDBStore.open(tmp_path)
    runs = _Runs(store, 12)
    await runs.change(50)
    await store.close()
    with lmdb.open(str(tmp_path), max_dbs=16) as environment, environment.begin(write=True) as transaction:
        for name in (b"column", b"mark"):
            transaction.drop(environment.open_db(name, transaction))
        meta = environment.open_db(b"meta", transaction)
        transaction.put(b"format", (3).to_bytes(8, "little"), db=meta)
    (tmp_path / "checkpoint").unlink()
    with lmdb.open(str(tmp_path), max_dbs=16) as environment, environment.begin(write=True) as transaction:
        transaction.delete(b"log", db=environment.open_db(b"meta", transaction))
    store = runs.store = await LMDBStore.open(tmp_path)
    assert store._environment.get(_sealing.META, b"format") == (4).to_bytes(8, "little")
    query = parse_query("HistoryLength > 3 OR Customer = 'bob'", TYPES)
    expected = [item for item in runs.records if matches(query, item)]
    assert (await store.list_runs(NAMESPACE, query, 1000)).records == expected
    assert counted["answered"] == 0
    await _sealing_of(store).seal(1)
    assert (await store.list_runs(NAMESPACE, query, 1000)).records == expected
    assert counted["answered"] == 1
    await store.close()


async def test_a_page_token_of_another_order_is_refused(tmp_path: Path, counted: dict[str, int]) -> None:
    store = await LMDBStore.open(tmp_path, durability=Durability.PROCESS)
    items = [
        record(run_key(number), number, search_attributes=search_attributes(Amount=("Int", number)))
        for number in range(1, 5)
    ]
    await store.commit([first(item.key, visibility=(None, item)) for item in items])
    await _sealing_of(store).seal(1)
    for order in ("Customer", "WorkflowType", "Amount"):
        token = (await store.list_runs(NAMESPACE, parse_query(f"ORDER BY {order}", TYPES), 1)).next_page_token
        other = "Customer" if order == "Amount" else "Amount"
        if order == "Customer":
            continue  # unset, as it is in the other order
        with pytest.raises(ValueError, match="not one that this listing gave"):
            await store.list_runs(NAMESPACE, parse_query(f"ORDER BY {other}", TYPES), 1, token)
    await store.close()


_RUN_TEXTS = st.one_of(
    st.text(alphabet="0123456789abcdef-ghA \x7f\0", max_size=40),
    st.builds(lambda value, size: str(uuid.UUID(int=value))[:size], st.integers(0, 2**128 - 1), st.integers(0, 36)),
    st.builds(lambda value: str(uuid.UUID(int=value)), st.integers(0, 2**128 - 1)),
    st.sampled_from(("f" * 8, "ffffffff-ffff-ffff-ffff-ffffffffffff", "00000000-0000-0000-0000-000000000000", "")),
)


@given(
    text=_RUN_TEXTS,
    other=_RUN_TEXTS,
    value=st.one_of(st.integers(0, 2**128 - 1), st.sampled_from((0, 2**128 - 1, 0xFFFFFFFF << 96))),
    symbol=st.sampled_from(("=", "<", "<=", ">", ">=")),
)
def test_ranges_of_run_ids_are_those_of_their_texts(text: str, other: str, value: int, symbol: str) -> None:
    field = Field("RunId", "Keyword")
    ids = [str(uuid.UUID(int=value)), run_id(1)]
    if len(text) == 36:
        ids.append(text if "=" in symbol else ids[0])
    tests: list[Compare | Between | StartsWith | In] = [Compare(field, symbol, text), Between(field, text, other)]
    tests += [StartsWith(field, text), In(field, (text, other))]
    for each in ids:
        try:
            number = uuid.UUID(each).bytes
        except ValueError:
            continue
        if str(uuid.UUID(bytes=number)) != each:
            continue
        holds = {"=": each == text, "<": each < text, "<=": each <= text, ">": each > text, ">=": each >= text}[symbol]
        expected = (holds, text <= each <= other, each.startswith(text), each in (text, other))
        for test, wanted in zip(tests, expected, strict=True):
            assert any(low <= number and (not high or number < high) for low, high in run_ranges(test)) is wanted
