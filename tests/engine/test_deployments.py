"""Worker deployments: versions, routing, pinned and moving workflows."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure.api.common import v1 as common_v1
from perdure.api.deployment import v1 as deployment_v1
from perdure.api.workflow import v1 as workflow_v1
from perdure.api.workflowservice import v1 as ws
from perdure.engine.routing import ramp_position
from perdure.service import RPCError, RPCStatusCode
from tests.engine.driver import (
    Driver,
    S,
    cancel_timer,
    complete,
    continue_as_new,
    driving,
    queue,
    schedule_activity,
    start_child,
    start_timer,
)

PINNED, AUTO_UPGRADE = 1, 2
INACTIVE, CURRENT, RAMPING, DRAINING, DRAINED = range(1, 6)


def worker(build_id: str) -> deployment_v1.WorkerDeploymentOptions:
    return deployment_v1.WorkerDeploymentOptions("shop", build_id, 2)


async def poll(d: Driver, build_id: str, task_queue: str = "q", wait: float = 5) -> ws.PollWorkflowTaskQueueResponse:
    return await asyncio.wait_for(
        d.engine.poll_workflow_task_queue(
            ws.PollWorkflowTaskQueueRequest(
                "default", queue(task_queue), f"worker {build_id}", deployment_options=worker(build_id)
            )
        ),
        wait,
    )


async def register(d: Driver, *build_ids: str, task_queue: str = "q") -> None:
    """Let a worker of each version poll once, in vain."""
    for build_id in build_ids:
        with pytest.raises(TimeoutError):
            await poll(d, build_id, task_queue, wait=0.2 if d.engine.store.name == "postgresql" else 0.01)


async def turn(d: Driver, build_id: str, *commands: Any, behavior: int = PINNED) -> Any:
    task = await poll(d, build_id)
    await d.answer(task, *commands, versioning_behavior=behavior, deployment_options=worker(build_id))
    return task


async def set_current(d: Driver, build_id: str, **options: Any) -> ws.SetWorkerDeploymentCurrentVersionResponse:
    return await d.engine.set_worker_deployment_current_version(
        ws.SetWorkerDeploymentCurrentVersionRequest("default", "shop", build_id=build_id, **options)
    )


async def set_ramping(d: Driver, build_id: str, percentage: float, **options: Any) -> Any:
    return await d.engine.set_worker_deployment_ramping_version(
        ws.SetWorkerDeploymentRampingVersionRequest(
            "default", "shop", build_id=build_id, percentage=percentage, **options
        )
    )


async def version_info(d: Driver, build_id: str) -> deployment_v1.WorkerDeploymentVersionInfo:
    response = await d.engine.describe_worker_deployment_version(
        ws.DescribeWorkerDeploymentVersionRequest("default", f"shop.{build_id}", report_task_queue_stats=True)
    )
    assert response.worker_deployment_version_info is not None
    return response.worker_deployment_version_info


async def update_override(d: Driver, workflow_id: str, override: workflow_v1.VersioningOverride | None) -> None:
    options = None if override is None else workflow_v1.WorkflowExecutionOptions(override)
    await d.engine.update_workflow_execution_options(
        ws.UpdateWorkflowExecutionOptionsRequest(
            "default", common_v1.WorkflowExecution(workflow_id), options, ["versioning_override"]
        )
    )


async def versioning(d: Driver, workflow_id: str = "w") -> workflow_v1.WorkflowExecutionVersioningInfo:
    info = (await d.describe(workflow_id)).workflow_execution_info
    assert info is not None and info.versioning_info is not None
    return info.versioning_info


async def test_versions_come_into_being_by_polling(d: Driver) -> None:
    await register(d, "1", "2")
    response = await d.engine.describe_worker_deployment(ws.DescribeWorkerDeploymentRequest("default", "shop"))
    info = response.worker_deployment_info
    assert info is not None and info.routing_config is not None
    assert [summary.version for summary in info.version_summaries] == ["shop.1", "shop.2"]
    assert info.routing_config.current_version == "__unversioned__"
    described = await version_info(d, "1")
    assert (described.status, [(q.name, q.type) for q in described.task_queue_infos]) == (INACTIVE, [("q", 1)])
    listed = await d.engine.list_worker_deployments(ws.ListWorkerDeploymentsRequest("default"))
    assert [summary.name for summary in listed.worker_deployments] == ["shop"]


async def test_new_workflows_go_to_the_current_version(d: Driver) -> None:
    await register(d, "1", "2")
    await d.start("before")
    assert (await d.poll()).workflow_execution.workflow_id == "before"  # type: ignore[union-attr]
    await d.start()
    response = await set_current(d, "1")
    assert response.previous_deployment_version is None
    task = await poll(d, "1")
    assert task.workflow_execution is not None and task.workflow_execution.workflow_id == "w"
    await d.answer(task, start_timer(), versioning_behavior=PINNED, deployment_options=worker("1"))
    info = await versioning(d)
    assert (info.behavior, info.version) == (PINNED, "shop.1")
    assert await d.list("TemporalWorkerDeploymentVersion = 'shop:1'") == ["w"]
    assert await d.list("TemporalWorkflowVersioningBehavior = 'Pinned'") == ["w"]
    completed = next(event for event in await d.history() if event.event_type == 7).attributes
    assert (completed.versioning_behavior, completed.worker_deployment_version) == (PINNED, "shop.1")


async def test_a_pinned_workflow_stays_and_an_auto_upgrading_one_moves(d: Driver) -> None:
    await register(d, "1", "2")
    await set_current(d, "1")
    for workflow_id, behavior in (("pinned", PINNED), ("moving", AUTO_UPGRADE)):
        await d.start(workflow_id)
        await turn(d, "1", behavior=behavior)
    await set_current(d, "2")
    await d.signal("pinned")
    await d.signal("moving")
    for build_id, workflow_id in (("1", "pinned"), ("2", "moving")):
        task = await turn(d, build_id, complete(), behavior=PINNED)
        assert task.workflow_execution.workflow_id == workflow_id
    assert (await versioning(d, "moving")).version == "shop.2"


async def test_a_ramp_takes_its_share_of_the_workflow_ids(d: Driver) -> None:
    await register(d, "1", "2")
    await set_current(d, "1")
    await set_ramping(d, "2", 30)
    assert (await version_info(d, "2")).ramp_percentage == 30
    ids = [f"w{number}" for number in range(20)]
    for workflow_id in ids:
        await d.start(workflow_id)
    ramped = [workflow_id for workflow_id in ids if ramp_position(workflow_id) < 30]
    assert 0 < len(ramped) < len(ids)
    for workflow_id in ramped:
        task = await poll(d, "2")
        assert task.workflow_execution is not None and task.workflow_execution.workflow_id == workflow_id
    await set_ramping(d, "2", 0)
    await set_ramping(d, "", 0)
    assert (await version_info(d, "2")).status in (DRAINING, DRAINED)


async def test_what_waits_moves_with_the_routing(d: Driver) -> None:
    await register(d, "1", "2")
    await set_current(d, "1")
    await d.start()
    await set_current(d, "2")
    assert (await poll(d, "2")).task_token


async def test_a_sticky_worker_of_the_old_version_is_not_asked_again(d: Driver) -> None:
    await register(d, "1", "2")
    await set_current(d, "1")
    await d.start()
    task = await poll(d, "1")
    await d.answer(
        task,
        versioning_behavior=AUTO_UPGRADE,
        deployment_options=worker("1"),
        sticky_attributes=ws.taskqueue_v1.StickyExecutionAttributes(queue("sticky", 2, "q"), 10 * S),  # type: ignore[attr-defined]
    )
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(
            d.engine.poll_workflow_task_queue(
                ws.PollWorkflowTaskQueueRequest("default", queue("sticky", 2, "q"), "worker 1")
            ),
            0.01,
        )
    await set_current(d, "2")
    await d.signal()
    task = await poll(d, "2")
    assert task.history is not None and task.history.events[0].event_id == 1


async def test_overrides(d: Driver) -> None:
    await register(d, "1", "2")
    await set_current(d, "1")
    pin = workflow_v1.VersioningOverride(
        pinned=workflow_v1.VersioningOverridePinnedOverride(
            behavior=1, version=deployment_v1.WorkerDeploymentVersion("2", "shop")
        )
    )
    await d.start("born", versioning_override=pin)
    assert (await poll(d, "2")).task_token
    await d.start()
    await turn(d, "1", behavior=AUTO_UPGRADE)
    execution = common_v1.WorkflowExecution("w")
    response = await d.engine.update_workflow_execution_options(
        ws.UpdateWorkflowExecutionOptionsRequest(
            "default", execution, workflow_v1.WorkflowExecutionOptions(pin), ["versioning_override"]
        )
    )
    assert response.workflow_execution_options == workflow_v1.WorkflowExecutionOptions(pin)
    assert (await versioning(d)).versioning_override == pin
    await d.signal()
    await turn(d, "2", start_timer(), behavior=AUTO_UPGRADE)
    await d.engine.update_workflow_execution_options(
        ws.UpdateWorkflowExecutionOptionsRequest("default", execution, None, ["versioning_override"])
    )
    await d.signal()
    await turn(d, "1", cancel_timer(), behavior=AUTO_UPGRADE)
    assert "WorkflowExecutionOptionsUpdated" in await d.names()


async def test_pinned_runs_hand_their_version_on(d: Driver) -> None:
    await register(d, "1", "2")
    await set_current(d, "1")
    await d.start()
    await turn(d, "1", start_child(task_queue=queue("q")), behavior=PINNED)
    await set_current(d, "2")
    await d.settle()
    seen = []
    for _ in range(2):
        task = await poll(d, "1")
        assert task.workflow_execution is not None
        seen.append(task.workflow_execution.workflow_id)
        if task.workflow_execution.workflow_id == "child":
            await d.answer(task, complete(), versioning_behavior=PINNED, deployment_options=worker("1"))
        else:
            await d.answer(task, continue_as_new(), versioning_behavior=PINNED, deployment_options=worker("1"))
    assert sorted(seen) == ["child", "w"]
    await d.advance(1)
    task = await poll(d, "1")
    assert task.workflow_execution is not None and task.workflow_execution.workflow_id == "w"


async def test_activities_of_a_pinned_workflow_go_to_its_version(d: Driver) -> None:
    await register(d, "1", "2")
    for build_id in ("1", "2"):
        with pytest.raises(TimeoutError):
            await poll_activity(d, build_id, wait=0.01)
    await set_current(d, "1")
    await d.start()
    await turn(d, "1", schedule_activity(), behavior=PINNED)
    await set_current(d, "2")
    with pytest.raises(TimeoutError):
        await poll_activity(d, "2", wait=0.01)
    await d.complete_activity(await poll_activity(d, "1"))
    await turn(d, "1", complete())


async def poll_activity(d: Driver, build_id: str, wait: float = 5) -> ws.PollActivityTaskQueueResponse:
    return await asyncio.wait_for(
        d.engine.poll_activity_task_queue(
            ws.PollActivityTaskQueueRequest("default", queue(), "worker", deployment_options=worker(build_id))
        ),
        wait,
    )


async def test_a_version_that_is_left_drains(d: Driver) -> None:
    await register(d, "1", "2")
    await set_current(d, "1")
    await d.start()
    await turn(d, "1", behavior=PINNED)
    await set_current(d, "2")
    info = await version_info(d, "1")
    assert info.status == DRAINING and info.drainage_info is not None
    with pytest.raises(RPCError) as refused:
        await delete_version(d, "1")
    assert refused.value.status is RPCStatusCode.FAILED_PRECONDITION
    await d.signal()
    await turn(d, "1", complete())
    assert (await version_info(d, "1")).status == DRAINED
    await delete_version(d, "1")
    with pytest.raises(RPCError) as gone:
        await version_info(d, "1")
    assert gone.value.status is RPCStatusCode.NOT_FOUND


async def delete_version(d: Driver, build_id: str) -> None:
    await d.engine.delete_worker_deployment_version(
        ws.DeleteWorkerDeploymentVersionRequest("default", f"shop.{build_id}")
    )


async def test_what_does_not_fit_is_refused(d: Driver) -> None:
    with pytest.raises(RPCError) as unknown:
        await set_current(d, "1")
    assert unknown.value.status is RPCStatusCode.NOT_FOUND
    await register(d, "1")
    for call in (
        set_current(d, "9"),
        set_current(d, "1", conflict_token=b"old"),
        d.engine.delete_worker_deployment(ws.DeleteWorkerDeploymentRequest("default", "shop")),
    ):
        with pytest.raises(RPCError) as refused:
            await call
        assert refused.value.status is RPCStatusCode.FAILED_PRECONDITION
    await set_current(d, "1")
    with pytest.raises(RPCError):
        await set_ramping(d, "1", 10)
    with pytest.raises(RPCError):
        await delete_version(d, "1")
    await d.start()
    task = await poll(d, "1")
    with pytest.raises(RPCError) as unversioned:
        await d.answer(task, versioning_behavior=PINNED)
    assert unversioned.value.status is RPCStatusCode.INVALID_ARGUMENT


async def test_a_new_version_must_poll_what_the_current_one_does(d: Driver) -> None:
    await register(d, "1")
    await register(d, "1", task_queue="other")
    await set_current(d, "1")
    await register(d, "2")
    with pytest.raises(RPCError, match="other"):
        await set_current(d, "2")
    await set_current(d, "2", ignore_missing_task_queues=True)


async def test_metadata_and_manager(d: Driver) -> None:
    await register(d, "1")
    entry = common_v1.Payload(data=b"1")
    await d.engine.update_worker_deployment_version_metadata(
        ws.UpdateWorkerDeploymentVersionMetadataRequest("default", "shop.1", {"a": entry, "b": entry})
    )
    await d.engine.update_worker_deployment_version_metadata(
        ws.UpdateWorkerDeploymentVersionMetadataRequest("default", "shop.1", remove_entries=["b"])
    )
    metadata = (await version_info(d, "1")).metadata
    assert metadata is not None and metadata.entries == {"a": entry}
    await d.engine.set_worker_deployment_manager(
        ws.SetWorkerDeploymentManagerRequest("default", "shop", manager_identity="boss")
    )
    with pytest.raises(RPCError):
        await set_current(d, "1")
    await set_current(d, "1", identity="boss")


async def test_deployments_survive_a_restart(open_store: Any) -> None:
    async with driving(await open_store()) as d:
        if "PERSISTENT" not in str(d.engine.store.capabilities):
            pytest.skip("nothing survives in memory")
        await register(d, "1", "2")
        await set_current(d, "1")
        await d.start("waiting")
        await d.start("pinned")
        await turn(d, "1")
        clock = d.clock
    async with driving(await open_store(), clock) as d:
        assert (await version_info(d, "1")).status == CURRENT
        await set_current(d, "2")
        await d.signal("waiting")
        await d.signal("pinned")
        task = await poll(d, "1")
        assert task.workflow_execution is not None
        other = await poll(d, "2")
        assert other.workflow_execution is not None
        assert {task.workflow_execution.workflow_id, other.workflow_execution.workflow_id} == {"waiting", "pinned"}


async def test_versioning_by_build_id_sets_is_refused(d: Driver) -> None:
    with pytest.raises(RPCError) as refused:
        await d.engine.get_worker_build_id_compatibility(ws.GetWorkerBuildIdCompatibilityRequest("default", "q"))
    assert refused.value.status is RPCStatusCode.PERMISSION_DENIED


async def test_they_go_with_their_namespace(d: Driver) -> None:
    namespace = "elsewhere"
    register_request = ws.RegisterNamespaceRequest(namespace, workflow_execution_retention_period=86_400 * S)
    await d.engine.register_namespace(register_request)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(
            d.engine.poll_workflow_task_queue(
                ws.PollWorkflowTaskQueueRequest(namespace, queue(), deployment_options=worker("1"))
            ),
            0.01,
        )
    await d.engine.update_task_queue_config(
        ws.UpdateTaskQueueConfigRequest(
            namespace, task_queue="q", task_queue_type=2, set_fairness_weight_overrides={"a": 2.0}
        )
    )
    namespace_id = d.engine.namespaces.get(namespace).namespace_id
    await d.engine._router.forget(namespace_id)
    with pytest.raises(RPCError) as gone:
        await d.engine.describe_worker_deployment(ws.DescribeWorkerDeploymentRequest(namespace, "shop"))
    assert gone.value.status is RPCStatusCode.NOT_FOUND
    for kind in ("deployment", "queue"):
        assert await d.engine.store.list_documents(namespace_id, kind, 10) == []


async def test_lists_know_every_version_a_run_has_used(d: Driver) -> None:
    await register(d, "1", "2")
    await set_current(d, "1")
    await d.start()
    await turn(d, "1", behavior=AUTO_UPGRADE)
    await set_current(d, "2")
    await d.signal()
    await turn(d, "2", behavior=AUTO_UPGRADE)
    await d.signal()
    await turn(d, "2", behavior=AUTO_UPGRADE)
    for version in ("shop:1", "shop:2"):
        assert await d.list(f"TemporalUsedWorkerDeploymentVersions = '{version}'") == ["w"]
    assert await d.list("TemporalWorkerDeploymentVersion = 'shop:1'") == []
    info = (await d.describe()).workflow_execution_info
    assert info is not None and info.search_attributes is not None
    used = info.search_attributes.indexed_fields["TemporalUsedWorkerDeploymentVersions"]
    assert used.data == b'["shop:1","shop:2"]' and used.metadata["type"] == b"KeywordList"


def changed(task: ws.PollWorkflowTaskQueueResponse) -> bool:
    """What the newest WorkflowTaskStarted of a task says of the run's target version."""
    assert task.history is not None
    started = [event for event in task.history.events if event.event_type == 6][-1]
    return bool(started.attributes.target_worker_deployment_version_changed)


