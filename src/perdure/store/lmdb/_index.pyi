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
def records_at(env: Environment, namespace: bytes, positions: list[bytes]) -> list[tuple[bytes, bytes]]: ...
def records(
    env: Environment, namespace: bytes, entries: bytes, after: bytes | None, limit: int
) -> list[tuple[bytes, bytes]]: ...
