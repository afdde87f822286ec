"""Workflows and activities that do what they are told, good or bad."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

from perdure import Saga, activity, workflow
from perdure.common import RetryPolicy, SearchAttributeKey
from perdure.exceptions import ApplicationError

QUEUE = "queue"
LONG = "x" * 1001
BIG = b"x" * (2 * 1024 * 1024 + 1)
SOON = timedelta(seconds=10)
_ONCE = RetryPolicy(maximum_attempts=1)


class Unprintable(Exception):
    def __str__(self) -> str:
        raise ValueError("has no text")


@activity.defn
async def echo(value: int) -> int:
    return value


@activity.defn
async def unserialisable() -> object:
    return object()


@activity.defn
async def too_large() -> bytes:
    return BIG


@activity.defn
async def too_large_failure() -> None:
    raise ApplicationError("m", BIG.decode(), non_retryable=True)


@activity.defn
async def too_large_heartbeat() -> None:
    activity.heartbeat(BIG.decode())
    await asyncio.Event().wait()


@activity.defn
async def unserialisable_failure() -> None:
    raise ApplicationError("m", object(), non_retryable=True)


@activity.defn
async def unprintable() -> None:
    raise Unprintable


@activity.defn
def stop_iteration() -> None:
    raise StopIteration


@activity.defn
def thread_exit() -> None:
    raise SystemExit(3)


@activity.defn
async def asks_the_workflow() -> None:
    workflow.now()


def undecorated() -> None: ...


@workflow.defn
class Child:
    @workflow.run
    async def run(self) -> None: ...

    @workflow.query
    def query(self) -> int:
        return 1


@workflow.defn
class RunsAnActivity:
    @workflow.run
    async def run(self, name: str) -> Any:
        return await workflow.execute_activity(name, start_to_close_timeout=SOON, retry_policy=_ONCE)


@workflow.defn
class Waits:
    def __init__(self) -> None:
        self.is_done = False

    @workflow.run
    async def run(self) -> str:
        await workflow.wait_condition(lambda: self.is_done)
        return "done"

    @workflow.signal
    def finish(self) -> None:
        self.is_done = True

    @workflow.signal
    def take(self, amount: int) -> None: ...

    @workflow.query
    def unserialisable(self) -> object:
        return object()

    @workflow.query
    def too_large(self) -> bytes:
        return BIG

    @workflow.query
    def starts_an_activity(self) -> None:
        workflow.start_activity(echo, 1, start_to_close_timeout=SOON)

    @workflow.query
    def needs_an_int(self, value: int) -> int:
        return value


def act(*args: Any, **options: Any) -> Awaitable[Any]:
    """An activity with a timeout, so that only the rest is bad."""
    return workflow.execute_activity(*(args or (echo, 1)), **{"start_to_close_timeout": SOON, **options})


def child(*args: Any, **options: Any) -> Awaitable[Any]:
    return workflow.execute_child_workflow(*(args or (Child.run,)), **options)


def again(*args: Any, **options: Any) -> None:
    workflow.continue_as_new(*args, **options)


def external(workflow_id: Any = "other", **options: Any) -> workflow.ExternalWorkflowHandle[Any]:
    return workflow.get_external_workflow_handle(workflow_id, **options)


def fail(error: BaseException) -> None:
    raise error


async def _never() -> bool:
    return False


_INT = SearchAttributeKey.for_int("I")
_DATE = SearchAttributeKey.for_datetime("D")

#: Name: what the workflow does, and what it is told.
CALLS: dict[str, tuple[Callable[[], Any], str]] = {
    "activity of a wrong type": (lambda: act(5), "TypeError: Activity must be a string or callable, not int"),
    "undecorated activity": (lambda: act(undecorated), r"ValueError: .*was it decorated with @activity.defn"),
    "nameless activity": (lambda: act(""), "activity must not be empty"),
    "activity with a long name": (lambda: act(LONG), "activity has 1001 bytes; at most 1000"),
    "workflow as activity": (lambda: act(Child.run), "was it decorated with @activity.defn"),
    "activity without timeout": (
        lambda: workflow.execute_activity(echo, 1),
        "Activity echo must have start_to_close_timeout or schedule_to_close_timeout",
    ),
    "timeout of a wrong type": (lambda: act(start_to_close_timeout=5), "must be a timedelta, not int"),
    "negative timeout": (lambda: act(heartbeat_timeout=timedelta(-1)), "heartbeat_timeout must not be negative"),
    "arg and args": (lambda: act(echo, 1, args=[1]), "Cannot have arg and args"),
    "text as args": (lambda: act("echo", args="abc"), "args must be a list or tuple"),
    "activity id of a wrong type": (lambda: act(activity_id=5), "activity_id must be a str, not int"),
    "child with a bad cron schedule": (
        lambda: workflow.execute_child_workflow(Child.run, cron_schedule="99 * * * *"),
        "cron_schedule is not valid",
    ),
    "activity id that is pending": (
        lambda: asyncio.gather(*(act(activity_id="same") for _ in range(2))),
        "an activity with id 'same' is pending already",
    ),
    "long activity id": (lambda: act(activity_id=LONG), "activity_id has 1001 bytes"),
    "task queue of a wrong type": (lambda: act(task_queue=5), "task_queue must be a str, not int"),
    "long task queue": (lambda: act(task_queue=LONG), "task_queue has 1001 bytes"),
    "retry policy of a wrong type": (lambda: act(retry_policy={}), "retry_policy must be RetryPolicy, not dict"),
    "bad retry policy": (lambda: act(retry_policy=RetryPolicy(backoff_coefficient=0.1)), "coefficient cannot be less"),
    "cancellation type of a wrong type": (lambda: act(cancellation_type=7), "cancellation_type must be one of"),
    "priority of a wrong type": (lambda: act(priority=5), "priority must be Priority, not int"),
    "unknown activity option": (lambda: act(nonsense=1), "unexpected keyword argument 'nonsense'"),
    "unserialisable argument": (lambda: act(echo, object()), "object is not JSON serializable"),
    "activity result of another type": (lambda: act("echo", 1, result_type=dict), "Expected .*dict.*, value was .*int"),
    "local activity without timeout": (
        lambda: workflow.execute_local_activity(echo, 1),
        "must have start_to_close_timeout or schedule_to_close_timeout",
    ),
    "sleep of a wrong type": (lambda: workflow.sleep("x"), "sleep: duration must be a number"),  # type: ignore[arg-type]
    "negative sleep": (lambda: workflow.sleep(-1), "Cannot sleep for -1 seconds"),
    "sleep for no number": (lambda: workflow.sleep(float("nan")), "delay of nan seconds"),
    "condition that is a coroutine": (
        lambda: workflow.wait_condition(_never),  # type: ignore[arg-type]
        "fn must be a plain function",
    ),
    "condition of a wrong type": (lambda: workflow.wait_condition(5), "fn must be a function"),  # type: ignore[arg-type]
    "condition timeout of a wrong type": (
        lambda: workflow.wait_condition(bool, timeout="x"),  # type: ignore[arg-type]
        "timeout must be a number of seconds or a timedelta, not str",
    ),
    "child of a wrong type": (lambda: child(5), "Workflow must be a string or callable, not int"),
    "child class": (lambda: child(Child), "pass the run method of Child, not the class"),
    "undecorated child": (lambda: child(undecorated), "was it decorated with @workflow.run"),
    "long child id": (lambda: child(id=LONG), "id has 1001 bytes"),
    "child id of a wrong type": (lambda: child(id=5), "id must be a str, not int"),
    "negative child timeout": (lambda: child(run_timeout=timedelta(-1)), "run_timeout must not be negative"),
    "child timeout of a wrong type": (lambda: child(run_timeout="x"), "run_timeout must be a timedelta, not str"),
    "bad parent close policy": (lambda: child(parent_close_policy=99), "parent_close_policy must be one of"),
    "bad child cancellation type": (lambda: child(cancellation_type=99), "cancellation_type must be one of"),
    "child memo of a wrong type": (lambda: child(memo=5), "memo must be Mapping, not int"),
    "unserialisable child argument": (lambda: child("Child", object()), "object is not JSON serializable"),
    "external id of a wrong type": (lambda: external(5), "workflow_id must be a str, not int"),
    "no external id": (lambda: external(""), "workflow_id must not be empty"),
    "long external id": (lambda: external(LONG), "workflow_id has 1001 bytes"),
    "signal of a wrong type": (lambda: external().signal(5), "signal must be a signal handler or its name, not int"),  # type: ignore[call-overload]
    "no signal name": (lambda: external().signal(""), "signal must not be empty"),
    "query as signal": (lambda: external().signal(Child.query), "decorated with @workflow.signal"),  # type: ignore[call-overload]
    "signal to nobody": (lambda: external().signal("s"), "it was not found"),
    "continuing as something else": (lambda: again(workflow=5), "must be None, a string, or callable, not int"),
    "continuing with arg and args": (lambda: again(1, args=[1]), "Cannot have arg and args"),
    "continuing with unserialisable": (lambda: again(object()), "object is not JSON serializable"),
    "continuing with a negative timeout": (lambda: again("x", run_timeout=timedelta(-1)), "must not be negative"),
    "continuing with a wrong type": (lambda: again("x", task_queue=5), "task_queue must be a str"),
    "continuing with a wrong memo": (lambda: again("x", memo=5), "memo must be Mapping"),
    "search attribute of another type": (
        lambda: workflow.upsert_search_attributes([_INT.value_set("x")]),  # type: ignore[arg-type]
        "Value of type str not suitable",
    ),
    "naive search attribute": (
        lambda: workflow.upsert_search_attributes([_DATE.value_set(datetime(2026, 1, 1))]),
        "Timezone must be present",
    ),
    "memo of a wrong type": (lambda: workflow.upsert_memo(5), "must be a mapping"),  # type: ignore[arg-type]
    "memo key of a wrong type": (lambda: workflow.upsert_memo({5: 5}), "mapping from str"),  # type: ignore[dict-item]
    "unserialisable memo": (lambda: workflow.upsert_memo({"a": object()}), "object is not JSON serializable"),
    "no such memo": (lambda: workflow.memo_value("none"), "Memo does not have a value for key none"),
    "handler of a wrong type": (lambda: workflow.set_signal_handler("x", 5), "must be callable"),  # type: ignore[arg-type]
    "waiting for nothing": (lambda: workflow.wait([]), "nothing to wait for"),
    "activity function in a workflow": (activity.info, "Not in activity context"),
    "saga with an unknown option": (lambda: Saga(nonsense=1), "has no option 'nonsense'"),  # type: ignore[call-arg]
    "saga with a wrong timeout": (lambda: Saga(start_to_close_timeout=5), "must be a timedelta"),  # type: ignore[arg-type]
    "saga without timeout": (lambda: Saga().add(echo, 1), "needs a start_to_close_timeout"),
    "unserialisable details": (lambda: fail(ApplicationError("m", object())), "object is not JSON serializable"),
    "unserialisable result": (lambda: object(), "object is not JSON serializable"),
}

#: Refused by the service when the task is answered: the workflow ends there, as with Temporal.
TOO_LARGE: dict[str, Callable[[], Any]] = {
    "activity argument": lambda: act("echo", BIG),
    "child argument": lambda: child("Child", BIG),
    "signal argument": lambda: external().signal("s", BIG),
    "continue-as-new argument": lambda: again(BIG),
    "memo": lambda: workflow.upsert_memo({"a": BIG}),
    "failure details": lambda: fail(ApplicationError("m", BIG.decode())),
    "result": lambda: BIG,
}

#: Cannot be encoded by the worker or is refused by the service: the task fails, and is tried again.
FAILS_THE_TASK: dict[str, Callable[[], Any]] = {
    "system search attribute": lambda: workflow.upsert_search_attributes(
        [SearchAttributeKey.for_keyword("WorkflowId").value_set("x")]
    ),
    "one activity id twice": lambda: asyncio.gather(act(activity_id="a"), act(activity_id="a")),
    "cron schedule of a child": lambda: child(cron_schedule="never"),
    "run id that is none": lambda: external(run_id="none").signal("s"),
    "unserialisable continuation": lambda: again(object()),
}


@workflow.defn(failure_exception_types=[Exception])
class Calls:
    """Does one of the calls; what it raises fails the workflow."""

    @workflow.run
    async def run(self, name: str) -> Any:
        call = CALLS[name][0] if name in CALLS else TOO_LARGE[name]
        result = call()
        return await result if hasattr(result, "__await__") else result


@workflow.defn
class FailsItsTask:
    @workflow.run
    async def run(self, name: str) -> Any:
        result = FAILS_THE_TASK[name]()
        return await result if hasattr(result, "__await__") else result


@workflow.defn
class Catches:
    """Goes on after every refusal; each of them must come again when it is replayed."""

    @workflow.run
    async def run(self) -> list[str]:
        refused = []
        for name, (call, _) in CALLS.items():
            if name in ("activity result of another type", "continuing with unserialisable"):
                continue  # cannot be caught, as with Temporal
            try:
                result = call()
                if hasattr(result, "__await__"):
                    await result
            except Exception:
                refused.append(name)
            await asyncio.sleep(0.001)
        return refused


WORKFLOWS = [Calls, Catches, Child, FailsItsTask, RunsAnActivity, Waits]
ACTIVITIES = [
    asks_the_workflow,
    echo,
    stop_iteration,
    thread_exit,
    too_large,
    too_large_failure,
    too_large_heartbeat,
    unprintable,
    unserialisable,
    unserialisable_failure,
]
