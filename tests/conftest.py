from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.homes import INSTEAD_OF_MEMORY, Instead
from tests.support.postgres import leave_places


@pytest.fixture(autouse=True)
def _places() -> Iterator[None]:
    """What a test kept in PostgreSQL goes."""
    yield
    leave_places()


if INSTEAD_OF_MEMORY != "memory":

    @pytest.fixture(autouse=True)
    async def _homes(_places: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
        """What ``memory:`` stands for in this session, see ``tests.support.homes``."""
        instead = Instead(INSTEAD_OF_MEMORY, tmp_path, monkeypatch)
        yield
        await instead.close()
