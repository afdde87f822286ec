"""Folders and buckets: where bytes are kept by name. Extra ``perdure[s3]`` for buckets."""

from __future__ import annotations

import asyncio
import os
import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, ParamSpec, Protocol, TypeVar, cast
from urllib.parse import SplitResult, quote, unquote, urlsplit

from perdure.store.archive._api import ArchiveError, ArchiveNotFoundError, check_options, split_uri

if TYPE_CHECKING:
    from obstore.store import S3Config, S3Store

_OPTIONS = ("region", "endpoint", "path_style")
_BOOLS = {"true": True, "1": True, "false": False, "0": False}
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9.\-_]{1,62}")
_P = ParamSpec("_P")
_T = TypeVar("_T")


class Place(Protocol):
    """Bytes by name. A name has parts between slashes; what is put is there as a whole or not at all, and durable."""

    async def validate(self) -> None:
        """As :meth:`Archiver.validate`."""
        ...

    async def has(self, name: str) -> bool:
        """Whether there is something of that name."""
        ...

    async def get(self, name: str) -> bytes:
        """What is there. Raises ArchiveNotFoundError."""
        ...

    async def put(self, name: str, data: bytes) -> None:
        """Put something there, instead of what was."""
        ...

    def names(self, below: str = "", after: str = "") -> AsyncIterator[str]:
        """Names below a part, in their order, from just after one."""
        ...


def open_place(uri: str) -> Place:
    """The place of a ``file://`` or ``s3://`` URI. Raises ValueError, or ModuleNotFoundError without ``perdure[s3]``."""
    parts, options = split_uri(uri)
    if parts.scheme == "file":
        return Folder.of(parts, options)
    if parts.scheme == "s3":
        return Bucket.of(parts, options)
    raise ValueError(f"{uri!r} is no place to write to; write for instance 'file:///var/lib/export' or "
                     "'s3://bucket/prefix?region=eu-central-1'")  # fmt: skip


# ---- folders


class Folder:
    """A folder, which is made when it is needed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of(cls, uri: SplitResult, options: dict[str, str]) -> Folder:
        """The folder of a ``file://`` URI."""
        check_options(uri, options, ())
        path = unquote(uri.path)
        if uri.netloc not in ("", "localhost"):
            raise ValueError(
                f"archival URI {uri.geturl()!r} names a host, {uri.netloc!r}; a folder has three slashes: "
                f"'file:///{uri.netloc}{path}'"
            )
        if not path.startswith("/") or path.strip("/") == "" or "\0" in path:
            raise ValueError(f"archival URI {uri.geturl()!r} names no folder; write 'file:///var/lib/archive'")
        return cls(Path(path))

    async def validate(self) -> None:
        """As :meth:`Place.validate`: the folder can be made, or is there and can be written."""
        await in_thread(self._validate)

    def _validate(self) -> None:
        place = f"archival URI 'file://{self.path}'"
        nearest = self.path
        while not nearest.exists() and nearest != nearest.parent:
            nearest = nearest.parent
        if not nearest.is_dir():
            raise ValueError(f"{place} cannot be used: {nearest} is a file, not a folder")
        if not os.access(nearest, os.W_OK | os.X_OK):
            raise ValueError(f"{place} cannot be used: this process may not write to {nearest}")

    async def has(self, name: str) -> bool:
        """As :meth:`Place.has`."""
        return await in_thread((self.path / name).exists)

    async def get(self, name: str) -> bytes:
        """As :meth:`Place.get`."""
        return await in_thread((self.path / name).read_bytes)

    async def put(self, name: str, data: bytes) -> None:
        """As :meth:`Place.put`."""
        target = self.path / name
        await in_thread(finish, None, self.part(target.name), [data], target)

    def part(self, name: str) -> Path:
        """A name of its own for what is not complete."""
        # Not beside visibility records: Temporal's archiver refuses a folder of them with other names in it.
        return self.path / f".{name}.{uuid.uuid4().hex}.part"

    async def names(self, below: str = "", after: str = "") -> AsyncIterator[str]:
        """As :meth:`Place.names`."""
        for name in await in_thread(self._names, below):
            if name > after:
                yield name

    def _names(self, below: str) -> list[str]:
        found = (path for path in (self.path / below).rglob("*") if path.is_file() and not path.name.startswith("."))
        return sorted(path.relative_to(self.path).as_posix() for path in found)


def append(file: BinaryIO | None, part: Path, pieces: list[bytes]) -> BinaryIO:
    """Write pieces to a file that is not complete, opening it first if need be."""
    if file is None:
        part.parent.mkdir(parents=True, exist_ok=True)
        file = part.open("xb")
    try:
        file.writelines(pieces)
    except OSError:
        file.close()
        part.unlink(missing_ok=True)
        raise
    return file


def finish(file: BinaryIO | None, part: Path, pieces: list[bytes], target: Path) -> None:
    """Write the last pieces, and give the file its name once the device has it."""
    with append(file, part, pieces) as file:
        file.flush()
        os.fsync(file.fileno())
    made = [target.parent]
    while not made[-1].exists():
        made.append(made[-1].parent)
    target.parent.mkdir(parents=True, exist_ok=True)
    part.replace(target)
    for folder in made:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@cache
def _threads() -> ThreadPoolExecutor:
    """Threads of archives' own: those of the event loop are for what the application does."""
    return ThreadPoolExecutor(8, "perdure-archive")


os.register_at_fork(after_in_child=_threads.cache_clear)


