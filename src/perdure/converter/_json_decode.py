"""JSON values to typed values.

Every type hint is compiled once into a function from the JSON value to the typed one; decoding then never looks at
hints again. What the functions accept and return is what Temporal's Python SDK does. Where the SDK refuses a hint
(Decimal, date, timedelta, plain enumerations, generic dataclasses, ...) there is a conversion of our own.
"""

from __future__ import annotations

import base64
import collections
import collections.abc
import dataclasses
import inspect
import typing
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from enum import Enum
from pathlib import PurePath
from types import NoneType, UnionType
from typing import Any, ClassVar, Literal, NewType, TypeVar, get_type_hints

import msgspec

Convert = Callable[[Any], Any]

JSONTypeConverterUnhandled = NewType("JSONTypeConverterUnhandled", object)
"""Type of :attr:`JSONTypeConverter.Unhandled`."""

#: Hints are compiled once each; a program that makes up hints per call loses the cache, not its memory.
_MAX_COMPILED_HINTS = 4096


class JSONTypeConverter(ABC):
    """Converts decoded JSON to types that :class:`JSONPlainPayloadConverter` does not know."""

    Unhandled: ClassVar[JSONTypeConverterUnhandled] = JSONTypeConverterUnhandled(object())
    """What :meth:`to_typed_value` returns for hints that are not its business."""

    @abstractmethod
    def to_typed_value(self, hint: type, value: Any) -> Any | JSONTypeConverterUnhandled | None:
        """``value`` (a scalar, list or dict) as ``hint`` asks, or :attr:`Unhandled`."""


