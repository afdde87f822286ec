"""Workflow runners: names of Temporal's SDK, and the one choice that they stand for here.

Temporal's sandbox imports a workflow's modules anew for every run and wraps what they reach. Here modules are shared,
and a guard in C makes the clock, random numbers and the environment deterministic and refuses files, sockets and
threads while workflow code runs. So a runner says whether that guard is on, and what is refused beside.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perdure.worker.workflow_sandbox import SandboxRestrictions
    from perdure.worker.workflow_sandbox._enforcement import Enforcement


class WorkflowRunner(ABC):
    """Says how a worker runs workflow code; see :class:`UnsandboxedWorkflowRunner`."""

    @property
    @abstractmethod
    def is_guarded(self) -> bool:
        """Whether the determinism guard watches workflow code."""

    @property
    def _restrictions(self) -> SandboxRestrictions | None:
        return None


class UnsandboxedWorkflowRunner(WorkflowRunner):
    """Runs workflow code without the determinism guard."""

    @property
    def is_guarded(self) -> bool:
        """False."""
        return False


def enforced_restrictions(runner: WorkflowRunner | None, is_debugged: bool) -> Enforcement | None:
    """What holds for the runs of a worker beside the guard; None for most."""
    restrictions = None if runner is None else runner._restrictions
    if restrictions is None:
        return None
    from perdure.worker.workflow_sandbox._enforcement import enforce

    return enforce(restrictions, is_debugged)
