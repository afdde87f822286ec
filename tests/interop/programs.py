"""perdure's side of the interoperation tests: workflows and activities that know the other SDKs by names alone."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from perdure import activity, workflow
from perdure.client import Client
from perdure.exceptions import ActivityError, ApplicationError, ChildWorkflowError
from perdure.worker import Worker

SOON = timedelta(seconds=20)


@activity.defn
async def py_greet(name: str) -> str:
    return f"Hello, {name}, from Python!"


@activity.defn
async def py_refuse(name: str) -> None:
    raise ApplicationError(f"Python refuses {name}", name, 7, type="Refused", non_retryable=True)


def _failure(error: ActivityError | ChildWorkflowError) -> dict[str, Any]:
    cause = error.cause
    assert isinstance(cause, ApplicationError)
    name, number = cause.details
    return {"message": cause.message, "type": cause.type, "name": name, "number": number}


@workflow.defn
class PyHello:
    @workflow.run
    async def run(self, name: str) -> str:
        return await workflow.execute_activity(py_greet, name, start_to_close_timeout=SOON)


@workflow.defn
class PyFail:
    @workflow.run
    async def run(self, name: str) -> None:
        raise ApplicationError(f"Python refuses {name}", name, 7, type="Refused", non_retryable=True)


@workflow.defn
class PyActivityElsewhere:
    """Calls an activity by its name on another task queue; tells what an application error looks like from here."""

    @workflow.run
    async def run(self, queue: str, name: str, argument: str) -> Any:
        try:
            return await workflow.execute_activity(name, argument, task_queue=queue, start_to_close_timeout=SOON)
        except ActivityError as error:
            return _failure(error)


@workflow.defn
class PyChildElsewhere:
    """Runs a child workflow by its name on another task queue."""

    @workflow.run
    async def run(self, queue: str, name: str, argument: str) -> Any:
        try:
            return await workflow.execute_child_workflow(name, argument, task_queue=queue)
        except ChildWorkflowError as error:
            return _failure(error)


@workflow.defn(name="PyCounter")
class PyCounter:
    """Counts what signals and updates add until it is told to finish; queries see the sum."""

    def __init__(self) -> None:
        self.total = 0
        self.is_finished = False

    @workflow.run
    async def run(self) -> int:
        await workflow.wait_condition(lambda: self.is_finished and workflow.all_handlers_finished())
        return self.total

    @workflow.signal(name="add")
    def add_by_signal(self, number: int) -> None:
        self.total += number

    @workflow.signal
    def finish(self) -> None:
        self.is_finished = True

    @workflow.query
    def sum(self) -> int:
        return self.total

    @workflow.update
    async def add(self, number: int) -> int:
        await workflow.sleep(0.001)
        self.total += number
        return self.total

    @add.validator
    def refuse_negative(self, number: int) -> None:
        if number < 0:
            raise ApplicationError("only upwards", type="Negative")


def working(client: Client, queue: str = "python") -> Worker:
    """A worker for everything here."""
    return Worker(
        client,
        task_queue=queue,
        workflows=[PyHello, PyFail, PyActivityElsewhere, PyChildElsewhere, PyCounter],
        activities=[py_greet, py_refuse],
    )
