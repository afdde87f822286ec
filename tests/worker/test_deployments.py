"""Workers of a deployment, end to end: routing, pinned and auto-upgrading workflows, over both stores."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from perdure import Client, Worker, activity, workflow
from perdure.api.workflowservice import v1 as ws
from perdure.common import (
    AutoUpgradeVersioningOverride,
    PinnedVersioningOverride,
    Priority,
    VersioningBehavior,
    WorkerDeploymentVersion,
)
from perdure.worker import WorkerDeploymentConfig
from tests.support.homes import STORES, home_url

QUEUE = "queue"


@activity.defn
async def version_of_worker() -> str:
    return activity.info().activity_type


def build() -> str:
    version = workflow.info().get_current_deployment_version()
    return "" if version is None else version.build_id


class _Waits:
    """Says which version it began with and which it ended with."""

    def __init__(self) -> None:
        self.done = False

    async def wait(self) -> str:
        first = build()
        await workflow.wait_condition(lambda: self.done)
        return f"{first}-{build()}"

    @workflow.signal
    def finish(self) -> None:
        self.done = True

    @workflow.query
    def build(self) -> str:
        return build()


@workflow.defn(name="Waits", versioning_behavior=VersioningBehavior.PINNED, sandboxed=False)
class PinnedWaits(_Waits):
    @workflow.run
    async def run(self) -> str:
        return await self.wait()


@workflow.defn(name="Waits", versioning_behavior=VersioningBehavior.AUTO_UPGRADE, sandboxed=False)
class AutoWaits(_Waits):
    @workflow.run
    async def run(self) -> str:
        return await self.wait()


@workflow.defn(versioning_behavior=VersioningBehavior.PINNED, sandboxed=False)
class Parent:
    @workflow.run
    async def run(self) -> str:
        result: str = await workflow.execute_child_workflow("Waits", id="child", result_type=str)
        return result


def worker(client: Client, build_id: str, behavior: VersioningBehavior) -> Worker:
    return Worker(
        client,
        task_queue=QUEUE,
        workflows=[PinnedWaits if behavior is VersioningBehavior.PINNED else AutoWaits, Parent],
        activities=[version_of_worker],
        deployment_config=WorkerDeploymentConfig(
            version=WorkerDeploymentVersion("shop", build_id), use_worker_versioning=True
        ),
    )


@pytest.fixture(params=STORES)
async def client(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Client]:
    async with await Client.connect(home_url(request.param, tmp_path)) as connected:
        yield connected


async def known(client: Client, build_id: str) -> None:
    """Wait until the service knows a version."""
    while True:
        listed = await client.workflow_service.list_worker_deployments(ws.ListWorkerDeploymentsRequest("default"))
        if listed.worker_deployments:
            described = await client.workflow_service.describe_worker_deployment(
                ws.DescribeWorkerDeploymentRequest("default", "shop")
            )
            assert described.worker_deployment_info is not None
            if any(v.version == f"shop.{build_id}" for v in described.worker_deployment_info.version_summaries):
                return
        await asyncio.sleep(0.01)


async def set_current(client: Client, build_id: str) -> None:
    await client.workflow_service.set_worker_deployment_current_version(
        ws.SetWorkerDeploymentCurrentVersionRequest("default", "shop", build_id=build_id)
    )


@pytest.mark.parametrize(
    ("behavior", "result"), [(VersioningBehavior.PINNED, "1-1"), (VersioningBehavior.AUTO_UPGRADE, "1-2")]
)
async def test_a_new_version_takes_over_what_may_move(
    client: Client, behavior: VersioningBehavior, result: str
) -> None:
    async with worker(client, "1", behavior):
        await known(client, "1")
        await set_current(client, "1")
        handle = await client.start_workflow("Waits", id="w", task_queue=QUEUE, result_type=str)
        assert await handle.query("build") == "1"
        async with worker(client, "2", behavior):
            await known(client, "2")
            await set_current(client, "2")
            await handle.signal("finish")
            assert await handle.result() == result
            fresh = await client.start_workflow("Waits", id="fresh", task_queue=QUEUE, result_type=str)
            assert await fresh.query("build") == "2"
            await fresh.signal("finish")
            assert await fresh.result() == "2-2"


async def test_children_of_a_pinned_workflow_stay_with_it(client: Client) -> None:
    pinned = VersioningBehavior.PINNED
    async with worker(client, "1", pinned), worker(client, "2", pinned):
        await known(client, "1")
        await known(client, "2")
        await set_current(client, "1")
        handle = await client.start_workflow("Parent", id="w", task_queue=QUEUE, result_type=str)
        child = client.get_workflow_handle("child")
        while await _build(child) != "1":
            await asyncio.sleep(0.01)
        await set_current(client, "2")
        await child.signal("finish")
        assert await handle.result() == "1-1"


async def _build(handle: Any) -> Any:
    try:
        return await handle.query("build")
    except Exception:
        return None


async def test_overrides_of_the_client(client: Client) -> None:
    auto = VersioningBehavior.AUTO_UPGRADE
    async with worker(client, "1", auto), worker(client, "2", auto):
        await known(client, "1")
        await known(client, "2")
        await set_current(client, "1")
        options: Any = {"task_queue": QUEUE, "result_type": str}
        override = PinnedVersioningOverride(WorkerDeploymentVersion("shop", "2"))
        pinned = await client.start_workflow("Waits", id="pinned", versioning_override=override, **options)
        assert await pinned.query("build") == "2"
        moving = await client.start_workflow(
            "Waits", id="moving", versioning_override=AutoUpgradeVersioningOverride(), **options
        )
        assert await moving.query("build") == "1"
        for handle in (pinned, moving):
            await handle.signal("finish")
            await handle.result()


@workflow.defn(sandboxed=False)
class Plain:
    @workflow.run
    async def run(self) -> str:
        return await workflow.execute_activity(
            version_of_worker, start_to_close_timeout=timedelta(seconds=30), priority=Priority(priority_key=1)
        )


async def test_eager_start_delay_priority_and_limits_do_not_get_in_the_way(client: Client) -> None:
    async with Worker(
        client,
        task_queue=QUEUE,
        workflows=[Plain],
        activities=[version_of_worker],
        max_task_queue_activities_per_second=1000,
        max_activities_per_second=1000,
    ):
        for number, options in enumerate(
            (
                {"request_eager_start": True},
                {"start_delay": timedelta(milliseconds=20)},
                {"priority": Priority(priority_key=2, fairness_key="a", fairness_weight=2.0)},
            )
        ):
            result = await client.execute_workflow(
                Plain.run,
                id=str(number),
                task_queue=QUEUE,
                **options,  # type: ignore[arg-type]
            )
            assert result == "version_of_worker"
