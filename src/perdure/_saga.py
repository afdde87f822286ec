"""Sagas: undo what was done when a later step fails. Ours, on top of Temporal's API; exported as ``perdure.Saga``."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from perdure import workflow
from perdure.activity._definition import Definition as ActivityDefinition
from perdure.exceptions import ApplicationError

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator, Sequence
    from typing import Unpack

    from perdure.workflow import ActivityConfig


class SagaCompensationError(ApplicationError):
    """One or more compensations failed, so not everything was undone.

    ``__cause__`` is the error that made the saga compensate. A workflow that fails with this is not retried by its
    retry policy: somebody has to look.
    """

    def __init__(self, errors: Sequence[BaseException], attempted: int) -> None:
        """Collect the errors of ``attempted`` compensations."""
        told = "; ".join(f"{type(error).__name__}: {error}" for error in errors)
        super().__init__(
            f"{len(errors)} of {attempted} compensations failed: {told}",
            type="SagaCompensationError",
            non_retryable=True,
        )
        self.errors = tuple(errors)


@dataclass(frozen=True)
class _Compensation:
    action: Callable[..., Any] | str
    args: tuple[Any, ...]
    options: ActivityConfig | None
    """Of an activity; None for a function that is called as it is."""

    async def run(self) -> None:
        if self.options is not None:
            await workflow.execute_activity(self.action, args=self.args, **self.options)
            return
        assert not isinstance(self.action, str)
        result = self.action(*self.args)
        if inspect.isawaitable(result):
            await result


class Saga:
    """Steps that are undone, newest first, when the block fails.

    ::

        async with Saga(start_to_close_timeout=timedelta(seconds=10)) as saga:
            saga.add(cancel_flight, trip)
            await workflow.execute_activity(book_flight, trip, start_to_close_timeout=timedelta(minutes=1))
            saga.add(cancel_hotel, trip)
            await workflow.execute_activity(book_hotel, trip, start_to_close_timeout=timedelta(minutes=1))

    Add a compensation *before* its step: a step that times out may have happened, so a compensation must be fine with
    finding nothing to undo.

    The block fails when an error leaves it that would fail the workflow, or when the workflow is cancelled; the
    compensations then run to their end, and a cancellation that comes meanwhile waits for them. An error that would
    only fail the workflow *task* (a bug) undoes nothing: once the code is repaired, the workflow goes on. Nor does
    ``workflow.continue_as_new``. Outside workflows, any :class:`Exception` or a cancellation fails the block.

    Replay: deterministic; compensations are ordinary commands.
    """

    def __init__(
        self, *, parallel: bool = False, continue_with_error: bool = True, **activity_options: Unpack[ActivityConfig]
    ) -> None:
        """Make a saga with nothing to undo.

        Args:
            parallel: Run all compensations at once instead of one after the other.
            continue_with_error: Go on with the next compensation when one fails; else the rest is left undone.
            **activity_options: Options of compensations that are activities, unless :meth:`add` states others.
        """
        _check_options("Saga", activity_options)
        self._parallel = parallel
        self._continue_with_error = continue_with_error
        self._activity_options = activity_options
        self._compensations: list[_Compensation] = []

    def add(self, compensation: Callable[..., Any] | str, *args: Any, **options: Unpack[ActivityConfig]) -> None:
        """Add what undoes the next step.

        Args:
            compensation: An activity (or an activity's name), which is executed, or any other function, plain or
                async, which is called.
            *args: Its arguments.
            **options: Options of an activity, over those of the saga.
        """
        if isinstance(compensation, str) or (
            workflow.in_workflow() and ActivityDefinition.from_callable(compensation) is not None
        ):
            if not workflow.in_workflow():
                raise ValueError(f"Saga.add: outside a workflow there is no activity {compensation!r}; add a function")
            _check_options("Saga.add", options)
            merged: ActivityConfig = {**self._activity_options, **options}
            if merged.get("start_to_close_timeout") is None and merged.get("schedule_to_close_timeout") is None:
                raise ValueError(
                    f"Saga.add: activity {_name(compensation)} needs a start_to_close_timeout or a "
                    "schedule_to_close_timeout, here or in Saga(...)"
                )
            self._compensations.append(_Compensation(compensation, args, merged))
            return
        if not callable(compensation):
            raise TypeError(
                f"Saga.add: a compensation is an activity, its name or a function, not {type(compensation).__name__}"
            )
        if options:
            raise TypeError(
                f"Saga.add: {_name(compensation)} is no activity, so it takes no option {next(iter(options))!r}; "
                "bind keyword arguments with functools.partial"
            )
        self._compensations.append(_Compensation(compensation, args, None))

    async def __aenter__(self) -> Self:
        """The saga itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Undo the steps when the block fails. The error leaves the block all the same."""
        if error is not None and _fails(error):
            try:
                await self.compensate()
            except SagaCompensationError as failed:
                raise failed from error

    async def compensate(self) -> None:
        """Undo the steps that were added so far, and forget them. Leaving the block with an error does this.

        Raises:
            SagaCompensationError: some of it failed.
            CancelledError: the caller was cancelled meanwhile; the compensations ran all the same.
        """
        compensations, self._compensations = self._compensations[::-1], []
        if not compensations:
            return
        run = self._run_parallel if self._parallel else self._run_in_order
        errors, attempted, cancelled = await _to_the_end(run(compensations))
        if errors:
            raise SagaCompensationError(errors, attempted)
        if cancelled is not None:
            raise cancelled

    async def _run_in_order(self, compensations: Sequence[_Compensation]) -> tuple[list[BaseException], int]:
        errors: list[BaseException] = []
        for attempted, compensation in enumerate(compensations, 1):
            try:
                await compensation.run()
            except BaseException as error:
                if not _fails(error):
                    raise
                errors.append(error)
                if not self._continue_with_error:
                    return errors, attempted
        return errors, len(compensations)

    async def _run_parallel(self, compensations: Sequence[_Compensation]) -> tuple[list[BaseException], int]:
        results = await asyncio.gather(*(each.run() for each in compensations), return_exceptions=True)
        errors = list(_raised(results))
        for error in errors:
            if not _fails(error):
                raise error
        return errors, len(compensations)


async def _to_the_end(
    compensating: Coroutine[Any, Any, tuple[list[BaseException], int]],
) -> tuple[list[BaseException], int, asyncio.CancelledError | None]:
    """Await compensations however often the caller is cancelled meanwhile."""
    task = asyncio.ensure_future(compensating)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
        except BaseException:
            if not task.done():
                raise
    errors, attempted = task.result()
    return errors, attempted, cancelled


def _fails(error: BaseException) -> bool:
    """Whether an error ends the workflow, and not just this attempt to run its code."""
    if isinstance(error, asyncio.CancelledError):
        return True
    if workflow.in_workflow():
        return workflow.is_failure_exception(error)
    return isinstance(error, Exception)


def _raised(results: Sequence[Any]) -> Iterator[BaseException]:
    return (result for result in results if isinstance(result, BaseException))


def _check_options(where: str, options: ActivityConfig) -> None:
    """Refuse at once what would fail when something is to be undone."""
    unknown = sorted(options.keys() - workflow.ActivityConfig.__annotations__.keys())
    if unknown:
        raise TypeError(f"{where}: an activity has no option {unknown[0]!r}")
    for name, value in options.items():
        if name.endswith("_timeout") and value is not None and not isinstance(value, timedelta):
            raise TypeError(f"{where}: {name} must be a timedelta, not {type(value).__name__}")


def _name(compensation: Callable[..., Any] | str) -> str:
    return compensation if isinstance(compensation, str) else getattr(compensation, "__qualname__", repr(compensation))
