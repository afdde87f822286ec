"""Who owns a store's folder: an exclusive lock on a file in it, which the system releases with the process.

``flock`` does not reach across machines on every network file system, and LMDB's map does not either: a store belongs
on a local disk.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import sys
import weakref
from pathlib import Path

from perdure.store.api import StoreOwnedError, StoreUnavailableError

_NAME = "owner"


class Owner:
    """The lock. Held until :meth:`release`, or until the process dies."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        _held.add(self)

    @classmethod
    def acquire(cls, folder: Path) -> Owner:
        """Lock a folder, creating it if need be.

        Raises:
            StoreOwnedError: another process has it.
            StoreUnavailableError: the folder cannot be made or written.
        """
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(folder / _NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreUnavailableError(_refusal(folder, error)) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n{_hint()}\n".encode(errors="replace"), 0)
        except OSError as error:
            note = os.pread(descriptor, 1024, 0).decode(errors="replace")
            os.close(descriptor)
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise _owned(folder, note) from None
            raise StoreUnavailableError(_refusal(folder, error)) from None
        return cls(descriptor)

    def release(self) -> None:
        """Give the folder up. Safe to repeat; does nothing in a forked child."""
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, 0)
            # Closing alone would leave the lock to a child that was forked a moment ago and still has a copy.
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            self.forget()

    def forget(self) -> None:
        """Close the descriptor and leave the lock as it is."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


_held: weakref.WeakSet[Owner] = weakref.WeakSet()


def _forget_all() -> None:
    # In a forked child: a copy of the descriptor would keep the lock alive after the owner's death.
    for owner in list(_held):
        owner.forget()


os.register_at_fork(after_in_child=_forget_all)


def _hint() -> str:
    return " ".join([sys.argv[0] or "python", *sys.argv[1:]])[:200].replace("\n", " ")


def _owned(folder: Path, note: str) -> StoreOwnedError:
    pid, _, rest = note.partition("\n")
    program = rest.strip()
    owner = f"process {pid}" if pid.isdigit() else "another process"
    return StoreOwnedError(
        f"the store in {folder} is in use by {owner}{f' ({program})' if program else ''}: "
        "stop it, or choose another folder",
        int(pid) if pid.isdigit() else 0,
    )


def _refusal(folder: Path, error: OSError) -> str:
    if isinstance(error, FileExistsError | NotADirectoryError):
        return f"the store needs a folder at {folder}, but there is a file in the way"
    if isinstance(error, PermissionError):
        return f"no permission to keep a store in {folder}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"no room is left to keep a store in {folder}"
    return f"cannot keep a store in {folder}: {error.strerror}"
