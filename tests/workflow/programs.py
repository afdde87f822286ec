"""Random workflow programs, and random lives for them.

A program is data (lists of operations), run by one workflow; after every operation it starts an activity named after
the place in the program, so the order in which concurrent parts wake up shows in the commands. The life is what happens
between workflow tasks: which activities, timers and children end, and how, which signals come.
"""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st

from perdure import workflow

SHORT = timedelta(seconds=5)


@workflow.defn
class Interpreter:
    def __init__(self) -> None:
        self.count = 0
        self.handles: dict[int, Any] = {}
        self.tasks: list[Any] = []

    @workflow.run
    async def run(self, program: list[Any]) -> int:
        await self.block(program, "p")
        for task in self.tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        return self.count

    @workflow.signal(unfinished_policy=workflow.HandlerUnfinishedPolicy.ABANDON)
    async def bump(self, program: list[Any]) -> None:
        self.count += 1
        await self.block(program, f"s{self.count}")

    def mark(self, place: str) -> None:
        workflow.start_activity(f"mark {place}", start_to_close_timeout=SHORT)

    async def block(self, operations: list[Any], place: str) -> None:
        for index, (name, *arguments) in enumerate(operations):
            here = f"{place}.{index}"
            try:
                await getattr(self, f"op_{name}")(here, *arguments)
            except Exception as error:
                here += type(error).__name__
            self.mark(here)

    async def op_activity(self, here: str, cancellation: int) -> None:
        await workflow.execute_activity(
            f"do {here}",
            start_to_close_timeout=SHORT,
            cancellation_type=workflow.ActivityCancellationType(cancellation),
        )

    async def op_start(self, here: str, slot: int, cancellation: int) -> None:
        self.handles[slot] = workflow.start_activity(
            f"do {here}",
            start_to_close_timeout=SHORT,
            cancellation_type=workflow.ActivityCancellationType(cancellation),
        )

    async def op_join(self, here: str, slot: int) -> None:
        if slot in self.handles:
            try:
                await self.handles[slot]
            except asyncio.CancelledError:
                current = asyncio.current_task()
                if current is not None and current.cancelling():
                    raise

    async def op_cancel(self, here: str, slot: int) -> None:
        if slot in self.handles:
            self.handles[slot].cancel()

    async def op_sleep(self, here: str, seconds: int) -> None:
        await workflow.sleep(seconds)

    async def op_pause(self, here: str) -> None:
        await asyncio.sleep(0)

    async def op_wait(self, here: str, count: int) -> None:
        await workflow.wait_condition(lambda: self.count >= count)

    async def op_wait_for(self, here: str, count: int, seconds: int) -> None:
        await workflow.wait_condition(lambda: self.count >= count, timeout=seconds)

    async def op_spawn(self, here: str, program: list[Any]) -> None:
        self.tasks.append(asyncio.create_task(self.block(program, here)))

    async def op_kill(self, here: str) -> None:
        if self.tasks:
            self.tasks[-1].cancel()

    async def op_gather(self, here: str, programs: list[list[Any]]) -> None:
        await asyncio.gather(*(self.block(program, f"{here}{i}") for i, program in enumerate(programs)))

    async def op_child(self, here: str, cancellation: int) -> None:
        await workflow.execute_child_workflow(
            "Child", id=f"child {here}", cancellation_type=workflow.ChildWorkflowCancellationType(cancellation)
        )

    async def op_patch(self, here: str, name: str) -> None:
        if workflow.patched(name):
            self.mark(f"{here} patched")


slots = st.integers(0, 2)
cancellations = st.integers(0, 2)
simple = st.one_of(
    st.tuples(st.just("activity"), cancellations),
    st.tuples(st.just("start"), slots, cancellations),
    st.tuples(st.just("join"), slots),
    st.tuples(st.just("cancel"), slots),
    st.tuples(st.just("sleep"), st.integers(0, 3)),
    st.tuples(st.just("pause")),
    st.tuples(st.just("wait"), st.integers(0, 2)),
    st.tuples(st.just("wait_for"), st.integers(0, 3), st.integers(1, 3)),
    st.tuples(st.just("kill")),
    st.tuples(st.just("child"), cancellations),
    st.tuples(st.just("patch"), st.sampled_from(["a", "b"])),
).map(list)
programs = st.recursive(
    st.lists(simple, max_size=4),
    lambda inner: st.lists(
        st.one_of(
            simple,
            st.tuples(st.just("spawn"), inner).map(list),
            st.tuples(st.just("gather"), st.lists(inner, min_size=1, max_size=3)).map(list),
        ),
        max_size=4,
    ),
    max_leaves=12,
)


class Life:
    """What happens between tasks, drawn from hypothesis as it goes."""

    def __init__(self, server: Any, draw: Any) -> None:
        self.server = server
        self.draw = draw
        self.signals = 0

    def open_things(self) -> list[tuple[str, int]]:
        """What may happen next: ends of what is open, starts of children, a signal."""
        events = self.server.events
        opened: dict[int, str] = {}
        for event in events:
            attributes = event.attributes
            match event.event_type:
                case 10:
                    opened[event.event_id] = "activity"
                case 15:
                    opened[attributes.scheduled_event_id] = "canceling activity"
                case 17:
                    opened[event.event_id] = "timer"
                case 29:
                    opened[event.event_id] = "child start"
                case 31:
                    opened[attributes.initiated_event_id] = "child"
                case 22:
                    opened[event.event_id] = "cancel request"
                case 12 | 13 | 16:
                    opened.pop(attributes.scheduled_event_id, None)
                case 18 | 19:
                    opened.pop(attributes.started_event_id, None)
                case 24 | 30 | 32:
                    opened.pop(attributes.initiated_event_id, None)
        found = [(kind, event_id) for event_id, kind in opened.items()]
        if self.signals < 3:
            found.append(("signal", 0))
        return found

    def happen(self, kind: str, event_id: int) -> None:
        """Write the events of one thing that happens."""
        from perdure.api.history import v1 as history_v1

        server = self.server
        if kind == "signal":
            self.signals += 1
            server.signal("bump", self.draw(st.lists(simple, max_size=2)))
        elif kind == "canceling activity" and self.draw(st.booleans()):
            server.add(16, history_v1.ActivityTaskCanceledEventAttributes(scheduled_event_id=event_id))
        elif kind.endswith("activity"):
            if self.draw(st.integers(0, 3)):
                server.complete_activity(None, scheduled=event_id)
            else:
                server.fail_activity(activity_id=server.events[event_id - 1].attributes.activity_id)
        elif kind == "timer":
            server.fire_timer(server.events[event_id - 1].attributes.timer_id)
        elif kind == "child start":
            server.start_child(server.events[event_id - 1].attributes.workflow_id)
        elif kind == "child":
            server.complete_child(None, server.events[event_id - 1].attributes.workflow_id)
        elif kind == "cancel request":
            server.add(
                24,
                history_v1.ExternalWorkflowExecutionCancelRequestedEventAttributes(initiated_event_id=event_id),
            )

    def live(self, turns: int = 12) -> None:
        """Run until the workflow closes or it has had its turns."""
        server = self.server
        server.turn(cached=self.draw(st.booleans()))
        for _ in range(turns):
            if server.is_closed:
                return
            possible = self.open_things()
            if not possible:
                return
            chosen = self.draw(st.lists(st.sampled_from(possible), min_size=1, max_size=4, unique=True))
            for kind, event_id in chosen:
                self.happen(kind, event_id)
            server.turn(cached=self.draw(st.booleans()))