async def test_a_pinned_run_hears_that_its_target_version_changed(d: Driver) -> None:
    await register(d, "1", "2")
    await set_current(d, "1")
    await d.start()
    assert not changed(await turn(d, "1"))
    await d.signal()
    assert not changed(await turn(d, "1"))
    await set_current(d, "2")
    await d.signal()
    assert changed(await turn(d, "1"))
    await register(d, "3")
    await d.signal()
    assert changed(await turn(d, "1")), "it stays so"
    await set_current(d, "1")
    await d.signal()
    assert not changed(await turn(d, "1"))


async def test_only_pinned_runs_without_override_hear_of_it(d: Driver) -> None:
    await register(d, "1", "2")
    await set_current(d, "1")
    await d.start("moving")
    await turn(d, "1", behavior=AUTO_UPGRADE)
    await d.start("overridden")
    await turn(d, "1")
    override = workflow_v1.VersioningOverride(
        pinned=workflow_v1.VersioningOverridePinnedOverride(1, deployment_v1.WorkerDeploymentVersion("1", "shop"))
    )
    await update_override(d, "overridden", override)
    await set_current(d, "2")
    await d.signal("moving")
    assert not changed(await turn(d, "2", behavior=AUTO_UPGRADE))
    await d.signal("overridden")
    assert not changed(await turn(d, "1"))
    await update_override(d, "overridden", None)
    await d.signal("overridden")
    assert changed(await turn(d, "1"))


