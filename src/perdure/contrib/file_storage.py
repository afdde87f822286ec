"""Large payloads as files: external storage for one machine, or for a directory that several share.

.. code-block:: python

    storage = ExternalStorage([FileStorageDriver("data/payloads")])
    client = await Client.connect("lmdb:data/home", data_converter=DataConverter(external_storage=storage))

**Content-addressed**: a file's name is the SHA-256 of what it holds, so equal payloads are one file, whatever run they
belong to; storing one again costs no space, and a file that was damaged is noticed.

**Durable before the history**: a payload is synced to disk before the reference to it goes into a history.

**Garbage**: nothing is deleted by itself, and deleting a run leaves its files, which other runs may share. Every use of
a file, a store or a retrieval, sets its time to now. :meth:`FileStorageDriver.remove_unused` deletes the files that
nothing used for a given time. That is safe if it is longer than the time between two uses: longer than the namespace's
retention, than any run sleeps, and than the interval of any schedule with large arguments.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from perdure.api.common.v1 import Payload
from perdure.converter import (
    StorageDriver,
    StorageDriverClaim,
    StorageDriverRetrieveContext,
    StorageDriverStoreContext,
)

if TYPE_CHECKING:
    from datetime import timedelta

_ALGORITHM = "sha256"
_TEMPORARY = ".tmp-"
#: Temporary files of a process that died are garbage after this many seconds.
_TEMPORARY_LIFE = 3600.0


class FileStorageDriver(StorageDriver):
    """Keeps payloads as files of one directory."""

    def __init__(self, directory: str | os.PathLike[str], *, name: str = "file", sync: bool = True) -> None:
        """Use a directory; it is made with the first payload.

        Args:
            directory: where the files are; nothing else should be there.
            name: the driver's name, which histories hold.
            sync: whether a stored payload survives a power loss. Without it a store is faster and survives the death of
                the process: as ``durability="process"`` of a home.
        """
        self._directory = Path(directory)
        self._name = name
        self._sync = sync

    def name(self) -> str:
        """This driver's name."""
        return self._name

    def type(self) -> str:
        """``perdure.file``."""
        return "perdure.file"

    async def store(self, context: StorageDriverStoreContext, payloads: Sequence[Payload]) -> list[StorageDriverClaim]:
        """Write the payloads that are not there yet."""
        return await asyncio.to_thread(lambda: [self._store_one(payload) for payload in payloads])

    async def retrieve(
        self, context: StorageDriverRetrieveContext, claims: Sequence[StorageDriverClaim]
    ) -> list[Payload]:
        """Read payloads. Raises RuntimeError for one that is not there or is damaged."""
        return await asyncio.to_thread(lambda: [self._retrieve_one(claim) for claim in claims])

    async def remove_unused(self, unused_for: timedelta) -> int:
        """Delete the files that nothing stored or retrieved for that long; how many. See the module for a safe time."""
        return await asyncio.to_thread(self._remove_unused, time.time() - unused_for.total_seconds())

    def _path(self, digest: str) -> Path:
        return self._directory / digest[:2] / digest[2:]

    def _store_one(self, payload: Payload) -> StorageDriverClaim:
        data = payload.SerializeToString()
        digest = hashlib.sha256(data).hexdigest()
        path = self._path(digest)
        if not self._use(path, len(data)):
            self._write(path, data)
        return StorageDriverClaim({"hash_algorithm": _ALGORITHM, "hash_value": digest})

    def _use(self, path: Path, size: int) -> bool:
        """Whether the file is there, whole; then its time is now."""
        try:
            os.utime(path)
            return path.stat().st_size == size
        except FileNotFoundError:
            return False

    def _write(self, path: Path, data: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=_TEMPORARY, dir=path.parent)
        try:
            with open(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                if self._sync:
                    os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            raise
        if self._sync:
            for directory in (path.parent, self._directory, self._directory.parent):
                _sync_directory(directory)

    def _retrieve_one(self, claim: StorageDriverClaim) -> Payload:
        digest = claim.claim_data.get("hash_value", "")
        if claim.claim_data.get("hash_algorithm") != _ALGORITHM or len(digest) != 64 or not digest.isalnum():
            raise RuntimeError(f"This is no claim of a FileStorageDriver: {dict(claim.claim_data)}")
        path = self._path(digest)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise RuntimeError(
                f"Payload {digest} is not in {self._directory}: it was removed as unused, or this is another directory"
            ) from None
        if hashlib.sha256(data).hexdigest() != digest:
            raise RuntimeError(f"Payload {digest} in {self._directory} is damaged: its content has another hash")
        with contextlib.suppress(OSError):  # of a directory that is only there to be read
            os.utime(path)
        return Payload.FromString(data)

    def _files(self) -> Iterator[Path]:
        if self._directory.is_dir():
            for folder in self._directory.iterdir():
                if folder.is_dir():
                    yield from folder.iterdir()

    def _remove_unused(self, before: float) -> int:
        removed = 0
        for path in self._files():
            try:
                if path.name.startswith(_TEMPORARY):
                    if path.stat().st_mtime < time.time() - _TEMPORARY_LIFE:
                        path.unlink()
                elif path.stat().st_mtime < before:
                    removed += self._remove(path, before)
            except FileNotFoundError:
                continue  # another process removes, too
        return removed

    def _remove(self, path: Path, before: float) -> bool:
        """Remove a file unless somebody uses it just now: a store that finds it gone writes it again."""
        aside = path.with_name(f"{_TEMPORARY}{path.name}")
        path.rename(aside)
        if aside.stat().st_mtime >= before:
            aside.replace(path)
            return False
        aside.unlink()
        return True


def _sync_directory(directory: Path) -> None:
    """Make names durable, where the platform can."""
    if os.name != "posix":
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