class HintCompiler:
    """Type hints to conversion functions, with the user's converters in front of ours."""

    def __init__(self, custom_converters: Sequence[JSONTypeConverter] = ()) -> None:
        self._custom_converters = tuple(custom_converters)
        # Keyed by identity: int | str equals str | int, but they convert differently. The hint is kept, so that its id
        # stays taken.
        self._compiled: dict[int, tuple[Any, Convert]] = {}

    def compile(self, hint: Any) -> Convert:
        """The function that converts values to ``hint``. Never raises: unknown hints fail when they meet a value."""
        entry = self._compiled.get(id(hint))
        if entry is not None:
            return entry[1]
        if len(self._compiled) >= _MAX_COMPILED_HINTS:
            self._compiled.clear()
        convert = self._build(hint)
        if self._custom_converters:
            convert = _with_custom_converters(self._custom_converters, hint, convert)
        self._compiled[id(hint)] = hint, convert
        return convert

    def _build(self, hint: Any) -> Convert:
        is_hashable = isinstance(hint, collections.abc.Hashable)
        simple = _SIMPLE.get(hint) if is_hashable else None
        if simple is not None:
            return simple
        if (supertype := getattr(hint, "__supertype__", None)) is not None:
            return self.compile(supertype)
        origin = typing.get_origin(hint)
        arguments: tuple[Any, ...] = getattr(hint, "__args__", ())
        if origin in (typing.Annotated, typing.Final, typing.Required, typing.NotRequired):
            return self.compile(arguments[0] if origin is not typing.Annotated else hint.__origin__)
        if isinstance(hint, TypeVar):
            return _as_is if hint.__bound__ is None else self.compile(hint.__bound__)
        if hasattr(hint, "__value__"):  # the alias of a ``type`` statement
            return self._alias(hint, origin, arguments)
        if origin is Literal:
            return _literal(hint, arguments)
        if origin is typing.Union or origin is UnionType:
            return self._union(hint, arguments)
        cls = origin or hint
        if not inspect.isclass(cls):
            return _unknown(hint)
        return self._build_class(hint, cls, arguments)

    def _build_class(self, hint: Any, cls: type[Any], arguments: tuple[Any, ...]) -> Convert:
        if issubclass(cls, collections.abc.Mapping):
            return self._mapping(hint, cls, arguments)
        if dataclasses.is_dataclass(cls):
            return self._dataclass(hint, cls, arguments)
        if isinstance(inspect.getattr_static(cls, "model_validate", None), classmethod):
            validate: Convert = cls.model_validate
            return validate
        if isinstance(inspect.getattr_static(cls, "parse_obj", None), (classmethod, staticmethod)):
            return _parse_obj(hint, cls)
        if issubclass(cls, Enum):
            return _enum(cls)
        if issubclass(cls, msgspec.Struct):
            return lambda value: msgspec.convert(value, hint)
        if issubclass(cls, (uuid.UUID, PurePath)):
            return cls
        if issubclass(cls, (int, float, str)):
            return _subclass(cls)
        if issubclass(cls, tuple) and hasattr(cls, "_fields"):
            return self._named_tuple(hint, cls, arguments)
        if issubclass(cls, collections.abc.Iterable):
            return self._iterable(hint, cls, arguments)
        return _unknown(hint)

    def _alias(self, hint: Any, origin: Any, arguments: tuple[Any, ...]) -> Convert:
        convert: Convert | None = None

        def convert_alias(value: Any) -> Any:
            nonlocal convert
            if convert is None:  # not before: the alias may name itself
                parameters = () if origin is None else origin.__type_params__
                convert = self.compile(_substitute(hint.__value__, dict(zip(parameters, arguments, strict=False))))
            return convert(value)

        return convert_alias

    def _union(self, hint: Any, members: tuple[Any, ...]) -> Convert:
        converts = [self.compile(member) for member in members]
        # No member makes anything but None of None, so the order does not matter there.
        takes_none = NoneType in members and not self._custom_converters

        def convert_union(value: Any) -> Any:
            if value is None and takes_none:
                return None
            for convert in converts:
                try:
                    return convert(value)
                except Exception:
                    pass
            raise TypeError(f"Failed converting to {hint} from {value}")

        return convert_union

    def _mapping(self, hint: Any, cls: type[Any], arguments: tuple[Any, ...]) -> Convert:
        if typing.is_typeddict(cls):
            return self._typed_dict(hint, cls, arguments)
        key_type = arguments[0] if arguments and not _says_nothing(arguments[0]) else None
        value_type = arguments[1] if len(arguments) > 1 and not _says_nothing(arguments[1]) else None
        convert_key = None if key_type is None else _key(key_type, self.compile(key_type))
        convert_value = None if value_type is None else self.compile(value_type)

        def convert_mapping(value: Any) -> Any:
            if not isinstance(value, collections.abc.Mapping):
                raise TypeError(f"Expected {hint}, value was {type(value)}")
            result = {}
            for key, item in value.items():
                if convert_key is not None:
                    try:
                        key = convert_key(key)
                    except Exception as err:
                        raise TypeError(f"Failed converting key {key!r} to type {key_type} in mapping {hint}") from err
                if convert_value is not None:
                    try:
                        item = convert_value(item)
                    except Exception as err:
                        raise TypeError(f"Failed converting value for key {key!r} in mapping {hint}") from err
                result[key] = item
            return result

        return convert_mapping

    def _typed_dict(self, hint: Any, cls: type[Any], arguments: tuple[Any, ...]) -> Convert:
        converts: dict[str, Convert] | None = None

        def convert_typed_dict(value: Any) -> Any:
            nonlocal converts
            if not isinstance(value, collections.abc.Mapping):
                raise TypeError(f"Expected {hint}, value was {type(value)}")
            if converts is None:  # not before: the hints may name the class itself
                converts = {name: self.compile(item) for name, item in _field_hints(cls, arguments).items()}
            result = {}
            for key, item in value.items():
                convert = converts.get(key)
                try:
                    result[key] = item if convert is None else convert(item)
                except Exception as err:
                    raise TypeError(f"Failed converting value for key {key!r} in mapping {hint}") from err
            return cls(**result)

        return convert_typed_dict

    def _dataclass(self, hint: Any, cls: type[Any], arguments: tuple[Any, ...]) -> Convert:
        # (name, type whose instances need no conversion, conversion, whether __init__ takes it)
        plan: list[tuple[str, type | None, Convert, bool]] | None = None
        missing = dataclasses.MISSING

        def convert_dataclass(value: Any) -> Any:
            nonlocal plan
            if not isinstance(value, dict):
                raise TypeError(f"Cannot convert to dataclass {hint}, value is {type(value)} not dict")
            if plan is None:  # not before: the hints may name the class itself
                hints = _field_hints(cls, arguments)
                plan = [
                    (field.name, self._exact(hints[field.name]), self.compile(hints[field.name]), field.init)
                    for field in dataclasses.fields(cls)
                ]
            kwargs = {}
            late = None
            for name, exact, convert, init in plan:
                item = value.get(name, missing)
                if item is missing:
                    continue
                if type(item) is not exact:
                    try:
                        item = convert(item)
                    except Exception as err:
                        raise TypeError(f"Failed converting field {name} on dataclass {hint}") from err
                if init:
                    kwargs[name] = item
                else:
                    late = late or {}
                    late[name] = item
            instance = cls(**kwargs)
            if late is not None:
                for name, item in late.items():
                    object.__setattr__(instance, name, item)  # frozen dataclasses too
            return instance

        return convert_dataclass

    def _exact(self, hint: Any) -> type | None:
        """A type whose values the hint takes unchanged, or None: spares a call for most fields."""
        if self._custom_converters:
            return None
        if hint in (str, int, float, bool):
            return typing.cast("type", hint)
        members = getattr(hint, "__args__", ())
        if (typing.get_origin(hint) in (typing.Union, UnionType)) and members and members[0] in (str, int, float, bool):
            return typing.cast("type", members[0])
        return None

    def _named_tuple(self, hint: Any, cls: type[Any], arguments: tuple[Any, ...]) -> Convert:
        converts: list[Convert] | None = None

        def convert_named_tuple(value: Any) -> Any:
            nonlocal converts
            if not isinstance(value, collections.abc.Iterable):
                raise TypeError(f"Expected {hint}, value was {type(value)}")
            if converts is None:
                hints = _field_hints(cls, arguments)
                converts = [self.compile(hints.get(name, Any)) for name in cls._fields]
            items = list(value)
            try:
                items[: len(converts)] = [convert(item) for convert, item in zip(converts, items, strict=False)]
                return cls(*items)
            except Exception as err:
                raise TypeError(f"Failed converting to {hint} from {value}") from err

        return convert_named_tuple

    def _iterable(self, hint: Any, cls: type[Any], arguments: tuple[Any, ...]) -> Convert:
        build = _COLLECTIONS.get(cls)
        converts: list[Convert] = []  # of the first items; ``rest`` converts those after them
        rest: Convert = _as_is
        limit: int | None = None
        if not arguments or (len(arguments) == 1 and (_is_type_var(arguments[0]) or arguments[0] is Ellipsis)):
            pass
        elif cls is not tuple:
            rest = self.compile(arguments[0])
        elif arguments[-1] is Ellipsis:
            converts = [self.compile(argument) for argument in arguments[:-1]]
            rest = converts[-1]
        else:
            converts = [self.compile(argument) for argument in arguments]
            limit = len(converts)

        def convert_iterable(value: Any) -> Any:
            if not isinstance(value, collections.abc.Iterable):
                raise TypeError(f"Expected {hint}, value was {type(value)}")
            items = list(value)
            if limit is not None and len(items) > limit:
                raise TypeError(f"Type {hint} only expecting {limit} values, got at least {limit + 1}")
            if converts or rest is not _as_is:
                for index, item in enumerate(items):
                    convert = converts[index] if index < len(converts) else rest
                    try:
                        items[index] = convert(item)
                    except Exception as err:
                        raise TypeError(f"Failed converting {hint} index {index}") from err
            return items if build is None else build(items)

        return convert_iterable


