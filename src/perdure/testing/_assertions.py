"""An ``assert`` that fails in a workflow under test fails the workflow, so that the test sees it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from perdure import client, worker
from perdure.exceptions import ApplicationError


class AssertionErrorInterceptor(client.Interceptor, worker.Interceptor):
    """Goes with the environment's client to its workers."""

    def workflow_interceptor_class(
        self, input: worker.WorkflowInterceptorClassInput
    ) -> type[worker.WorkflowInboundInterceptor] | None:
        """The interceptor of each workflow run."""
        return _AssertionErrorInbound


class _AssertionErrorInbound(worker.WorkflowInboundInterceptor):
    async def execute_workflow(self, input: worker.ExecuteWorkflowInput) -> Any:
        with _as_application_error():
            return await super().execute_workflow(input)

    async def handle_signal(self, input: worker.HandleSignalInput) -> None:
        with _as_application_error():
            await super().handle_signal(input)


@contextmanager
def _as_application_error() -> Iterator[None]:
    try:
        yield
    except AssertionError as error:
        failure = ApplicationError(str(error), type="AssertionError", non_retryable=True)
        raise failure.with_traceback(error.__traceback__) from None
