"""What standalone activities and Nexus operations have in common: runs without a workflow, each under an id of its own."""

from __future__ import annotations

from typing import Any

from perdure._native.mutable_state import Status
from perdure.api.common import v1 as common_v1
from perdure.api.enums.v1 import ActivityIdConflictPolicy, ActivityIdReusePolicy
from perdure.engine.core import Core
from perdure.engine.errors import not_found
from perdure.engine.lookup import check_run_id
from perdure.engine.run import Run
from perdure.engine.wiring import decode_payload
from perdure.store.api import RunKey

# Those of Nexus operations have the same numbers.
_ALLOW_DUPLICATE = int(ActivityIdReusePolicy.ACTIVITY_ID_REUSE_POLICY_ALLOW_DUPLICATE)
_FAILED_ONLY = int(ActivityIdReusePolicy.ACTIVITY_ID_REUSE_POLICY_ALLOW_DUPLICATE_FAILED_ONLY)
_USE_EXISTING = int(ActivityIdConflictPolicy.ACTIVITY_ID_CONFLICT_POLICY_USE_EXISTING)
_COMPLETED = int(Status.COMPLETED)


def may_start(current: Run, request: Any) -> bool | None:
    """Whether a new one takes the id of ``current`` over; False: the open one is used; None: the policies say to fail."""
    if current.is_open:
        return False if request.id_conflict_policy == _USE_EXISTING else None
    reuse = request.id_reuse_policy or _ALLOW_DUPLICATE
    if reuse == _ALLOW_DUPLICATE or (reuse == _FAILED_ONLY and current.state.status != _COMPLETED):
        return True
    return None


async def find_by_id(core: Core, namespace_id: str, id: str, run_id: str, what: str) -> Run:
    """The run of an id: that of the run id, or the current one when there is none. Raises NOT_FOUND."""
    check_run_id(run_id)
    run = await core.load(RunKey(namespace_id, id, run_id)) if run_id else await core.current(namespace_id, id)
    if run is None:
        raise not_found(f"{what} not found for ID: {id}" + (f" and RunID: {run_id}" if run_id else ""))
    return run


def search_attributes(run: Run) -> common_v1.SearchAttributes:
    """The search attributes of a run as describe shows them."""
    fields = run.state.search_attributes
    return common_v1.SearchAttributes({name: decode_payload(data) for name, data in fields.items()})
