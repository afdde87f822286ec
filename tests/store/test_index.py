"""What the indexes answer is what a filter over every record answers, whatever the filter and however runs changed."""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from perdure.store.api import RunUpdate, Store, VisibilityRecord
from perdure.store.keys import visibility_position
from perdure.store.visibility import (
    Access,
    Bucket,
    Page,
    Part,
    Term,
    WorkflowIds,
    group_key,
    matches,
    order_records,
    parse_query,
    plan,
)
from tests.store.backends import BACKENDS, Backend
from tests.store.builders import NAMESPACE, OTHER_NAMESPACE, first, record, run_id, run_key, search_attributes

TYPES = {
    "Customer": "Keyword",
    "Amount": "Int",
    "Price": "Double",
    "Paid": "Bool",
    "Due": "Datetime",
    "Note": "Text",
    "Tags": "KeywordList",
}
LONG = "x" * 399
_VALUES: dict[str, tuple[Any, ...]] = {
    "Customer": ("alice", "al", "bob", "", "a\0b", "é", LONG + "1", LONG + "2", "x" * 600),
    "Amount": (0, 1, -1, 7, 2**63, -(2**62), 10),
    "Price": (0.0, -0.0, 1.5, -1.5, 1e300, 7, -3),
    "Paid": (True, False),
    "Due": ("2026-01-31T12:00:00Z", "1969-12-31T23:59:59Z", "9999-01-01T00:00:00Z"),
    "Note": ("Urgent, please", "not so urgent", "...", "later " + LONG),
    "Tags": (["red"], ["red", "green"], ["blue", "blue"], ["green", "alice"]),
}
_STRINGS = ("alice", "al", "b", "", "a\0b", LONG + "1", LONG, "workflow-1", "shared", "parent", "urgent", "red")
_NUMBERS = (0, 1, 1.5, -1, 7, 10, 2**63, -7.25)
_TIMES = (1_000, 1_010, 1_030, 4_000, 5_000)


def _text(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "''").replace("\0", "\\0") + "'"


