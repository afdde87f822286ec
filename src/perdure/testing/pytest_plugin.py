"""Fixtures for pytest, there as soon as perdure is installed.

``time_skipping_environment``  a :class:`WorkflowEnvironment` whose clock skips time
``workflow_environment``       one with the real clock
``perdure_client``             the client of ``time_skipping_environment``
``activity_environment``       an :class:`ActivityEnvironment`

Each test gets its own. The asynchronous ones need pytest-asyncio, or anyio's plugin.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

_async_fixture: Any = pytest.fixture
with suppress(ImportError):  # pytest-asyncio's strict mode sees its own fixtures alone
    from pytest_asyncio import fixture as _async_fixture

if TYPE_CHECKING:
    from perdure.client import Client
    from perdure.testing import ActivityEnvironment, WorkflowEnvironment


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
