"""The errors of the determinism guard, by the names of Temporal's sandbox."""

from __future__ import annotations

from perdure.exceptions import TemporalError
from perdure.workflow import NondeterminismError


class RestrictedWorkflowAccessError(NondeterminismError):
    """Workflow code used something that is not the same on replay. The message says what, where, and what to do."""

    def __init__(self, qualified_name: str, *, override_message: str | None = None) -> None:
        """Name what was used."""
        super().__init__(override_message or self.default_message(qualified_name))
        self.qualified_name = qualified_name

    @staticmethod
    def default_message(qualified_name: str) -> str:
        """The message where none says more."""
        return (
            f"Cannot access {qualified_name} from inside a workflow: the worker's restrictions name it. Do this in an "
            "activity, pass the module through if its code does no harm, or wrap the call in "
            "workflow.unsafe.sandbox_unrestricted()."
        )


class UnintentionalPassthroughError(TemporalError):
    """Workflow code imported a module that is not passed through, under a policy that refuses it."""

    def __init__(self, qualified_name: str) -> None:
        """Name the module."""
        super().__init__(f"Module {qualified_name} was not intentionally passed through to the sandbox.")
        self.qualified_name = qualified_name
