"""Random operations on a store and on the memory store: every answer must be the same."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from perdure.store.api import (
    Capability,
    Document,
    NamespaceRecord,
    RunKey,
    RunUpdate,
    StoreError,
    TaskRow,
    VisibilityRecord,
)
from perdure.store.memory import MemoryStore
from perdure.store.visibility import parse_query
from tests.store.backends import BACKENDS, Backend
from tests.store.builders import NAMESPACE, OTHER_NAMESPACE, record, run_id
from tests.support.postgres import leave_place

_WORKFLOW_IDS = ("a", "ab", "a\0", "", "w" * 450, "w" * 450 + "x", "é" * 300)
_QUEUES = ("q", "qq", "q" * 500, "q" * 500 + "z")
_KEYS = tuple(
    RunKey(namespace_id, _WORKFLOW_IDS[number % len(_WORKFLOW_IDS)], run_id(number))
    for number in range(10)
    for namespace_id in (NAMESPACE, OTHER_NAMESPACE)
)
_QUERIES = (
    "",
    "CloseTime IS NULL",
    "ExecutionStatus = 'Completed'",
    "StartTime BETWEEN 3 AND 6",
    "CloseTime >= 14",
    "WorkflowId = 'a'",
    f"RunId = '{run_id(3)}'",
    "WorkflowId STARTS_WITH 'w' OR StartTime < 4",
    "ORDER BY StartTime DESC",
)


_DOCUMENTS = st.builds(
    Document,
    st.sampled_from((NAMESPACE, OTHER_NAMESPACE)),
    st.sampled_from(("k", "kk")),
    st.sampled_from(("a", "ab", "a\0", "\0", "w" * 450, "w" * 450 + "x", "é" * 300)),
    st.sampled_from((b"", b"body", b"B" * 5000)),
)


class _Run:
    """What the machine remembers of a run, to make updates that mostly hold."""

    def __init__(self) -> None:
        self.version = 0
        self.next_event_id = 1
        self.due = 0
        self.tasks: list[TaskRow] = []
        self.shown: VisibilityRecord | None = None


@st.composite
def _updates(draw: st.DrawFn, key: RunKey, run: _Run, task_ids: Callable[[], int]) -> RunUpdate:
    update = RunUpdate(key, run.version + 1, draw(st.sampled_from((b"", b"s", b"S" * 300))))
    if draw(st.integers(0, 9)) == 0:
        update.version += draw(st.sampled_from((1, 2)))
    update.delete = run.version > 0 and draw(st.integers(0, 9)) == 0
    update.make_current = draw(st.booleans())
    event_id = run.next_event_id
    for _ in range(draw(st.integers(0, 2))):
        count = draw(st.integers(1, 4))
        update.history = [*update.history, (event_id, count, b"%d" % event_id * draw(st.sampled_from((1, 90))))]
        event_id += count
    update.timer = (run.due, 0 if update.delete else draw(st.sampled_from((run.due, 0, 5, 9, 1 << 40))))
    gone = len(run.tasks) if update.delete else draw(st.integers(0, len(run.tasks)))
    update.delete_tasks = run.tasks[:gone]
    if not update.delete:
        update.put_tasks = [
            TaskRow(key, draw(st.integers(1, 3)), draw(st.sampled_from(_QUEUES)), task_ids(), 1)
            for _ in range(draw(st.integers(0, 2)))
        ]
    shown = None
    if not update.delete and draw(st.booleans()):
        start = draw(st.integers(1, 9))
        shown = record(key, start, close_time=draw(st.sampled_from((0, 0, 12, 14, 16))))
    update.visibility = (run.shown, shown)
    return update


class _Twins(RuleBasedStateMachine):
    backend: Backend

    def __init__(self) -> None:
        super().__init__()
        self._runner = asyncio.Runner()
        self._folder = Path(tempfile.mkdtemp(prefix="perdure-oracle-"))
        self._runs = {key: _Run() for key in _KEYS}
        self._task_id = 0

    def _next_task_id(self) -> int:
        self._task_id += 1
        return self._task_id

    def _run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        async def outcome() -> Any:
            try:
                return await coroutine
            except StoreError as error:
                return (type(error), str(error))

        return self._runner.run(outcome())

    @initialize()
    def open(self) -> None:
        self._store = self._run(self.backend.open(self._folder))
        self._oracle = self._run(MemoryStore.open())
        for namespace_id in (NAMESPACE, OTHER_NAMESPACE):
            for store in (self._store, self._oracle):
                self._run(store.put_namespace(NamespaceRecord(namespace_id, namespace_id[-1])))

    def teardown(self) -> None:
        if hasattr(self, "_store"):
            self._run(self._store.close())
        self._runner.close()
        shutil.rmtree(self._folder)
        leave_place(self._folder)

    @rule(data=st.data(), count=st.integers(1, 4))
    def commit(self, data: st.DataObject, count: int) -> None:
        keys = data.draw(st.lists(st.sampled_from(_KEYS), min_size=count, max_size=count, unique=True))
        updates = [data.draw(_updates(key, self._runs[key], self._next_task_id)) for key in keys]
        documents = data.draw(st.lists(_DOCUMENTS, max_size=2))
        expected = self._run(self._oracle.commit(updates, documents))
        assert self._run(self._store.commit(updates, documents)) == expected
        if expected is not None:
            return
        for update in updates:
            run = self._runs[update.key]
            if update.delete:
                self._runs[update.key] = _Run()
                continue
            run.version = update.version
            run.next_event_id = max((first + size for first, size, _ in update.history), default=run.next_event_id)
            run.due = update.timer[1]
            run.tasks = [*run.tasks[len(update.delete_tasks) :], *update.put_tasks]
            run.shown = update.visibility[1]

    @precondition(lambda self: Capability.PERSISTENT in self.backend.capabilities)
    @rule()
    def reopen(self) -> None:
        self._run(self._store.close())
        self._store = self._run(self.backend.open(self._folder))

    def _same(self, method: str, *arguments: Any, **options: Any) -> Any:
        expected = self._run(getattr(self._oracle, method)(*arguments, **options))
        assert self._run(getattr(self._store, method)(*arguments, **options)) == expected
        return expected

    @rule(key=st.sampled_from(_KEYS), first=st.integers(1, 12), last=st.integers(0, 12), most=st.integers(0, 6))
    def read(self, key: RunKey, first: int, last: int, most: int) -> None:
        self._same("load_run", key)
        self._same("find_run", key.namespace_id, key.run_id)
        self._same("current_run", key.namespace_id, key.workflow_id)
        self._same("read_history", key, first, last, max_events=most)
        self._same("read_history_reverse", key, last, max_events=most)

    @rule(size=st.integers(1, 5), until=st.sampled_from((4, 5, 9, 1 << 41)))
    def page(self, size: int, until: int) -> None:
        due = None
        while page := self._same("due_runs", until, size, due):
            due = page[-1]
        row = None
        while page := self._same("pending_tasks", size, row):
            row = page[-1]

    @rule(size=st.integers(1, 5), document=st.deferred(lambda: _DOCUMENTS))
    def documents(self, size: int, document: Document) -> None:
        self._same("load_document", document.namespace_id, document.kind, document.id)
        after = ""
        while page := self._same("list_documents", document.namespace_id, document.kind, size, after):
            after = page[-1].id

    @rule(
        text=st.sampled_from(_QUERIES),
        size=st.integers(1, 5),
        namespace_id=st.sampled_from((NAMESPACE, OTHER_NAMESPACE)),
    )
    def list(self, text: str, size: int, namespace_id: str) -> None:
        query = parse_query(text, {})
        token = b""
        while token := self._same("list_runs", namespace_id, query, size, token).next_page_token:
            pass
        self._same("count_runs", namespace_id, query)

    @invariant()
    def runs_are_as_committed(self) -> None:
        for key, run in self._runs.items():
            stored = self._run(self._store.load_run(key)) if hasattr(self, "_store") else None
            assert (stored.version if stored is not None else 0) == run.version


@pytest.mark.parametrize("backend", BACKENDS[1:], ids=lambda backend: backend.name)
def test_store_answers_as_the_memory_store(backend: Backend) -> None:
    machine = type("Twins", (_Twins,), {"backend": backend})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=5 if backend.name in ("lmdb-full", "postgres") else 30,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
