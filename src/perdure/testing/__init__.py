"""Test workflows and activities in this process: no server, no download.

:class:`WorkflowEnvironment` is an engine for one test, whose clock can skip the time that workflows sleep through.
:class:`ActivityEnvironment` runs an activity's code by itself. ``perdure.testing.pytest_plugin`` has fixtures for both.
"""

from perdure.testing._activity import ActivityEnvironment
from perdure.testing._workflow import WorkflowEnvironment

__all__ = ["ActivityEnvironment", "WorkflowEnvironment"]