def _tests() -> st.SearchStrategy[str]:
    text = st.sampled_from(_STRINGS).map(_text)
    number = st.sampled_from(_NUMBERS).map(str)
    time = st.sampled_from(_TIMES).map(str)
    ordered = st.sampled_from(("=", "!=", "<", "<=", ">", ">="))
    equal = st.sampled_from(("=", "!="))
    keyword = st.sampled_from(
        ("Customer", "WorkflowId", "WorkflowType", "TaskQueue", "ParentWorkflowId", "RootWorkflowId", "RootRunId")
    )
    status = st.sampled_from(("'Running'", "'Completed'", "'Failed'", "'Paused'"))
    negation = st.sampled_from(("", "NOT "))

    def join(*parts: st.SearchStrategy[str] | str) -> st.SearchStrategy[str]:
        return st.tuples(*(st.just(part) if isinstance(part, str) else part for part in parts)).map(" ".join)

    def some(value: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        return st.lists(value, min_size=1, max_size=3).map(lambda values: "(" + ", ".join(values) + ")")

    return st.one_of(
        join(keyword, ordered, text),
        join(keyword, negation, "IN", some(text)),
        join(keyword, negation, "BETWEEN", text, "AND", text),
        join(keyword, negation, "STARTS_WITH", text),
        join(st.sampled_from(("Amount", "Price")), ordered, number),
        join("Amount", negation, "IN", some(number)),
        join(st.sampled_from(("Amount", "Price")), negation, "BETWEEN", number, "AND", number),
        join("Paid", equal, st.sampled_from(("true", "false"))),
        join("Due", ordered, st.sampled_from(("'2026-01-31T12:00:00Z'", "'2000-01-01T00:00:00Z'", "0"))),
        join("Note", equal, st.sampled_from(("'urgent'", "'please later'", _text(LONG)))),
        join("Tags", equal, text),
        join("Tags", negation, "IN", some(text)),
        join("ExecutionStatus", equal, status),
        join("ExecutionStatus", negation, "IN", some(status)),
        join(st.sampled_from(("StartTime", "CloseTime", "ExecutionTime")), ordered, time),
        join(st.sampled_from(("StartTime", "CloseTime")), negation, "BETWEEN", time, "AND", time),
        join("RunId", equal, st.integers(0, 70).map(lambda number: _text(run_id(number)))),
        join("HistoryLength", ordered, st.sampled_from(("3", "5"))),
        join(
            "HistorySizeBytes",
            negation,
            "BETWEEN",
            st.sampled_from(("0", "700")),
            "AND",
            st.sampled_from(("0", "9000")),
        ),
        join("StateTransitionCount", ordered, st.sampled_from(("0", "2", "200"))),
        join("ExecutionDuration", ordered, st.sampled_from(("'3us'", "'4us'", "3500", "-7", "99999999999999999999"))),
        join("ExecutionDuration", "IS", negation, "NULL"),
        join(
            st.sampled_from((*TYPES, "CloseTime", "StartTime", "ParentWorkflowId", "TemporalNamespaceDivision")),
            "IS",
            negation,
            "NULL",
        ),
    )


QUERIES = st.recursive(
    _tests(),
    lambda inner: st.one_of(
        st.lists(inner, min_size=2, max_size=3).map(" AND ".join),
        st.lists(inner, min_size=2, max_size=3).map(" OR ".join),
        inner.map(lambda text: f"NOT ({text})"),
        inner.map(lambda text: f"({text})"),
    ),
    max_leaves=5,
)
ORDERS = tuple(
    f"ORDER BY {name}{direction}"
    for name in ("StartTime", "CloseTime", "Customer", "Amount", "Price", "Paid", "Due", "WorkflowId", "HistoryLength")
    for direction in ("", " DESC")
)
GROUPS = ("", "ExecutionStatus", "WorkflowType", "TaskQueue", "Customer", "Paid", "TemporalNamespaceDivision")


def _attributes(rng: random.Random) -> bytes:
    chosen = {name: (TYPES[name], rng.choice(values)) for name, values in _VALUES.items() if rng.random() < 0.4}
    if rng.random() < 0.1:
        chosen["TemporalNamespaceDivision"] = ("Keyword", rng.choice(("TemporalScheduler", "other")))
    return search_attributes(**chosen) if chosen else b""


def make_record(rng: random.Random, number: int) -> VisibilityRecord:
    key = run_key(number, rng.choice((None, None, "shared", "a\0b", "w" * 500)))
    closed = rng.random() < 0.6
    parent = rng.random() < 0.3
    item = record(
        key,
        rng.choice(_TIMES[:3]) + rng.randint(0, 30),
        workflow_type=rng.choice(("Order", "Refund")),
        close_time=rng.randint(3_000, 7_000) if closed else 0,
        status=rng.choice((2, 3, 7)) if closed else rng.choice((1, 1, 8)),
        history_length=rng.randint(3, 6) if closed else 0,
        search_attributes=_attributes(rng),
        parent_workflow_id="parent" if parent else "",
        parent_run_id=run_id(1) if parent else "",
        root_workflow_id="shared" if parent else key.workflow_id,
        root_run_id=run_id(2) if parent else key.run_id,
    )
    item.task_queue = rng.choice(("queue", "other"))
    return item


def changed_record(rng: random.Random, item: VisibilityRecord) -> VisibilityRecord:
    changed = VisibilityRecord(*(getattr(item, name) for name in item.__struct_fields__))
    changed.search_attributes = _attributes(rng)
    if not item.close_time and rng.random() < 0.5:
        changed.close_time = rng.randint(3_000, 7_000)
        changed.status = rng.choice((2, 3))
    return changed


async def _fill(store: Store) -> list[VisibilityRecord]:
    """Seventy runs; some changed, some closed, some forgotten after they were first shown."""
    rng = random.Random(5)
    shown = {number: make_record(rng, number) for number in range(70)}
    await store.commit([first(item.key, visibility=(None, item)) for item in shown.values()])
    for number in rng.sample(range(70), 30):
        item = shown[number]
        shown[number] = changed_record(rng, item)
        await store.commit([RunUpdate(item.key, 2, visibility=(item, shown[number]))])
    for number in rng.sample(range(70), 8):
        item = shown.pop(number)
        stored = await store.load_run(item.key)
        assert stored is not None
        await store.commit([RunUpdate(item.key, stored.version + 1, visibility=(item, None), delete=True)])
    other = run_key(1, "shared", OTHER_NAMESPACE)
    await store.commit([first(other, visibility=(None, record(other, search_attributes=_attributes(rng))))])
    return sorted(shown.values(), key=visibility_position)


async def listed(store: Store, text: str, size: int) -> list[VisibilityRecord]:
    query = parse_query(text, TYPES)
    found, token = [], b""
    while True:
        page = await store.list_runs(NAMESPACE, query, size, token)
        found += page.records
        token = page.next_page_token
        if not token:
            return found


@pytest.mark.parametrize("backend", [BACKENDS[0], *BACKENDS[2:]], ids=lambda backend: backend.name)
def test_every_filter_is_answered_as_by_brute_force(backend: Backend) -> None:
    folder = Path(tempfile.mkdtemp(prefix="perdure-index-"))
    with asyncio.Runner() as runner:
        store = runner.run(backend.open(folder))
        records = runner.run(_fill(store))

        @settings(
            max_examples=60 if backend.name == "postgres" else 200,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.explicit, Phase.generate),
        )
        @given(
            text=QUERIES,
            size=st.sampled_from((1, 4, 1000)),
            group=st.sampled_from(GROUPS),
            order=st.sampled_from(("", *ORDERS)),
            bare=st.sampled_from(("", *ORDERS)),
        )
        def check(text: str, size: int, group: str, order: str, bare: str) -> None:
            query = parse_query(text, TYPES)
            expected = [item for item in records if matches(query, item)]
            assert runner.run(listed(store, text, size)) == expected
            if order:
                ordered = parse_query(f"{text} {order}", TYPES)
                whole = order_records(list(expected), ordered, Page(1000, None)).records
                assert runner.run(listed(store, f"{text} {order}", size)) == whole
            if bare:
                ordered = parse_query(bare, TYPES)
                shown = [item for item in records if matches(ordered, item)]
                whole = order_records(shown, ordered, Page(1000, None)).records
                assert runner.run(listed(store, bare, size)) == whole
            counted = parse_query(text + (f" GROUP BY {group}" if group else ""), TYPES)
            counts: dict[tuple[str, ...], int] = {}
            for item in expected if not group.endswith("Division") else [i for i in records if matches(counted, i)]:
                counts[group_key(counted, item)] = counts.get(group_key(counted, item), 0) + 1
            assert runner.run(store.count_runs(NAMESPACE, counted)) == (counts or ({} if group else {(): 0}))

        check()
        runner.run(store.close())
    shutil.rmtree(folder)


