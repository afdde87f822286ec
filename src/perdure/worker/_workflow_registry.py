"""The workflows of a worker or a replayer, by type."""

from __future__ import annotations

from collections.abc import Sequence

from perdure.common import VersioningBehavior
from perdure.workflow import _asyncio
from perdure.workflow._definition import _Definition


class WorkflowRegistry:
    """The workflows of one worker or replayer, by type. From now on asyncio keeps an order inside workflows."""

    def __init__(self, workflows: Sequence[type]) -> None:
        _asyncio.install()
        self._by_name: dict[str, _Definition] = {}
        self._dynamic: _Definition | None = None
        for cls in workflows:
            if not isinstance(cls, type):
                raise TypeError(f"Workflow {cls!r} is not a class; register the class itself.")
            definition = _Definition.must_from_class(cls)
            if definition.name is None:
                if self._dynamic is not None:
                    raise TypeError("More than one dynamic workflow; a worker can have one.")
                self._dynamic = definition
            elif definition.name in self._by_name:
                raise ValueError(
                    f"More than one workflow named {definition.name}; give one of them another name in @workflow.defn."
                )
            else:
                self._by_name[definition.name] = definition

    def find(self, name: str) -> _Definition | None:
        """The workflow of that type, one of our own of that type, the dynamic one, or None."""
        definition = self._by_name.get(name)
        if definition is None and name.startswith("perdure.limits."):
            from perdure.limits._workflows import BY_TYPE  # only for those who use them

            definition = BY_TYPE.get(name)
        return definition or self._dynamic

    def names(self) -> str:
        """The registered types, for messages."""
        return ", ".join(sorted(self._by_name)) or "none"

    def require_versioning_behavior(self) -> None:
        """Refuse workflows that a versioned worker would not know how to version."""
        for definition in [*self._by_name.values(), *([self._dynamic] if self._dynamic else [])]:
            unspecified = definition.versioning_behavior in (None, VersioningBehavior.UNSPECIFIED)
            if unspecified and definition.dynamic_config_fn is None:
                raise ValueError(
                    f"Workflow {definition.name or 'with dynamic=True'} must specify a versioning behavior using the "
                    "versioning_behavior argument of @workflow.defn, or the worker a default_versioning_behavior."
                )