def _with_custom_converters(converters: Sequence[JSONTypeConverter], hint: Any, otherwise: Convert) -> Convert:
    unhandled = JSONTypeConverter.Unhandled

    def convert_custom(value: Any) -> Any:
        for converter in converters:
            result = converter.to_typed_value(hint, value)
            if result is not unhandled:
                return result
        return otherwise(value)

    return convert_custom


def _is_type_var(hint: Any) -> bool:
    return isinstance(hint, TypeVar)


def _says_nothing(hint: Any) -> bool:
    return hint is Any or _is_type_var(hint)


def _field_hints(cls: type[Any], arguments: tuple[Any, ...]) -> dict[str, Any]:
    """The hints of a class's fields, with its own and its bases' type variables replaced by their arguments."""
    hints = get_type_hints(cls)
    values: dict[Any, Any] = {}
    _collect_type_arguments(cls, arguments, values)
    return {name: _substitute(hint, values) for name, hint in hints.items()} if values else hints


def _collect_type_arguments(cls: type[Any], arguments: tuple[Any, ...], values: dict[Any, Any]) -> None:
    values.update(zip(getattr(cls, "__parameters__", ()), arguments, strict=False))
    for base in getattr(cls, "__orig_bases__", ()):
        origin = typing.get_origin(base)
        if inspect.isclass(origin) and origin is not typing.Generic:
            _collect_type_arguments(origin, tuple(_substitute(a, values) for a in typing.get_args(base)), values)


