"""Namespaces: registering, changing, deleting; their search attributes; how long their runs are kept."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from perdure.api.common import v1 as common_v1
from perdure.api.enums.v1 import IndexedValueType, NamespaceState
from perdure.api.errordetails import v1 as errordetails_v1
from perdure.api.namespace import v1 as namespace_v1
from perdure.api.operatorservice import v1 as operatorservice_v1
from perdure.api.workflowservice import v1 as ws
from perdure.service import RPCError, RPCStatusCode
from perdure.store.api import Store
from tests.engine.driver import Clock, Driver, S, complete, driving, queue

DAY = 24 * 3600 * S


async def _register(d: Driver, name: str = "shop", retention: int | None = 7 * DAY, **options: Any) -> None:
    await d.engine.register_namespace(
        ws.RegisterNamespaceRequest(name, workflow_execution_retention_period=retention, **options)
    )


async def _describe(d: Driver, name: str = "shop") -> ws.DescribeNamespaceResponse:
    return await d.engine.describe_namespace(ws.DescribeNamespaceRequest(name))


async def _names(d: Driver, **options: Any) -> list[str]:
    response = await d.engine.list_namespaces(ws.ListNamespacesRequest(**options))
    return [found.namespace_info.name for found in response.namespaces if found.namespace_info is not None]


async def _delete(d: Driver, name: str = "shop", **options: Any) -> str:
    request = operatorservice_v1.DeleteNamespaceRequest(name, **options)
    return (await d.engine.delete_namespace(request)).deleted_namespace


async def test_register_describe_list(d: Driver) -> None:
    await _register(d, description="A shop", owner_email="me@example.org", data={"team": "blue"})
    found = await _describe(d)
    assert found.namespace_info is not None
    assert found.config is not None
    info = found.namespace_info
    assert (info.name, info.description, info.owner_email, info.data) == (
        "shop",
        "A shop",
        "me@example.org",
        {"team": "blue"},
    )
    assert info.state == NamespaceState.NAMESPACE_STATE_REGISTERED
    assert found.config.workflow_execution_retention_ttl == 7 * DAY
    by_id = await d.engine.describe_namespace(ws.DescribeNamespaceRequest(id=info.id))
    assert by_id == found
    await _register(d, "other")
    assert await _names(d) == ["default", "other", "shop"]
    assert await _names(d, page_size=2) == ["default", "other"]
    assert await _names(d, page_size=2, next_page_token=b"other") == ["shop"]


async def test_register_refuses(d: Driver) -> None:
    await _register(d)
    with pytest.raises(RPCError, match='Namespace "shop" already exists') as caught:
        await _register(d)
    assert caught.value.status is RPCStatusCode.ALREADY_EXISTS
    for name, retention in (("", DAY), ("a b", DAY), ("x" * 1001, DAY), ("n", None), ("n", 0), ("n", 59 * 60 * S)):
        with pytest.raises(RPCError) as caught:
            await _register(d, name, retention)
        assert caught.value.status is RPCStatusCode.INVALID_ARGUMENT
    with pytest.raises(RPCError, match="no duration"):
        await _register(d, "n", data={"retention:W": "soon"})
    with pytest.raises(RPCError, match="nobody is not found") as caught:
        await _describe(d, "nobody")
    assert isinstance(caught.value.details[0], errordetails_v1.NamespaceNotFoundFailure)


async def test_update_merges(d: Driver) -> None:
    await _register(d, data={"a": "1", "retention:W": "2h"})
    await d.engine.update_namespace(
        ws.UpdateNamespaceRequest(
            "shop",
            namespace_v1.UpdateNamespaceInfo("new", "", {"b": "2", "retention:W": ""}),
            namespace_v1.NamespaceConfig(2 * DAY),
        )
    )
    found = await _describe(d)
    assert found.namespace_info is not None
    assert found.config is not None
    assert found.namespace_info.description == "new"
    assert found.namespace_info.data == {"a": "1", "b": "2"}
    assert found.config.workflow_execution_retention_ttl == 2 * DAY
    with pytest.raises(RPCError, match="retention period"):
        await d.engine.update_namespace(ws.UpdateNamespaceRequest("shop", config=namespace_v1.NamespaceConfig(1)))


async def test_a_deprecated_namespace_starts_nothing(d: Driver) -> None:
    await _register(d)
    await d.start(namespace="shop")
    await d.engine.deprecate_namespace(ws.DeprecateNamespaceRequest("shop"))
    with pytest.raises(RPCError, match="invalid state: Deprecated") as caught:
        await d.start("w2", namespace="shop")
    assert caught.value.status is RPCStatusCode.FAILED_PRECONDITION
    assert isinstance(caught.value.details[0], errordetails_v1.NamespaceInvalidStateFailure)
    listed = await d.engine.list_workflow_executions(ws.ListWorkflowExecutionsRequest("shop"))
    assert len(listed.executions) == 1


async def test_namespaces_keep_apart_and_outlive_the_engine(
    open_store: Callable[[], Awaitable[Store]], request: pytest.FixtureRequest
) -> None:
    clock = Clock()
    async with driving(await open_store(), clock) as d:
        await _register(d, data={"retention:W": "1h"})
        await d.start("same")
        await d.start("same", namespace="shop")
        before = await _describe(d)
    if "memory" in request.node.name:
        return
    async with driving(await open_store(), clock) as d:
        assert await _describe(d) == before
        assert await d.list() == ["same"]
        assert d.engine.namespaces.retention(before.namespace_info.id, "W") == 3_600_000  # type: ignore[union-attr]


# ---- search attributes


async def _attributes(d: Driver, name: str = "default") -> dict[str, int]:
    request = operatorservice_v1.ListSearchAttributesRequest(name)
    return (await d.engine.list_search_attributes(request)).custom_attributes


async def _add(d: Driver, **types: int) -> None:
    await d.engine.add_search_attributes(operatorservice_v1.AddSearchAttributesRequest(types, "default"))


def _set(name: str, data: bytes, kind: str = "") -> common_v1.SearchAttributes:
    metadata = {"encoding": b"json/plain"} | ({"type": kind.encode()} if kind else {})
    return common_v1.SearchAttributes({name: common_v1.Payload(metadata, data)})


async def test_add_list_remove(d: Driver) -> None:
    for number in range(1, 8):
        await _add(d, **{f"Custom{number}": number})
    assert await _attributes(d) == {f"Custom{number}": number for number in range(1, 8)}
    await _add(d, Custom1=3)
    assert (await _attributes(d))["Custom1"] == 1
    listed = await d.engine.list_search_attributes(operatorservice_v1.ListSearchAttributesRequest("default"))
    assert listed.system_attributes["WorkflowId"] == IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
    assert listed.system_attributes["BuildIds"] == IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD_LIST
    await d.engine.remove_search_attributes(
        operatorservice_v1.RemoveSearchAttributesRequest(["Custom1", "Custom7", "Nobody"], "default")
    )
    assert sorted(await _attributes(d)) == [f"Custom{number}" for number in range(2, 7)]
    with pytest.raises(RPCError, match="Custom1"):
        await d.list("Custom1 = 'x'")
    keys = (await d.engine.get_search_attributes(ws.GetSearchAttributesRequest())).keys
    assert keys["Custom2"] == 2
    assert keys["StartTime"] == 6


async def test_reserved_and_unknown_are_refused(d: Driver) -> None:
    for types, message in (
        ({"WorkflowId": 2}, "reserved by system"),
        ({"TemporalMine": 2}, "reserved by system"),
        ({"Mine": 0}, "Unknown search attribute type: 0"),
        ({"Mine": 99}, "Unknown search attribute type: 99"),
        ({}, "Search attributes are not set"),
    ):
        with pytest.raises(RPCError, match=message):
            await _add(d, **types)
    with pytest.raises(RPCError, match="non-custom"):
        await d.engine.remove_search_attributes(
            operatorservice_v1.RemoveSearchAttributesRequest(["WorkflowType"], "default")
        )
    with pytest.raises(RPCError, match="nobody is not found"):
        await _attributes(d, "nobody")


async def test_values_must_fit_their_attribute(d: Driver) -> None:
    await _add(d, Amount=3, Due=6, Tags=7)
    for name, data in (("Amount", b'"x"'), ("Amount", b"1.5"), ("Due", b'"soon"'), ("Tags", b"[1]")):
        with pytest.raises(RPCError, match=f"invalid value for search attribute {name}"):
            await d.start(search_attributes=_set(name, data))
    with pytest.raises(RPCError, match="of type Int, not Keyword"):
        await d.start(search_attributes=_set("Amount", b'"x"', "Keyword"))
    with pytest.raises(RPCError, match="of type KeywordList, not Text"):
        await d.start(search_attributes=_set("BuildIds", b'"x"', "Text"))
    for name in ("TemporalMine", "TemporalWorkerDeployment", "StartTime"):
        with pytest.raises(RPCError, match=name):
            await d.start(search_attributes=_set(name, b'"x"', "Keyword"))
    await d.start(search_attributes=_set("Amount", b"7"))
    assert await d.list("Amount = 7") == ["w"]
    info = (await d.describe()).workflow_execution_info
    assert info is not None
    assert info.search_attributes is not None
    assert info.search_attributes.indexed_fields["Amount"].metadata["type"] == b"Int"


async def test_what_is_set_is_learned_and_read_at_once(d: Driver) -> None:
    kinds = {
        "Kw": ("Keyword", b'"a"', "Kw STARTS_WITH 'a'"),
        "Tx": ("Text", b'"some words"', "Tx = 'words'"),
        "In": ("Int", b"3", "`In` BETWEEN 2 AND 4"),
        "Do": ("Double", b"1.5", "Do < 2"),
        "Bo": ("Bool", b"true", "Bo = true"),
        "Da": ("Datetime", b'"2026-01-01T00:00:00Z"', "Da > '2025-12-31T00:00:00Z'"),
        "Kl": ("KeywordList", b'["x","y"]', "Kl = 'y'"),
    }
    for name, (kind, data, query) in kinds.items():
        await d.start(name, search_attributes=_set(name, data, kind))
        assert await d.list(query) == [name]
        assert await d.list(f"`{name}` IS NOT NULL") == [name]
    described = await _describe(d, "default")
    assert described.config is not None
    assert set(described.config.custom_search_attribute_aliases.values()) == set(kinds)
    assert described.config.custom_search_attribute_aliases["KeywordList01"] == "Kl"


async def test_aliases_are_changed_by_update(d: Driver) -> None:
    async def update(**aliases: str) -> None:
        config = namespace_v1.NamespaceConfig(custom_search_attribute_aliases=aliases)
        await d.engine.update_namespace(ws.UpdateNamespaceRequest("default", config=config))

    await update(Keyword07="Customer")
    assert await _attributes(d) == {"Customer": 2}
    with pytest.raises(RPCError, match="already allocated"):
        await update(Keyword07="Buyer")
    with pytest.raises(RPCError, match="already exists"):
        await update(Int01="Customer")
    with pytest.raises(RPCError, match="no field"):
        await update(Blob01="Customer")
    await update(Keyword07="")
    assert await _attributes(d) == {}


# ---- retention


async def test_retention_of_a_type(d: Driver) -> None:
    await d.engine.update_namespace(
        ws.UpdateNamespaceRequest("default", namespace_v1.UpdateNamespaceInfo(data={"retention:Short": "10m"}))
    )
    for workflow_id, kind in (("short", "Short"), ("long", "Long")):
        await d.start(workflow_id, workflow_type=common_v1.WorkflowType(kind))
        await d.turn(complete())
    await d.advance(9 * 60)
    assert sorted(await d.list()) == ["long", "short"]
    await d.advance(2 * 60)
    assert await d.list() == ["long"]
    d.clock.now += 3 * DAY
    await d.engine.core.timers.load_horizon()
    await d.advance(0)
    assert await d.list() == []


async def test_retention_of_ten_thousand_runs_leaves_nothing(d: Driver) -> None:
    many = 10_000 if d.engine.store.name == "memory" else 2_000
    await _add(d, Customer=2)
    await d.engine.namespaces.set_retention("default", 60_000)
    for number in range(many):
        await d.start(
            f"w{number}",
            task_queue=queue(f"q{number % 3}"),
            search_attributes=_set("Customer", b'"c%d"' % (number % 7)),
        )
        await d.terminate(f"w{number}")
    store = d.engine.store
    namespace_id = d.engine.namespaces.get("default").namespace_id
    assert await d.engine.count_workflow_executions(
        ws.CountWorkflowExecutionsRequest("default", "Customer = 'c3' AND ExecutionStatus = 'Terminated'")
    ) == ws.CountWorkflowExecutionsResponse((many + 3) // 7)
    await d.advance(61)
    while await store.due_runs(d.clock.now // 1_000_000, 1):
        await d.settle()
    assert await d.list() == []
    for query in ("Customer IS NOT NULL", "WorkflowId STARTS_WITH 'w'"):
        assert await d.list(query) == []
    assert await store.count_runs(namespace_id, None) == {(): 0}
    assert await store.pending_tasks(1) == []
    assert await store.current_run(namespace_id, "w7") is None
    if store.name == "lmdb":
        rows = store._environment.stat()["rows"]  # type: ignore[attr-defined]
        for table in ("visibility", "bucket", "term", "run", "history", "workflow", "timer", "task"):
            assert rows[table] == 0, table


# ---- deletion


async def test_delete_frees_the_name_and_takes_everything(d: Driver) -> None:
    await _register(d)
    await d.start("open", namespace="shop")
    await d.start("closed", namespace="shop")
    await d.engine.terminate_workflow_execution(
        ws.TerminateWorkflowExecutionRequest("shop", common_v1.WorkflowExecution("closed"))
    )
    await d.start("kept")
    old_id = d.engine.namespaces.get("shop").namespace_id
    name = await _delete(d)
    assert name.startswith("shop-deleted-")
    assert await _names(d) == ["default"]
    await _register(d)
    assert d.engine.namespaces.get("shop").namespace_id != old_id
    await d.settle()
    assert await _names(d, namespace_filter=namespace_v1.NamespaceFilter(True)) == ["default", "shop"]
    assert await d.engine.store.count_runs(old_id, None) == {(): 0}
    assert await d.list() == ["kept"]


async def test_delete_waits_for_its_delay_and_survives_a_restart(
    open_store: Callable[[], Awaitable[Store]], request: pytest.FixtureRequest
) -> None:
    clock = Clock()
    store = await open_store()
    async with driving(store, clock) as d:
        await _register(d)
        await d.start("w", namespace="shop")
        name = await _delete(d, namespace_delete_delay=60 * S)
        await d.advance(30)
        assert (await d.engine.count_workflow_executions(ws.CountWorkflowExecutionsRequest(name))).count == 1
        if "memory" in request.node.name:
            await d.advance(31)
            assert await _names(d, namespace_filter=namespace_v1.NamespaceFilter(True)) == ["default"]
            return
    clock.now += 31 * S
    async with driving(await open_store(), clock) as d:
        await d.settle()
        assert await _names(d, namespace_filter=namespace_v1.NamespaceFilter(True)) == ["default"]


async def test_delete_refuses(d: Driver) -> None:
    with pytest.raises(RPCError, match="default cannot be deleted"):
        await _delete(d, "default")
    with pytest.raises(RPCError, match="nobody is not found"):
        await _delete(d, "nobody")


async def test_older_lists(d: Driver) -> None:
    from perdure.api.filter import v1 as filter_v1

    await d.start("a'b\\c")
    await d.advance(1)
    await d.start("done")
    await d.terminate("done")
    opened = await d.engine.list_open_workflow_executions(
        ws.ListOpenWorkflowExecutionsRequest(
            "default",
            start_time_filter=filter_v1.StartTimeFilter(None, d.clock.now),
            execution_filter=filter_v1.WorkflowExecutionFilter("a'b\\c"),
        )
    )
    assert len(opened.executions) == 1
    closed = await d.engine.list_closed_workflow_executions(
        ws.ListClosedWorkflowExecutionsRequest(
            "default", type_filter=filter_v1.WorkflowTypeFilter("W"), status_filter=filter_v1.StatusFilter(5)
        )
    )
    assert len(closed.executions) == 1
    scanned = await d.engine.scan_workflow_executions(
        ws.ScanWorkflowExecutionsRequest("default", query="WorkflowType = 'W'")
    )
    assert len(scanned.executions) == 2


async def test_the_store_is_a_cluster_of_one(d: Driver) -> None:
    cluster = await d.engine.get_cluster_info(ws.GetClusterInfoRequest())
    assert cluster.server_version == "1.32.0"
    assert cluster.cluster_name == "active"
    assert cluster.persistence_store in ("memory", "lmdb", "postgresql", "postgres")
    partitions = await d.engine.list_task_queue_partitions(ws.ListTaskQueuePartitionsRequest("default", queue()))
    assert [partition.key for partition in partitions.workflow_task_queue_partitions] == ["q"]
