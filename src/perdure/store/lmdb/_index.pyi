from perdure.store.lmdb._lmdb import Environment
from perdure.store.visibility import Bounds

def merge(
    env: Environment,
    namespace: bytes,
    keys: list[tuple[int, bytes]],
    bounds: Bounds,
    allowed: bytes | None,
    after: bytes | None,
    limit: int,
    excluded: bytes = b"",
    numbers: dict[int, tuple[int, int]] | None = None,
    most: int = ...,
) -> tuple[list[tuple[bytes, bytes]], bytes | None]: ...
def narrow(env: Environment, namespace: bytes, entries: bytes, numbers: dict[int, tuple[int, int]]) -> bytes: ...
def count_slowly(
    env: Environment,
    namespace: bytes,
    keys: list[tuple[int, bytes]],
    bounds: Bounds,
    allowed: bytes | None,
    after: bytes | None,
    most: int,
    excluded: bytes,
    numbers: dict[int, tuple[int, int]],
) -> tuple[int, bytes | None]: ...
def count(env: Environment, keys: list[tuple[int, bytes]], bounds: Bounds, allowed: bytes | None) -> int: ...
def keys(env: Environment, database: int, low: bytes, high: bytes) -> list[tuple[bytes, int]]: ...
def size(env: Environment, database: int, low: bytes, high: bytes, most: int) -> int: ...
def collect(
    env: Environment, parts: list[tuple[int, bytes, bytes]], bounds: Bounds, allowed: bytes | None
) -> bytes: ...
def intersect(left: bytes, right: bytes) -> bytes: ...
def subtract(left: bytes, right: bytes) -> bytes: ...
def first(
    env: Environment,
    keys: list[tuple[int, bytes]] | None,
    entries: bytes,
    bounds: Bounds,
    allowed: bytes | None,
    by_close: bool,
    descending: bool,
    after: bytes | None,
    limit: int,
) -> list[bytes]: ...
def records_at(env: Environment, namespace: bytes, positions: list[bytes]) -> list[tuple[bytes, bytes]]: ...
def records(
    env: Environment, namespace: bytes, entries: bytes, after: bytes | None, limit: int
) -> list[tuple[bytes, bytes]]: ...
