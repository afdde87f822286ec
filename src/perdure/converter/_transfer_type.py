"""Classes that name another type to travel as."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

ValueT = TypeVar("ValueT")
TransferTypeT = TypeVar("TransferTypeT")

#: Class attribute that holds the converter; the JSON writer leaves classes that have it alone.
TRANSFER_TYPE_CONVERTER = "__temporal_transfer_type_converter"


class TransferTypeConverter(ABC, Generic[ValueT, TransferTypeT]):
    """Turns values of a class into values of a simpler type before conversion, and back after it."""

    transfer_type: type[TransferTypeT] | None = None
    """Type hint for decoding the transferred value; None decodes without a hint."""

    @abstractmethod
    def to_transfer_type(self, value: ValueT) -> TransferTypeT:
        """The value to convert in place of ``value``."""

    @abstractmethod
    def from_transfer_type(self, value: TransferTypeT, type_hint: type[ValueT]) -> ValueT:
        """The value that ``value`` stands for; ``type_hint`` keeps its type arguments."""


def transfer_type_convertible(
    converter_type: type[TransferTypeConverter[ValueT, TransferTypeT]],
) -> Callable[[type[ValueT]], type[ValueT]]:
    """Decorate a class with the converter its instances travel through."""

    def decorate(cls: type[ValueT]) -> type[ValueT]:
        if hasattr(cls, TRANSFER_TYPE_CONVERTER):
            raise TypeError(f"class {cls.__qualname__} already has a transfer type converter")
        setattr(cls, TRANSFER_TYPE_CONVERTER, converter_type())
        return cls

    return decorate


def transfer_type_converter(value_type: object) -> TransferTypeConverter[Any, Any] | None:
    """The converter of a class or generic alias, or None."""
    converter = getattr(value_type, TRANSFER_TYPE_CONVERTER, None)
    return converter if isinstance(converter, TransferTypeConverter) else None
