"""What a power loss may leave of a store, from a recording of everything a writer wrote and synced.

The writer runs with ``disk_shim.c`` preloaded, which notes writes and syncs in their order. :meth:`Disk.play` follows the
notes up to some instant; :meth:`Disk.lose_power` then makes a folder that a device may hold at that instant: of what
no completed sync covers, any sectors may have been written, and any may not; a file whose name was not synced may be
missing; a file that grew may be shorter.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from perdure.store.api import Durability, StoreUnavailableError
from perdure.store.lmdb import LMDBStore
from tests.store import crash
from tests.store.builders import run_key
from tests.store.lmdb_pages import check_pages

ACKNOWLEDGEMENTS = "acknowledgements"
_HEAD = struct.Struct("<c3xIQQ")
_IGNORED = {"lock.mdb", "data.new-lock", "owner", ACKNOWLEDGEMENTS}


def build_shim(folder: Path) -> Path:
    """Compile the shim."""
    shim = folder / "disk_shim.so"
    source = Path(__file__).with_name("disk_shim.c")
    compiler = os.environ.get("CC", "cc")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", shim, source, "-ldl"], check=True)
    return shim


def record(
    shim: Path, store: Path, trace: Path, load: str, seed: int, *, durability: Durability, fault: str = ""
) -> None:
    """Run a load of this module on a store in a process of its own, with every write noted."""
    store.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        "LD_PRELOAD": str(shim),
        "SHIM_FOLDER": str(store),
        "SHIM_TRACE": str(trace),
        "SHIM_FAULT": fault,
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    command = [sys.executable, "-m", "tests.store.power_loss", load, str(store), durability.value, str(seed)]
    done = subprocess.run(command, env=environment, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


@dataclass(frozen=True)
class Note:
    """Creation (C), renaming (R), writing (W, D: synced at once), truncation (T), begin (S) or end (E) of a sync."""

    kind: str
    name: str
    at: int
    data: bytes


def notes(trace: Path) -> Iterator[Note]:
    """The notes of a recording."""
    data = trace.read_bytes()
    place = 0
    while place < len(data):
        kind, name_size, at, size = _HEAD.unpack_from(data, place)
        place += _HEAD.size
        name = data[place : place + name_size].decode()
        place += name_size
        yield Note(kind.decode(), name, at, data[place : place + size])
        place += size


@dataclass
class _File:
    durable: bytearray = field(default_factory=bytearray)
    #: (offset, bytes) of writes since, None for those a sync has covered; and where each sync under way began.
    writes: list[tuple[int, bytes] | None] = field(default_factory=list)
    syncs: dict[int, int] = field(default_factory=dict)
    is_name_durable: bool = False

    def put(self, image: bytearray, at: int, data: bytes) -> None:
        if len(image) < at + len(data):
            image.extend(bytes(at + len(data) - len(image)))
        image[at : at + len(data)] = data


class Disk:
    """The device under a store."""

    def __init__(self) -> None:
        self.files: dict[str, _File] = {}
        #: Run number -> the newest version whose commit was acknowledged.
        self.acknowledged: dict[int, int] = {}
        self._name_syncs: dict[int, list[str]] = {}

    def play(self, note: Note) -> None:
        """Follow one note."""
        if note.name == ACKNOWLEDGEMENTS:
            for line in note.data.splitlines():
                number, version = map(int, line.split())
                self.acknowledged[number] = max(version, self.acknowledged.get(number, 0))
            return
        if note.name == "":
            if note.kind == "S":
                self._name_syncs[note.at] = list(self.files)
            elif note.kind == "E":
                for name in self._name_syncs.pop(note.at):
                    if name in self.files:
                        self.files[name].is_name_durable = True
            return
        if note.name in _IGNORED:
            return
        file = self.files.setdefault(note.name, _File())
        if note.kind == "R":
            # Which of the names is on the device does not matter: the one before is not looked at.
            self.files[note.data.decode()] = self.files.pop(note.name)
            self.files[note.data.decode()].is_name_durable = False
            return
        if note.kind == "W":
            file.writes.append((note.at, note.data))
        elif note.kind == "C":
            pass
        elif note.kind == "D":
            file.put(file.durable, note.at, note.data)
            for index, write in enumerate(file.writes):
                if write is not None and write[0] == note.at and len(write[1]) <= len(note.data):
                    file.writes[index] = None
        elif note.kind == "S":
            file.syncs[note.at] = len(file.writes)
        elif note.kind == "E":
            covered = file.syncs.pop(note.at)
            for index in range(covered):
                write = file.writes[index]
                if write is not None:
                    file.put(file.durable, *write)
                    file.writes[index] = None
            if not file.syncs:
                file.writes = [write for write in file.writes if write is not None]
        else:
            raise AssertionError(f"{note.name} was truncated")

    def lose_power(self, folder: Path, rng: random.Random) -> None:
        """Make the folder that is left."""
        folder.mkdir(parents=True)
        sector = rng.choice((512, 4096))
        for name, file in self.files.items():
            share = rng.choice((0.0, 0.1, 0.5, 0.9, 1.0))
            if not file.is_name_durable and rng.random() < 0.5:
                continue
            image = bytearray(file.durable)
            for write in file.writes:
                if write is None:
                    continue
                at, data = write
                place = 0
                while place < len(data):
                    end = min(len(data), place + sector - (at + place) % sector)
                    if rng.random() < share:
                        file.put(image, at + place, data[place:end])
                    place = end
            (folder / name).write_bytes(image)


def lose_power(recording: list[Note], folder: Path, seed: int, instants: int, durability: Durability) -> None:
    """Play a recording, lose the power at random instants, and check every folder that is left.

    Raises:
        AssertionError: something acknowledged is missing, or a run or a page is not whole.
    """
    rng = random.Random(seed)
    chosen = sorted(rng.sample(range(len(recording)), min(instants, len(recording))))
    disk = Disk()
    for index, note in enumerate(recording):
        disk.play(note)
        if not chosen or index != chosen[0]:
            continue
        chosen.pop(0)
        left = folder / f"left-{index}"
        disk.lose_power(left, rng)
        if not (left / "data.mdb").exists():
            assert not disk.acknowledged
            continue
        acknowledged = disk.acknowledged if durability is Durability.FULL else {}
        for _ in range(2):
            asyncio.run(crash.check(left, durability, acknowledged))
            check_pages(left / "data.mdb")
        shutil.rmtree(left)


# Loads, each in a process of its own


async def _mixed(store: LMDBStore, seed: int, acknowledge: int) -> None:
    """Alone, together, large: the ways a commit can take, with many checkpoints between them."""
    rng = random.Random(seed)
    store._environment.checkpoint_after(200_000, 2_000_000)
    versions = dict.fromkeys(range(crash.RUNS), 0)

    async def work(numbers: list[int], turns: int, most: int) -> None:
        for _ in range(turns):
            chosen = rng.sample(numbers, rng.randint(1, min(most, len(numbers))))
            for number in chosen:
                versions[number] += 1
            await store.commit([crash.update(run_key(number), versions[number]) for number in chosen])
            text = "".join(f"{number} {versions[number]}\n" for number in chosen)
            os.write(acknowledge, text.encode())

    for _ in range(3):
        await work(list(range(crash.RUNS)), rng.randint(20, 120), 2)
        await asyncio.gather(*(work(list(range(part, crash.RUNS, 4)), 15, crash.RUNS) for part in range(4)))


async def _faulty(store: LMDBStore, seed: int, acknowledge: int) -> None:
    """A commit that fails leaves what was there, and the next ones succeed again."""
    rng = random.Random(seed)
    store._environment.checkpoint_after(60_000, 2_000_000)
    versions = dict.fromkeys(range(crash.RUNS), 0)
    failed = 0
    for turn in range(400):
        chosen = rng.sample(range(crash.RUNS), 1 if turn % 50 < 40 else 8)
        try:
            await store.commit([crash.update(run_key(number), versions[number] + 1) for number in chosen])
        except StoreUnavailableError:
            failed += 1
            for number in chosen:
                try:
                    assert await crash.version(store, number) == versions[number]
                except StoreUnavailableError:
                    assert failed, "reads fail only where the folder could not be opened again"
            continue
        for number in chosen:
            versions[number] += 1
        os.write(acknowledge, "".join(f"{number} {versions[number]}\n" for number in chosen).encode())
    assert all([await crash.version(store, number) == versions[number] for number in versions])
    assert failed < 100


async def _run(load: str, folder: Path, durability: Durability, seed: int) -> None:
    store = await LMDBStore.open(folder, durability=durability, map_size=1 << 18)
    acknowledge = os.open(folder / ACKNOWLEDGEMENTS, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    await (_mixed if load == "mixed" else _faulty)(store, seed, acknowledge)
    if seed % 2:
        await store.close()
    else:
        os._exit(0)


if __name__ == "__main__":
    asyncio.run(_run(sys.argv[1], Path(sys.argv[2]), Durability(sys.argv[3]), int(sys.argv[4])))
