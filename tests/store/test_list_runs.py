"""Listing and counting over stored records, against a brute-force filter of the same records."""

from __future__ import annotations

import random
from typing import Any

import pytest

from perdure.store.api import RunUpdate, Store, VisibilityRecord
from perdure.store.keys import visibility_position
from perdure.store.visibility import Query, matches, parse_query
from tests.store.builders import NAMESPACE, OTHER_NAMESPACE, first, record, run_id, run_key, search_attributes

TYPES = {"Customer": "Keyword", "Amount": "Int", "Note": "Text", "Tags": "KeywordList", "Paid": "Bool"}

QUERIES = [
    "",
    "ExecutionStatus = 'Running'",
    "ExecutionStatus != 'Running'",
    "ExecutionStatus IN ('Failed', 'Completed')",
    "CloseTime IS NULL",
    "CloseTime IS NOT NULL",
    "CloseTime > 5000",
    "CloseTime BETWEEN 4000 AND 6000",
    "CloseTime <= 4500 AND WorkflowType = 'Order'",
    "StartTime >= 1050",
    "StartTime < 1020 AND StartTime >= 1010",
    "StartTime = 1017",
    "WorkflowId = 'workflow-3'",
    "WorkflowId = 'missing'",
    "WorkflowId IN ('workflow-3', 'workflow-4', 'shared') AND ExecutionStatus = 'Completed'",
    f"RunId = '{run_id(7)}'",
    f"RunId = '{run_id(7)}' AND WorkflowId = 'workflow-3'",
    "RunId = 'nonsense'",
    "WorkflowId STARTS_WITH 'workflow-1'",
    "NOT WorkflowId STARTS_WITH 'workflow-1'",
    "WorkflowType = 'Refund' OR Customer = 'bob'",
    "Customer = 'alice' AND Amount > 20",
    "Customer IS NULL",
    "Tags IN ('red', 'blue')",
    "Tags = 'red' AND NOT Tags = 'blue'",
    "Note = 'urgent'",
    "Paid = true",
    "ExecutionDuration > '3us'",
    "NOT (ExecutionStatus = 'Running' OR Customer = 'alice')",
]
ORDERS = ["", "ORDER BY StartTime", "ORDER BY Amount DESC", "ORDER BY Customer, Amount DESC", "ORDER BY WorkflowType"]


async def _fill(store: Store, count: int = 90) -> list[VisibilityRecord]:
    rng = random.Random(11)
    records = []
    for number in range(count):
        key = run_key(number, rng.choice((None, None, "shared")))
        attributes: dict[str, tuple[str, Any]] = {}
        if rng.random() < 0.7:
            attributes["Customer"] = ("Keyword", rng.choice(("alice", "bob", "eve")))
        if rng.random() < 0.7:
            attributes["Amount"] = ("Int", rng.randint(0, 40))
        if rng.random() < 0.5:
            attributes["Tags"] = ("KeywordList", rng.sample(("red", "green", "blue"), rng.randint(1, 2)))
        if rng.random() < 0.3:
            attributes["Note"] = ("Text", rng.choice(("Urgent, please", "not so urgent", "later")))
        if rng.random() < 0.5:
            attributes["Paid"] = ("Bool", rng.random() < 0.5)
        closed = rng.random() < 0.6
        records.append(
            record(
                key,
                1_000 + rng.randint(0, 60),
                workflow_type=rng.choice(("Order", "Refund")),
                close_time=rng.randint(3_000, 7_000) if closed else 0,
                status=rng.choice((2, 3, 7)) if closed else 1,
                search_attributes=search_attributes(**attributes) if attributes else b"",
            )
        )
    order = list(records)
    rng.shuffle(order)
    await store.commit([first(item.key, visibility=(None, item)) for item in order])
    hidden = run_key(count)
    division = search_attributes(TemporalNamespaceDivision=("Keyword", "TemporalScheduler"))
    await store.commit([first(hidden, visibility=(None, record(hidden, search_attributes=division)))])
    other = run_key(count, "workflow-3", OTHER_NAMESPACE)
    await store.commit([first(other, visibility=(None, record(other)))])
    return records


async def _pages(store: Store, query: Query | None, size: int) -> list[VisibilityRecord]:
    found, token = [], b""
    while True:
        page = await store.list_runs(NAMESPACE, query, size, token)
        assert len(page.records) <= size
        found += page.records
        token = page.next_page_token
        if not token:
            return found
        assert len(page.records) == size


async def test_listing_matches_brute_force(store: Store) -> None:
    records = sorted(await _fill(store), key=visibility_position)
    for text in QUERIES:
        query = parse_query(text, TYPES)
        expected = [item for item in records if matches(query, item)]
        assert await _pages(store, query, 1000) == expected, text
        assert await _pages(store, query, 7) == expected, text
        assert await store.count_runs(NAMESPACE, query) == {(): len(expected)}, text
    assert len(await _pages(store, None, 1000)) == len(records) + 1
    assert await _pages(store, parse_query("TemporalNamespaceDivision = 'TemporalScheduler'", {}), 5) != []


