"""Schedules: when their time comes they start workflows, exactly once each, whatever happens to the process.

A schedule is one document of the store, and all of them are in memory. It changes in *turns*: what is due goes into its
buffer, what may start leaves it. The runs that a turn starts and the document that no longer has them in its buffer are
one commit: after a crash either both are there or neither, and then the start is still to be made. While a commit
travels the schedule does not change; when it fails, the schedule is read again from the store.

Turns come when an alarm goes off, when a workflow the schedule started closes, and with requests.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

import msgspec

from perdure.api.common import v1 as common_v1
from perdure.api.enums.v1 import WorkflowExecutionStatus
from perdure.api.workflow import v1 as workflow_v1
from perdure.api.workflowservice import v1 as ws
from perdure.engine.core import Core
from perdure.engine.limits import NS_PER_S
from perdure.engine.messages import Messages
from perdure.engine.namespaces import Namespaces
from perdure.engine.run import Run
from perdure.engine.schedule_record import (
    NEVER,
    SCHEDULE,
    BufferedStart,
    ScheduleRecord,
    decode_record,
    decode_sleeper,
    encode_record,
)
from perdure.engine.schedule_rules import ALLOW_ALL, ScheduleRules
from perdure.engine.starts import Starts
from perdure.service import RPCError
from perdure.store.api import Document, RunKey, StoreError
from perdure.store.visibility import attribute_value, parse_query

logger = logging.getLogger("perdure.engine")

_PAGE = 1000
_CONTINUED_AS_NEW = int(WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW)


class Schedule:
    """A schedule in memory. Its lock is held by whoever changes it, until the change is durable.

    One that sleeps since the store was opened is its document until somebody needs more of it.
    """

    def __init__(self, namespace_id: str, schedule_id: str, record: ScheduleRecord | bytes) -> None:
        self.namespace_id = namespace_id
        self.id = schedule_id
        self._body = record if isinstance(record, bytes) else b""
        self._rules = None if isinstance(record, bytes) else ScheduleRules(namespace_id, record)
        self.lock = asyncio.Lock()
        self.is_deleted = False
        #: A turn is wanted; somebody takes turns until none is.
        self.is_wanted = False
        self.is_working = False
        #: Told when a turn was taken, or could not be.
        self.waiters: list[asyncio.Future[None]] = []
        #: Workflow ids whose closing is listened for.
        self.watched: set[str] = set()

    @property
    def rules(self) -> ScheduleRules:
        """What it does and when."""
        if self._rules is None:
            self._rules = ScheduleRules(self.namespace_id, decode_record(self._body))
            self._body = b""
        return self._rules

    @rules.setter
    def rules(self, rules: ScheduleRules) -> None:
        self._rules = rules
        self._body = b""

    @property
    def is_read(self) -> bool:
        """Whether it is more than its document."""
        return self._rules is not None

    def seal(self) -> bytes:
        """Its document as it is now."""
        rules, record = self.rules, self.rules.record
        record.due = 0
        if not record.buffer and not record.backfills:
            wake = rules.next_wake()
            record.due = NEVER if wake is None else wake
        record.watched = [execution.workflow_id for execution in record.info.running_workflows]
        return encode_record(record)

    @property
    def name(self) -> tuple[str, str]:
        """What identifies it in the store."""
        return (self.namespace_id, self.id)


class Schedules:
    """The schedules of a store."""

    def __init__(self, core: Core, namespaces: Namespaces, starts: Starts, messages: Messages) -> None:
        self._core = core
        self._namespaces = namespaces
        self._starts = starts
        self._messages = messages
        self._schedules: dict[tuple[str, str], Schedule] = {}
        #: (namespace id, workflow id) -> schedules that wait for its closing.
        self._watchers: dict[tuple[str, str], set[Schedule]] = {}

    async def open(self) -> None:
        """Read them all. What came due while nobody was there is caught up, as far as its catch-up window allows."""
        for namespace in await self._core.store.load_namespaces():
            after = ""
            running: set[tuple[str, str]] | None = None
            while True:
                page = await self._core.store.list_documents(namespace.namespace_id, SCHEDULE, _PAGE, after)
                for document in page:
                    schedule = Schedule(document.namespace_id, document.id, document.body)
                    self._schedules[schedule.name] = schedule
                    sleeper = decode_sleeper(document.body)
                    if sleeper.watched and running is None:
                        running = await self._running(namespace.namespace_id)
                    is_asleep = sleeper.due == NEVER or sleeper.due > self._core.now()
                    if is_asleep and all((schedule.id, name) in (running or ()) for name in sleeper.watched):
                        self._watch(schedule, sleeper.watched)
                        if sleeper.due != NEVER:
                            self._core.alarms.set(schedule.name, sleeper.due, partial(self.want, schedule))
                    else:
                        self.want(schedule)
                if len(page) < _PAGE:
                    break
                after = page[-1].id
                await asyncio.sleep(0)

    async def _running(self, namespace_id: str) -> set[tuple[str, str]]:
        """(schedule id, workflow id) of the open runs that schedules have started."""
        query = parse_query("TemporalScheduledById IS NOT NULL AND ExecutionStatus IN ('Running', 'Paused')", {})
        found: set[tuple[str, str]] = set()
        token = b""
        while True:
            page = await self._core.store.list_runs(namespace_id, query, _PAGE, token)
            for record in page.records:
                value = attribute_value(record.search_attributes, "TemporalScheduledById")
                if value is not None:
                    found.add((str(value[1]), record.key.workflow_id))
            token = page.next_page_token
            if not token:
                return found
            await asyncio.sleep(0)

    # ---- the schedules

    def find(self, namespace_id: str, schedule_id: str) -> Schedule | None:
        """The schedule of that id."""
        return self._schedules.get((namespace_id, schedule_id))

    def of(self, namespace_id: str) -> list[Schedule]:
        """All schedules of a namespace."""
        return [schedule for schedule in self._schedules.values() if schedule.namespace_id == namespace_id]

    @asynccontextmanager
    async def changing(self, schedule: Schedule) -> AsyncIterator[None]:
        """Change a schedule in the block; when that fails it is again as the store has it."""
        async with schedule.lock:
            try:
                yield
            except BaseException:
                await self._reload(schedule)
                raise

    @asynccontextmanager
    async def creating(self, schedule: Schedule) -> AsyncIterator[None]:
        """Take a new schedule in and make it durable in the block; when that fails there is none."""
        self._schedules[schedule.name] = schedule
        async with self.changing(schedule):
            yield

    async def save(self, schedule: Schedule) -> None:
        """Make a schedule durable as it is now, with all that happened in this step of the event loop."""
        body = b"" if schedule.is_deleted else schedule.seal()
        batch = self._core.put_document(Document(schedule.namespace_id, SCHEDULE, schedule.id, body))
        waiter: asyncio.Future[None] = self._core.loop.create_future()
        batch.waiters.append(waiter)
        await waiter

    async def delete(self, schedule: Schedule) -> None:
        """Forget a schedule, durably. What it started goes on."""
        schedule.is_deleted = True
        await self.save(schedule)
        self._forget(schedule)

    def _forget(self, schedule: Schedule) -> None:
        self._schedules.pop(schedule.name, None)
        self._core.alarms.clear(schedule.name)
        self._watch(schedule, ())

    async def _reload(self, schedule: Schedule) -> None:
        """Become again what the store has, once it is sure what that is."""
        delay = 0.05
        while not self._core.is_closed:
            try:
                await self._core.settle()
                document = await self._core.store.load_document(schedule.namespace_id, SCHEDULE, schedule.id)
                break
            except (RPCError, StoreError):
                await asyncio.sleep(delay)
                delay = min(delay * 2, 5.0)
        else:
            return
        if document is None:
            schedule.is_deleted = True
            self._forget(schedule)
            return
        schedule.is_deleted = False
        schedule.rules = ScheduleRules(schedule.namespace_id, decode_record(document.body))
        self._watch(schedule, _ids(schedule.rules.record.info.running_workflows))

    # ---- turns

    def want(self, schedule: Schedule) -> None:
        """See to it that the schedule has a turn."""
        schedule.is_wanted = True
        if not schedule.is_working and not self._core.is_closed:
            schedule.is_working = True
            self._core.alarms.working += 1
            self._core.spawn(self._work(schedule))

    async def act(self, schedule: Schedule) -> None:
        """Let the schedule do at once what a request asked for. What fails is tried again, whoever waits."""
        self.want(schedule)
        if schedule.is_working and not self._core.is_closed:
            waiter: asyncio.Future[None] = self._core.loop.create_future()
            schedule.waiters.append(waiter)
            await waiter

    async def _work(self, schedule: Schedule) -> None:
        delay = 0.0
        try:
            while schedule.is_wanted and not schedule.is_deleted:
                schedule.is_wanted = False
                try:
                    async with self.changing(schedule):
                        if not schedule.is_deleted:
                            await self.turn(schedule)
                    delay = 0.0
                except (RPCError, StoreError) as error:
                    logger.warning("schedule %r is tried again: %s", schedule.id, error)
                    schedule.is_wanted = True
                    self._tell(schedule)
                    await asyncio.sleep(delay)
                    delay = min(max(delay * 2, 0.05), 5.0)
                if not schedule.is_wanted:
                    self._tell(schedule)
        finally:
            schedule.is_working = False
            self._core.alarms.working -= 1
            self._tell(schedule)

    def _tell(self, schedule: Schedule) -> None:
        for waiter in schedule.waiters:
            if not waiter.done():
                waiter.set_result(None)
        schedule.waiters.clear()

    async def turn(self, schedule: Schedule) -> None:
        """Do what is to be done now, and set the alarm for what comes next. The schedule's lock is held.

        Atomic: each round's starts and the schedule that made them, or none.
        """
        rules = schedule.rules
        saved = encode_record(rules.record)
        while True:
            now = self._core.now()
            has_more = rules.take_due(now)
            has_more |= rules.take_backfills()
            await self._look_after(schedule)
            planned = rules.take_startable()
            is_free = await self._free_ids(schedule, planned.starts)
            # From here to the commit nothing else happens: starts and document go together.
            refused = [
                start for start in planned.starts if not rules.spend(start) or not self._start(schedule, start, is_free)
            ]
            expiration = rules.expiration()
            if expiration is not None and expiration <= now:
                await self.delete(schedule)
                return
            self._watch(schedule, _ids(rules.record.info.running_workflows))
            body = schedule.seal()
            if body != saved:
                await self.save(schedule)
                saved = body
            if planned.terminate_running or planned.cancel_running:
                await self._end_running(schedule, terminate=planned.terminate_running)
            if not has_more and not (refused and rules.record.buffer):
                break
        self._set_alarm(schedule)

    def _set_alarm(self, schedule: Schedule) -> None:
        due = schedule.rules.next_wake()
        if due is None:
            self._core.alarms.clear(schedule.name)
        else:
            self._core.alarms.set(schedule.name, due, partial(self.want, schedule))

    async def _free_ids(self, schedule: Schedule, starts: list[BufferedStart]) -> dict[str, bool]:
        """The workflow ids of some starts, and whether they may be used: true until the loop's next step."""
        core = self._core
        rules = schedule.rules
        while True:
            runs: dict[str, Run | None] = {}
            is_free: dict[str, bool] = {}
            for start in starts:
                workflow_id = _workflow_id(rules, start)
                run = runs[workflow_id] = await core.current(schedule.namespace_id, workflow_id)
                is_reusable = start.manual or rules.policies.keep_original_workflow_id
                is_free[workflow_id] = run is None or (is_reusable and not run.is_open)
            if all(
                core.known_current(schedule.namespace_id, workflow_id) == (None if run is None else run.key.run_id)
                for workflow_id, run in runs.items()
            ):
                return is_free

    def _start(self, schedule: Schedule, start: BufferedStart, is_free: dict[str, bool]) -> bool:
        """Take an action; False: the workflow id is taken."""
        core = self._core
        rules = schedule.rules
        action = rules.action
        workflow_id = _workflow_id(rules, start)
        if not is_free[workflow_id]:
            logger.warning("schedule %r did not start workflow %r: it exists", schedule.id, workflow_id)
            return False
        is_free[workflow_id] = False
        is_alone = (start.overlap or rules.policies.overlap_policy) != ALLOW_ALL
        namespace = self._namespaces.by_id(schedule.namespace_id).name
        request = ws.StartWorkflowExecutionRequest(
            namespace=namespace,
            workflow_id=workflow_id,
            workflow_type=action.workflow_type,
            task_queue=action.task_queue,
            input=action.input,
            workflow_execution_timeout=action.workflow_execution_timeout,
            workflow_run_timeout=action.workflow_run_timeout,
            workflow_task_timeout=action.workflow_task_timeout,
            identity=f"temporal-scheduler-{namespace}-{schedule.id}",
            request_id=f"{schedule.id}:{start.nominal}:{rules.record.info.action_count}",
            retry_policy=action.retry_policy,
            memo=action.memo,
            search_attributes=_with_schedule(action.search_attributes, schedule.id, start),
            header=action.header,
            continued_failure=rules.record.continued_failure if is_alone else None,
            last_completion_result=rules.record.last_completion_result if is_alone else None,
            user_metadata=action.user_metadata,
            versioning_override=action.versioning_override,
            priority=action.priority,
        )
        run_id = core.run_ids.new(core.now())
        self._starts.create(RunKey(schedule.namespace_id, workflow_id, run_id), request)
        rules.started(start, workflow_id, run_id, core.now())
        return True

    async def _end_running(self, schedule: Schedule, *, terminate: bool) -> None:
        namespace = self._namespaces.by_id(schedule.namespace_id).name
        identity = f"temporal-scheduler-{namespace}-{schedule.id}"
        for execution in list(schedule.rules.record.info.running_workflows):
            target = common_v1.WorkflowExecution(execution.workflow_id)
            try:
                if terminate:
                    await self._messages.terminate(
                        ws.TerminateWorkflowExecutionRequest(
                            namespace=namespace,
                            workflow_execution=target,
                            reason="terminated by schedule overlap policy",
                            identity=identity,
                            first_execution_run_id=execution.run_id,
                        )
                    )
                else:
                    await self._messages.request_cancel(
                        ws.RequestCancelWorkflowExecutionRequest(
                            namespace=namespace,
                            workflow_execution=target,
                            identity=identity,
                            first_execution_run_id=execution.run_id,
                            reason="cancelled by schedule overlap policy",
                        )
                    )
            except RPCError as error:
                logger.warning("schedule %r could not end workflow %r: %s", schedule.id, execution.workflow_id, error)

    # ---- what became of the workflows

    def _watch(self, schedule: Schedule, workflow_ids: Iterable[str]) -> None:
        """Listen for the end of these workflows, and of no others of this schedule."""
        wanted = set(workflow_ids)
        for workflow_id in schedule.watched - wanted:
            name = (schedule.namespace_id, workflow_id)
            self._watchers[name].discard(schedule)
            if not self._watchers[name]:
                del self._watchers[name], self._core.close_listeners[name]
        for workflow_id in wanted - schedule.watched:
            name = (schedule.namespace_id, workflow_id)
            self._watchers.setdefault(name, set()).add(schedule)
            self._core.close_listeners[name] = self._on_closed
        schedule.watched = wanted

    def _on_closed(self, run: Run) -> None:
        for schedule in self._watchers.get(run.key[:2], ()):
            self.want(schedule)

    async def _look_after(self, schedule: Schedule) -> None:
        """Find out which of the workflows that run have come to their end, and how."""
        for execution in list(schedule.rules.record.info.running_workflows):
            run = await self._last_run(schedule.namespace_id, execution)
            if run is None:
                schedule.rules.closed(execution, 0, None, None)
                continue
            if run.is_open:
                continue
            await self._core.durable(run)
            attributes: Any = (await self._core.event(run, run.state.next_event_id - 1)).attributes
            schedule.rules.closed(
                execution, run.state.status, getattr(attributes, "result", None), getattr(attributes, "failure", None)
            )

    async def _last_run(self, namespace_id: str, execution: common_v1.WorkflowExecution) -> Run | None:
        """The last run of the chain an action started; None when it is gone."""
        run = await self._core.current(namespace_id, execution.workflow_id)
        if run is None or run.state.first_run_id == execution.run_id:
            return run
        # Another chain has taken the workflow id over: ours has closed.
        run = await self._core.load(RunKey(namespace_id, execution.workflow_id, execution.run_id))
        return None if run is None or run.is_open or run.state.status == _CONTINUED_AS_NEW else run


