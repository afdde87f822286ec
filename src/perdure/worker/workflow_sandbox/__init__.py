"""The names of Temporal's sandbox, for code that is moved over.

What they configure does not exist here: modules are shared and never imported anew, so there is nothing to pass
through. The determinism guard that takes the sandbox's place needs no configuration; use
``workflow.unsafe.sandbox_unrestricted()`` around a call that it refuses wrongly, or ``sandboxed=False`` in
``@workflow.defn``, or ``UnsandboxedWorkflowRunner`` for a whole worker.
"""

from perdure.worker._restricted import RestrictedWorkflowAccessError, UnintentionalPassthroughError
from perdure.worker.workflow_sandbox._names import SandboxedWorkflowRunner, SandboxMatcher, SandboxRestrictions

__all__ = [
    "RestrictedWorkflowAccessError",
    "SandboxMatcher",
    "SandboxRestrictions",
    "SandboxedWorkflowRunner",
    "UnintentionalPassthroughError",
]
