"""An engine that archives: the gate before retention, the sweep, and what is read back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest

from perdure._native.events import HistoryEvent
from perdure.api.common import v1 as common_v1
from perdure.api.enums.v1 import ArchivalState, HistoryEventFilterType
from perdure.api.namespace import v1 as namespace_v1
from perdure.api.operatorservice import v1 as operatorservice_v1
from perdure.api.workflowservice import v1 as ws
from perdure.archival import ArchivedExecution, ArchivedRun, ArchiveError, Archiver, open_archiver, register_archiver
from perdure.engine import archival
from perdure.runtime import BUFFERED_METRIC_KIND_COUNTER, MetricBuffer, Runtime, TelemetryConfig
from perdure.service import RPCError, RPCStatusCode
from perdure.store.api import Store
from perdure.store.archive import _api
from tests.engine.driver import Driver, complete, driving, payloads, schedule_activity
from tests.engine.fragile import FragileStore, abandon

ENABLED = int(ArchivalState.ARCHIVAL_STATE_ENABLED)
DISABLED = int(ArchivalState.ARCHIVAL_STATE_DISABLED)
CLOSE_EVENT = int(HistoryEventFilterType.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT)
DAY = 86_400
Opener = Callable[[], Awaitable[Store]]


async def enable(d: Driver, uri: str, *, visibility: bool = True) -> None:
    """Archive the default namespace's histories and visibility records."""
    config = namespace_v1.NamespaceConfig(history_archival_state=ENABLED, history_archival_uri=uri)
    if visibility:
        config.visibility_archival_state, config.visibility_archival_uri = ENABLED, uri
    await d.engine.update_namespace(ws.UpdateNamespaceRequest("default", config=config))


async def run_one(d: Driver, workflow_id: str = "w") -> str:
    """A workflow with one activity, to its end; returns its run id."""
    run_id = await d.start(workflow_id, input=payloads(b"17"))
    await d.turn(schedule_activity())
    await d.complete_activity(await d.poll_activity())
    await d.turn(complete(b'"done"'))
    return run_id


async def is_gone(d: Driver, run_id: str, workflow_id: str = "w") -> bool:
    """Whether the engine has forgotten a run."""
    try:
        await d.describe(workflow_id, run_id)
    except RPCError as error:
        assert error.status is RPCStatusCode.NOT_FOUND
        return True
    return False


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what is under way."""
    async with asyncio.timeout(30):
        while not await holds():
            await asyncio.sleep(0.01)


async def advance(d: Driver, seconds: float) -> None:
    """Move the clock and let what is due happen, what was far away in time before included."""
    d.clock.now += int(seconds * 1_000_000_000)
    await d.engine.core.timers.load_horizon()
    d.engine.poke()
    await d.settle()


async def retire(d: Driver, run_id: str, workflow_id: str = "w") -> None:
    """Let a run's retention end, and wait until it is deleted."""
    await advance(d, 4 * DAY)
    await until(lambda: is_gone(d, run_id, workflow_id))


async def until_all_gone(d: Driver) -> None:
    """Let the retention of all runs end, and wait until they are deleted, which takes several tries."""
    async with asyncio.timeout(30):
        while await d.list():
            await advance(d, 4 * DAY)
            await asyncio.sleep(0.01)


async def archived(d: Driver, query: str = "") -> list[str]:
    """The workflow ids that the archive lists."""
    found: list[str] = []
    token = b""
    while True:
        page = await d.engine.list_archived_workflow_executions(
            ws.ListArchivedWorkflowExecutionsRequest("default", 2, token, query)
        )
        found += [info.execution.workflow_id for info in page.executions if info.execution is not None]
        token = page.next_page_token
        if not token:
            return found


async def get(d: Driver, run_id: str, **options: Any) -> ws.GetWorkflowExecutionHistoryResponse:
    """A page of a run's history."""
    return await d.engine.get_workflow_execution_history(
        ws.GetWorkflowExecutionHistoryRequest("default", common_v1.WorkflowExecution("w", run_id), **options)
    )


class Broken:
    """An archiver in front of another one, which fails as long as it is told to."""

    def __init__(self, inner: Archiver) -> None:
        self._inner = inner
        self.error: Exception | None = None
        self.tries = 0
        self.histories_written = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def archive_history(self, run: ArchivedRun, batches: AsyncIterator[list[HistoryEvent]]) -> bool:
        """As the inner one's."""
        self.tries += 1
        if self.error is not None:
            raise self.error
        is_new = await self._inner.archive_history(run, batches)
        self.histories_written += is_new
        return is_new

    async def archive_visibility(self, execution: ArchivedExecution) -> bool:
        """As the inner one's."""
        return await self._inner.archive_visibility(execution)


