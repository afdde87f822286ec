"""Reading the memo of what was described or listed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, overload

from perdure.client import _check
from perdure.common import _arg_unset

if TYPE_CHECKING:
    from collections.abc import Mapping

    from perdure.api.common.v1 import Memo
    from perdure.converter import DataConverter
    from perdure.types import AnyType, ParamType


class WithMemo:
    """What has a memo, and reads it when asked."""

    #: What it is, in words.
    _kind: ClassVar[str]
    id: str

    @property
    def _memo(self) -> tuple[Memo | None, DataConverter]:
        """The memo, and what reads it."""
        raise NotImplementedError  # each kind of description has it

    async def memo(self) -> Mapping[str, Any]:
        """Every memo value, converted without type hints; see :meth:`memo_value` for one with a hint."""
        memo, converter = self._memo
        fields = {} if memo is None else memo.fields
        return {key: (await converter.decode([payload]))[0] for key, payload in fields.items()}

    @overload
    async def memo_value(self, key: str, default: Any = _arg_unset) -> Any: ...

    @overload
    async def memo_value(self, key: str, *, type_hint: type[ParamType]) -> ParamType: ...

    @overload
    async def memo_value(self, key: str, default: AnyType, *, type_hint: type[ParamType]) -> AnyType | ParamType: ...

    async def memo_value(self, key: str, default: Any = _arg_unset, *, type_hint: type | None = None) -> Any:
        """One memo value, converted with the hint if there is one.

        Raises:
            KeyError: there is no such key and no default.
        """
        _check.text("memo_value", "key", key)
        memo, converter = self._memo
        payload = None if memo is None else memo.fields.get(key)
        if payload is None:
            if default is _arg_unset:
                raise KeyError(f"the memo of {self._kind} {self.id!r} has no value for {key!r}")
            return default
        return (await converter.decode([payload], None if type_hint is None else [type_hint]))[0]
