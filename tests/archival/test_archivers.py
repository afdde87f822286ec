"""What every archiver does, and the names and the JSON of each."""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult

import pytest
from google.protobuf import json_format
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from temporalio.api.history.v1 import History

from perdure._native.events import HistoryEvent
from perdure.api.common.v1 import Payload
from perdure.api.history import v1 as history_v1
from perdure.archival import (
    ArchivedExecution,
    ArchivedRun,
    ArchiveError,
    ArchiveNotFoundError,
    Archiver,
    open_archiver,
    register_archiver,
)
from perdure.store.archive import _api, parse_archive_query
from perdure.store.archive._hash import fingerprint64
from perdure.store.archive._objects import BLOB_BYTES, S3Archiver, key_part

S = 1_000_000_000
T0 = 1_700_000_000 * S
RUN = ArchivedRun("0a1b", "shop", "order/17", "3c4d")


def started(workflow_id: str = RUN.workflow_id, run_id: str = RUN.run_id) -> HistoryEvent:
    """The first event of a run."""
    attributes = history_v1.WorkflowExecutionStartedEventAttributes(
        workflow_id=workflow_id, original_execution_run_id=run_id
    )
    return HistoryEvent(1, 1, T0, attributes)


def signal(event_id: int, size: int = 10) -> HistoryEvent:
    """A signal with a name of that many letters."""
    return HistoryEvent(event_id, 26, T0 + event_id, history_v1.WorkflowExecutionSignaledEventAttributes("x" * size))


async def batches(*given: list[HistoryEvent]) -> AsyncIterator[list[HistoryEvent]]:
    """A history, batch by batch."""
    for batch in given:
        yield batch


async def never() -> AsyncIterator[list[HistoryEvent]]:
    """A history that nobody may read."""
    pytest.fail("the history was read again")
    yield []


async def read_all(archiver: Archiver, page_size: int, run: ArchivedRun = RUN) -> list[list[HistoryEvent]]:
    """Every page of a history."""
    pages, token = [], b""
    while True:
        page = await archiver.read_history(run.namespace_id, run.workflow_id, run.run_id, page_size, token)
        pages.append(page.events)
        token = page.next_page_token
        if not token:
            return pages


def execution(number: int, **fields: Any) -> ArchivedExecution:
    """A closed run of type T0 or T1, with an id of three."""
    values: dict[str, Any] = {
        "namespace_id": "0a1b",
        "namespace": "shop",
        "workflow_id": f"w{number % 3}",
        "run_id": f"r{number}",
        "workflow_type": f"T{number % 2}",
        "start_time": T0 + number * S,
        "execution_time": T0 + number * S,
        "close_time": T0 + (number + 5) * S + number,
        "status": 2 + number % 2,
        "history_length": 11,
        "memo": {"note": Payload({"encoding": b"json/plain"}, b'"m"')},
        "search_attributes": {"Region": "eu", "Total": str(number), "Tags": '["a","b"]', "Ok": "true"},
        "history_archival_uri": "file:///x",
        "execution_duration": 5 * S,
    }
    return ArchivedExecution(**{**values, **fields})


TYPES = {"Region": "Keyword", "Total": "Int", "Tags": "KeywordList", "Ok": "Bool"}


async def found(archiver: Archiver, query: str, page_size: int = 3) -> list[str]:
    """The run ids that a filter finds, in order."""
    parsed, token = parse_archive_query(query, TYPES), b""
    runs: list[str] = []
    while True:
        page = await archiver.list_executions("0a1b", parsed, page_size, token)
        assert len(page.executions) <= page_size
        runs += [one.run_id for one in page.executions]
        token = page.next_page_token
        if not token:
            return runs


# ---- histories


