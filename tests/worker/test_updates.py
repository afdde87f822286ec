"""Updates end to end: clients, the embedded engine and workers, in memory and on disk."""

from __future__ import annotations

import asyncio
import uuid
import warnings
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from perdure import activity, workflow
from perdure.api.common.v1 import WorkflowExecution
from perdure.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from perdure.client import (
    Client,
    Interceptor,
    OutboundInterceptor,
    RPCError,
    StartWorkflowUpdateWithStartInput,
    WithStartWorkflowOperation,
    WorkflowHandle,
    WorkflowUpdateFailedError,
    WorkflowUpdateHandle,
    WorkflowUpdateRPCTimeoutOrCancelledError,
    WorkflowUpdateStage,
)
from perdure.common import RawValue, WorkflowIDConflictPolicy
from perdure.exceptions import ApplicationError, WorkflowAlreadyStartedError
from perdure.service import RPCStatusCode
from perdure.worker import Replayer, Worker
from tests.support.homes import STORES, home_url

SOON = timedelta(seconds=20)
VALIDATED: list[int] = []
PASSING: list[int] = []
GATE: list[asyncio.Event] = []


@activity.defn
async def double(value: int) -> int:
    return value * 2


@activity.defn
async def pass_gate(value: int) -> int:
    PASSING.append(value)
    await GATE[0].wait()
    return value


@workflow.defn
class Counter:
    """Counts what updates bring it."""

    def __init__(self) -> None:
        self.total = 0
        self.is_done = False
        self.may_answer = True
        self.order: list[Any] = []

    @workflow.run
    async def run(self) -> int:
        await workflow.wait_condition(lambda: self.is_done)
        await workflow.wait_condition(workflow.all_handlers_finished)
        return self.total

    @workflow.update
    def add(self, value: int) -> int:
        self.order.append(value)
        self.total += value
        return self.total

    @add.validator
    def check(self, value: int) -> None:
        VALIDATED.append(value)
        if value < 0:
            raise ApplicationError(f"{value} is negative", type="Negative")

    @workflow.update
    async def add_double(self, value: int) -> int:
        self.total += await workflow.execute_activity(double, value, start_to_close_timeout=SOON)
        return self.total

    @workflow.update
    async def add_locally(self, value: int) -> int:
        self.total += await workflow.execute_local_activity(double, value, start_to_close_timeout=SOON)
        return self.total

    @workflow.update
    async def add_slowly(self, value: int) -> int:
        passed = await workflow.execute_local_activity(pass_gate, value, start_to_close_timeout=SOON)
        self.total += passed
        return self.total

    @workflow.update
    async def wait(self) -> str:
        self.may_answer = False
        await workflow.wait_condition(lambda: self.may_answer)
        info = workflow.current_update_info()
        assert info is not None
        return info.id

    @workflow.update
    async def fail(self, message: str) -> None:
        await workflow.sleep(0.001)
        raise ApplicationError(message, type="Failed")

    @workflow.update(unfinished_policy=workflow.HandlerUnfinishedPolicy.ABANDON)
    async def forever(self) -> None:
        await workflow.wait_condition(lambda: False)

    @workflow.update
    def change_in_validator(self) -> None:
        """Never called."""

    @change_in_validator.validator
    def _change(self) -> None:
        workflow.upsert_memo({"changed": True})

    @workflow.update(dynamic=True)
    def anything(self, name: str, args: Sequence[RawValue]) -> str:
        return f"{name} with {len(args)}"

    @workflow.signal
    def answer(self) -> None:
        self.may_answer = True

    @workflow.signal
    def note(self, value: str) -> None:
        self.order.append(value)

    @workflow.signal
    def finish(self) -> None:
        self.is_done = True

    @workflow.query
    def state(self) -> list[Any]:
        return [self.total, self.order]


