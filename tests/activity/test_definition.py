"""``@activity.defn`` and the functions that need an activity around them."""

from __future__ import annotations

import functools
import inspect
import logging
import pickle
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from perdure import activity
from perdure.activity._context import ActivityContext, OnceEvent, current_context
from perdure.activity._definition import Definition
from perdure.common import RawValue


def test_defaults_and_options() -> None:
    @activity.defn
    async def plain(a: int, b: str = "") -> bool:
        return True

    @activity.defn(name="other", no_thread_cancel_exception=True)
    def named(a: Any) -> None: ...

    definition = Definition.must_from_callable(plain)
    assert (definition.name, definition.is_async, definition.no_thread_cancel_exception) == ("plain", True, False)
    assert (definition.arg_types, definition.ret_type) == ([int, str], bool)
    definition = Definition.must_from_callable(named)
    assert (definition.name, definition.is_async, definition.no_thread_cancel_exception) == ("other", False, True)
    assert Definition.get_name_and_result_type(plain) == ("plain", bool)
    assert Definition.get_name_and_result_type("name") == ("name", None)


def test_methods_keep_their_instance() -> None:
    class Holder:
        @activity.defn
        async def method(self, value: int) -> int:
            return value

    holder = Holder()
    definition = Definition.must_from_callable(holder.method)
    assert definition.fn == holder.method and definition.arg_types == [int]
    assert Definition.must_from_callable(Holder.method).fn is Holder.method


def test_callable_classes() -> None:
    @activity.defn(name="called")
    class Called:
        async def __call__(self, value: int) -> str:
            return str(value)

    definition = Definition.must_from_callable(Called())
    assert (definition.name, definition.is_async) == ("called", True)
    assert (definition.arg_types, definition.ret_type) == ([int], str)


def test_dynamic() -> None:
    @activity.defn(dynamic=True)
    async def anything(args: Sequence[RawValue]) -> None: ...

    assert Definition.must_from_callable(anything).name is None
    with pytest.raises(ValueError, match="has no name because it is dynamic"):
        Definition.get_name_and_result_type(anything)
    with pytest.raises(TypeError, match="must accept a single Sequence"):

        @activity.defn(dynamic=True)
        async def wrong(args: list[int]) -> None: ...


def test_refused() -> None:
    with pytest.raises(TypeError, match=r"cannot have keyword-only arguments$"):

        @activity.defn
        async def keyword(*, a: int) -> None: ...

    with pytest.raises(ValueError, match="both a name and dynamic"):
        activity.defn(name="x", dynamic=True)(lambda args: None)  # type: ignore[call-overload]

    with pytest.raises(ValueError, match="already contains activity definition"):

        @activity.defn
        @activity.defn
        async def twice() -> None: ...

    with pytest.raises(TypeError, match="not callable"):
        activity.defn(5)  # type: ignore[type-var]
    with pytest.raises(TypeError, match=r"was it decorated with @activity\.defn"):
        Definition.must_from_callable(test_refused)
    with pytest.raises(TypeError, match="must be a string or callable"):
        Definition.get_name_and_result_type(5)  # type: ignore[arg-type]


def test_a_partial_of_a_coroutine_function_is_async() -> None:
    async def add(a: int, b: int) -> int:
        return a + b

    definition = Definition.of(functools.partial(add, 1), name="add", no_thread_cancel_exception=False)
    assert definition.is_async


def test_outside_an_activity_everything_says_so() -> None:
    calls: list[Callable[[], Any]] = [
        activity.info,
        activity.heartbeat,
        activity.is_cancelled,
        activity.cancellation_details,
        activity.is_worker_shutdown,
        activity.payload_converter,
        activity.metric_meter,
        activity.client,
        activity.wait_for_cancelled_sync,
        activity.wait_for_worker_shutdown_sync,
    ]
    for call in calls:
        with pytest.raises(RuntimeError, match="Not in activity context"):
            call()
    with pytest.raises(RuntimeError, match="Not in activity context"), activity.shield_thread_cancel_exception():
        pass
    assert not activity.in_activity()
    for wait in (activity.wait_for_cancelled, activity.wait_for_worker_shutdown):
        coroutine = wait()
        with pytest.raises(RuntimeError, match="Not in activity context"):
            coroutine.send(None)


async def test_async_waits_are_refused_in_sync_activities() -> None:
    context = ActivityContext()
    context.is_async = False
    token = current_context.set(context)
    try:
        with pytest.raises(RuntimeError, match=r"call wait_for_cancelled_sync\(\)"):
            await activity.wait_for_cancelled()
    finally:
        current_context.reset(token)


def test_logger_outside_an_activity(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        activity.logger.info("hello")
    assert caplog.records[0].getMessage() == "hello"
    assert activity.logger.base_logger.name == "perdure.activity"


async def test_once_event() -> None:
    event = OnceEvent()
    assert not event.is_set()
    event.wait_sync(0.001)
    event.set()
    await event.wait()
    event.wait_sync()
    assert event.is_set()


def test_cancellation_details_and_info_are_values() -> None:
    details = activity.ActivityCancellationDetails(paused=True)
    assert pickle.loads(pickle.dumps(details)) == details
    assert [name for name, value in inspect.getmembers(details) if value is True] == ["paused"]