async def test_a_history_comes_back_as_it_went(uri: str) -> None:
    archiver = open_archiver(uri)
    await archiver.validate()
    history = [[started(), signal(2)], [signal(3)], [signal(4), signal(5), signal(6)]]
    assert await archiver.archive_history(RUN, batches(*history))
    assert not await archiver.archive_history(RUN, never())
    assert [e for page in await read_all(archiver, 2) for e in page] == [e for batch in history for e in batch]
    for other in (RUN._replace(run_id="other"), RUN._replace(workflow_id="w"), RUN._replace(namespace_id="n")):
        with pytest.raises(ArchiveNotFoundError):
            await read_all(archiver, 2, other)
    with pytest.raises(ValueError, match="token"):
        await archiver.read_history(RUN.namespace_id, RUN.workflow_id, RUN.run_id, 2, b"nonsense")
    await archiver.close()


async def test_a_large_history_is_parted(uri: str, tmp_path: Path) -> None:
    archiver = open_archiver(uri)
    size = BLOB_BYTES // 3
    history = [[started()], *([signal(number, size)] for number in range(2, 18))]
    assert await archiver.archive_history(RUN, batches(*history))
    pages = await read_all(archiver, 1)
    assert [e.event_id for page in pages for e in page] == list(range(1, 18))
    assert len(pages) > 3
    if isinstance(archiver, S3Archiver):
        names = [name async for name in archiver._bucket.names("0a1b/history")]
        assert names == [f"0a1b/history/order/17/3c4d/0/{number}" for number in range(len(names))]
        assert len(names) == len(pages)
    else:
        assert [path.name for path in (tmp_path / "archive").iterdir()] == [
            f"{fingerprint64('0a1b')}{fingerprint64('order/17')}{fingerprint64('3c4d')}_0.history"
        ]


async def test_a_history_that_ends_early_leaves_nothing_to_read(uri: str, tmp_path: Path) -> None:
    archiver = open_archiver(uri)

    async def cut() -> AsyncIterator[list[HistoryEvent]]:
        yield [started()]
        for number in range(2, 12):
            yield [signal(number, BLOB_BYTES)]
        raise RuntimeError("the process died")

    with pytest.raises(RuntimeError):
        await archiver.archive_history(RUN, cut())
    with pytest.raises(ArchiveNotFoundError):
        await read_all(archiver, 100)
    assert [history async for history in archiver.histories()] == []
    assert await archiver.archive_history(RUN, batches([started()], [signal(2)]))
    assert [[e.event_id for e in page] for page in await read_all(archiver, 100)] == [[1, 2]]
    if isinstance(archiver, S3Archiver):
        return
    assert len(list((tmp_path / "archive").iterdir())) == 1


async def test_every_history_of_an_archive(uri: str) -> None:
    archiver = open_archiver(uri)
    for number in range(5):
        run = RUN._replace(workflow_id=f"w/{number}", run_id=f"r{number}", namespace_id=f"n{number % 2}")
        await archiver.archive_history(run, batches([started(run.workflow_id, run.run_id)], [signal(2)]))
    assert sorted([(h.workflow_id, h.run_id, len(h.events)) async for h in archiver.histories()]) == [
        (f"w/{number}", f"r{number}", 2) for number in range(5)
    ]
    assert sorted([h.run_id async for h in archiver.histories("n1")]) == ["r1", "r3"]


# ---- visibility