@pytest.fixture
def broken(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Broken]:
    """What archives to ``broken://it`` go through."""
    monkeypatch.setattr(_api, "_factories", dict(_api._factories))
    archiver = Broken(open_archiver(f"file://{tmp_path}/archive"))
    register_archiver("broken", lambda uri, options: archiver)
    return archiver


@pytest.fixture
def metrics() -> Iterator[MetricBuffer]:
    """Metrics of the process's default runtime."""
    buffer = MetricBuffer(10_000)
    before = Runtime._default
    Runtime.set_default(Runtime(telemetry=TelemetryConfig(metrics=buffer)), error_if_already_set=False)
    yield buffer
    Runtime._default = before


def counted(buffer: MetricBuffer) -> dict[str, int]:
    """What counters came to."""
    counts: dict[str, int] = {}
    for update in buffer.retrieve_updates():
        if update.metric.kind == BUFFERED_METRIC_KIND_COUNTER:
            counts[update.metric.name] = counts.get(update.metric.name, 0) + int(update.value)
    return counts


# ---- the gate


async def test_a_run_is_archived_before_retention_deletes_it(d: Driver, uri: str, metrics: MetricBuffer) -> None:
    await enable(d, uri)
    run_id = await run_one(d)
    before = await d.history("w", run_id)
    await retire(d, run_id)
    assert await d.history("w", run_id) == before
    assert await archived(d) == ["w"]
    assert (await get(d, run_id)).archived
    for execution in (("w", ""), ("other", run_id), ("w", "00000000-0000-7000-8000-000000000000")):
        with pytest.raises(RPCError, match="workflow not found for ID"):
            await d.history(*execution)
    with pytest.raises(RPCError, match="workflow not found for ID"):
        await get(d, run_id, skip_archival=True)
    counts = counted(metrics)
    assert counts["history_archiver_archive_success"] == 1
    assert counts["visibility_archiver_archive_success"] == 1


async def test_pages_and_the_close_event_come_from_the_archive(d: Driver, uri: str) -> None:
    await enable(d, uri)
    run_id = await run_one(d)
    before = await d.history("w", run_id)
    await retire(d, run_id)
    page = await get(d, run_id, maximum_page_size=1)
    events = list(page.history.events) if page.history else []
    while page.next_page_token:
        page = await get(d, run_id, maximum_page_size=1, next_page_token=page.next_page_token)
        assert page.history is not None
        events += page.history.events
    assert events == before
    closed = await get(d, run_id, history_event_filter_type=CLOSE_EVENT, wait_new_event=True)
    assert closed.history is not None
    assert closed.history.events == before[-1:]
    with pytest.raises(RPCError, match="token"):
        await get(d, run_id, next_page_token=b"archived:nonsense")


async def test_without_archival_nothing_is_archived(d: Driver, tmp_path: Any) -> None:
    uri = f"file://{tmp_path}/archive"
    run_id = await run_one(d)
    await retire(d, run_id)
    await enable(d, uri)
    with pytest.raises(RPCError, match="workflow not found for ID"):
        await d.history("w", run_id)
    assert await archived(d) == []


async def test_a_run_that_closed_before_archival_was_enabled_is_archived(d: Driver, uri: str) -> None:
    run_id = await run_one(d)
    before = await d.history("w", run_id)
    await enable(d, uri)
    await retire(d, run_id)
    assert await d.history("w", run_id) == before


async def test_what_was_archived_is_read_while_archival_is_disabled(d: Driver, uri: str) -> None:
    await enable(d, uri)
    first = await run_one(d)
    await retire(d, first)
    config = namespace_v1.NamespaceConfig(history_archival_state=DISABLED, visibility_archival_state=DISABLED)
    await d.engine.update_namespace(ws.UpdateNamespaceRequest("default", config=config))
    second = await run_one(d)
    await retire(d, second)
    assert len(await d.history("w", first)) > 5
    with pytest.raises(RPCError, match="workflow not found for ID"):
        await d.history("w", second)
    with pytest.raises(RPCError, match="Namespace is not configured for visibility archival"):
        await archived(d)


async def test_a_deletion_that_is_asked_for_does_not_archive(d: Driver, broken: Broken) -> None:
    await enable(d, "broken://it")
    run_id = await run_one(d)
    await d.engine.delete_workflow_execution(
        ws.DeleteWorkflowExecutionRequest("default", common_v1.WorkflowExecution("w", run_id))
    )
    assert await is_gone(d, run_id)
    assert broken.tries == 0