async def test_queries_of_the_list_are_not_all_empty(store: Store) -> None:
    records = await _fill(store)
    counts = [sum(matches(parse_query(text, TYPES), item) for item in records) for text in QUERIES]
    assert sum(1 for count in counts if count) > len(QUERIES) - 6


@pytest.mark.parametrize("order", ORDERS[1:])
async def test_order_by(store: Store, order: str) -> None:
    await _fill(store)
    query = parse_query(f"ExecutionStatus != 'Failed' {order}", TYPES)
    whole = await _pages(store, query, 1000)
    assert await _pages(store, query, 4) == whole
    plain = await _pages(store, parse_query("ExecutionStatus != 'Failed'", TYPES), 1000)
    assert sorted(whole, key=visibility_position) == plain


async def test_order_by_puts_unset_values_last(store: Store) -> None:
    amounts = {1: 5, 2: None, 3: 9, 4: 1}
    for number, amount in amounts.items():
        key = run_key(number)
        attributes = search_attributes(Amount=("Int", amount)) if amount is not None else b""
        await store.commit([first(key, visibility=(None, record(key, search_attributes=attributes)))])
    for text, expected in (("ORDER BY Amount", [4, 1, 3, 2]), ("ORDER BY Amount DESC", [3, 1, 4, 2])):
        found = await _pages(store, parse_query(text, TYPES), 2)
        assert [item.key.run_id for item in found] == [run_id(number) for number in expected]


async def test_group_by(store: Store) -> None:
    records = await _fill(store)
    by_status = await store.count_runs(NAMESPACE, parse_query("GROUP BY ExecutionStatus", {}))
    names = {1: "Running", 2: "Completed", 3: "Failed", 7: "TimedOut"}
    assert by_status == {(name,): sum(item.status == status for item in records) for status, name in names.items()}
    by_customer = await store.count_runs(NAMESPACE, parse_query("Amount < 30 GROUP BY Customer", TYPES))
    assert set(by_customer) == {("alice",), ("bob",), ("eve",), ("",)}
    nobody = await store.count_runs(NAMESPACE, parse_query("WorkflowId = 'x' GROUP BY ExecutionStatus", {}))
    assert nobody == {}


async def test_ties_are_ordered_by_run_id(store: Store) -> None:
    keys = [run_key(number) for number in range(20)]
    for key in reversed(keys):
        closed = 50 if key.run_id > run_id(9) else 0
        await store.commit([first(key, visibility=(None, record(key, 10, close_time=closed)))])
    found = await _pages(store, None, 3)
    assert [item.key for item in found] == keys


async def test_a_run_that_closes_moves(store: Store) -> None:
    keys = [run_key(number) for number in range(3)]
    shown = [record(key, 10 + number) for number, key in enumerate(keys)]
    await store.commit([first(key, visibility=(None, item)) for key, item in zip(keys, shown, strict=True)])
    assert [item.key for item in (await store.list_runs(NAMESPACE, None, 10)).records] == keys[::-1]
    closed = record(keys[2], 12, close_time=99)
    await store.commit([RunUpdate(keys[2], 2, visibility=(shown[2], closed))])
    assert (await store.list_runs(NAMESPACE, None, 10)).records == [shown[1], shown[0], closed]
    assert (await store.list_runs(NAMESPACE, parse_query("WorkflowId = 'workflow-2'", {}), 10)).records == [closed]
    await store.commit([RunUpdate(keys[2], 3, visibility=(closed, None))])
    assert (await store.list_runs(NAMESPACE, parse_query("WorkflowId = 'workflow-2'", {}), 10)).records == []


async def test_page_sizes(store: Store) -> None:
    await _fill(store, 30)
    assert len((await store.list_runs(NAMESPACE, None, 0)).records) == 31
    assert len((await store.list_runs(NAMESPACE, None, 100_000)).records) == 31
    exact = await store.list_runs(NAMESPACE, None, 31)
    assert exact.next_page_token == b""


@pytest.mark.parametrize("token", [b"x", b"\x92", b"{}", b"\x92\x94\x00\x00\x00\xa1x\x90"])
async def test_foreign_tokens_are_refused(store: Store, token: bytes) -> None:
    await _fill(store, 3)
    with pytest.raises(ValueError, match="next_page_token"):
        await store.list_runs(NAMESPACE, None, 10, token)


async def test_token_of_another_order_is_refused(store: Store) -> None:
    await _fill(store, 10)
    page = await store.list_runs(NAMESPACE, parse_query("ORDER BY StartTime", {}), 2)
    with pytest.raises(ValueError, match="ORDER BY"):
        await store.list_runs(NAMESPACE, None, 2, page.next_page_token)


async def test_listing_does_not_group(store: Store) -> None:
    with pytest.raises(ValueError, match="GROUP BY"):
        await store.list_runs(NAMESPACE, parse_query("GROUP BY ExecutionStatus", {}), 2)
