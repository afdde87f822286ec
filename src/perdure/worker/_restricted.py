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
            f"{qualified_name} cannot be used in workflow code: it is not the same on replay. Do this in an activity, "
            "or inside workflow.unsafe.sandbox_unrestricted() if it does no harm."
        )


class UnintentionalPassthroughError(TemporalError):
    """Raised by Temporal's sandbox for a module that was not imported through it. Never raised here."""

    def __init__(self, qualified_name: str) -> None:
        """Name the module."""
        super().__init__(f"{qualified_name} was unintentionally passed through the sandbox.")
        self.qualified_name = qualified_name
