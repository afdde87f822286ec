"""Workflows that fail: with details and a chain of causes, not retryable, by a plain exception declared a failure."""

from typing import Any

from sdk import exceptions, workflow


@workflow.defn
class Fails:
    @workflow.run
    async def run(self) -> None:
        try:
            raise ValueError("the root")
        except ValueError as error:
            raise exceptions.ApplicationError(
                "the top", {"code": 7}, "more", type="Broken", non_retryable=True
            ) from error


@workflow.defn(failure_exception_types=[KeyError])
class FailsPlainly:
    @workflow.run
    async def run(self) -> None:
        raise KeyError("missing")


@workflow.defn
class Benign:
    @workflow.run
    async def run(self) -> None:
        raise exceptions.ApplicationError("expected", category=exceptions.ApplicationErrorCategory.BENIGN)


WORKFLOWS = [Fails, FailsPlainly, Benign]


async def drive(d: Any) -> None:
    async with d.worker():
        error = await d.run(Fails.run)
        assert error.cause.type == "Broken"
        assert error.cause.cause.message == "the root"
        error = await d.run(FailsPlainly.run, case="plain")
        assert error.cause.type == "KeyError"
        await d.run(Benign.run, case="benign")
