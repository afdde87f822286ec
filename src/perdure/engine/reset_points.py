"""Where each build first completed a workflow task of a chain of runs: what a reset by build id goes back to.

The state of a run keeps its points (``extra["reset_points"]``, folded from its events); the run that follows inherits them.
"""

from __future__ import annotations

from perdure._native.mutable_state import MutableState
from perdure.api.workflow import v1 as workflow_v1
from perdure.engine.limits import NS_PER_MS


def reset_points(s: MutableState) -> workflow_v1.ResetPoints | None:
    """The points of a run and of those before it, oldest first; None when no build was ever named."""
    if s.extra is None or not s.extra.get("reset_points"):
        return None
    points = [
        workflow_v1.ResetPointInfo(checksum, run_id, event_id, created_ns, expires_ns or None, is_resettable, build_id)
        for checksum, build_id, run_id, event_id, created_ns, expires_ns, is_resettable in s.extra["reset_points"]
    ]
    return workflow_v1.ResetPoints(points)


def handed_down(s: MutableState, now: int, retention_ms: int) -> workflow_v1.ResetPoints | None:
    """The points for the run that follows: this run's own last as long as the run itself will be kept."""
    points = reset_points(s)
    if points is None:
        return None
    points.points = [point for point in points.points if point.expire_time is None or point.expire_time >= now]
    for point in points.points:
        if point.run_id == s.run_id:
            point.expire_time = now + retention_ms * NS_PER_MS
    return points
