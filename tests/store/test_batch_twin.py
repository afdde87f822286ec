"""The LMDB store's batch encoder against its twin, and its decoders against what it encodes."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from perdure.store.api import RunKey, RunUpdate, TaskRow
from perdure.store.lmdb import _batch
from perdure.store.lmdb._batch import Batch
from tests.store.builders import NAMESPACE, record, run_id, search_attributes
from tests.twins import lmdb_batch as twin

_NUMBER = 7
_TEXT = st.one_of(st.text(max_size=12), st.sampled_from(("a\0b", "é", "x" * 399, "x" * 500, "\0" * 3)))
_TIME = st.integers(0, 2**63 - 1)
_ATTRIBUTES: tuple[dict[str, tuple[str, Any]], ...] = (
    {},
    {"Customer": ("Keyword", "bob")},
    {"Customer": ("Keyword", "x" * 500), "Amount": ("Int", -7)},
    {"Tags": ("KeywordList", ["red", "a\0b"]), "Note": ("Text", "please call"), "Price": ("Double", -0.5)},
    {"TemporalNamespaceDivision": ("Keyword", "other"), "Paid": ("Bool", True)},
)


@st.composite
def updates(draw: st.DrawFn) -> RunUpdate:
    key = RunKey(NAMESPACE, draw(_TEXT), run_id(draw(st.integers(0, 5))))

    def row() -> TaskRow:
        owner = key if draw(st.booleans()) else RunKey(NAMESPACE, draw(_TEXT), run_id(9))
        queue, task_id = draw(_TEXT), draw(_TIME)
        return TaskRow(
            owner, draw(st.integers(1, 3)), queue, task_id, draw(_TIME), draw(_TIME), draw(st.binary(max_size=9))
        )

    def shown() -> Any:
        if draw(st.booleans()):
            return None
        chosen = draw(st.sampled_from(_ATTRIBUTES))
        fields: dict[str, Any] = {"parent_workflow_id": "parent"} if draw(st.booleans()) else {}
        return record(
            key,
            draw(_TIME),
            close_time=draw(st.one_of(st.just(0), _TIME)),
            status=draw(st.integers(1, 8)),
            search_attributes=search_attributes(**chosen) if chosen else b"",
            workflow_type=draw(st.sampled_from(("Order", "Refund"))),
            **fields,
        )

    return RunUpdate(
        key,
        draw(st.integers(1, 2**63)),
        state=draw(st.binary(max_size=30)),
        history=[
            (first, draw(st.integers(1, 99)), draw(st.binary(max_size=20)))
            for first in draw(st.lists(st.integers(1, 2**32 - 200), max_size=3))
        ],
        make_current=draw(st.booleans()),
        timer=(draw(st.one_of(st.just(0), _TIME)), draw(st.one_of(st.just(0), _TIME))),
        put_tasks=[row() for _ in range(draw(st.integers(0, 2)))],
        delete_tasks=[row() for _ in range(draw(st.integers(0, 2)))],
        visibility=(shown(), shown()),
        delete=draw(st.booleans()),
    )


@given(st.lists(updates(), min_size=1, max_size=3), st.one_of(st.none(), _TIME))
def test_a_batch_is_what_the_twin_says(changes: list[RunUpdate], horizon: int | None) -> None:
    names = _batch.Names()
    batch = Batch(names)
    expected: list[twin.Entry] = []
    numbers = twin.Names()
    if horizon is not None:
        names.seal(_NUMBER, horizon)
        numbers.horizon = horizon
    for change in changes:
        batch.update(change, _NUMBER)
        found = batch.entries_list()[len(expected) :]
        # Terms come in any order, and so do the numbers of attributes that are met in one update.
        for name in sorted(names.by_number):
            numbers.numbers.setdefault(names.by_number[name], name)
        told = list(twin.entries(change, _NUMBER, numbers))
        assert sorted(found) == sorted(told)
        assert [entry for entry in found if entry[1] != "term"] == [entry for entry in told if entry[1] != "term"]
        expected += found
    assert batch.keys == [(change.key, change.version - 1) for change in changes]


@given(updates())
def test_what_is_encoded_is_decoded(change: RunUpdate) -> None:
    batch = Batch(_batch.Names())
    batch.update(change, _NUMBER)
    known = {_NUMBER: NAMESPACE}
    puts: dict[str, list[tuple[bytes, bytes]]] = {}
    for op, database, key, value in batch.entries_list():
        if op == "put":
            puts.setdefault(database, []).append((key, value))
    if change.delete:
        assert not puts
        return
    for _, value in puts.get("run", []):
        assert _batch.decode_run(value) == (change.version, change.key.workflow_id, change.state)
    assert [_batch.decode_history(key, value) for key, value in puts.get("history", [])] == change.history
    assert [_batch.decode_task(key, value, known) for key, value in puts.get("task", [])] == change.put_tasks
    expected = [(change.timer[1], change.key)] if change.timer[1] else []
    assert [_batch.decode_timer(key, value, known) for key, value in puts.get("timer", [])] == expected
