"""Updates, and handlers that are not done when the workflow is."""

from __future__ import annotations

import pytest

from perdure import workflow
from perdure._native.events import HistoryEvent
from perdure.api.workflowservice import v1 as ws
from tests.workflow.mini_server import SHORT, MiniServer, kinds


@workflow.defn
class Updated:
    def __init__(self) -> None:
        self.total = 0

    @workflow.run
    async def run(self) -> int:
        await workflow.wait_condition(lambda: self.total >= 10 and workflow.all_handlers_finished())
        return self.total

    @workflow.update
    async def add(self, amount: int) -> int:
        info = workflow.current_update_info()
        assert info is not None and info.name == "add"
        self.total += await workflow.execute_activity("check", amount, start_to_close_timeout=SHORT)
        return self.total

    @add.validator
    def check_amount(self, amount: int) -> None:
        if amount < 0:
            raise ValueError("negative")


@pytest.mark.parametrize("cached", [True, False])
def test_updates(cached: bool) -> None:
    server = MiniServer(Updated)
    server.turn()
    server.update("u1", "add", 10)
    server.update("u2", "add", -1)
    server.update("u3", "unknown")
    answer = server.turn(cached=cached)
    assert isinstance(answer, ws.RespondWorkflowTaskCompletedRequest)
    assert kinds(server) == ["protocol_message", "schedule_activity_task"]
    assert [message.id for message in answer.messages] == [
        "u1/request/accept",
        "u2/request/reject",
        "u3/request/reject",
    ]
    server.complete_activity(10)
    server.turn(cached=cached)
    assert kinds(server) == ["protocol_message", "complete_workflow_execution"]
    assert server.result == 10
    server.replay()


@workflow.defn
class UpdatedAfterTheEnd:
    def __init__(self) -> None:
        self.has_returned = False

    @workflow.run
    async def run(self) -> None:
        self.has_returned = True

    @workflow.update
    async def wait_for_end(self) -> str:
        await workflow.wait_condition(lambda: self.has_returned)
        return "done"


def test_old_sdks_dropped_what_came_after_the_end() -> None:
    """Their histories lack the update's completion, and the flag that says it is sent first."""
    server = MiniServer(UpdatedAfterTheEnd)
    server.update("u1", "wait_for_end")
    server.turn()
    server.replay()
    completed = next(event for event in server.events if event.event_type == 7)
    completed.attributes.sdk_metadata.core_used_flags = [1, 2]
    with pytest.raises(workflow.NondeterminismError):
        server.replay()
    before = [event for event in server.events if event.event_type != 43]  # UpdateCompleted
    server.replay([HistoryEvent(i, e.event_type, e.event_time, e.attributes) for i, e in enumerate(before, 1)])


@workflow.defn
class Unfinished:
    @workflow.run
    async def run(self) -> None:
        await workflow.sleep(1)

    @workflow.signal
    async def slow(self) -> None:
        await workflow.sleep(100)


def test_unfinished_handlers_are_warned_of() -> None:
    server = MiniServer(Unfinished)
    server.turn()
    server.signal("slow")
    server.turn()
    server.fire_timer("1")
    with pytest.warns(workflow.UnfinishedSignalHandlersWarning, match="slow"):
        server.turn()


def test_where_the_warning_is_an_error_it_fails_the_task() -> None:
    server = MiniServer(Unfinished)
    server.turn()
    server.signal("slow")
    server.turn()
    server.fire_timer("1")
    answer = server.turn()
    assert isinstance(answer, ws.RespondWorkflowTaskFailedRequest) and answer.failure is not None
    assert answer.failure.message.startswith("[TMPRL1102] Workflow finished while signal handlers are still running")
