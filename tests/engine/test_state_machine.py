"""Random programs against the engine: every history is legal, folds to the live state, and survives all that happens."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from perdure._native.mutable_state import MutableState
from perdure.api.common import v1 as common_v1
from perdure.api.protocol import v1 as protocol_v1
from perdure.api.query import v1 as query_v1
from perdure.api.taskqueue import v1 as taskqueue_v1
from perdure.api.workflowservice import v1 as ws
from perdure.engine import Engine
from perdure.service import RPCError
from perdure.store.api import RunKey, TaskKind
from perdure.store.memory import MemoryStore
from tests.engine.driver import (
    Clock,
    Driver,
    S,
    application_failure,
    cancel,
    cancel_activity,
    cancel_external,
    cancel_timer,
    complete,
    continue_as_new,
    fail,
    payloads,
    queue,
    schedule_activity,
    signal_external,
    start_child,
    start_timer,
)
from tests.engine.fragile import FragileStore, abandon
from tests.engine.update_driver import acceptance, protocol_message, rejection, response, update_request
from tests.twins.history import HistoryTwin

STATUS = {
    1: "RUNNING",
    2: "COMPLETED",
    3: "FAILED",
    4: "CANCELED",
    5: "TERMINATED",
    6: "CONTINUED_AS_NEW",
    7: "TIMED_OUT",
}

STICKY = taskqueue_v1.StickyExecutionAttributes(queue("sticky", 2, "q"), 10 * S)

activity_ids = st.sampled_from("abc")
timer_ids = st.sampled_from("tuv")
retry = st.sampled_from([None, common_v1.RetryPolicy(maximum_attempts=1), common_v1.RetryPolicy(maximum_attempts=2)])
commands = st.one_of(
    st.builds(
        schedule_activity,
        activity_ids,
        retry_policy=retry,
        start_to_close_timeout=st.sampled_from([2 * S, 50 * S]),
        heartbeat_timeout=st.sampled_from([0, S]),
    ),
    st.builds(start_timer, timer_ids, st.sampled_from([0, 1, 5])),
    st.builds(cancel_timer, timer_ids),
    st.builds(cancel_activity, st.integers(1, 30)),
    st.builds(start_child, st.sampled_from(["c1", "c2"]), task_queue=st.just(queue("q"))),
    st.builds(signal_external, st.sampled_from(["c1", "w", "nobody"])),
    st.builds(cancel_external, st.sampled_from(["c2", "nobody"])),
)
words = st.sampled_from(["accept", "complete", "reject", "reject", "ignore"])
closings = st.one_of(
    st.builds(complete), st.builds(fail), st.builds(cancel), st.builds(continue_as_new), st.none(), st.none()
)


class EngineMachine(RuleBasedStateMachine):
    """A client, workers and a clock that do anything in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = Clock()
        self.inner: MemoryStore = self.run(MemoryStore.open())
        self.open(1)
        self.queries: list[asyncio.Task[Any]] = []
        #: What callers were told of updates: run and update id -> (stage, outcome).
        self.told: dict[tuple[str, str], tuple[int, Any]] = {}
        self.tasks: list[Any] = []
        self.activity_tasks: list[Any] = []

    def open(self, epoch: int) -> None:
        self.store = FragileStore(self.inner, epoch)
        self.d = Driver(self.run(Engine.open(self.store, clock=self.clock)), self.clock)
        self.namespace_id = self.d.engine.namespaces.get("default").namespace_id

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    async def quiet(self) -> None:
        """Until nothing happens any more; runs that lost a commit are picked up after a moment."""
        core = self.d.engine._core
        for _ in range(200):
            with contextlib.suppress(RPCError):
                await self.d.settle()
            if core._forming is None and not core._travelling and len(core._tasks) <= 1:
                return
            await asyncio.sleep(0.005)

    def attempt(self, work: Any) -> Any:
        """Do it; a refusal is an answer like any other."""
        with contextlib.suppress(RPCError):
            return self.run(work)
        return None

    # ---- client

    @rule(policy=retry, cron=st.sampled_from(["", "", "@every 5s"]), timeout=st.sampled_from([0, 20 * S]))
    def start(self, policy: Any, cron: str, timeout: int) -> None:
        self.attempt(self.d.start("w", retry_policy=policy, cron_schedule=cron, workflow_run_timeout=timeout))

    @rule(workflow_id=st.sampled_from(["w", "c1"]))
    def signal(self, workflow_id: str) -> None:
        self.attempt(self.d.signal(workflow_id))

    @rule()
    def signal_with_start(self) -> None:
        request = ws.SignalWithStartWorkflowExecutionRequest(
            "default", "w", common_v1.WorkflowType("W"), queue(), signal_name="s"
        )
        self.attempt(self.d.engine.signal_with_start_workflow_execution(request))

    @rule()
    def query(self) -> None:
        async def ask() -> None:
            with contextlib.suppress(RPCError):
                await self.d.query()

        async def begin() -> None:
            self.queries.append(asyncio.ensure_future(ask()))
            await asyncio.sleep(0)

        self.run(begin())

    @rule(update_id=st.sampled_from("xyz"), stage=st.sampled_from([2, 3]))
    def update(self, update_id: str, stage: int) -> None:
        async def ask() -> None:
            with contextlib.suppress(RPCError):
                answer = await self.d.engine.update_workflow_execution(update_request(update_id, stage=stage))
                assert answer.update_ref is not None
                assert answer.update_ref.workflow_execution is not None
                if answer.outcome is None or answer.outcome.success is not None:
                    key = (answer.update_ref.workflow_execution.run_id, update_id)
                    self.told[key] = (answer.stage, answer.outcome)

        async def begin() -> None:
            self.queries.append(asyncio.ensure_future(ask()))
            await asyncio.sleep(0)

        self.run(begin())

    @rule(finish_id=st.integers(3, 12), exclude=st.sampled_from([[], [1], [2]]))
    def reset(self, finish_id: int, exclude: list[int]) -> None:
        request = ws.ResetWorkflowExecutionRequest(
            "default",
            common_v1.WorkflowExecution("w"),
            "again",
            finish_id,
            request_id=str(self.store.commits),
            reset_reapply_exclude_types=exclude,
        )
        self.attempt(self.d.engine.reset_workflow_execution(request))

    @rule()
    def request_cancel(self) -> None:
        self.attempt(self.d.request_cancel())

    @rule()
    def terminate(self) -> None:
        self.attempt(self.d.terminate())

    # ---- workers

    @rule(task_queue=st.sampled_from([queue(), queue(), queue("sticky", 2, "q")]))
    def poll(self, task_queue: Any) -> None:
        if task_queue.kind == 1 and not self.run(self.d.has_workflow_task()):
            return
        with contextlib.suppress(TimeoutError, RPCError):
            task = self.run(asyncio.wait_for(self.d.poll(task_queue), 0.005))
            if task.query is None:
                self.tasks.append(task)
            else:
                answer = ws.RespondQueryTaskCompletedRequest(task.task_token, 1)
                self.attempt(self.d.engine.respond_query_task_completed(answer))

    @precondition(lambda self: self.tasks)
    @rule(
        data=st.data(),
        batch=st.lists(commands, max_size=4),
        closing=closings,
        sticky=st.sampled_from([None, STICKY]),
        heartbeat=st.booleans(),
        inline=st.booleans(),
        finished=st.sets(st.sampled_from("xyz"), max_size=1),
    )
    def answer(
        self,
        data: st.DataObject,
        batch: list[Any],
        closing: Any,
        sticky: Any,
        heartbeat: bool,
        inline: bool,
        finished: set[str],
    ) -> None:
        task = self.tasks.pop(data.draw(st.integers(0, len(self.tasks) - 1)))
        messages = self.about_updates(task, data.draw(words))
        messages += [response(update_id) for update_id in finished]
        placed = [protocol_message(message.id) for message in messages if not message.id.endswith("reject")]
        batch = [*placed, *batch] if heartbeat else [*batch, *placed]
        if closing is not None:
            batch = [*batch, closing]
        results = {name: query_v1.WorkflowQueryResult(1) for name in task.queries}
        options = {
            "sticky_attributes": sticky,
            "query_results": results,
            "force_create_new_workflow_task": heartbeat,
            "return_new_workflow_task": inline,
            "messages": messages,
            "capabilities": ws.RespondWorkflowTaskCompletedRequestCapabilities(inline),
        }
        answered = self.attempt(self.d.answer(task, *batch, **options))
        if answered is not None and answered.workflow_task is not None:
            self.tasks.append(answered.workflow_task)

    @rule(update_id=st.sampled_from("xyz"), word=words, sticky=st.sampled_from([None, STICKY]), inline=st.booleans())
    def update_an_idle_run(self, update_id: str, word: str, sticky: Any, inline: bool) -> None:
        """What random steps seldom come to: a run that waits for nothing gets an update, and its worker answers."""
        self.attempt(self.d.start("w"))
        options = {
            "sticky_attributes": sticky,
            "return_new_workflow_task": inline,
            "capabilities": ws.RespondWorkflowTaskCompletedRequestCapabilities(inline),
        }
        for _ in range(2):
            task = None
            if self.run(self.d.has_workflow_task()):
                with contextlib.suppress(TimeoutError, RPCError):
                    task = self.run(asyncio.wait_for(self.d.poll(), 0.005))
            if task is not None and task.query is None:
                messages = self.about_updates(task, word)
                placed = [protocol_message(message.id) for message in messages if not message.id.endswith("reject")]
                self.attempt(self.d.answer(task, *placed, messages=messages, **options))
            self.update(update_id, 3)

    def about_updates(self, task: Any, word: str) -> list[protocol_v1.Message]:
        """What a worker says of the updates a task brought."""
        messages = []
        for request in [*task.messages, *self.admitted_in(task)]:
            if word == "reject":
                messages.append(rejection(request))
            elif word != "ignore":
                messages.append(acceptance(request))
                if word == "complete":
                    messages.append(response(request.protocol_instance_id))
        return messages

    def admitted_in(self, task: Any) -> list[protocol_v1.Message]:
        """The updates that the events of a task ask for, after a reset."""
        return [
            protocol_v1.Message(f"{request.meta.update_id}/request", request.meta.update_id, 1, body=request)
            for request in (event.attributes.request for event in task.history.events if event.event_type == 47)
        ]

    @precondition(lambda self: self.tasks)
    @rule()
    def fail_task(self) -> None:
        self.attempt(self.d.fail_task(self.tasks.pop()))

    @rule()
    def poll_activity(self) -> None:
        if self.run(self.d.has_activity_task()):
            with contextlib.suppress(TimeoutError, RPCError):
                self.activity_tasks.append(self.run(asyncio.wait_for(self.d.poll_activity(), 0.05)))

    @precondition(lambda self: self.activity_tasks)
    @rule()
    def heartbeat(self) -> None:
        request = ws.RecordActivityTaskHeartbeatRequest(self.activity_tasks[0].task_token, payloads(b"1"))
        self.attempt(self.d.engine.record_activity_task_heartbeat(request))

    @precondition(lambda self: self.activity_tasks)
    @rule(how=st.sampled_from(["complete", "fail", "fail for good"]))
    def answer_activity(self, how: str) -> None:
        task = self.activity_tasks.pop(0)
        if how == "complete":
            self.attempt(self.d.complete_activity(task))
        else:
            self.attempt(self.d.fail_activity(task, application_failure(non_retryable=how != "fail")))

    # ---- the world

    @rule(seconds=st.sampled_from([0.5, 1, 3, 10, 30]))
    def advance(self, seconds: float) -> None:
        self.attempt(self.d.advance(seconds))

    @rule()
    def let_the_next_commit_fail(self) -> None:
        self.store.fail_at = self.store.commits + 1

    @rule()
    def kill_and_restart(self) -> None:
        self.run(abandon(self.d.engine))
        self.open(self.store.epoch + 1)

    @invariant()
    def histories_are_legal_and_fold_to_the_live_state(self) -> None:
        self.run(self.quiet())
        core = self.d.engine._core
        for run in list(core._runs.values()):
            live = run.state
            events = self.run(core.read_events(run, 1, live.next_event_id))
            twin = HistoryTwin(events)
            folded = MutableState(*run.key)
            folded.fold(events)
            assert STATUS[live.status] == twin.status == STATUS[folded.status]
            if twin.status != "RUNNING":
                continue
            buffered = {
                (event.event_type, getattr(event.attributes, "scheduled_event_id", 0)) for event in live.buffered
            }
            if not buffered:
                assert set(live.activities) == set(twin.activities) == set(folded.activities)
                assert set(live.timers) == set(twin.timers) == set(folded.timers)
                assert set(live.children) == set(twin.children) == set(folded.children)
                assert set(live.signals) == twin.signals == set(folded.signals)
                assert set(live.cancels) == twin.cancels == set(folded.cancels)
                assert live.signal_count == twin.signal_count == folded.signal_count
            self.updates_are_those_of_the_history(run, twin, folded)
            self.nothing_that_is_due_is_lost(run)
            assert live.previous_started_id == twin.previous_started_id == folded.previous_started_id
            decoded = MutableState.decode(live.encode())
            assert decoded.encode() == live.encode()

    def updates_are_those_of_the_history(self, run: Any, twin: HistoryTwin, folded: MutableState) -> None:
        """But for those that a reset admitted and the workflow refused; and none that waits is forgotten."""
        live = run.state
        known = {update_id: events[1:] for update_id, events in (live.updates or {}).items()}
        assert {update_id: events[1:] for update_id, events in (folded.updates or {}).items()} == twin.updates
        assert known.items() <= twin.updates.items()
        assert all(twin.updates[update_id] == (0, 0) for update_id in twin.updates.keys() - known.keys())
        assert live.open_updates == sum(completed == 0 for _, completed in known.values())
        if run.updates is not None and run.updates.admitted and not live.backoff_until_ms:
            assert live.task_scheduled_id

    @invariant()
    def what_callers_were_told_of_updates_is_kept(self) -> None:
        core = self.d.engine._core
        for (run_id, update_id), (stage, outcome) in self.told.items():
            run = self.run(core.load(RunKey(self.namespace_id, "w", run_id)))
            accepted, completed = run.state.updates[update_id][1:]
            assert accepted
            if stage == 3:
                assert self.run(core.event(run, completed)).attributes.outcome == outcome

    def nothing_that_is_due_is_lost(self, run: Any) -> None:
        """What waits for a worker is in a queue; what waits for a time has one."""
        live = run.state
        waiting = {
            (kind, task.scheduled_event_id if kind == TaskKind.ACTIVITY else 0)
            for (_, kind, _), queue in self.d.engine._core.matching._queues.items()
            for task in queue.tasks
            if task.key == run.key and not task.query
        }
        if live.task_scheduled_id and not live.task_started_id and not live.task_not_before_ms:
            assert (TaskKind.WORKFLOW, 0) in waiting
        for activity in live.activities.values():
            if not activity.started_ns and not activity.is_backing_off:
                assert (TaskKind.ACTIVITY, activity.scheduled_event_id) in waiting
        due = live.next_deadline()
        if due and due - self.clock.now // 1_000_000 < 120_000:
            core = self.d.engine._core
            self.run(core.timers.load_horizon())
            assert core.timers.armed[run.key.run_id][1] <= due

    def teardown(self) -> None:
        for asking in self.queries:
            asking.cancel()
        if self.queries:
            self.run(asyncio.wait(self.queries, timeout=1))
        self.attempt(self.d.engine.close())
        self.loop.close()


TestEngineMachine = EngineMachine.TestCase
TestEngineMachine.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