async def test_while_the_archive_is_away_runs_stay(
    d: Driver, broken: Broken, metrics: MetricBuffer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "perdure.engine")
    await enable(d, "broken://it")
    broken.error = ArchiveError("the bucket is away")
    runs = [await run_one(d, f"w{number}") for number in range(4)]
    await advance(d, 4 * DAY)

    async def is_tried() -> bool:
        return broken.tries > 0

    await until(is_tried)
    await d.settle()
    tried = broken.tries
    assert not any([await is_gone(d, run_id, f"w{number}") for number, run_id in enumerate(runs)])
    await advance(d, 30)  # it is not tried again at once
    assert broken.tries == tried
    (warning,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert "namespace default cannot be archived" in warning
    assert "next try in 60 s: the bucket is away" in warning
    assert counted(metrics)["history_archiver_archive_transient_error"] == tried
    await advance(d, 2 * 3600)
    await d.settle()
    assert broken.tries > tried
    assert len(await d.list("ExecutionStatus = 'Completed'")) == 4
    broken.error = None
    await until_all_gone(d)
    assert all([await is_gone(d, run_id, f"w{number}") for number, run_id in enumerate(runs)])
    assert broken.histories_written == 4
    assert any("is archived again" in r.getMessage() for r in caplog.records)


async def test_an_archiver_with_a_bug_loses_nothing(
    d: Driver, broken: Broken, caplog: pytest.LogCaptureFixture
) -> None:
    await enable(d, "broken://it")
    broken.error = KeyError("a bug")
    run_id = await run_one(d)
    await advance(d, 4 * DAY)
    await d.settle()
    assert not await is_gone(d, run_id)
    assert any("the archiver of namespace default failed" in r.getMessage() for r in caplog.records)


async def test_a_process_without_the_archiver_loses_nothing(
    d: Driver, broken: Broken, caplog: pytest.LogCaptureFixture
) -> None:
    await enable(d, "broken://it")
    run_id = await run_one(d)
    del _api._factories["broken"]  # as in a process that did not register it
    await advance(d, 4 * DAY)
    await d.settle()
    assert not await is_gone(d, run_id)
    assert any("this process has no archiver for it" in r.getMessage() for r in caplog.records)
    with pytest.raises(RPCError, match="this process has no archiver") as raised:
        await archived(d)
    assert raised.value.status is RPCStatusCode.UNAVAILABLE


async def test_more_runs_than_may_wait_are_put_off(d: Driver, broken: Broken, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archival, "MAX_WAITING", 2)
    await enable(d, "broken://it")
    runs = {f"w{number}": await run_one(d, f"w{number}") for number in range(8)}
    await until_all_gone(d)
    assert broken.histories_written == len(runs)


async def test_a_crash_after_the_archive_was_written_and_before_the_deletion(
    open_store: Opener, broken: Broken
) -> None:
    store = await open_store()
    fragile: Any = FragileStore(store, store.epoch)
    async with driving(fragile) as d:
        await enable(d, "broken://it")
        run_id = await run_one(d)
        before = await d.history("w", run_id)
        archiver = d.engine._archival

        async def die(*arguments: Any) -> None:
            fragile.is_dead = True

        archiver._delete = die  # the process goes the moment it would delete
        await advance(d, 4 * DAY)

        async def is_dead() -> bool:
            return bool(fragile.is_dead)

        await until(is_dead)
        await abandon(d.engine)
        clock = d.clock
        assert broken.histories_written == 1
    async with driving(FragileStore(store, store.epoch + 1), clock) as d:  # type: ignore[arg-type]
        assert not await is_gone(d, run_id)
        await advance(d, 3600)
        await until(lambda: is_gone(d, run_id))
        assert broken.histories_written == 1
        assert broken.tries == 2
        assert await d.history("w", run_id) == before
    await store.close()


async def test_a_long_history_is_archived_whole(d: Driver, uri: str) -> None:
    await enable(d, uri)
    run_id = await d.start()
    for number in range(40):
        await d.signal("w", f"s{number}", run_id, input=payloads(b'"' + b"x" * 100_000 + b'"'))
    await d.turn(complete())
    before = await d.history("w", run_id)
    await retire(d, run_id)
    assert await d.history("w", run_id) == before


# ---- the sweep


async def test_what_closed_is_in_the_archive_soon(d: Driver, broken: Broken) -> None:
    await enable(d, "broken://it")
    for number in range(5):
        await run_one(d, f"w{number}")
    await d.start("open")
    await d.engine._archival.sweep()
    assert await archived(d) == []  # what closed just now may not be all there is
    d.clock.now += 10_000_000_000
    await d.engine._archival.sweep()
    assert sorted(await archived(d)) == [f"w{number}" for number in range(5)]
    assert broken.histories_written == broken.tries == 5
    await run_one(d, "late")
    d.clock.now += 10_000_000_000
    await d.engine._archival.sweep()
    assert broken.tries == 6
    assert len(await archived(d)) == 6


async def test_the_sweep_goes_on_where_it_was(
    open_store: Opener, broken: Broken, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archival, "_SWEEP_PAGE", 2)
    store = await open_store()
    async with driving(FragileStore(store, store.epoch)) as d:  # type: ignore[arg-type]
        await enable(d, "broken://it")
        for number in range(5):
            await run_one(d, f"w{number}")
            d.clock.now += 1_000_000_000
        d.clock.now += 10_000_000_000
        write = broken.archive_history

        async def fail_at_third(run: ArchivedRun, batches: AsyncIterator[list[HistoryEvent]]) -> bool:
            if run.workflow_id == "w2":
                raise ArchiveError("away")
            return await write(run, batches)

        broken.archive_history = fail_at_third  # type: ignore[method-assign]
        await d.engine._archival.sweep()
        assert broken.histories_written in (2, 3)
        broken.archive_history = write  # type: ignore[method-assign]
        clock = d.clock
        await abandon(d.engine)
    broken.tries = 0
    async with driving(FragileStore(store, store.epoch + 1), clock) as d:  # type: ignore[arg-type]
        await d.engine._archival.sweep()
        assert broken.tries == 3  # the first page is not looked at again
        assert broken.histories_written == 5
        assert sorted(await archived(d)) == [f"w{number}" for number in range(5)]
    await store.close()


async def test_the_sweep_comes_by_itself(d: Driver, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archival, "INTERVAL", 0.01)
    await enable(d, uri)
    await run_one(d)
    d.clock.now += 10_000_000_000

    async def is_listed() -> bool:
        return await archived(d) == ["w"]

    await until(is_listed)


async def test_a_deleted_namespace_leaves_its_archive_and_nothing_else(d: Driver, tmp_path: Any) -> None:
    uri = f"file://{tmp_path}/archive"
    await d.engine.register_namespace(
        ws.RegisterNamespaceRequest(
            "shop",
            workflow_execution_retention_period=DAY * 1_000_000_000,
            history_archival_state=ENABLED,
            history_archival_uri=uri,
        )
    )
    namespace_id = d.engine.namespaces.get("shop").namespace_id
    await d.start("w", namespace="shop")
    await d.engine.terminate_workflow_execution(
        ws.TerminateWorkflowExecutionRequest("shop", common_v1.WorkflowExecution("w"))
    )
    d.clock.now += 10_000_000_000
    await d.engine._archival.sweep()
    assert await d.engine.store.load_document(namespace_id, archival.CURSOR, archival.CURSOR) is not None
    await d.engine.delete_namespace(operatorservice_v1.DeleteNamespaceRequest("shop"))

    async def is_deleted() -> bool:
        return not any(namespace.namespace_id == namespace_id for namespace in d.engine.namespaces.all())

    await until(is_deleted)
    assert await d.engine.store.load_document(namespace_id, archival.CURSOR, archival.CURSOR) is None
    assert [history.workflow_id async for history in open_archiver(uri).histories(namespace_id)] == ["w"]


# ---- lists


async def test_archived_runs_are_listed_with_what_they_had(d: Driver, uri: str) -> None:
    await enable(d, uri)
    attributes = common_v1.SearchAttributes(
        {
            "Region": common_v1.Payload({"encoding": b"json/plain", "type": b"Keyword"}, b'"eu"'),
            "Total": common_v1.Payload({"encoding": b"json/plain", "type": b"Int"}, b"42"),
            "At": common_v1.Payload({"encoding": b"json/plain", "type": b"Datetime"}, b'"2026-01-31T12:00:00Z"'),
        }
    )
    memo = common_v1.Memo({"note": common_v1.Payload({"encoding": b"json/plain"}, b'"remember"')})
    run_id = await d.start("w", search_attributes=attributes, memo=memo)
    await d.turn(complete())
    await d.start("other")
    await d.turn(complete())
    described = (await d.describe("w", run_id)).workflow_execution_info
    assert described is not None
    await retire(d, run_id)
    (info,) = (
        await d.engine.list_archived_workflow_executions(
            ws.ListArchivedWorkflowExecutionsRequest("default", query="Region = 'eu' AND Total BETWEEN 40 AND 50")
        )
    ).executions
    for field in ("execution", "type", "start_time", "close_time", "execution_time", "status", "history_length", "memo",
                  "search_attributes", "execution_duration"):  # fmt: skip
        assert getattr(info, field) == getattr(described, field), field
    assert await archived(d, "At = '2026-01-31T12:00:00Z'") == ["w"]
    assert await archived(d, "Region IS NULL AND WorkflowType = 'W'") == ["other"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"query": "Nonsense ="}, "invalid query"),
        ({"query": "TaskQueue = 'q'"}, "archives do not hold TaskQueue"),
        ({"page_size": 10_001}, "PageSize is larger than allowed 10000"),
        ({"next_page_token": b"x"}, "token"),
        ({"namespace": "nowhere"}, "Namespace nowhere is not found"),
    ],
)
async def test_a_wrong_list_request_is_refused(d: Driver, tmp_path: Any, options: dict[str, Any], says: str) -> None:
    await enable(d, f"file://{tmp_path}/archive")
    with pytest.raises(RPCError, match=says):
        await d.engine.list_archived_workflow_executions(
            ws.ListArchivedWorkflowExecutionsRequest(**{"namespace": "default", **options})
        )


