"""Search attribute keys, values and collections. Public through ``perdure.common``."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from itertools import pairwise
from typing import Any, ClassVar, Generic, NamedTuple, TypeAlias, TypeVar, cast, get_origin, overload

AnyType = TypeVar("AnyType")

SearchAttributeValues: TypeAlias = list[str] | list[int] | list[float] | list[bool] | list[datetime]
"""Values of one untyped search attribute: a list, so that a bare string given by mistake is noticed."""

SearchAttributes: TypeAlias = Mapping[str, SearchAttributeValues]
"""Untyped search attributes. Prefer :class:`TypedSearchAttributes`."""

SearchAttributeValue: TypeAlias = str | int | float | bool | datetime | Sequence[str]
"""Value of one typed search attribute."""

SearchAttributeValueType = TypeVar("SearchAttributeValueType", str, int, float, bool, datetime, Sequence[str])


class SearchAttributeIndexedValueType(IntEnum):
    """How the visibility store indexes a search attribute."""

    TEXT = 1
    KEYWORD = 2
    INT = 3
    DOUBLE = 4
    BOOL = 5
    DATETIME = 6
    KEYWORD_LIST = 7


_INDEX = SearchAttributeIndexedValueType
_METADATA_TYPES = {
    _INDEX.TEXT: "Text",
    _INDEX.KEYWORD: "Keyword",
    _INDEX.INT: "Int",
    _INDEX.DOUBLE: "Double",
    _INDEX.BOOL: "Bool",
    _INDEX.DATETIME: "Datetime",
    _INDEX.KEYWORD_LIST: "KeywordList",
}
# "KeywordList" and the rarer "INDEXED_VALUE_TYPE_KEYWORD_LIST"
_INDEXED_VALUE_TYPES = {word: index for index, word in _METADATA_TYPES.items()} | {
    f"INDEXED_VALUE_TYPE_{index.name}": index for index in _METADATA_TYPES
}
_VALUE_TYPES: dict[SearchAttributeIndexedValueType, Any] = {
    _INDEX.TEXT: str,
    _INDEX.KEYWORD: str,
    _INDEX.INT: int,
    _INDEX.DOUBLE: float,
    _INDEX.BOOL: bool,
    _INDEX.DATETIME: datetime,
    _INDEX.KEYWORD_LIST: Sequence[str],
}


class SearchAttributeKey(ABC, Generic[SearchAttributeValueType]):
    """Name and type of a search attribute. Make one with a ``for_`` method; keys of equal name and type are equal."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The attribute's name."""

    @property
    @abstractmethod
    def indexed_value_type(self) -> SearchAttributeIndexedValueType:
        """How the visibility store indexes it."""

    @property
    @abstractmethod
    def value_type(self) -> type[SearchAttributeValueType]:
        """The Python type of its values; may be a generic alias, which ``isinstance`` refuses."""

    @property
    def origin_value_type(self) -> type:
        """The Python type of its values without type arguments, fit for ``isinstance``."""
        return get_origin(self.value_type) or self.value_type

    @property
    def _metadata_type(self) -> str:
        return _METADATA_TYPES[self.indexed_value_type]

    def value_set(self, value: SearchAttributeValueType) -> SearchAttributeUpdate[SearchAttributeValueType]:
        """An update that sets this attribute."""
        return _SearchAttributeUpdate(self, value)

    def value_unset(self) -> SearchAttributeUpdate[SearchAttributeValueType]:
        """An update that removes this attribute."""
        return _SearchAttributeUpdate(self, None)

    @staticmethod
    def for_text(name: str) -> SearchAttributeKey[str]:
        """A text, searched by its words."""
        return _SearchAttributeKey(name, _INDEX.TEXT, str)

    @staticmethod
    def for_keyword(name: str) -> SearchAttributeKey[str]:
        """A string, compared as a whole."""
        return _SearchAttributeKey(name, _INDEX.KEYWORD, str)

    @staticmethod
    def for_int(name: str) -> SearchAttributeKey[int]:
        """A 64-bit integer."""
        return _SearchAttributeKey(name, _INDEX.INT, int)

    @staticmethod
    def for_float(name: str) -> SearchAttributeKey[float]:
        """A double."""
        return _SearchAttributeKey(name, _INDEX.DOUBLE, float)

    @staticmethod
    def for_bool(name: str) -> SearchAttributeKey[bool]:
        """A boolean."""
        return _SearchAttributeKey(name, _INDEX.BOOL, bool)

    @staticmethod
    def for_datetime(name: str) -> SearchAttributeKey[datetime]:
        """A point in time; values need a timezone."""
        return _SearchAttributeKey(name, _INDEX.DATETIME, datetime)

    @staticmethod
    def for_keyword_list(name: str) -> SearchAttributeKey[Sequence[str]]:
        """Several keywords, each matching on its own."""
        # The class is looked at, never called: that it is abstract does not matter.
        return _SearchAttributeKey(name, _INDEX.KEYWORD_LIST, Sequence[str])  # type: ignore[type-abstract]

    @staticmethod
    def _from_metadata_type(name: str, metadata_type: str) -> SearchAttributeKey[Any] | None:
        index = _INDEXED_VALUE_TYPES.get(metadata_type)
        return None if index is None else _SearchAttributeKey(name, index, _VALUE_TYPES[index])

    @staticmethod
    def _guess_from_untyped_values(name: str, vals: SearchAttributeValues) -> SearchAttributeKey[Any] | None:
        if not vals:
            return None
        value: Any = vals[0]
        if len(vals) > 1:
            return SearchAttributeKey.for_keyword_list(name) if isinstance(value, str) else None
        if isinstance(value, bool):
            return SearchAttributeKey.for_bool(name)
        if isinstance(value, str):
            return SearchAttributeKey.for_keyword(name)
        if isinstance(value, int):
            return SearchAttributeKey.for_int(name)
        if isinstance(value, float):
            return SearchAttributeKey.for_float(name)
        return SearchAttributeKey.for_datetime(name) if isinstance(value, datetime) else None


