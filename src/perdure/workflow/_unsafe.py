"""``workflow.unsafe`` and ``workflow.logger``."""

from __future__ import annotations

import builtins
import importlib.util
import logging
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from enum import Flag, auto
from typing import TYPE_CHECKING, Any

from perdure._native import guard
from perdure.workflow._context import current_update_info
from perdure.workflow._runtime import _Runtime

if TYPE_CHECKING:
    _LoggerAdapter = logging.LoggerAdapter[logging.Logger]
else:
    _LoggerAdapter = logging.LoggerAdapter


class SandboxImportNotificationPolicy(Flag):
    """What a worker with restrictions says of imports in workflow code; modules are never imported anew here."""

    SILENT = auto()
    WARN_ON_DYNAMIC_IMPORT = auto()
    WARN_ON_UNINTENTIONAL_PASSTHROUGH = auto()
    RAISE_ON_UNINTENTIONAL_PASSTHROUGH = auto()


passed_through_modules: set[str] = set()
"""What was imported inside :meth:`unsafe.imports_passed_through`."""


def _noting(plain_import: Callable[..., Any]) -> Callable[..., Any]:
    def noting(name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:
        package = str((globals or {}).get("__package__") or "")
        module = importlib.util.resolve_name("." * level + name, package) if level else name
        passed_through_modules.add(module)
        passed_through_modules.update(f"{module}.{item}" for item in fromlist or ())
        return plain_import(name, globals, locals, fromlist, level)

    return noting


_unrestricted: ContextVar[bool] = ContextVar("perdure_unrestricted", default=False)
_passed_through: ContextVar[bool] = ContextVar("perdure_passed_through", default=False)
_import_policy: ContextVar[SandboxImportNotificationPolicy | None] = ContextVar("perdure_import_policy", default=None)


class unsafe:
    """Things workflow code should rarely need."""

    def __init__(self) -> None:
        """Not to be made: all of it is static."""
        raise NotImplementedError

    @staticmethod
    def in_sandbox() -> bool:
        """Whether this runs as workflow code under the determinism guard."""
        runtime = _Runtime.maybe_current()
        return runtime is not None and runtime.is_guarded() and not unsafe.is_sandbox_unrestricted()

    @staticmethod
    def is_replaying() -> bool:
        """Whether the workflow is replaying; True in every query."""
        return _Runtime.current().is_replaying

    @staticmethod
    def is_replaying_history_events() -> bool:
        """Whether history is being replayed; False in queries and update validators, which are live."""
        return _Runtime.current().is_replaying_history_events()

    @staticmethod
    def is_read_only() -> bool:
        """Whether this is a query or an update validator, where the workflow must not be changed."""
        return _Runtime.current().is_read_only

    @staticmethod
    def is_sandbox_unrestricted() -> bool:
        """Whether this is inside :meth:`sandbox_unrestricted`."""
        return _unrestricted.get()

    @staticmethod
    @contextmanager
    def sandbox_unrestricted() -> Iterator[None]:
        """Run a block without the determinism guard."""
        token = _unrestricted.set(True)
        try:
            with guard.passthrough():
                yield
        finally:
            _unrestricted.reset(token)

    @staticmethod
    def is_imports_passed_through() -> bool:
        """Whether this is inside :meth:`imports_passed_through`."""
        return _passed_through.get()

    @staticmethod
    @contextmanager
    def imports_passed_through() -> Iterator[None]:
        """Import modules without the determinism guard; a worker's restrictions do not hold for their code."""
        token = _passed_through.set(True)
        plain_import = builtins.__import__
        builtins.__import__ = _noting(plain_import)
        try:
            with guard.passthrough():
                yield
        finally:
            builtins.__import__ = plain_import
            _passed_through.reset(token)

    @staticmethod
    def current_import_notification_policy_override() -> SandboxImportNotificationPolicy | None:
        """What :meth:`sandbox_import_notification_policy` set."""
        return _import_policy.get()

    @staticmethod
    @contextmanager
    def sandbox_import_notification_policy(policy: SandboxImportNotificationPolicy) -> Iterator[None]:
        """Let another policy hold for the imports of a block; see :class:`SandboxImportNotificationPolicy`."""
        token = _import_policy.set(policy)
        try:
            yield
        finally:
            _import_policy.reset(token)


class LoggerAdapter(_LoggerAdapter):
    """Adds the workflow to what is logged, and is silent while replaying.

    Attributes:
        workflow_info_on_message: append a dictionary of details to each message (default).
        workflow_info_on_extra: put that dictionary on the record as ``temporal_workflow`` (default).
        full_workflow_info_on_extra: put the whole :class:`Info` on the record as ``workflow_info``.
        log_during_replay: log while replaying, too.
    """

    def __init__(self, logger: logging.Logger, extra: Mapping[str, Any] | None) -> None:
        """Wrap a logger."""
        super().__init__(logger, extra or {})
        self.workflow_info_on_message = True
        self.workflow_info_on_extra = True
        self.full_workflow_info_on_extra = False
        self.log_during_replay = False
        self.disable_sandbox = False

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Add the details; what the call gives as ``extra`` wins."""
        runtime = _Runtime.maybe_current()
        details: dict[str, Any] = {}
        if runtime is not None:
            details.update(runtime.logger_details())
        update = current_update_info()
        if update is not None:
            details.update(update._logger_details)
        extra: dict[str, Any] = {}
        if details and self.workflow_info_on_extra:
            extra["temporal_workflow"] = details
        if runtime is not None and self.full_workflow_info_on_extra:
            extra["workflow_info"] = runtime.info()
        kwargs["extra"] = {**extra, **(kwargs.get("extra") or {})}
        if details and self.workflow_info_on_message:
            msg = f"{msg} ({details})"
        return msg, kwargs

    def log(self, level: int, msg: object, *args: Any, stacklevel: int = 1, **kwargs: Any) -> None:
        """Log, past the determinism guard: handlers look at clocks and write to files."""
        if not self.isEnabledFor(level):
            return
        with guard.passthrough():
            super().log(level, msg, *args, stacklevel=stacklevel + 1, **kwargs)

    def isEnabledFor(self, level: int) -> bool:
        """False while replaying."""
        if not self.log_during_replay:
            runtime = _Runtime.maybe_current()
            if runtime is not None and runtime.is_replaying_history_events():
                return False
        return super().isEnabledFor(level)

    @property
    def base_logger(self) -> logging.Logger:
        """The wrapped logger, to add handlers to."""
        return self.logger

    def unsafe_disable_sandbox(self, value: bool = True) -> None:
        """Accepted as Temporal's; logging always passes the guard here."""
        self.disable_sandbox = value


logger = LoggerAdapter(logging.getLogger("perdure.workflow"), None)
"""Logs with the workflow's details; silent while replaying."""