async def test_runs_are_found_by_the_whole_grammar(uri: str) -> None:
    archiver = open_archiver(uri)
    for number in range(12):
        assert await archiver.archive_visibility(execution(number))
        assert not await archiver.archive_visibility(execution(number))
    everything = await found(archiver, "")
    assert sorted(everything, key=lambda run: int(run[1:])) == [f"r{number}" for number in range(12)]

    async def numbers(query: str) -> list[int]:
        return sorted(int(run[1:]) for run in await found(archiver, query))

    assert await numbers("WorkflowId = 'w1'") == [1, 4, 7, 10]
    assert await numbers("WorkflowType = 'T1' AND Total > 4") == [5, 7, 9, 11]
    assert await numbers("WorkflowTypeName = 'T1' AND ExecutionStatus = 'Failed' AND Total < 4") == [1, 3]
    assert await numbers("Tags = 'b' AND NOT Total BETWEEN 2 AND 10") == [0, 1, 11]
    assert await numbers("Tags = 'c' OR Region IN ('us', 'ap')") == []
    assert await numbers("Ok = true AND WorkflowId STARTS_WITH 'w2'") == [2, 5, 8, 11]
    assert await numbers(f"CloseTime > {T0 + 14 * S + 9}") == [10, 11]
    assert await numbers("CloseTime = '2023-11-14T22:13:27Z' AND SearchPrecision = 'Second'") == [2]
    assert await numbers("StartTime = '2023-11-14T22:13:00Z' AND SearchPrecision = 'Minute' AND WorkflowId = 'w0'") == [
        0, 3, 6, 9,
    ]  # fmt: skip
    assert await numbers("CloseTime < '1999-01-01T00:00:00Z'") == []
    assert await numbers("ExecutionDuration = '5s'") == [0]
    (only,) = (await archiver.list_executions("0a1b", parse_archive_query("RunId = 'r7'", TYPES), 10)).executions
    assert only == execution(7)
    assert (await archiver.list_executions("other", parse_archive_query("", TYPES), 10)).executions == []


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("TaskQueue = 'x'", "archives do not hold TaskQueue"),
        ("WorkflowId = 'a' OR NOT ParentWorkflowId = 'b'", "archives do not hold ParentWorkflowId"),
        ("SearchPrecision = 'Week'", "'Day', 'Hour', 'Minute' or 'Second', not 'Week'"),
        ("SearchPrecision = 'Day' OR WorkflowId = 'a'", "SearchPrecision stands alone"),
        ("WorkflowId = 'a' ORDER BY StartTime", "an order of its own"),
        ("Nonsense = 1", "'Nonsense' is not a search attribute"),
    ],
)
def test_a_wrong_query_is_refused(query: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_archive_query(query, {})


async def test_a_wrong_page_token_is_refused(uri: str) -> None:
    archiver = open_archiver(uri)
    with pytest.raises(ValueError, match="token"):
        await archiver.list_executions("0a1b", parse_archive_query("", {}), 3, b"nonsense")


# ---- the form


async def test_names_and_json_of_a_folder_are_temporals(tmp_path: Path) -> None:
    archiver = open_archiver(f"file://{tmp_path}/archive")
    await archiver.archive_history(RUN, batches([started(), signal(2)], [signal(3)]))
    await archiver.archive_visibility(execution(1))
    files = {path.relative_to(tmp_path / "archive").as_posix(): path for path in (tmp_path / "archive").rglob("*.*")}
    history = f"{fingerprint64('0a1b')}{fingerprint64('order/17')}{fingerprint64('3c4d')}_0.history"
    record = f"0a1b/{execution(1).close_time}_{fingerprint64('r1')}.visibility"
    assert sorted(files) == sorted([history, record])
    content = json.loads(files[history].read_text())
    for batch in content:
        json_format.ParseDict(batch, History())  # refuses what Temporal does not know
    assert [[event["eventId"] for event in batch["events"]] for batch in content] == [["1", "2"], ["3"]]
    assert content[0]["events"][1] == {
        "eventId": "2",
        "eventTime": "2023-11-14T22:13:20.000000002Z",
        "eventType": "EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED",
        "workflowExecutionSignaledEventAttributes": {"signalName": "x" * 10},
    }
    assert json.loads(files[record].read_text()) == {
        "namespaceId": "0a1b",
        "namespace": "shop",
        "workflowId": "w1",
        "runId": "r1",
        "workflowTypeName": "T1",
        "startTime": "2023-11-14T22:13:21Z",
        "executionTime": "2023-11-14T22:13:21Z",
        "closeTime": "2023-11-14T22:13:26.000000001Z",
        "status": "WORKFLOW_EXECUTION_STATUS_FAILED",
        "historyLength": "11",
        "memo": {"fields": {"note": {"metadata": {"encoding": "anNvbi9wbGFpbg=="}, "data": "Im0i"}}},
        "searchAttributes": {"Region": "eu", "Total": "1", "Tags": '["a","b"]', "Ok": "true"},
        "historyArchivalUri": "file:///x",
        "executionDuration": "5s",
    }


async def test_keys_and_json_of_a_bucket_are_temporals(bucket_uri: str) -> None:
    archiver = open_archiver(bucket_uri)
    assert isinstance(archiver, S3Archiver)
    await archiver.archive_history(RUN, batches([started(), signal(2)], [signal(3)]))
    await archiver.archive_visibility(execution(1))
    bucket = archiver._bucket
    start, close = "2023-11-14T22:13:21Z", "2023-11-14T22:13:26Z"
    assert [name async for name in bucket.names()] == [
        "0a1b/history/order/17/3c4d/0/0",
        f"0a1b/visibility/workflowID/w1/closeTimeout/{close}/r1",
        f"0a1b/visibility/workflowID/w1/startTimeout/{start}/r1",
        f"0a1b/visibility/workflowTypeName/T1/closeTimeout/{close}/r1",
        f"0a1b/visibility/workflowTypeName/T1/startTimeout/{start}/r1",
    ]
    blob = json.loads(await bucket.get("0a1b/history/order/17/3c4d/0/0"))
    assert blob["header"] == {
        "namespace": "shop",
        "namespaceId": "0a1b",
        "workflowId": "order/17",
        "runId": "3c4d",
        "isLast": True,
        "firstEventId": "1",
        "lastEventId": "3",
        "eventCount": "3",
    }
    assert [[event["eventId"] for event in batch["events"]] for batch in blob["body"]] == [["1", "2"], ["3"]]


def test_the_fingerprint_is_farmhashs() -> None:
    texts = ("testNamespaceID", "testWorkflowID", "testRunID")
    assert "".join(str(fingerprint64(text)) for text in texts) == (
        "11936904199538907273367046253745284795510285995943906173973"
    )
    known = {"": 11160318154034397263, "abcdefgh": 18368443631171807497, "x" * 17: 11306081951414300581,
             "y" * 40: 276292113409495006, "z" * 64: 294799756062990872, "q" * 65: 7692644312256273193,
             "Temporal" * 40: 12492303345226911370}  # fmt: skip
    assert {text: fingerprint64(text) for text in known} == known


@given(st.text(min_size=1, max_size=1000))
@settings(max_examples=200)
def test_any_id_has_a_key(text: str) -> None:
    part = key_part(text)
    assert 0 < len(part.encode("utf-8", "surrogatepass")) <= 700
    assert not {"", ".", ".."} & set(part.split("/"))


@given(workflow_id=st.text(min_size=1, max_size=300).filter(lambda text: text.isprintable()))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_id_is_archived(bucket_uri: str, workflow_id: str) -> None:
    archiver = open_archiver(bucket_uri)
    run = RUN._replace(workflow_id=workflow_id, run_id=str(fingerprint64(workflow_id)))
    await archiver.archive_history(run, batches([started(workflow_id)]))
    assert (await read_all(archiver, 10, run))[0][0].attributes.workflow_id == workflow_id


async def test_what_newer_servers_wrote_is_read(tmp_path: Path) -> None:
    archiver = open_archiver(f"file://{tmp_path}")
    prefix = "".join(str(fingerprint64(text)) for text in (RUN.namespace_id, RUN.workflow_id, RUN.run_id))
    for version in (3, 12):
        events = [{"eventId": "1", "version": str(version), "eventType": "WorkflowExecutionStarted", "aNewField": 1,
                   "workflowExecutionStartedEventAttributes": {"workflowId": "order/17"}}]  # fmt: skip
        (tmp_path / f"{prefix}_{version}.history").write_text(json.dumps([{"events": events}]))
    (page,) = await read_all(archiver, 10)
    assert page[0].version == 12
    folder = tmp_path / "0a1b"
    folder.mkdir()
    record = {"workflowId": "w", "runId": "r", "closeTime": "2023-11-14T22:13:26Z", "status": "TimedOut", "novel": 1}
    (folder / f"{T0}_1.visibility").write_text(json.dumps(record))
    (one,) = (await archiver.list_executions("0a1b", parse_archive_query("", {}), 10)).executions
    assert (one.workflow_id, one.status, one.start_time) == ("w", 7, 0)


# ---- what goes wrong


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("nonsense", "no scheme that an archiver knows .file://, s3://."),
        ("gs://bucket", "no scheme that an archiver knows"),
        ("file://host/x", "names a host, 'host'; a folder has three slashes: 'file:///host/x'"),
        ("file:///", "names no folder"),
        ("file:///x?a=1", "unknown option 'a'; it has none"),
        ("file:///x#y", "has a fragment"),
        ("s3://", "names no bucket"),
        ("s3://bucket/../b", "no object name"),
        ("s3://bucket?endpoint=zzz", "endpoint is 'zzz', not an http:// or https:// URL"),
        ("s3://bucket?path_style=maybe", "path_style is 'true' or 'false'"),
        ("s3://bucket?secret_access_key=x", "unknown option 'secret_access_key'; it has region, endpoint, path_style"),
        ("s3://bucket?region=a&region=b", "states an option twice"),
    ],
)
def test_a_wrong_uri_is_one_sentence(uri: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as raised:
        open_archiver(uri)
    assert "\n" not in str(raised.value)


async def test_a_place_that_cannot_be_is_one_sentence(tmp_path: Path, bucket_uri: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"cannot be used: .*file is a file, not a folder"):
        await open_archiver(f"file://{tmp_path}/file/below").validate()
    missing = bucket_uri.replace("s3://test-", "s3://missing-")
    with pytest.raises(ValueError, match="cannot be used: the bucket does not exist"):
        await open_archiver(missing).validate()
    with pytest.raises(ArchiveError, match="the bucket does not exist"):
        await open_archiver(missing).archive_visibility(execution(1))


async def test_a_folder_without_permission_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    with pytest.raises(ValueError, match="this process may not write to"):
        await open_archiver(f"file://{tmp_path}/x").validate()


async def test_a_bucket_out_of_reach_is_an_archive_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    archiver = open_archiver("s3://bucket?region=eu-central-1&endpoint=http://127.0.0.1:9")
    with pytest.raises(ArchiveError) as raised:
        await archiver.archive_history(RUN, never())
    assert "127.0.0.1:9" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_without_obstore_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("obstore", "obstore.exceptions", "obstore.store"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'perdure\[s3\]'"):
        open_archiver("s3://bucket?region=eu-central-1")


async def test_files_left_half_written_are_taken_away(tmp_path: Path) -> None:
    old, young = tmp_path / ".x.1.part", tmp_path / ".x.2.part"
    for path in (old, young):
        path.touch()
    os.utime(old, (0, 0))
    await open_archiver(f"file://{tmp_path}").archive_visibility(execution(1))
    assert not old.exists()
    assert young.exists()


async def test_archives_of_one_run_at_once(uri: str) -> None:
    archivers = [open_archiver(uri) for _ in range(4)]
    histories = [[started()], [signal(2, BLOB_BYTES)], [signal(3)]]
    await asyncio.gather(*(archiver.archive_history(RUN, batches(*histories)) for archiver in archivers))
    await asyncio.gather(*(archiver.archive_visibility(execution(1)) for archiver in archivers))
    assert [e.event_id for page in await read_all(archivers[0], 100) for e in page] == [1, 2, 3]
    assert await found(archivers[0], "") == ["r1"]


def test_archivers_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_api, "_factories", dict(_api._factories))
    seen: list[tuple[str, dict[str, str]]] = []

    def make(uri: SplitResult, options: dict[str, str]) -> Any:
        seen.append((uri.netloc, options))
        return "mine"

    register_archiver("tape", make)
    register_archiver("tape", make)
    made: Any = open_archiver("tape://robot?slot=7")
    assert (made, seen) == ("mine", [("robot", {"slot": "7"})])
    with pytest.raises(ValueError, match="'tape' have an archiver already"):
        register_archiver("tape", lambda uri, options: made)

    class Entry:
        def load(self) -> Any:
            return make

    def installed(*, group: str, name: str) -> list[Entry]:
        assert group == "perdure.archivers"
        return [Entry()] if name == "disk" else []

    monkeypatch.setattr(importlib.metadata, "entry_points", installed)
    other: Any = open_archiver("disk://x")
    assert other == "mine"