# ---- settings


async def test_settings_are_temporals(d: Driver, uri: str) -> None:
    described = (await d.engine.describe_namespace(ws.DescribeNamespaceRequest("default"))).config
    assert described is not None
    assert (described.history_archival_state, described.history_archival_uri) == (DISABLED, "")
    await d.engine.register_namespace(
        ws.RegisterNamespaceRequest(
            "shop",
            workflow_execution_retention_period=DAY * 1_000_000_000,
            history_archival_state=ENABLED,
            history_archival_uri=uri,
        )
    )
    described = (await d.engine.describe_namespace(ws.DescribeNamespaceRequest("shop"))).config
    assert described is not None
    assert (described.history_archival_state, described.history_archival_uri) == (ENABLED, uri)
    assert (described.visibility_archival_state, described.visibility_archival_uri) == (DISABLED, "")

    async def change(**fields: Any) -> namespace_v1.NamespaceConfig:
        config = namespace_v1.NamespaceConfig(**fields)
        response = await d.engine.update_namespace(ws.UpdateNamespaceRequest("shop", config=config))
        assert response.config is not None
        return response.config

    assert (await change(history_archival_state=DISABLED)).history_archival_uri == uri
    assert (await change(history_archival_state=ENABLED, history_archival_uri=uri)).history_archival_state == ENABLED
    assert (await change(visibility_archival_uri=uri)).visibility_archival_state == DISABLED
    assert (await change(visibility_archival_state=ENABLED)).visibility_archival_uri == uri
    with pytest.raises(RPCError, match="Cannot update existing archival URI"):
        await change(history_archival_uri=uri + "2")


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"history_archival_state": ENABLED}, "History archival cannot be enabled without a URI"),
        ({"visibility_archival_state": ENABLED}, "Visibility archival cannot be enabled without a URI"),
        ({"history_archival_state": 7}, "Unknown history archival state: 7"),
        ({"history_archival_uri": "file://host/x"}, "Invalid history archival URI 'file://host/x' names a host"),
        ({"visibility_archival_uri": "ftp://x"}, "Invalid visibility archival URI 'ftp://x' has no scheme"),
        ({"history_archival_uri": "file:///proc/version/x"}, "cannot be used: /proc/version is a file"),
    ],
)
async def test_wrong_settings_are_one_sentence(d: Driver, fields: dict[str, Any], says: str) -> None:
    config = namespace_v1.NamespaceConfig(**fields)
    with pytest.raises(RPCError, match=says) as raised:
        await d.engine.update_namespace(ws.UpdateNamespaceRequest("default", config=config))
    assert raised.value.status is RPCStatusCode.INVALID_ARGUMENT
    assert "\n" not in raised.value.message
    with pytest.raises(RPCError, match=says):
        await d.engine.register_namespace(
            ws.RegisterNamespaceRequest("n", workflow_execution_retention_period=DAY * 1_000_000_000, **fields)
        )
    with pytest.raises(RPCError, match="not found"):
        await d.engine.describe_namespace(ws.DescribeNamespaceRequest("n"))