@dataclass(frozen=True)
class _SearchAttributeKey(SearchAttributeKey[SearchAttributeValueType]):
    _name: str
    _indexed_value_type: SearchAttributeIndexedValueType
    _value_type: type[SearchAttributeValueType]

    @property
    def name(self) -> str:
        return self._name

    @property
    def indexed_value_type(self) -> SearchAttributeIndexedValueType:
        return self._indexed_value_type

    @property
    def value_type(self) -> type[SearchAttributeValueType]:
        return self._value_type


class SearchAttributePair(NamedTuple, Generic[SearchAttributeValueType]):
    """A search attribute key and its value."""

    key: SearchAttributeKey[SearchAttributeValueType]
    value: SearchAttributeValueType


class SearchAttributeUpdate(ABC, Generic[SearchAttributeValueType]):
    """One change for ``workflow.upsert_search_attributes``; made by a key's ``value_set`` or ``value_unset``."""

    @property
    @abstractmethod
    def key(self) -> SearchAttributeKey[SearchAttributeValueType]:
        """The attribute to change."""

    @property
    @abstractmethod
    def value(self) -> SearchAttributeValueType | None:
        """Its new value; None removes it."""


@dataclass(frozen=True)
class _SearchAttributeUpdate(SearchAttributeUpdate[SearchAttributeValueType]):
    _key: SearchAttributeKey[SearchAttributeValueType]
    _value: SearchAttributeValueType | None

    @property
    def key(self) -> SearchAttributeKey[SearchAttributeValueType]:
        return self._key

    @property
    def value(self) -> SearchAttributeValueType | None:
        return self._value


@dataclass(frozen=True)
class TypedSearchAttributes(Collection[SearchAttributePair[Any]]):
    """An immutable collection of search attributes, sorted by name."""

    search_attributes: Sequence[SearchAttributePair[Any]]
    """The pairs, sorted by key name. Do not change the sequence; use :meth:`updated`."""

    empty: ClassVar[TypedSearchAttributes]
    """The collection without attributes."""

    def __post_init__(self) -> None:
        """Sort the pairs and refuse two of one name."""
        pairs = sorted(self.search_attributes, key=lambda pair: pair.key.name)
        object.__setattr__(self, "search_attributes", pairs)
        for before, pair in pairwise(pairs):
            if before.key.name == pair.key.name:
                raise ValueError(f"Duplicate search attribute entries found for key {pair.key.name}")

    def __len__(self) -> int:
        """How many attributes there are."""
        return len(self.search_attributes)

    def __getitem__(self, key: SearchAttributeKey[SearchAttributeValueType]) -> SearchAttributeValueType:
        """The value of ``key``; KeyError when there is none of that name and type."""
        for pair in self.search_attributes:
            if pair.key == key:
                return cast("SearchAttributeValueType", pair.value)
        raise KeyError(key.name)

    def __iter__(self) -> Iterator[SearchAttributePair[Any]]:
        """The pairs, by name."""
        return iter(self.search_attributes)

    def __contains__(self, key: object) -> bool:
        """Whether there is an attribute of the key's name and type."""
        return any(pair.key == key for pair in self.search_attributes)

    @overload
    def get(self, key: SearchAttributeKey[SearchAttributeValueType]) -> SearchAttributeValueType | None: ...

    @overload
    def get(
        self, key: SearchAttributeKey[SearchAttributeValueType], default: AnyType
    ) -> SearchAttributeValueType | AnyType: ...

    def get(self, key: SearchAttributeKey[SearchAttributeValueType], default: Any = None) -> Any:
        """The value of ``key``, or ``default``."""
        try:
            return self[key]
        except KeyError:
            return default

    def updated(self, *search_attributes: SearchAttributePair[Any]) -> TypedSearchAttributes:
        """A copy with these pairs added, each replacing the pair of its name."""
        pairs = {pair.key.name: pair for pair in self.search_attributes}
        pairs.update((pair.key.name, pair) for pair in search_attributes)
        return TypedSearchAttributes(list(pairs.values()))


TypedSearchAttributes.empty = TypedSearchAttributes([])


def _warn_on_deprecated_search_attributes(attributes: Any, stack_level: int = 2) -> None:
    """Warn when search attributes came as a dictionary."""
    if attributes and isinstance(attributes, Mapping):
        warnings.warn(
            "Dictionary-based search attributes are deprecated", DeprecationWarning, stacklevel=1 + stack_level
        )
