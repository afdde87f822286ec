from typing import Any

from perdure._native.protobuf.tables import Table

def encode(table: Table, message: Any) -> bytes: ...
