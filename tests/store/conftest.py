from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from perdure.store.api import Capability, Store
from tests.store.backends import BACKENDS, Backend


@pytest.fixture(params=BACKENDS, ids=lambda backend: backend.name)
def backend(request: pytest.FixtureRequest) -> Backend:
    return request.param


@pytest.fixture
def persistent(backend: Backend) -> Backend:
    if Capability.PERSISTENT not in backend.capabilities:
        pytest.skip(f"{backend.name} keeps nothing")
    return backend


@pytest.fixture(params=[backend for backend in BACKENDS if backend.is_folder], ids=lambda backend: backend.name)
def in_folder(request: pytest.FixtureRequest) -> Backend:
    return request.param


@pytest.fixture
def failing(backend: Backend) -> Backend:
    if backend.fail_commits is None:
        pytest.skip(f"{backend.name} has no device that could fail")
    return backend


@pytest.fixture
async def store(backend: Backend, tmp_path: Path) -> AsyncIterator[Store]:
    store = await backend.open(tmp_path)
    yield store
    await store.close()
