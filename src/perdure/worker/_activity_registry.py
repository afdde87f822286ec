"""The activities that a worker runs, and what registering refuses."""

from __future__ import annotations

import concurrent.futures
import inspect
import pickle
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from perdure.activity._definition import Definition
from perdure.worker._shared_state import SharedStateManager


class ActivityRegistry:
    """The activities of one worker, by type."""

    def __init__(
        self,
        activities: Sequence[Callable[..., Any]],
        executor: concurrent.futures.Executor | None,
        shared_state_manager: SharedStateManager | None,
    ) -> None:
        self._by_name: dict[str, Definition] = {}
        self._dynamic: Definition | None = None
        self.needs_executor = False
        for fn in activities:
            self._add(fn, executor, shared_state_manager)

    def _add(
        self,
        fn: Callable[..., Any],
        executor: concurrent.futures.Executor | None,
        shared_state_manager: SharedStateManager | None,
    ) -> None:
        definition = Definition.must_from_callable(fn)
        name = definition.name
        if inspect.isclass(fn):
            raise TypeError(f"Activity named {name} is a class instead of an instance; register {fn.__name__}(...).")
        if inspect.isfunction(fn) and next(iter(inspect.signature(fn).parameters), None) == "self":
            warnings.warn(
                f"Activity named {name} has a first parameter named self but is not bound to an instance, did you mean "
                "to register it from an instance of the class?",
                stacklevel=5,
            )
        if not definition.is_async:
            self.needs_executor = True
            _check_executor(name, fn, executor, shared_state_manager)
        if name is None:
            if self._dynamic is not None:
                raise TypeError("More than one dynamic activity; a worker can have one.")
            self._dynamic = definition
        elif name in self._by_name:
            raise ValueError(f"More than one activity named {name}; give one of them another name in @activity.defn.")
        else:
            self._by_name[name] = definition

    def find(self, name: str) -> Definition | None:
        """The activity of that type, or the dynamic one, or None."""
        return self._by_name.get(name, self._dynamic)

    def names(self) -> str:
        """The registered types, for messages."""
        return ", ".join(sorted(self._by_name)) or "none"


def _check_executor(
    name: str | None,
    fn: Callable[..., Any],
    executor: concurrent.futures.Executor | None,
    shared_state_manager: SharedStateManager | None,
) -> None:
    if executor is None or isinstance(executor, concurrent.futures.ThreadPoolExecutor):
        return
    if shared_state_manager is None:
        raise ValueError(
            f"Activity {name} is not async and executor is not thread-pool executor, so a shared_state_manager must be "
            "present; make one with SharedStateManager.create_from_multiprocessing(multiprocessing.Manager())."
        )
    if isinstance(executor, concurrent.futures.ProcessPoolExecutor):
        try:
            pickle.dumps(fn)
        except Exception as error:
            raise TypeError(
                f"Activity {name} must be picklable when using a process executor; define it at the top of a module."
            ) from error
