"""A service whose answers a test states, and a client over it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import pytest

from perdure.client import Client
from perdure.service import WorkflowService


class FakeService:
    """Records every request; answers with what ``answers`` holds for the RPC: a struct, an error, or a function."""

    in_process = True

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.requests: list[tuple[str, Any]] = []
        self.options: list[tuple[Mapping[str, str | bytes] | None, timedelta | None]] = []
        self.closed = 0

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_") or not hasattr(WorkflowService, name):
            raise AttributeError(name)

        async def call(
            request: Any,
            *,
            metadata: Mapping[str, str | bytes] | None = None,
            timeout: timedelta | None = None,
        ) -> Any:
            self.requests.append((name, request))
            self.options.append((metadata, timeout))
            answer = self.answers[name]
            if callable(answer):
                answer = answer(request)
            if isinstance(answer, BaseException):
                raise answer
            return answer

        return call

    async def close(self) -> None:
        self.closed += 1

    def only(self, name: str) -> Any:
        """The one request there was."""
        assert [called for called, _ in self.requests] == [name]
        return self.requests[0][1]


@pytest.fixture
def service() -> FakeService:
    return FakeService()


@pytest.fixture
async def client(service: FakeService) -> Client:
    return Client(service)  # type: ignore[arg-type]
