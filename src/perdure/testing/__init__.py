"""Test workflows and activities in this process: no server, no download.

:class:`WorkflowEnvironment` is an engine for one test, whose clock can skip the time that workflows sleep through.
:class:`ActivityEnvironment` runs an activity's code by itself. ``perdure.testing.pytest_plugin`` has fixtures for both.

What is here is loaded when it is first used: pytest loads the plugin in every session.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False

if TYPE_CHECKING:
    from perdure.testing._activity import ActivityEnvironment
    from perdure.testing._workflow import WorkflowEnvironment

__all__ = ["ActivityEnvironment", "WorkflowEnvironment"]

_WHERE = {"ActivityEnvironment": "perdure.testing._activity", "WorkflowEnvironment": "perdure.testing._workflow"}


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(f"module 'perdure.testing' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_WHERE[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