def _ids(executions: Iterable[common_v1.WorkflowExecution]) -> list[str]:
    return [execution.workflow_id for execution in executions]


def _workflow_id(rules: ScheduleRules, start: BufferedStart) -> str:
    """The id of the workflow an action starts."""
    if rules.policies.keep_original_workflow_id:
        return rules.action.workflow_id
    return f"{rules.action.workflow_id}-{_text(start.nominal)}"


def _text(t: int) -> str:
    return datetime.fromtimestamp(t // NS_PER_S, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _with_schedule(
    attributes: common_v1.SearchAttributes | None, schedule_id: str, start: BufferedStart
) -> common_v1.SearchAttributes:
    """The action's search attributes, and those that tell where the run comes from."""

    def payload(kind: bytes, value: str) -> common_v1.Payload:
        return common_v1.Payload({"encoding": b"json/plain", "type": kind}, msgspec.json.encode(value))

    return common_v1.SearchAttributes(
        {
            **({} if attributes is None else attributes.indexed_fields),
            "TemporalScheduledStartTime": payload(b"Datetime", _text(start.nominal)),
            "TemporalScheduledById": payload(b"Keyword", schedule_id),
        }
    )


def start_request(action: workflow_v1.NewWorkflowExecutionInfo) -> ws.StartWorkflowExecutionRequest:
    """A request like those the action will make, to have it checked."""
    return ws.StartWorkflowExecutionRequest(
        workflow_id=f"{action.workflow_id}-{_text(0)}" if action.workflow_id else "",
        workflow_type=action.workflow_type,
        task_queue=action.task_queue,
        input=action.input,
        workflow_execution_timeout=action.workflow_execution_timeout,
        workflow_run_timeout=action.workflow_run_timeout,
        workflow_task_timeout=action.workflow_task_timeout,
        retry_policy=action.retry_policy,
        memo=action.memo,
        search_attributes=action.search_attributes,
        header=action.header,
        user_metadata=action.user_metadata,
    )
