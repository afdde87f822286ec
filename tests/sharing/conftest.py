"""An owner and guests in one event loop: the engine over LMDB, its host, and whoever asks for the folder."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from perdure.connect import _open_and_host, parse
from perdure.engine import Engine
from perdure.sharing._guest import Guest
from perdure.store.api import StoreOwnedError

#: Guests are services by their attributes, which type checkers do not see.
MakeGuest = Callable[[], Awaitable[Any]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder everybody wants."""
    return tmp_path / "store"


@pytest.fixture
async def owner(folder: Path) -> AsyncIterator[Engine]:
    """The process that has the folder, as far as others can see."""
    engine = await _open_and_host(parse(f"lmdb:{folder}?durability=process"))
    yield engine
    await engine.close()


@pytest.fixture
async def make_guest(folder: Path) -> AsyncIterator[MakeGuest]:
    """Makes guests, which take over when nobody has the folder."""
    target = parse(f"lmdb:{folder}?durability=process")
    made: list[Guest] = []

    async def make() -> Any:
        guest = Guest(folder, "process", lambda: _open_and_host(target), StoreOwnedError)
        made.append(guest)
        await guest.connect()
        return guest

    yield make
    for guest in made:
        await guest.close()
