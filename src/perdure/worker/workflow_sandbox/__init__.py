"""The names of Temporal's sandbox, for code that is moved over.

Modules are shared here and never imported anew. The determinism guard that takes the sandbox's place needs no
configuration; use ``workflow.unsafe.sandbox_unrestricted()`` around a call that it refuses wrongly, or ``sandboxed=False``
in ``@workflow.defn``, or ``UnsandboxedWorkflowRunner`` for a whole worker. A worker whose runner is given restrictions
refuses what they name as well.
"""

from perdure.worker._restricted import RestrictedWorkflowAccessError, UnintentionalPassthroughError
from perdure.worker.workflow_sandbox import _defaults as _defaults
from perdure.worker.workflow_sandbox._names import SandboxedWorkflowRunner, SandboxMatcher, SandboxRestrictions

__all__ = [
    "RestrictedWorkflowAccessError",
    "SandboxMatcher",
    "SandboxRestrictions",
    "SandboxedWorkflowRunner",
    "UnintentionalPassthroughError",
]