@workflow.defn
class Hasty:
    """Ends while an update is being handled."""

    def __init__(self) -> None:
        self.is_done = False

    @workflow.run
    async def run(self) -> bool:
        await workflow.wait_condition(lambda: self.is_done)
        return workflow.all_handlers_finished()

    @workflow.update
    async def last(self) -> None:
        self.is_done = True
        await workflow.wait_condition(lambda: False)

    @workflow.update(unfinished_policy=workflow.HandlerUnfinishedPolicy.ABANDON)
    async def abandoned(self) -> None:
        self.is_done = True
        await workflow.wait_condition(lambda: False)


@workflow.defn
class Continues:
    """Continues as new once, after its handlers are done."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    @workflow.run
    async def run(self, round: int) -> list[str]:
        await workflow.wait_condition(lambda: bool(self.seen) and workflow.all_handlers_finished())
        if round == 0:
            workflow.continue_as_new(1)
        return self.seen

    @workflow.update
    async def see(self, value: str) -> str:
        await workflow.sleep(0.001)
        self.seen.append(value)
        return value


@pytest.fixture(params=STORES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return home_url(request.param, tmp_path, durability="full")


@pytest.fixture
async def client(url: str) -> AsyncIterator[Client]:
    VALIDATED.clear()
    PASSING.clear()
    GATE[:] = [asyncio.Event()]
    async with await Client.connect(url) as client:
        yield client


@asynccontextmanager
async def working(client: Client, **options: Any) -> AsyncIterator[None]:
    async with Worker(
        client, task_queue="tq", workflows=[Counter, Hasty, Continues], activities=[double, pass_gate], **options
    ):
        yield


async def start(client: Client, run: Any = Counter.run, *args: Any) -> WorkflowHandle[Any, Any]:
    handle: WorkflowHandle[Any, Any] = await client.start_workflow(
        run, args=args, id=f"wf-{uuid.uuid4()}", task_queue="tq"
    )
    return handle


async def names(handle: WorkflowHandle[Any, Any]) -> list[int]:
    return [event.event_type for event in (await handle.fetch_history()).events]


@pytest.mark.parametrize("cached", [1000, 0])
async def test_updates_are_handled_and_answered(client: Client, cached: int) -> None:
    async with working(client, max_cached_workflows=cached):
        handle = await start(client)
        assert await handle.execute_update(Counter.add, 1) == 1
        assert await handle.execute_update(Counter.add_double, 2) == 5
        assert await handle.execute_update(Counter.add_locally, 3) == 11
        assert await handle.execute_update("unknown", args=[1, 2]) == "unknown with 2"
        assert await handle.query(Counter.state) == [11, [1]]
        await handle.signal(Counter.finish)
        assert await handle.result() == 11


@pytest.mark.parametrize("cached", [1000, 0])
async def test_refused_updates_leave_no_trace_and_do_no_harm(client: Client, cached: int) -> None:
    async with working(client, max_cached_workflows=cached):
        handle = await start(client)
        assert await handle.execute_update(Counter.add, 1) == 1
        before = await names(handle)
        for value in (-1, -2, -3):
            with pytest.raises(WorkflowUpdateFailedError) as error:
                await handle.execute_update(Counter.add, value)
            assert isinstance(error.value.cause, ApplicationError)
            assert error.value.cause.type == "Negative"
        with pytest.raises(WorkflowUpdateFailedError):
            await handle.execute_update(Counter.add, "no number")  # type: ignore[arg-type]
        assert await names(handle) == before
        assert await handle.execute_update(Counter.add, 2) == 3
        assert await handle.query(Counter.state) == [3, [1, 2]]
        await handle.signal(Counter.finish)
        assert await handle.result() == 3


async def test_a_local_activity_of_an_update_outlives_its_workflow_task(client: Client) -> None:
    async with working(client):
        handle = await client.start_workflow(Counter.run, id="w", task_queue="tq", task_timeout=timedelta(seconds=1))
        assert await handle.execute_update(Counter.add, 1) == 1
        waiting = asyncio.create_task(handle.execute_update(Counter.add_slowly, 2))
        while (await names(handle)).count(7) < 3:
            await asyncio.sleep(0.01)
        assert await handle.execute_update(Counter.add, 3) == 4
        GATE[0].set()
        assert await waiting == 6
        assert PASSING == [2]
        assert sorted(event for event in await names(handle) if event in (41, 43)) == [41] * 3 + [43] * 3


async def test_a_failed_update_fails_its_caller_and_not_the_workflow(client: Client) -> None:
    async with working(client):
        handle = await start(client)
        with pytest.raises(WorkflowUpdateFailedError) as error:
            await handle.execute_update(Counter.fail, "no")
        assert isinstance(error.value.cause, ApplicationError)
        assert (error.value.cause.message, error.value.cause.type) == ("no", "Failed")
        assert await handle.execute_update(Counter.add, 1) == 1


async def test_a_handle_of_an_accepted_update(client: Client) -> None:
    async with working(client):
        handle = await start(client)
        update = await handle.start_update(Counter.wait, wait_for_stage=WorkflowUpdateStage.ACCEPTED, id="mine")
        assert update.id == "mine"
        assert update.workflow_run_id
        with pytest.raises(WorkflowUpdateRPCTimeoutOrCancelledError):
            await update.result(rpc_timeout=timedelta(milliseconds=10))
        others = [
            await handle.start_update(Counter.wait, wait_for_stage=WorkflowUpdateStage.ACCEPTED, id="mine"),
            handle.get_update_handle_for(Counter.wait, "mine"),
        ]
        await handle.signal(Counter.answer)
        assert [await known.result() for known in [update, *others]] == ["mine"] * 3
        assert await handle.execute_update(Counter.wait, id="mine") == "mine"


async def test_many_updates_at_once_each_get_their_own_answer(client: Client) -> None:
    async with working(client):
        handle = await start(client)
        results = []
        for _ in range(5):
            results += await asyncio.gather(*(handle.execute_update(Counter.add, 1) for _ in range(10)))
        assert sorted(results) == list(range(1, 51))


async def test_signals_and_updates_keep_their_order(client: Client) -> None:
    async with working(client):
        handle = await start(client)
        for number in range(5):
            await handle.signal(Counter.note, f"s{number}")
            await handle.execute_update(Counter.add, number)
        assert (await handle.query(Counter.state))[1] == [x for n in range(5) for x in (f"s{n}", n)]


async def test_an_update_before_there_is_a_worker(client: Client) -> None:
    handle = await start(client)
    waiting = asyncio.create_task(handle.execute_update(Counter.add, 1))
    await asyncio.sleep(0)
    async with working(client):
        assert await waiting == 1


async def test_an_eleventh_update_in_flight_is_refused(client: Client) -> None:
    async with working(client):
        handle = await start(client)
        for _ in range(10):
            await handle.start_update(Counter.forever, wait_for_stage=WorkflowUpdateStage.ACCEPTED)
        with pytest.raises(RPCError) as error:
            await handle.execute_update(Counter.add, 1)
        assert error.value.status is RPCStatusCode.RESOURCE_EXHAUSTED


async def test_a_validator_that_changes_the_workflow_fails_its_task(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    async with working(client):
        handle = await start(client)
        assert await handle.execute_update(Counter.add, 1) == 1
        with pytest.raises(WorkflowUpdateRPCTimeoutOrCancelledError):
            await handle.execute_update(Counter.change_in_validator, rpc_timeout=timedelta(milliseconds=200))
    assert any(
        "read-only" in record.getMessage().lower() or "read only" in record.getMessage() for record in caplog.records
    )


async def test_a_closed_workflow_takes_no_update(client: Client) -> None:
    async with working(client):
        handle = await start(client)
        assert await handle.execute_update(Counter.add, 1, id="first") == 1
        await handle.signal(Counter.finish)
        assert await handle.result() == 1
        assert await handle.execute_update(Counter.add, 1, id="first") == 1
        with pytest.raises(RPCError, match="workflow execution already completed") as error:
            await handle.execute_update(Counter.add, 1, id="second")
        assert error.value.status is RPCStatusCode.NOT_FOUND


@pytest.mark.parametrize(("update", "warns"), [("last", True), ("abandoned", False)])
async def test_an_update_its_workflow_does_not_wait_for(client: Client, update: str, warns: bool) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", workflow.UnfinishedUpdateHandlersWarning)
        await update_hastily(client, update)
    assert bool(caught) is warns


async def update_hastily(client: Client, update: str) -> None:
    async with working(client):
        handle = await start(client, Hasty.run)
        with pytest.raises(WorkflowUpdateFailedError) as error:
            await handle.execute_update(update)
        assert isinstance(error.value.cause, ApplicationError)
        assert error.value.cause.type == "AcceptedUpdateCompletedWorkflow"
        assert await handle.result() is False


async def test_handlers_are_waited_for_before_continuing_as_new(client: Client) -> None:
    async with working(client):
        handle = await start(client, Continues.run, 0)
        both = await asyncio.gather(
            handle.execute_update(Continues.see, "a"), handle.execute_update(Continues.see, "b")
        )
        assert both == ["a", "b"]
        assert await handle.execute_update(Continues.see, "c") == "c"
        assert await handle.result() == ["c"]


@pytest.mark.parametrize("cached", [1000, 0])
async def test_a_reset_workflow_takes_its_updates_again(client: Client, cached: int) -> None:
    async with working(client, max_cached_workflows=cached):
        handle = await start(client)
        for number in (1, 2):
            assert await handle.execute_update(Counter.add, number, id=f"u{number}") in (1, 3)
        with pytest.raises(WorkflowUpdateFailedError):
            await handle.execute_update(Counter.add, -1)
        reset = await client.workflow_service.reset_workflow_execution(
            ResetWorkflowExecutionRequest(
                "default",
                WorkflowExecution(handle.id),
                workflow_task_finish_event_id=4,
                request_id="reset",
            )
        )
        again = client.get_workflow_handle_for(Counter.run, handle.id, run_id=reset.run_id)
        assert await again.get_update_handle_for(Counter.add, "u2").result() == 3
        assert await again.execute_update(Counter.add, 4) == 7
        assert await again.query(Counter.state) == [7, [1, 2, 4]]
        await again.signal(Counter.finish)
        assert await again.result() == 7
        await Replayer(workflows=[Counter]).replay_workflow(await again.fetch_history())


# ---- update-with-start


def operation(id: str, policy: WorkflowIDConflictPolicy) -> WithStartWorkflowOperation[Counter, int]:
    return WithStartWorkflowOperation(Counter.run, id=id, task_queue="tq", id_conflict_policy=policy)


async def test_update_with_start(client: Client) -> None:
    async with working(client):
        first = operation("w", WorkflowIDConflictPolicy.USE_EXISTING)
        handle_waits = asyncio.create_task(first.workflow_handle())
        assert await client.execute_update_with_start_workflow(Counter.add, 1, start_workflow_operation=first) == 1
        handle = await handle_waits
        assert (handle.id, handle.first_execution_run_id) == ("w", (await first.workflow_handle()).result_run_id)
        assert (await names(handle))[:6] == [1, 5, 6, 7, 41, 43]
        second = operation("w", WorkflowIDConflictPolicy.USE_EXISTING)
        update: WorkflowUpdateHandle[int] = await client.start_update_with_start_workflow(
            Counter.add, 2, start_workflow_operation=second, wait_for_stage=WorkflowUpdateStage.ACCEPTED, id="u"
        )
        assert await update.result() == 3
        assert (await second.workflow_handle()).result_run_id == handle.result_run_id
        with pytest.raises(RuntimeError, match="cannot be reused"):
            await client.execute_update_with_start_workflow(Counter.add, 1, start_workflow_operation=second)
        with pytest.raises(WorkflowUpdateFailedError):
            await client.execute_update_with_start_workflow(
                Counter.add, -1, start_workflow_operation=operation("w", WorkflowIDConflictPolicy.USE_EXISTING)
            )


async def test_update_with_start_that_may_not_start(client: Client) -> None:
    async with working(client):
        await client.start_workflow(Counter.run, id="w", task_queue="tq")
        refused = operation("w", WorkflowIDConflictPolicy.FAIL)
        with pytest.raises(WorkflowAlreadyStartedError) as error:
            await client.execute_update_with_start_workflow(Counter.add, 1, start_workflow_operation=refused)
        assert (error.value.workflow_id, error.value.workflow_type) == ("w", "Counter")
        with pytest.raises(WorkflowAlreadyStartedError):
            await refused.workflow_handle()


async def test_update_with_start_that_nobody_answers(client: Client) -> None:
    lonely = operation("w", WorkflowIDConflictPolicy.FAIL)
    with pytest.raises(WorkflowUpdateRPCTimeoutOrCancelledError):
        await client.execute_update_with_start_workflow(
            Counter.add, 1, start_workflow_operation=lonely, rpc_timeout=timedelta(milliseconds=20)
        )
    with pytest.raises(WorkflowUpdateRPCTimeoutOrCancelledError):
        await lonely.workflow_handle()


async def test_update_with_start_refuses_what_cannot_be(client: Client) -> None:
    with pytest.raises(ValueError, match="WorkflowIDConflictPolicy is required"):
        operation("w", WorkflowIDConflictPolicy.UNSPECIFIED)
    with pytest.raises(ValueError, match="not ADMITTED"):
        await client.start_update_with_start_workflow(
            Counter.add,
            1,
            start_workflow_operation=operation("w", WorkflowIDConflictPolicy.FAIL),
            wait_for_stage=WorkflowUpdateStage.ADMITTED,
        )
    delayed = WithStartWorkflowOperation(
        Counter.run, id="w", task_queue="tq", id_conflict_policy=WorkflowIDConflictPolicy.FAIL, start_delay=SOON
    )
    with pytest.raises(RPCError, match="WorkflowStartDelay is not supported") as error:
        await client.execute_update_with_start_workflow(Counter.add, 1, start_workflow_operation=delayed)
    assert error.value.status is RPCStatusCode.INVALID_ARGUMENT


async def test_interceptors_see_update_with_start(url: str) -> None:
    seen: list[StartWorkflowUpdateWithStartInput] = []

    class Sees(Interceptor):
        def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
            return Outbound(next)

    class Outbound(OutboundInterceptor):
        async def start_update_with_start_workflow(
            self, input: StartWorkflowUpdateWithStartInput
        ) -> WorkflowUpdateHandle[Any]:
            seen.append(input)
            input.update_workflow_input.args = [41]
            return await super().start_update_with_start_workflow(input)

    async with await Client.connect(url, interceptors=[Sees()]) as client, working(client):
        call = operation("w", WorkflowIDConflictPolicy.FAIL)
        assert await client.execute_update_with_start_workflow(Counter.add, 1, start_workflow_operation=call) == 41
    assert seen[0].start_workflow_input.workflow == "Counter"


# ---- after the process


async def test_a_home_that_is_opened_again_knows_its_updates(tmp_path: Path) -> None:
    home = f"lmdb:{tmp_path}/data"
    async with await Client.connect(home) as client, working(client):
        handle = await client.start_workflow(Counter.run, id="w", task_queue="tq")
        assert await handle.execute_update(Counter.add, 1, id="done") == 1
        await handle.start_update(Counter.wait, wait_for_stage=WorkflowUpdateStage.ACCEPTED, id="open")
    async with await Client.connect(home) as client, working(client):
        handle = client.get_workflow_handle_for(Counter.run, "w")
        assert await handle.execute_update(Counter.add, 100, id="done") == 1
        waiting = asyncio.create_task(handle.get_update_handle("open", result_type=str).result())
        await handle.signal(Counter.answer)
        assert await waiting == "open"
        assert await handle.execute_update(Counter.add, 2) == 3
