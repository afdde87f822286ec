"""Nexus endpoints: the operator's view of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from perdure.api.nexus import v1 as nexus_v1
from perdure.api.operatorservice import v1 as operatorservice_v1
from perdure.service import RPCError, RPCStatusCode
from perdure.store.api import Store
from tests.engine.driver import Clock
from tests.nexus.driver import NexusDriver, call, driving, handler_error, spec


async def get(d: NexusDriver, endpoint_id: str) -> nexus_v1.Endpoint | None:
    return (await d.engine.get_nexus_endpoint(operatorservice_v1.GetNexusEndpointRequest(endpoint_id))).endpoint


async def update(d: NexusDriver, endpoint: nexus_v1.Endpoint, new: nexus_v1.EndpointSpec) -> nexus_v1.Endpoint:
    request = operatorservice_v1.UpdateNexusEndpointRequest(endpoint.id, endpoint.version, new)
    changed = (await d.engine.update_nexus_endpoint(request)).endpoint
    assert changed is not None
    return changed


async def delete(d: NexusDriver, endpoint: nexus_v1.Endpoint) -> None:
    request = operatorservice_v1.DeleteNexusEndpointRequest(endpoint.id, endpoint.version)
    await d.engine.delete_nexus_endpoint(request)


async def names(d: NexusDriver, name: str = "") -> list[str]:
    found = []
    token = b""
    while True:
        request = operatorservice_v1.ListNexusEndpointsRequest(1, token, name)
        response = await d.engine.list_nexus_endpoints(request)
        found += [endpoint.spec.name for endpoint in response.endpoints if endpoint.spec is not None]
        token = response.next_page_token
        if not token:
            return sorted(found)


async def test_an_endpoint_is_created_changed_and_deleted(d: NexusDriver) -> None:
    endpoint = await d.create_endpoint("other")
    assert (endpoint.version, endpoint.created_time, endpoint.last_modified_time) == (1, d.clock.now, None)
    assert endpoint.url_prefix == f"/nexus/endpoints/{endpoint.id}/services"
    assert await get(d, endpoint.id) == endpoint
    assert await names(d) == ["ep", "other"]
    assert await names(d, "other") == ["other"]
    changed = await update(d, endpoint, spec("renamed", "there"))
    assert (changed.version, changed.last_modified_time, changed.spec) == (2, d.clock.now, spec("renamed", "there"))
    assert await names(d) == ["ep", "renamed"]
    await delete(d, changed)
    assert await names(d) == ["ep"]
    with pytest.raises(RPCError, match="could not find Nexus endpoint") as caught:
        await get(d, endpoint.id)
    assert caught.value.status is RPCStatusCode.NOT_FOUND


async def test_who_changes_an_endpoint_must_have_seen_it(d: NexusDriver) -> None:
    endpoint = await d.create_endpoint("other")
    await update(d, endpoint, spec("other", "there"))
    for change in (update(d, endpoint, spec("other", "elsewhere")), delete(d, endpoint)):
        with pytest.raises(RPCError, match="version mismatch") as caught:
            await change
        assert caught.value.status is RPCStatusCode.FAILED_PRECONDITION


async def test_names_are_unique(d: NexusDriver) -> None:
    other = await d.create_endpoint("other")
    for change in (d.create_endpoint("ep"), update(d, other, spec("ep"))):
        with pytest.raises(RPCError, match="already registered") as caught:
            await change
        assert caught.value.status is RPCStatusCode.ALREADY_EXISTS


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (spec(""), "name is not set"),
        (spec("e"), "does not match"),
        (spec("1st"), "does not match"),
        (spec("a_b"), "does not match"),
        (spec("e" * 201), "longer than 200"),
        (spec("good", ""), "TaskQueue"),
        (spec("good", "q", "nowhere"), "nowhere"),
        (nexus_v1.EndpointSpec("good"), "target is not set"),
        (
            nexus_v1.EndpointSpec(
                "good", target=nexus_v1.EndpointTarget(external=nexus_v1.EndpointTargetExternal("ftp://x"))
            ),
            "must be http",
        ),
    ],
)
async def test_endpoints_are_checked(d: NexusDriver, bad: nexus_v1.EndpointSpec, says: str) -> None:
    with pytest.raises(RPCError, match=says):
        await d.engine.create_nexus_endpoint(operatorservice_v1.CreateNexusEndpointRequest(bad))


async def test_endpoints_outlive_the_process(
    open_store: Callable[[], Awaitable[Store]], clock: Clock, request: pytest.FixtureRequest
) -> None:
    if "memory" in request.node.name:
        pytest.skip("nothing outlives a process in memory")
    async with driving(await open_store(), clock) as d:
        kept = await d.create_endpoint("kept")
        await delete(d, await d.create_endpoint("gone"))
    async with driving(await open_store(), clock) as d:
        assert await names(d) == ["kept"]
        assert await get(d, kept.id) == kept


async def test_calls_follow_an_endpoint_that_changed(d: NexusDriver) -> None:
    endpoint = await d.create_endpoint("moving", "before")
    await d.start()
    await d.turn(call(endpoint="moving"))
    task = await d.poll_nexus("before")
    await update(d, endpoint, spec("moving", "after"))
    await d.fail_nexus(task, handler_error())
    await d.advance(1)
    await d.answer_start(await d.poll_nexus("after"))
    assert await d.pending() == []


async def test_calls_to_an_endpoint_that_is_gone_fail(d: NexusDriver) -> None:
    endpoint = await d.create_endpoint("going")
    await d.start()
    await d.turn(call(endpoint="going"))
    task = await d.poll_nexus()
    await delete(d, endpoint)
    await d.fail_nexus(task, handler_error())
    await d.advance(1)
    failure = (await d.last()).failure
    assert failure.cause.message == "endpoint not registered"
