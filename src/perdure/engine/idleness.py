"""What a clock that can skip time must know: whether anything is under way, and when something is due next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.engine.ids import decode_token
from perdure.engine.limits import NS_PER_MS
from perdure.service import RPCError
from perdure.store.api import RunKey, TaskKind

if TYPE_CHECKING:
    from perdure.engine.core import Core
    from perdure.engine.matching import Task, TaskQueue

_FOREVER_MS = 1 << 46
_PAGE = 100


async def is_held(core: Core, task_tokens: set[bytes]) -> bool:
    """Whether a worker has a task, or is about to get one. Tokens of tasks that ended are taken out of the set."""
    if core.alarms.working or core.is_calling_nexus():
        return True
    for token in list(task_tokens):
        if await _is_running(core, token):
            return True
        task_tokens.discard(token)
    for kind, queue in core.matching.waiting():
        for task in list(queue.tasks):
            if await _is_wanted(core, kind, queue, task):
                return True
    return False


async def _is_running(core: Core, task_token: bytes) -> bool:
    try:
        token = decode_token(task_token)
    except RPCError:
        return False
    run = await core.load(RunKey(token.namespace_id, token.workflow_id, token.run_id))
    if run is None or not run.is_open:
        return False
    s = run.state
    if token.started_event_id:
        return bool(s.task_started_id == token.started_event_id and s.task_attempt == token.attempt)
    activity = s.activities.get(token.scheduled_event_id)
    return activity is not None and bool(activity.started_ns) and activity.attempt == token.attempt


async def _is_wanted(core: Core, kind: int, queue: TaskQueue, task: Task) -> bool:
    """Whether a task in a queue still stands for something. Activities that nobody polls for may time out."""
    if kind == TaskKind.NEXUS:
        return queue.has_recent_poller(core.loop.time())
    if task.query:
        return False
    run = await core.load(task.key)
    if run is None or not run.is_open:
        return False
    s = run.state
    if kind == TaskKind.WORKFLOW:
        return bool(s.task_scheduled_id) and not s.task_started_id
    activity = s.activities.get(task.scheduled_event_id)
    if activity is None or activity.started_ns or activity.is_backing_off:
        return False
    return queue.has_recent_poller(core.loop.time())


async def next_deadline(core: Core) -> int | None:
    """When (epoch ns) something is due next; 0: never; None: not before a worker has answered."""
    due_ms = await _next_deadline_of_runs(core)
    if due_ms is None:
        return None
    due = due_ms * NS_PER_MS
    alarm = core.alarms.next_due
    return due if alarm is None else min(due, alarm) if due else alarm


async def _next_deadline_of_runs(core: Core) -> int | None:
    """The same of open runs, in ms. Entries of the time index may be early, so the runs themselves are asked."""
    best = 0
    after: tuple[int, RunKey] | None = None
    while True:
        page = await core.store.due_runs(_FOREVER_MS, _PAGE, after)
        for due_ms, key in page:
            if best and due_ms >= best:
                return best
            run = await core.load(key)
            if run is None or not run.is_open:
                continue
            s = run.state
            if s.task_scheduled_id or any(activity.started_ns for activity in s.activities.values()):
                return None
            at = s.next_deadline()
            if due_ms < at:
                core.timers.refresh(run)
            if at and (not best or at < best):
                best = at
        if len(page) < _PAGE:
            return best
        after = page[-1]
