"""Random programs against the engine: every history is legal, folds to the live state, and survives bytes and restarts."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from perdure._native.mutable_state import MutableState
from perdure.api.common import v1 as common_v1
from perdure.engine import Engine
from perdure.service import RPCError
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
    queue,
    schedule_activity,
    signal_external,
    start_child,
    start_timer,
)
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
closings = st.one_of(
    st.builds(complete), st.builds(fail), st.builds(cancel), st.builds(continue_as_new), st.none(), st.none()
)


class EngineMachine(RuleBasedStateMachine):
    """A client, workers and a clock that do anything in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = Clock()
        self.store: MemoryStore = self.run(MemoryStore.open())
        self.d = Driver(self.run(Engine.open(self.store, clock=self.clock)), self.clock)
        self.tasks: list[Any] = []
        self.activity_tasks: list[Any] = []
        self.runs: set[tuple[str, str]] = set()

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

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
    def request_cancel(self) -> None:
        self.attempt(self.d.request_cancel())

    @rule()
    def terminate(self) -> None:
        self.attempt(self.d.terminate())

    # ---- workers

    @rule()
    def poll(self) -> None:
        if self.run(self.d.has_workflow_task()):
            with contextlib.suppress(TimeoutError):
                self.tasks.append(self.run(asyncio.wait_for(self.d.poll(), 0.05)))

    @precondition(lambda self: self.tasks)
    @rule(data=st.data(), batch=st.lists(commands, max_size=4), closing=closings)
    def answer(self, data: st.DataObject, batch: list[Any], closing: Any) -> None:
        task = self.tasks.pop(data.draw(st.integers(0, len(self.tasks) - 1)))
        if closing is not None:
            batch = [*batch, closing]
        self.attempt(self.d.answer(task, *batch))

    @precondition(lambda self: self.tasks)
    @rule()
    def fail_task(self) -> None:
        self.attempt(self.d.fail_task(self.tasks.pop()))

    @rule()
    def poll_activity(self) -> None:
        if self.run(self.d.has_activity_task()):
            with contextlib.suppress(TimeoutError):
                self.activity_tasks.append(self.run(asyncio.wait_for(self.d.poll_activity(), 0.05)))

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
        self.run(self.d.advance(seconds))

    @invariant()
    def histories_are_legal_and_fold_to_the_live_state(self) -> None:
        self.run(self.d.settle())
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
            assert live.previous_started_id == twin.previous_started_id == folded.previous_started_id
            decoded = MutableState.decode(live.encode())
            assert decoded.encode() == live.encode()

    def teardown(self) -> None:
        self.run(self.d.engine.close())
        self.loop.close()


TestEngineMachine = EngineMachine.TestCase
TestEngineMachine.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
