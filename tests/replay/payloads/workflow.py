"""Payloads of every encoding, empty, large and strange, as arguments, results, details and memo."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from typing import Any
from uuid import UUID

from sdk import activity, common, exceptions, workflow


class Colour(StrEnum):
    RED = "red"


class Size(IntEnum):
    LARGE = 3


@dataclass
class Box:
    colour: Colour
    size: Size
    made: datetime
    id: UUID
    inner: list["Box"]
    more: dict[str, int | None]


@activity.defn
async def boxed(box: Box) -> Box:
    return box


@activity.defn
async def size_of(data: bytes) -> int:
    return len(data)


@activity.defn
async def large(size: int) -> str:
    return "perdure " * (size // 8)


@activity.defn
async def fail() -> None:
    raise exceptions.ApplicationError("ünïcödé ☃ \u0000", b"bytes", None, {"a": [1, 2.5, True]}, 1 << 60)


@workflow.defn
class Payloads:
    @workflow.run
    async def run(self, text: str, data: bytes, nothing: None, box: Box, raw: common.RawValue) -> list[Any]:
        options: dict[str, Any] = {"start_to_close_timeout": timedelta(seconds=20)}
        seen: list[Any] = [text, len(data), nothing, raw.payload.data.decode()]
        seen.append(await workflow.execute_activity(boxed, box, **options))
        seen.append(await workflow.execute_activity(size_of, data, **options))
        seen.append(len(await workflow.execute_activity(large, 40_000, **options)))
        try:
            await workflow.execute_activity(fail, retry_policy=common.RetryPolicy(maximum_attempts=1), **options)
        except exceptions.ActivityError as error:
            seen.append(len(error.cause.details))
        return seen


WORKFLOWS = [Payloads]
ACTIVITIES = [boxed, size_of, large, fail]


async def drive(d: Any) -> None:
    made = datetime(2024, 2, 29, 12, 30, 15)
    inner = Box(Colour.RED, Size.LARGE, made, UUID(int=7), [], {})
    box = Box(Colour.RED, Size.LARGE, made, UUID(int=8), [inner], {"one": 1, "none": None})
    async with d.worker():
        outcome = await d.run(
            Payloads.run, '☃ 𝄞 " \\ </script>', bytes(range(256)), None, box, {"raw": [1]}, memo={"bytes": b"\x00\xff"}
        )
        assert outcome[1:4] == [256, None, '{"raw":[1]}'], outcome
        assert outcome[5:] == [256, 40_000, 4], outcome
