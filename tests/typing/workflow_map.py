"""What a type checker must accept and refuse in ``workflow.map`` calls. Checked by mypy, never run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, assert_type

from perdure import activity, workflow

TIMEOUT = timedelta(seconds=1)


@activity.defn
async def measure(text: str) -> int:
    return len(text)


@activity.defn
def measure_sync(text: str) -> int:
    return len(text)


class Ruler:
    @activity.defn
    async def measure(self, text: str) -> int:
        return len(text)


@workflow.defn
class Measuring:
    @workflow.run
    async def run(self, text: str) -> int:
        return len(text)


async def pages() -> AsyncIterator[str]:
    yield ""


async def plain(text: str) -> int:
    return len(text)


async def maps() -> None:
    assert_type(await workflow.map(measure, ["a"], start_to_close_timeout=TIMEOUT), list[int])
    assert_type(await workflow.map(measure_sync, ("a",), start_to_close_timeout=TIMEOUT), list[int])
    assert_type(await workflow.map(measure, pages(), local=True, local_retry_threshold=TIMEOUT), list[int])
    assert_type(await workflow.map(measure_sync, pages(), local=True, start_to_close_timeout=TIMEOUT), list[int])
    assert_type(await workflow.map(Ruler.measure, ["a"], start_to_close_timeout=TIMEOUT), list[int])
    assert_type(await workflow.map(Measuring.run, ["a"], run_timeout=TIMEOUT, item_id=str.upper), list[int])
    assert_type(await workflow.map(plain, ["a"], concurrency=3), list[int])
    assert_type(await workflow.map("measure", ["a"], result_type=int, start_to_close_timeout=TIMEOUT), list[Any])
    async for result in workflow.map(measure, ["a"], start_to_close_timeout=TIMEOUT):
        assert_type(result, int)
    async for outcome in workflow.map(measure, ["a"], start_to_close_timeout=TIMEOUT).outcomes():
        assert_type(outcome, workflow.Outcome[str, int])


async def refused() -> None:
    await workflow.map(measure, [1], start_to_close_timeout=TIMEOUT)  # type: ignore[arg-type]
    await workflow.map(measure, "a", timeout=TIMEOUT)  # type: ignore[call-overload]
    await workflow.map(measure, 3, start_to_close_timeout=TIMEOUT)  # type: ignore[call-overload]
