"""Search attributes to payloads and back. They bypass payload codecs: the visibility store has to read them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from perdure.common import (
    SearchAttributeIndexedValueType,
    SearchAttributeKey,
    SearchAttributePair,
    SearchAttributes,
    SearchAttributeValue,
    SearchAttributeValues,
    TypedSearchAttributes,
)
from perdure.converter._data_converter import DataConverter

if TYPE_CHECKING:
    from perdure.api.common.v1 import Payload
    from perdure.api.common.v1 import SearchAttributes as SearchAttributesMessage

_to_payload = DataConverter.default.payload_converter.to_payload
_from_payload = DataConverter.default.payload_converter.from_payload


def encode_search_attributes(
    attributes: SearchAttributes | TypedSearchAttributes, api: SearchAttributesMessage
) -> None:
    """Write search attributes into a message. The dictionary form is deprecated."""
    if isinstance(attributes, TypedSearchAttributes):
        for key, value in attributes:
            api.indexed_fields[key.name] = encode_typed_search_attribute_value(key, value)
    else:
        for name, values in attributes.items():
            api.indexed_fields[name] = encode_search_attribute_values(values)


def encode_typed_search_attribute_value(key: SearchAttributeKey[Any], value: SearchAttributeValue | None) -> Payload:
    """The payload of one typed value; None removes the attribute. Raises TypeError or ValueError for a misfit."""
    if value is None:
        return _to_payload(None)  # without a type: servers refuse a typed null
    if not isinstance(value, key.origin_value_type):
        raise TypeError(
            f"Value of type {type(value).__name__} not suitable for indexed value type {key.indexed_value_type}"
        )
    if isinstance(value, datetime):
        value = _iso(value)
    elif isinstance(value, Sequence) and not all(isinstance(item, str) for item in value):
        raise TypeError("All values of a keyword list must be strings")
    payload = _to_payload(value)
    payload.metadata["type"] = key._metadata_type.encode()
    return payload


def encode_search_attribute_values(vals: SearchAttributeValues) -> Payload:
    """The payload of one untyped attribute: a list of values of one type. Deprecated: use typed search attributes."""
    if not isinstance(vals, list):
        raise TypeError("Search attribute values must be lists")
    value_type: type | None = None
    safe: list[Any] = []
    for value in vals:
        if isinstance(value, datetime):
            safe.append(_iso(value))
            continue
        if not isinstance(value, (str, int, float, bool)):
            raise TypeError(
                f"Search attribute value of type {type(value).__name__} not one of str, int, float, bool, or datetime"
            )
        if value_type is not None and type(value) is not value_type:
            raise TypeError("Search attribute values must have the same type for the same key")
        value_type = type(value)
        safe.append(value)
    return _to_payload(safe)


def _iso(value: datetime) -> str:
    if value.tzinfo is None:
        raise ValueError("Timezone must be present on all search attribute dates")
    return value.isoformat()


def encode_maybe_typed_search_attributes(
    non_typed_attributes: SearchAttributes | None,
    typed_attributes: TypedSearchAttributes | None,
    api: SearchAttributesMessage,
) -> None:
    """Write whichever of the two forms is given; ValueError for both."""
    if non_typed_attributes:
        if typed_attributes is not None and typed_attributes.search_attributes:
            raise ValueError("Cannot provide both deprecated search attributes and typed search attributes")
        encode_search_attributes(non_typed_attributes, api)
    elif typed_attributes is not None and typed_attributes.search_attributes:
        encode_search_attributes(typed_attributes, api)


def decode_search_attributes(api: SearchAttributesMessage) -> SearchAttributes:
    """The attributes of a message as lists of values. Deprecated: use :func:`decode_typed_search_attributes`."""
    result: dict[str, Any] = {}
    for name, payload in api.indexed_fields.items():
        value = _from_payload(payload)
        values = value if isinstance(value, list) else [value]
        if payload.metadata.get("type") == b"Datetime":
            values = [datetime.fromisoformat(item) for item in values]
        result[name] = values
    return result


def decode_typed_search_attributes(api: SearchAttributesMessage) -> TypedSearchAttributes:
    """The attributes of a message that state their type and hold a value of it; others are left out."""
    pairs: list[SearchAttributePair[Any]] = []
    for name, payload in api.indexed_fields.items():
        key = SearchAttributeKey._from_metadata_type(name, payload.metadata.get("type", b"").decode())
        if key is None:
            continue
        value: Any = _from_payload(payload)
        index = key.indexed_value_type
        if isinstance(value, list) and index is not SearchAttributeIndexedValueType.KEYWORD_LIST:
            values: list[Any] = value
            if len(values) != 1:
                continue
            [value] = values
        if index is SearchAttributeIndexedValueType.DATETIME:
            value = datetime.fromisoformat(str(value))
        elif index is SearchAttributeIndexedValueType.DOUBLE and type(value) is int:
            value = float(value)  # visibility gives a whole number back without its point
        if isinstance(value, key.origin_value_type):
            pairs.append(SearchAttributePair(key, value))
    return TypedSearchAttributes(pairs)


def decode_search_attribute_value(payload: Payload) -> SearchAttributeValue:
    """The value of one attribute, a datetime where its type says so."""
    value: SearchAttributeValue = _from_payload(payload)
    if isinstance(value, str) and payload.metadata.get("type") == b"Datetime":
        return datetime.fromisoformat(value)
    return value