async def test_a_run_that_continues_on_its_version_declines_the_upgrade(d: Driver) -> None:
    await register(d, "1", "2", "3")
    await set_current(d, "1")
    await d.start()
    await turn(d, "1")
    await set_current(d, "2")
    await d.signal()
    assert changed(await turn(d, "1", continue_as_new()))
    await d.advance(2)
    task = await turn(d, "1")
    assert not changed(task), "what was declined is not said again"
    declined = task.history.events[0].attributes.declined_target_version_upgrade
    assert declined.deployment_version == deployment_v1.WorkerDeploymentVersion("2", "shop")
    assert declined.revision_number == 2
    await d.signal()
    assert not changed(await turn(d, "1", continue_as_new()))
    await d.advance(2)
    task = await turn(d, "1")
    assert task.history.events[0].attributes.declined_target_version_upgrade == declined, "by the next run, too"
    await set_current(d, "3")
    await d.signal()
    assert changed(await turn(d, "1", continue_as_new(initial_versioning_behavior=1)))
    await d.advance(2)
    task = await turn(d, "3")
    started = task.history.events[0].attributes
    assert started.declined_target_version_upgrade is None and started.inherited_pinned_version is None
    assert started.inherited_auto_upgrade_info == deployment_v1.InheritedAutoUpgradeInfo(
        deployment_v1.WorkerDeploymentVersion("1", "shop"), 3, 1
    )


