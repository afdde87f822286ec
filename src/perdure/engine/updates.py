"""What of a run is not durable yet, as the one update that a commit takes.

Compiled as it is by the native build; ``updates.pxd`` declares the types.
"""

from __future__ import annotations

from collections.abc import Callable

from perdure._native.events import encode_batch
from perdure._native.mutable_state import RunState
from perdure.engine.run import Run, activity_status
from perdure.store.api import RunUpdate, TaskKind

_CLOSED = int(RunState.CLOSED)


def make_update(run: Run, next_task_id: Callable[[], int]) -> tuple[RunUpdate, int]:
    """What of the run is not durable yet, as one update; and when the run is due next (ms, 0: never)."""
    s = run.state
    run.is_dirty = False
    run.in_flight += 1
    run.version += 1
    s.transition_count += 1
    update = RunUpdate(run.key, run.version, make_current=run.is_new_current)
    run.is_new_current = False
    events = run.unwritten
    if events:
        run.unwritten = []
        batch = encode_batch(events)
        s.history_size += len(batch)
        run.tail_bytes += len(batch)
        update.history = [(events[0].event_id, len(events), batch)]
        for event in events:
            if event.event_type == 40 or event.event_type == 46:
                run.visibility_changed = True
    _change_rows(run, update, next_task_id)
    stored = run.stored_visibility
    status = activity_status(s) if s.is_activity else s.status
    if stored is None or run.visibility_changed or stored.status != status:
        run.visibility_changed = False
        run.stored_visibility = run.visibility_record()
        update.visibility = (stored, run.stored_visibility)
    due = s.next_deadline()
    if due != run.stored_timer and (
        due == 0 or run.stored_timer == 0 or due < run.stored_timer or run.is_timer_early or s.state == _CLOSED
    ):
        update.timer = (run.stored_timer, due)
        run.stored_timer = s.timer_ms = due
        run.is_timer_early = False
    update.state = s.encode()
    return update, due


def _change_rows(run: Run, update: RunUpdate, next_task_id: Callable[[], int]) -> None:
    """The task rows that came, changed or went since the last update."""
    s = run.state
    if s.task_scheduled_id and s.speculative is None:
        row = run.workflow_task_row
        if row is None or row.scheduled_event_id != s.task_scheduled_id or row.owner_epoch != s.task_owner_epoch:
            if row is None:
                s.task_row_id = next_task_id()
            row = run.task_row(TaskKind.WORKFLOW, s.task_queue, s.task_row_id, s.task_scheduled_id, s.task_owner_epoch)
            run.workflow_task_row = row
            update.put_tasks.append(row)
    elif run.workflow_task_row is not None:
        update.delete_tasks.append(run.workflow_task_row)
        run.workflow_task_row = None
        s.task_row_id = 0
    if s.state == _CLOSED and run.persisted:
        run.touched.update(run.persisted)
    if run.touched:
        for event_id in run.touched:
            activity = s.activities.get(event_id)
            row = run.persisted.get(event_id)
            if activity is None or activity.is_backing_off:
                if row is not None:
                    update.delete_tasks.append(row)
                    del run.persisted[event_id]
                if activity is not None:
                    activity.task_id = 0
            elif row is None or row.owner_epoch != activity.owner_epoch or row.task_id != activity.task_id:
                if row is not None and row.task_id != activity.task_id:
                    update.delete_tasks.append(row)
                row = run.task_row(
                    TaskKind.ACTIVITY, activity.task_queue, activity.task_id, event_id, activity.owner_epoch
                )
                run.persisted[event_id] = row
                update.put_tasks.append(row)
        run.touched.clear()
    if run.rows_due:
        update.put_tasks += run.rows_due
        run.rows_due = []
    if run.transfers_done:
        update.delete_tasks += run.transfers_done
        run.transfers_done = []
