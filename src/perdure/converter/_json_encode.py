"""Values to JSON, byte for byte what Temporal's Python SDK writes for them."""

from __future__ import annotations

import dataclasses
import json
import uuid
from collections.abc import Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any

import msgspec

from perdure._native import json_writer


class AdvancedJSONEncoder(json.JSONEncoder):
    """:class:`json.JSONEncoder` for more types.

    As in Temporal's SDK: dataclasses, datetime, UUID, objects with a ``dict()`` method, and iterables as lists.
    Besides: date, time, timedelta (ISO 8601), Decimal, enumerations, paths, msgspec structs and pydantic 2 models.
    """

    def default(self, o: Any) -> Any:
        """What ``o`` is written as. Raises TypeError when there is no form for it."""
        if isinstance(o, datetime):
            return o.isoformat()
        if dataclasses.is_dataclass(o) and not isinstance(o, type):
            return dataclasses.asdict(o)
        if hasattr(o, "__pydantic_serializer__") and not isinstance(o, type):
            return o.__pydantic_serializer__.to_python(o, mode="json")
        as_dict = getattr(o, "dict", None)
        if callable(as_dict):
            return as_dict()
        if isinstance(o, Iterable):
            return list(o)
        if isinstance(o, (uuid.UUID, Decimal, PurePath)):
            return str(o)
        if isinstance(o, (date, time)):
            return o.isoformat()
        if isinstance(o, Enum):
            return o.value
        if isinstance(o, (msgspec.Struct, timedelta)):
            return msgspec.to_builtins(o)
        return super().default(o)


def json_bytes(value: Any) -> bytes:
    """Compact JSON with sorted keys, ASCII only."""
    data = json_writer.dumps(value)
    if data is None:
        data = json.dumps(value, cls=AdvancedJSONEncoder, separators=(",", ":"), sort_keys=True).encode()
    return data