async def in_thread(call: Callable[_P, _T], *arguments: _P.args, **options: _P.kwargs) -> _T:
    """Files away from the event loop, and their errors as an archive's."""
    work = partial(call, *arguments, **options)
    try:
        return await asyncio.get_running_loop().run_in_executor(_threads(), work)
    except FileNotFoundError as error:
        raise ArchiveNotFoundError(str(error)) from None
    except OSError as error:
        raise ArchiveError(f"the archive's folder cannot be used now: {error}") from None


# ---- buckets


class Bucket:
    """A bucket of S3 or of what speaks its protocol, below a prefix.

    Credentials come from the environment, as AWS's tools take them.
    """

    def __init__(self, store: S3Store, prefix: str, uri: str) -> None:
        self._store = store
        self._prefix = f"{prefix}/" if prefix else ""
        self._uri = uri

    @classmethod
    def of(cls, uri: SplitResult, options: dict[str, str]) -> Bucket:
        """The bucket of an ``s3://`` URI."""
        check_options(uri, options, _OPTIONS)
        text = uri.geturl()
        if not _BUCKET.fullmatch(uri.netloc):
            raise ValueError(f"archival URI {text!r} names no bucket; write 's3://bucket/prefix?region=eu-central-1'")
        prefix = unquote(uri.path).strip("/")
        if prefix != plain_name(prefix):
            raise ValueError(f"archival URI {text!r} has a prefix that is no object name: {prefix!r}")
        return cls(_open_s3(uri, options), prefix, text)

    async def validate(self) -> None:
        """As :meth:`Place.validate`: the bucket can be listed."""
        try:
            async for _ in self.names("history"):
                break
        except ArchiveError as error:
            raise ValueError(f"archival URI {self._uri!r} cannot be used: {error}") from None

    async def has(self, name: str) -> bool:
        """As :meth:`Place.has`."""
        from obstore import head_async

        try:
            await _asked(head_async(self._store, self._prefix + name))
        except ArchiveNotFoundError:
            return False
        return True

    async def get(self, name: str) -> bytes:
        """As :meth:`Place.get`."""
        from obstore import get_async

        result = await _asked(get_async(self._store, self._prefix + name))
        return bytes(await _asked(result.bytes_async()))

    async def put(self, name: str, data: bytes) -> None:
        """As :meth:`Place.put`."""
        from obstore import put_async

        await _asked(put_async(self._store, self._prefix + name, data))

    async def names(self, below: str = "", after: str = "") -> AsyncIterator[str]:
        """As :meth:`Place.names`."""
        from obstore import list as list_objects

        folder = (self._prefix + below).rstrip("/")
        stream = list_objects(
            self._store, folder or None, offset=self._prefix + after if after else None, chunk_size=1000
        )
        while True:
            try:
                chunk = await _asked(anext(stream))
            except StopAsyncIteration:
                return
            for entry in chunk:
                yield entry["path"][len(self._prefix) :]


def _open_s3(uri: SplitResult, options: dict[str, str]) -> S3Store:
    try:
        from obstore.exceptions import BaseError
        from obstore.store import S3Store
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "obstore":
            raise
        raise ModuleNotFoundError("archives in S3 need obstore: pip install 'perdure[s3]'", name=error.name) from None
    config: dict[str, Any] = {}
    if "region" in options:
        config["region"] = options["region"]
    endpoint = options.get("endpoint", "")
    if endpoint:
        if urlsplit(endpoint).scheme not in ("http", "https") or not urlsplit(endpoint).netloc:
            raise ValueError(f"archival URI {uri.geturl()!r}: endpoint is {endpoint!r}, not an http:// or https:// URL")
        config["endpoint"] = endpoint
    # What stands in for S3 has no host name for each bucket, as a rule.
    path_style = options.get("path_style", "true" if endpoint else "false").lower()
    if path_style not in _BOOLS:
        raise ValueError(f"archival URI {uri.geturl()!r}: path_style is 'true' or 'false', not {path_style!r}")
    config["virtual_hosted_style_request"] = not _BOOLS[path_style]
    try:
        return S3Store(
            uri.netloc,
            config=cast("S3Config", config),
            client_options={"allow_http": endpoint.startswith("http://"), "timeout": timedelta(seconds=60)},
            retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=30)},
        )
    except BaseError as error:
        raise ValueError(f"archival URI {uri.geturl()!r} cannot be used: {_sentence(error)}") from None


async def _asked(call: Awaitable[_T]) -> _T:
    """The store's answer, and its errors as an archive's."""
    from obstore.exceptions import BaseError

    try:
        return await call
    except FileNotFoundError as error:
        if "NoSuchBucket" in str(error):
            raise ArchiveError("the bucket does not exist") from None
        raise ArchiveNotFoundError(_sentence(error)) from None
    except (BaseError, OSError) as error:
        raise ArchiveError("the bucket does not exist" if "NoSuchBucket" in str(error) else _sentence(error)) from None


def _sentence(error: BaseException) -> str:
    """What an error says before it goes into its own structure."""
    return " ".join(str(error).partition("Debug source:")[0].split())[:500]


def plain_name(text: str) -> str:
    """A text as it is, unless no name can be so: one has no empty part, none that is ``.`` or ``..``, no control
    characters."""
    is_plain = not any(part in ("", ".", "..") for part in text.split("/")) or not text
    if is_plain and not any(ord(char) < 32 or ord(char) == 127 for char in text):
        return text
    return quote(text, safe="").replace(".", "%2E")
