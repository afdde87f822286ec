"""Workflow runners: names of Temporal's SDK, and the one choice that they stand for here.

Temporal's sandbox imports a workflow's modules anew for every run and wraps what they reach. Here modules are shared,
and a guard in C makes the clock, random numbers and the environment deterministic and refuses files, sockets and
threads while workflow code runs. So a runner only says whether that guard is on.
"""

from __future__ import annotations

from abc import ABC, abstractmethod


class WorkflowRunner(ABC):
    """Says how a worker runs workflow code; see :class:`UnsandboxedWorkflowRunner`."""

    @property
    @abstractmethod
    def is_guarded(self) -> bool:
        """Whether the determinism guard watches workflow code."""


class UnsandboxedWorkflowRunner(WorkflowRunner):
    """Runs workflow code without the determinism guard."""

    @property
    def is_guarded(self) -> bool:
        """False."""
        return False