async def test_nothing_is_left_when_every_run_is_forgotten(store: Store) -> None:
    for item in await _fill(store):
        stored = await store.load_run(item.key)
        assert stored is not None
        await store.commit([RunUpdate(item.key, stored.version + 1, visibility=(item, None), delete=True)])
    for text in ("", "Customer IS NOT NULL", "WorkflowId STARTS_WITH 'w'", "TemporalNamespaceDivision IS NOT NULL"):
        assert await listed(store, text, 10) == []
        assert await store.count_runs(NAMESPACE, parse_query(text, TYPES)) == {(): 0}
    if store.name == "lmdb":
        rows = store._environment.stat()["rows"]  # type: ignore[attr-defined]
        other = 1
        assert rows["visibility"] == rows["bucket"] == other
        assert rows["run"] == other


class _Sizes:
    def size(self, part: Part, limit: int) -> int:
        return 3 if isinstance(part, Term) else 900


_BUCKETS = [
    Bucket("Order", "q", None, 1, 400),
    Bucket("Order", "q", None, 2, 500),
    Bucket("Refund", "q", None, 2, 100),
    Bucket("Sweep", "q", "TemporalScheduler", 1, 7),
]


@pytest.mark.parametrize(
    ("text", "sizes", "indexed", "evaluated"),
    [
        ("", [1000], None, False),
        ("TemporalNamespaceDivision = 'TemporalScheduler'", [7], None, False),
        ("ExecutionStatus = 'Running'", [400], None, False),
        ("WorkflowType = 'Order' AND NOT ExecutionStatus = 'Running'", [500], None, False),
        ("WorkflowType = 'Order' AND CloseTime > 5", [900], None, False),
        ("WorkflowType = 'Nothing'", [], None, False),
        ("Customer = 'bob'", [1000], Term, False),
        ("Customer = 'bob' AND HistoryLength > 7", [1000], Term, True),
        ("Customer = 'bob' AND WorkflowId = 'a'", [1000], Term, True),
        ("Customer = 'bob' OR WorkflowId = 'a'", [1000], Term, False),
        ("WorkflowId = 'a'", [1000], WorkflowIds, False),
        ("Customer != 'bob'", [1000], None, True),
        ("Customer IS NULL", [1000], None, True),
        ("NOT Tags = 'red'", [1000], None, True),
        ("ExecutionStatus = 'Running' OR Customer = 'bob'", [400, 600], None, False),
    ],
)
def test_plan(text: str, sizes: list[int], indexed: type[Part] | None, evaluated: bool) -> None:
    groups = plan(parse_query(text, TYPES), _BUCKETS, _Sizes())
    assert [group.size for group in groups] == sizes
    accesses: list[Access] = [access for group in groups[:1] for access in group.accesses]
    assert [type(access.parts[0]) for access in accesses] == ([] if indexed is None else [indexed])
    assert any(group.residual is not None for group in groups) is evaluated
