"""Listing and counting runs.

A plain listing walks two indexes, one of open runs and one of closed ones, in the order of the listing; a page begins
where its token says.
"""

from __future__ import annotations

from typing import Any

from perdure.store.api import VisibilityPage
from perdure.store.keys import MAX_TIME, is_run_id
from perdure.store.postgres._connections import Connections
from perdure.store.postgres._filter import Filter
from perdure.store.postgres._rows import VISIBILITY_COLUMNS, visibility_record
from perdure.store.postgres._text import unescape
from perdure.store.visibility import RUN_FIELDS, Field, Page, PageToken, Query, group_name, read_page, write_token

_POSITION = (
    "(v.close_time > 0), CASE WHEN v.close_time > 0 THEN -v.close_time ELSE -v.start_time END, "
    "CASE WHEN v.close_time > 0 THEN -v.start_time ELSE 0 END, v.run_id"
)


class Visibility:
    """The ``visibility`` table of one store."""

    def __init__(self, connections: Connections, schema: str) -> None:
        self._connections = connections
        self._table = f"{schema}.visibility v"

    async def list_runs(
        self, namespace_id: str, query: Query | None, page_size: int, next_page_token: bytes
    ) -> VisibilityPage:
        """As :meth:`Store.list_runs`."""
        page = read_page(query, page_size, next_page_token)
        if query is not None and query.order_by:
            rows = await self._ordered(namespace_id, query, page)
        else:
            rows = await self._newest_first(namespace_id, query, page)
        records = [visibility_record(row) for row in rows[: page.size]]
        return VisibilityPage(records, write_token(query, records[-1]) if len(rows) > page.size else b"")

    async def _newest_first(self, namespace_id: str, query: Query | None, page: Page) -> list[Any]:
        rows: list[Any] = []
        after = None if page.after is None else page.after.position
        if after is None or after[0] == 0:
            built = Filter(namespace_id)
            where = _where(built, query) + " AND v.close_time = 0"
            if after is not None:
                where += (
                    f" AND v.start_time <= {built.parameter(-after[1], 'bigint')} AND (-v.start_time, v.run_id) > "
                    f"({built.parameter(after[1], 'bigint')}, {built.parameter(after[3], 'uuid')})"
                )
            rows = await self._rows(built, where, "v.start_time DESC, v.run_id", page.size + 1)
            after = None
        if len(rows) <= page.size:
            built = Filter(namespace_id)
            where = _where(built, query) + " AND v.close_time > 0"
            if after is not None:
                where += (
                    f" AND v.close_time <= {built.parameter(-after[1], 'bigint')} "
                    "AND (-v.close_time, -v.start_time, v.run_id) > "
                    f"({built.parameter(after[1], 'bigint')}, {built.parameter(after[2], 'bigint')}, "
                    f"{built.parameter(after[3], 'uuid')})"
                )
            order = "v.close_time DESC, v.start_time DESC, v.run_id"
            rows += await self._rows(built, where, order, page.size + 1 - len(rows))
        return rows

    async def _ordered(self, namespace_id: str, query: Query, page: Page) -> list[Any]:
        built = Filter(namespace_id)
        where = _where(built, query)
        values = [built.value(field) for field, _ in query.order_by]
        if page.after is not None:
            where += " AND " + _after(built, query, values, page.after)
        order = [
            f"{value}{' DESC' if descending else ''} NULLS LAST"
            for value, (_, descending) in zip(values, query.order_by, strict=True)
        ]
        return await self._rows(built, where, ", ".join([*order, _POSITION]), page.size + 1)

    async def _rows(self, built: Filter, where: str, order: str, limit: int) -> list[Any]:
        place = built.parameter(limit, "bigint")
        sql = f"SELECT {VISIBILITY_COLUMNS} FROM {self._table} WHERE {where} ORDER BY {order} LIMIT {place}"
        return await self._connections.fetch(sql, *built.parameters)

    async def count_runs(self, namespace_id: str, query: Query | None) -> dict[tuple[str, ...], int]:
        """As :meth:`Store.count_runs`."""
        built = Filter(namespace_id)
        where = _where(built, query)
        if query is None or query.group_by is None:
            row = await self._connections.fetchrow(
                f"SELECT count(*) FROM {self._table} WHERE {where}", *built.parameters
            )
            return {(): row[0]}
        field = query.group_by
        value = built.value(field)
        if field.type == "Keyword" and field.name != "ExecutionStatus":
            value = f"({value})::text"
        rows = await self._connections.fetch(
            f"SELECT {value}, count(*) FROM {self._table} WHERE {where} GROUP BY 1", *built.parameters
        )
        counts: dict[tuple[str, ...], int] = {}
        for found, count in rows:
            key = group_name(field, unescape(found) if isinstance(found, str) else found)
            counts[key] = counts.get(key, 0) + count
        return counts


def _where(built: Filter, query: Query | None) -> str:
    where = "v.namespace_id = $1"
    if query is not None and query.where is not None:
        where += " AND " + built.condition(query.where)
    return where


def _after(built: Filter, query: Query, values: list[str], after: PageToken) -> str:
    """What comes after the values and the position of a token; unset values come last in either direction."""
    ways = []
    same = []
    for value, (field, descending), last in zip(values, query.order_by, after.values, strict=True):
        if last is None:
            same.append(f"{value} IS NULL")
            continue
        _check(field, last)
        place = built.constant(field, last)
        ways.append(" AND ".join([*same, f"({value} {'<' if descending else '>'} {place} OR {value} IS NULL)"]))
        same.append(f"{value} = {place}")
    closed, one, two, run_id = after.position
    position = ", ".join(
        [
            built.parameter(closed == 1, "boolean"),
            built.parameter(one, "bigint"),
            built.parameter(two, "bigint"),
            built.parameter(run_id, "uuid"),
        ]
    )
    ways.append(" AND ".join([*same, f"({_POSITION}) > ({position})"]))
    return "(" + " OR ".join(f"({way})" for way in ways) + ")"


def _check(field: Field, value: Any) -> None:
    kinds: dict[str, tuple[type, ...]] = {
        "Int": (int,),
        "Datetime": (int,),
        "Double": (int, float),
        "Bool": (bool,),
        "Keyword": (int,) if field.name == "ExecutionStatus" else (str,),
    }
    is_fit = isinstance(value, kinds[field.type]) and (field.type == "Bool" or not isinstance(value, bool))
    if field.name == "RunId":
        is_fit = isinstance(value, str) and is_run_id(value)
    if not is_fit or (isinstance(value, int) and not -MAX_TIME <= value <= MAX_TIME and field.name in RUN_FIELDS):
        raise ValueError("next_page_token is not one that this listing gave")
