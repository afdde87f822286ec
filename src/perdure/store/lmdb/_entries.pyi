from perdure.store.lmdb._lmdb import Environment
from perdure.store.visibility import Bounds

def collect(
    env: Environment, parts: list[tuple[int, bytes, bytes]], bounds: Bounds, allowed: bytes | None
) -> bytes: ...
def intersect(left: bytes, right: bytes) -> bytes: ...
def subtract(left: bytes, right: bytes) -> bytes: ...
def narrow(env: Environment, namespace: bytes, entries: bytes, numbers: dict[int, tuple[int, int]]) -> bytes: ...
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
