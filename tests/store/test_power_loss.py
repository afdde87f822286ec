"""Power lost at random instants, and devices that fail; ``tests/torture/power_loss.py`` goes on longer."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from perdure.store.api import Durability
from tests.store.crash import check
from tests.store.lmdb_pages import check_pages
from tests.store.power_loss import Disk, build_shim, lose_power, notes, record

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the recorder is preloaded by Linux's loader")


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_shim(tmp_path_factory.mktemp("shim"))


@pytest.mark.parametrize("durability", Durability, ids=lambda durability: durability.value)
@pytest.mark.parametrize("seed", [1, 2])
def test_power_loss_leaves_everything_acknowledged(
    shim: Path, durability: Durability, seed: int, tmp_path: Path
) -> None:
    record(shim, tmp_path / "store", tmp_path / "trace", "mixed", seed, durability=durability)
    recording = list(notes(tmp_path / "trace"))
    # checkpoints and both segments must have been part of it
    assert {note.name for note in recording} > {"data.mdb", "checkpoint", "log-0", "log-1"}
    assert sum(note.kind == "W" and note.name == "checkpoint" for note in recording) > 4
    lose_power(recording, tmp_path, seed, 12, durability)


FAULTS = [
    "log-* sync 40 1 5",
    "log-* sync 60 30 5",
    "log-* write 50 1 28",
    "log-* write 90 20 5",
    "data.mdb write 60 1 28",
    "data.mdb write 100 40 28",
    "data.mdb sync 4 1 5",
    "data.mdb sync 6 6 5",
    "checkpoint write 4 1 5",
    "checkpoint sync 4 3 5",
]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_device_that_fails(shim: Path, fault: str, tmp_path: Path) -> None:
    seed = FAULTS.index(fault)
    record(shim, tmp_path / "store", tmp_path / "trace", "faulty", seed, durability=Durability.FULL, fault=fault)
    recording = list(notes(tmp_path / "trace"))
    disk = Disk()
    for note in recording:
        disk.play(note)
    asyncio.run(check(tmp_path / "store", Durability.FULL, disk.acknowledged))
    check_pages(tmp_path / "store" / "data.mdb")
    lose_power(recording, tmp_path, seed, 3, Durability.FULL)