def _substitute(hint: Any, values: dict[Any, Any]) -> Any:
    if _is_type_var(hint):
        return values.get(hint, hint)
    parameters = getattr(hint, "__parameters__", ())
    if not parameters or inspect.isclass(hint):
        return hint
    return hint[tuple(values.get(parameter, parameter) for parameter in parameters)]


def _as_is(value: Any) -> Any:
    return value


def _unknown(hint: Any) -> Convert:
    def refuse(value: Any) -> Any:
        raise TypeError(f"Unserializable type during conversion: {hint}")

    return refuse


def _key(key_type: Any, convert: Convert) -> Convert:
    """JSON object keys are strings; numbers, booleans and None come back as what they were."""
    from_text: Convert | None = None
    if key_type is int or key_type is float:
        from_text = key_type
    elif key_type is bool:
        from_text = {"true": True, "false": False}.__getitem__
    elif key_type is NoneType:
        from_text = {"null": None}.__getitem__
    elif inspect.isclass(key_type) and issubclass(key_type, Enum) and issubclass(key_type, int):
        from_text = int

    def convert_key(key: Any) -> Any:
        if from_text is not None and isinstance(key, str):
            key = from_text(key)
        return key if isinstance(key_type, type) and isinstance(key, key_type) else convert(key)

    return convert_key


def _literal(hint: Any, values: tuple[Any, ...]) -> Convert:
    def convert_literal(value: Any) -> Any:
        if value not in values:
            raise TypeError(f"Value {value} not in literal values {values}")
        return value

    return convert_literal


def _parse_obj(hint: Any, cls: type[Any]) -> Convert:
    def convert_parse_obj(value: Any) -> Any:
        if not isinstance(value, dict):
            raise TypeError(f"Cannot convert to {hint}, value is {type(value)} not dict")
        return cls.parse_obj(value)

    return convert_parse_obj


def _enum(cls: type[Enum]) -> Convert:
    wanted, word = (
        (int, "an integer") if issubclass(cls, int) else (str, "a string") if issubclass(cls, str) else (object, "")
    )

    def convert_enum(value: Any) -> Any:
        if not isinstance(value, wanted):
            raise TypeError(f"Cannot convert to enum {cls}, value not {word}, value is {type(value)}")
        return cls(value)

    return convert_enum