async def test_a_run_may_continue_on_the_ramping_version(d: Driver) -> None:
    await register(d, "1", "2")
    await set_current(d, "1")
    await set_ramping(d, "2", 0.001)
    await d.start()
    await turn(d, "1", continue_as_new(initial_versioning_behavior=2))
    await d.advance(2)
    await turn(d, "2", behavior=AUTO_UPGRADE)
    await d.signal()
    await turn(d, "1", behavior=AUTO_UPGRADE)


async def test_cron_and_retries_take_no_version_along_that_was_not_inherited(d: Driver) -> None:
    await register(d, "1", "2")
    await set_current(d, "1")
    await d.start(cron_schedule="* * * * *")
    await d.advance(60)
    await turn(d, "1", complete())
    await set_current(d, "2")
    await d.advance(60)
    task = await turn(d, "2")
    assert task.history.events[0].attributes.inherited_pinned_version is None


async def test_a_deployment_before_its_workers(d: Driver) -> None:
    request = ws.CreateWorkerDeploymentRequest("default", "bakery", "me", "request")
    token = (await d.engine.create_worker_deployment(request)).conflict_token
    assert (await d.engine.create_worker_deployment(request)).conflict_token == token
    version = deployment_v1.WorkerDeploymentVersion("1", "bakery")
    making = ws.CreateWorkerDeploymentVersionRequest("default", version, None, "me", "request")
    await d.engine.create_worker_deployment_version(making)
    await d.engine.create_worker_deployment_version(making)
    described = await d.engine.describe_worker_deployment(ws.DescribeWorkerDeploymentRequest("default", "bakery"))
    assert described.worker_deployment_info is not None
    assert [it.deployment_version for it in described.worker_deployment_info.version_summaries] == [version]
    for again in (
        d.engine.create_worker_deployment(ws.CreateWorkerDeploymentRequest("default", "bakery", "me", "other")),
        d.engine.create_worker_deployment_version(
            ws.CreateWorkerDeploymentVersionRequest("default", version, None, "me", "other")
        ),
    ):
        with pytest.raises(RPCError, match="already exists") as refused:
            await again
        assert refused.value.status is RPCStatusCode.ALREADY_EXISTS
    for name, status in (("a.b", RPCStatusCode.INVALID_ARGUMENT), ("", RPCStatusCode.INVALID_ARGUMENT)):
        with pytest.raises(RPCError) as refused:
            await d.engine.create_worker_deployment(ws.CreateWorkerDeploymentRequest("default", name))
        assert refused.value.status is status
