"""Fixtures for pytest, there as soon as perdure is installed.

``time_skipping_environment``  a :class:`WorkflowEnvironment` whose clock skips time
``workflow_environment``       one with the real clock
``perdure_client``             the client of ``time_skipping_environment``
``activity_environment``       an :class:`ActivityEnvironment`

Each test gets its own. The asynchronous ones need pytest-asyncio, or anyio's plugin.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

import pytest

if TYPE_CHECKING:
    from perdure.client import Client
    from perdure.testing import ActivityEnvironment, WorkflowEnvironment

Function = TypeVar("Function", bound=Callable[..., Any])


def _async_fixture(function: Function) -> Function:
    """A fixture that pytest-asyncio sees in its strict mode, too, where it is installed."""
    try:
        from pytest_asyncio import fixture
    except ImportError:
        return cast("Function", pytest.fixture(function))
    return cast("Function", fixture(function))


@_async_fixture
async def time_skipping_environment() -> AsyncIterator[WorkflowEnvironment]:
    """A ``WorkflowEnvironment`` whose clock skips what workflows sleep through; shut down after the test."""
    from perdure.testing import WorkflowEnvironment

    async with await WorkflowEnvironment.start_time_skipping() as environment:
        yield environment


@_async_fixture
async def workflow_environment() -> AsyncIterator[WorkflowEnvironment]:
    """A ``WorkflowEnvironment`` with the real clock; shut down after the test."""
    from perdure.testing import WorkflowEnvironment

    async with await WorkflowEnvironment.start_local() as environment:
        yield environment


@pytest.fixture
def perdure_client(time_skipping_environment: WorkflowEnvironment) -> Client:
    """The client of ``time_skipping_environment``."""
    return time_skipping_environment.client


@pytest.fixture
def activity_environment() -> ActivityEnvironment:
    """An ``ActivityEnvironment`` with its default info."""
    from perdure.testing import ActivityEnvironment

    return ActivityEnvironment()
