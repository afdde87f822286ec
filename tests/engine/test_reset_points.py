"""Where each build first completed a workflow task, as describe shows it, and what becomes of it in later runs."""

from __future__ import annotations

from typing import Any

from perdure.api.common import v1 as common_v1
from perdure.api.deployment import v1 as deployment_v1
from perdure.api.workflow import v1 as workflow_v1
from perdure.api.workflowservice import v1 as ws
from tests.engine.driver import Driver, continue_as_new, start_child

VERSIONED = 2


def versioned(build_id: str) -> dict[str, Any]:
    """What a worker of a deployment version says of itself."""
    return {"deployment_options": deployment_v1.WorkerDeploymentOptions("shop", build_id, VERSIONED)}


async def points(d: Driver, workflow_id: str = "w") -> list[workflow_v1.ResetPointInfo]:
    info = (await d.describe(workflow_id)).workflow_execution_info
    assert info is not None
    return [] if info.auto_reset_points is None else info.auto_reset_points.points


async def test_the_first_task_of_each_build_is_a_point(d: Driver) -> None:
    run_id = await d.start()
    assert await points(d) == []
    await d.turn(binary_checksum="sum")
    for build_id in ("1", "1", "2"):
        await d.signal()
        await d.turn(worker_version_stamp=common_v1.WorkerVersionStamp(build_id))
    await d.signal()
    await d.turn(**versioned("3"))
    found = await points(d)
    assert [(point.binary_checksum, point.build_id) for point in found] == [
        ("sum", ""),
        ("", "1"),
        ("", "2"),
        ("", "3"),
    ]
    assert [point.first_workflow_task_completed_id for point in found] == [4, 8, 16, 20]
    history = await d.history()
    for point in found:
        assert point.create_time == history[point.first_workflow_task_completed_id - 1].event_time
        assert (point.run_id, point.expire_time, point.resettable) == (run_id, None, True)


async def test_a_run_without_a_build_has_none(d: Driver) -> None:
    await d.start()
    await d.turn()
    assert await points(d) == []


async def test_the_newest_twenty_are_kept(d: Driver) -> None:
    await d.start()
    for number in range(22):
        await d.turn(binary_checksum=str(number))
        await d.signal()
    assert [point.binary_checksum for point in await points(d)] == [str(number) for number in range(2, 22)]


async def test_what_is_owed_to_others_makes_a_point_that_cannot_be_reset_to(d: Driver) -> None:
    await d.start()
    await d.turn(start_child())
    await d.signal()
    await d.turn(binary_checksum="1")
    assert [point.resettable for point in await points(d)] == [False]


async def test_later_runs_know_the_points_of_earlier_ones(d: Driver) -> None:
    first = await d.start()
    await d.turn(continue_as_new(), binary_checksum="1")
    [before] = await points_of(d, first)
    await d.advance(2)
    await d.turn(binary_checksum="2")
    inherited, own = await points(d)
    assert (inherited.binary_checksum, inherited.run_id, before.expire_time) == ("1", first, None)
    assert inherited.expire_time is not None and inherited.expire_time > before.create_time  # type: ignore[operator]
    assert (own.binary_checksum, own.expire_time) == ("2", None)
    assert own.run_id != first
    started = (await d.history())[0].attributes
    assert [point.binary_checksum for point in started.prev_auto_reset_points.points] == ["1"]


async def points_of(d: Driver, run_id: str) -> list[workflow_v1.ResetPointInfo]:
    described = await d.engine.describe_workflow_execution(
        ws.DescribeWorkflowExecutionRequest("default", common_v1.WorkflowExecution("w", run_id))
    )
    assert described.workflow_execution_info is not None
    assert described.workflow_execution_info.auto_reset_points is not None
    return described.workflow_execution_info.auto_reset_points.points


async def test_a_run_that_was_reset_has_the_points_before(d: Driver) -> None:
    await d.start()
    await d.turn(binary_checksum="1")
    await d.signal()
    await d.turn(binary_checksum="2")
    await d.engine.reset_workflow_execution(
        ws.ResetWorkflowExecutionRequest(
            "default", common_v1.WorkflowExecution("w"), "back", workflow_task_finish_event_id=8, request_id="r"
        )
    )
    assert [point.binary_checksum for point in await points(d)] == ["1"]