def _subclass(cls: type[Any]) -> Convert:
    base = str if issubclass(cls, str) else (int, float)

    def convert_subclass(value: Any) -> Any:
        if not isinstance(value, base):
            raise TypeError(f"Cannot convert to {cls}, value is {type(value)}")
        return cls(value)

    return convert_subclass


def _to_str(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"Expected value to be str, was {type(value)}")
    return str(value)


def _to_bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"Expected value to be bool, was {type(value)}")
    return value


def _to_int(value: Any) -> int:
    if not isinstance(value, (int, float)):
        raise TypeError(f"Expected value to be int|float, was {type(value)}")
    return int(value)


def _to_float(value: Any) -> float:
    if not isinstance(value, (int, float)):
        raise TypeError(f"Expected value to be int|float, was {type(value)}")
    return float(value)


def _to_none(value: Any) -> None:
    if value is not None:
        raise TypeError(f"Expected None, got value of type {type(value)}")


def _to_bytes(value: Any) -> bytes:
    # A list of numbers is what the Python SDK writes, base64 what most others do.
    if isinstance(value, str):
        return base64.b64decode(value, validate=True)
    if not isinstance(value, (bytes, list)):
        raise TypeError(f"Expected value to be bytes, was {type(value)}")
    return bytes(value)


def _to_datetime(value: Any) -> datetime:
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str):
        raise TypeError(f"Expected datetime or ISO8601 string, got {type(value)}")
    try:
        return datetime.fromisoformat(value)
    except ValueError as err:
        raise TypeError(f"Failed parsing datetime string: {value}") from err


def _from_iso(cls: type[date | time]) -> Convert:
    def convert_iso(value: Any) -> Any:
        if isinstance(value, cls):
            return value
        if not isinstance(value, str):
            raise TypeError(f"Expected {cls.__name__} or ISO8601 string, got {type(value)}")
        try:
            return cls.fromisoformat(value)
        except ValueError as err:
            raise TypeError(f"Failed parsing {cls.__name__} string: {value}") from err

    return convert_iso


def _to_timedelta(value: Any) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return timedelta(seconds=value)
    try:
        return msgspec.convert(value, timedelta)
    except msgspec.ValidationError as err:
        raise TypeError(f"Expected seconds or an ISO8601 duration, got {value!r}") from err


def _to_decimal(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, (str, int, float, Decimal)):
        raise TypeError(f"Expected value to be Decimal, was {type(value)}")
    try:
        return Decimal(str(value))
    except InvalidOperation as err:
        raise TypeError(f"Failed parsing Decimal string: {value}") from err


_SIMPLE: dict[Any, Convert] = {
    Any: _as_is,
    object: _as_is,
    str: _to_str,
    int: _to_int,
    float: _to_float,
    bool: _to_bool,
    bytes: _to_bytes,
    None: _to_none,
    NoneType: _to_none,
    datetime: _to_datetime,
    date: _from_iso(date),
    time: _from_iso(time),
    timedelta: _to_timedelta,
    Decimal: _to_decimal,
}

#: Collections that come back as themselves; every other iterable becomes a list.
_COLLECTIONS: dict[Any, Convert] = {
    tuple: tuple,
    set: set,
    frozenset: frozenset,
    collections.deque: collections.deque,
}

#: Compiles hints for everybody who has no converters of their own.
DEFAULT_COMPILER = HintCompiler()


def value_to_type(hint: type, value: Any, custom_converters: Sequence[JSONTypeConverter] = ()) -> Any:
    """``value``, as JSON gave it, as an instance of ``hint``.

    Args:
        hint: the type to make.
        value: a scalar, list or dict.
        custom_converters: asked first, in order, for this hint and every hint inside it.

    Raises:
        TypeError: the value does not fit the hint, or there is no conversion to it.
    """
    compiler = HintCompiler(custom_converters) if custom_converters else DEFAULT_COMPILER
    return compiler.compile(hint)(value)
