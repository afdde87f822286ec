"""Answers that come page by page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Generic, Self, TypeVar

if TYPE_CHECKING:
    from perdure.client._client import Client

_T = TypeVar("_T")


class PageIterator(Generic[_T]):
    """Items one by one, from pages fetched when they are needed; a subclass says how a page is fetched."""

    def __init__(self, client: Client, next_page_token: bytes | None) -> None:
        self._client = client
        self._next_page_token = next_page_token
        self._current_page: Sequence[_T] | None = None
        self._current_page_index = 0

    @property
    def current_page_index(self) -> int:
        """Index in the current page of the item that comes next."""
        return self._current_page_index

    @property
    def current_page(self) -> Sequence[_T] | None:
        """The page at hand, None before the first."""
        return self._current_page

    @property
    def next_page_token(self) -> bytes | None:
        """The token of the next page, None at the end."""
        return self._next_page_token

    async def fetch_next_page(self, *, page_size: int | None = None) -> None:
        """Fetch the next page, of at most ``page_size`` items where that is given."""
        raise NotImplementedError

    def _turn_to(self, page: Sequence[_T], next_page_token: bytes) -> None:
        self._current_page = page
        self._current_page_index = 0
        self._next_page_token = next_page_token or None

    def __aiter__(self) -> Self:
        """The iterator itself."""
        return self

    async def __anext__(self) -> _T:
        """The next item, from the next page if need be."""
        while self._current_page is None or self._current_page_index >= len(self._current_page):
            if self._current_page is not None and self._next_page_token is None:
                raise StopAsyncIteration
            await self.fetch_next_page()
        item = self._current_page[self._current_page_index]
        self._current_page_index += 1
        return item
