"""Signalling a workflow, and starting it first if need be."""

from perdure.workflow import signal_with_start_workflow

__all__ = ["signal_with_start_workflow"]
