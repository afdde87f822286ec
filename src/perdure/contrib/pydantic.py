"""Pydantic models as arguments and results: ``pip install "perdure[pydantic]"``.

.. code-block:: python

    client = await Client.connect("lmdb:./data", data_converter=pydantic_data_converter)

The payloads stay ``json/plain``; type hints say which model they become. Pydantic 2 only.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter
from pydantic_core import SchemaSerializer, to_json
from pydantic_core.core_schema import any_schema

from perdure.api.common.v1 import Payload
from perdure.converter import (
    CompositePayloadConverter,
    DataConverter,
    DefaultPayloadConverter,
    EncodingPayloadConverter,
    JSONPlainPayloadConverter,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_METADATA = b"json/plain"


@dataclass
class ToJsonOptions:
    """How values are written."""

    exclude_unset: bool = False
    """Leave out the fields of a model that nobody set."""


class PydanticJSONPlainPayloadConverter(EncodingPayloadConverter):
    """Everything Pydantic can write and validate, as ``json/plain``."""

    def __init__(
        self, to_json_options: ToJsonOptions | None = None, *, max_cached_type_adapters: int | None = 1024
    ) -> None:
        """Make the converter.

        Args:
            to_json_options: how values are written.
            max_cached_type_adapters: for how many type hints the validator is kept; None: for all, 0: for none.
        """
        if max_cached_type_adapters is not None and max_cached_type_adapters < 0:
            raise ValueError("max_cached_type_adapters cannot be negative")
        self._to_json_options = to_json_options
        self._max_cached = max_cached_type_adapters
        self._make_parts()

    def _make_parts(self) -> None:
        self._serializer = SchemaSerializer(any_schema())
        self._adapter: Callable[[Any], TypeAdapter[Any]] = functools.lru_cache(self._max_cached)(TypeAdapter)

    def __getstate__(self) -> dict[str, Any]:
        """The options; a copy in another process makes validators of its own."""
        return {"_to_json_options": self._to_json_options, "_max_cached": self._max_cached}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Start with the options and no validator."""
        self._to_json_options, self._max_cached = state["_to_json_options"], state["_max_cached"]
        self._make_parts()

    @property
    def encoding(self) -> str:
        """``json/plain``."""
        return "json/plain"

    def to_payload(self, value: Any) -> Payload | None:
        """A payload for any value. Raises what Pydantic raises for one it cannot write."""
        options = self._to_json_options
        if options is None:
            return Payload({"encoding": _METADATA}, to_json(value))
        return Payload({"encoding": _METADATA}, self._serializer.to_json(value, exclude_unset=options.exclude_unset))

    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        """The value, validated against the hint. Raises pydantic.ValidationError when it does not fit."""
        hint: Any = Any if type_hint is None else type_hint
        try:
            hash(hint)
        except TypeError:
            return TypeAdapter(hint).validate_json(payload.data)
        return self._adapter(hint).validate_json(payload.data)


class PydanticPayloadConverter(CompositePayloadConverter):
    """The default payload converter, with Pydantic for what becomes JSON.

    For other options derive a class whose constructor takes no arguments: ``DataConverter`` wants the class.
    """

    def __init__(
        self, to_json_options: ToJsonOptions | None = None, *, max_cached_type_adapters: int | None = 1024
    ) -> None:
        """Make the converter; see :class:`PydanticJSONPlainPayloadConverter`."""
        json_converter = PydanticJSONPlainPayloadConverter(
            to_json_options, max_cached_type_adapters=max_cached_type_adapters
        )
        super().__init__(
            *(
                json_converter if isinstance(converter, JSONPlainPayloadConverter) else converter
                for converter in DefaultPayloadConverter.default_encoding_payload_converters
            )
        )


pydantic_data_converter = DataConverter(payload_converter_class=PydanticPayloadConverter)
"""The data converter to give to a client."""
