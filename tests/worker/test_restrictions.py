"""A worker's restrictions refuse what they name, whatever way workflow code got hold of it, and nothing anywhere else."""

from __future__ import annotations

import asyncio
import concurrent.futures
import datetime
import glob
import os
import random
import shutil
import sys
import time
import uuid
import warnings
from collections.abc import Callable
from dataclasses import replace
from datetime import date as early_date
from os import getcwd as early_getcwd
from typing import Any
from uuid import uuid4 as early_uuid4

import pytest

from perdure import Client, Worker, workflow
from perdure.exceptions import ApplicationError
from perdure.worker import UnsandboxedWorkflowRunner
from perdure.worker.workflow_sandbox import (
    RestrictedWorkflowAccessError,
    SandboxedWorkflowRunner,
    SandboxMatcher,
    SandboxRestrictions,
    UnintentionalPassthroughError,
)
from perdure.workflow import SandboxImportNotificationPolicy as Policy

MEMBERS = SandboxRestrictions.invalid_module_members_default
HERE = os.getcwd()


class Day(early_date):
    """A subclass that inherits the constructor."""


CODE: dict[str, Callable[[], Any]] = {
    "os.getcwd": early_getcwd,
    "os.name": lambda: os.name,
    "os.environ.get": lambda: os.environ.get("HOME"),
    "os.getenv": lambda: os.getenv("HOME"),
    "os.getpid": lambda: os.getpid(),
    "glob.glob": lambda: glob.glob("*"),
    "shutil.which": lambda: shutil.which("python"),
    "datetime.datetime.now": lambda: datetime.datetime.now(),
    "datetime.datetime.today": lambda: datetime.datetime.today(),
    "datetime.date.today": early_date.today,
    "time.time": lambda: time.time(),
    "random.choice": lambda: random.choice("ab"),
    "random.random": lambda: random.random(),
    "uuid.uuid4": early_uuid4,
    "concurrent.futures.ThreadPoolExecutor": lambda: concurrent.futures.ThreadPoolExecutor(),
    "open": lambda: open(__file__),
    "__import__": lambda: __import__("this_module_is_nowhere"),
    "date": lambda: early_date(2001, 1, 1).year,
    "Day": lambda: Day(2001, 1, 1).year,
    "own random": lambda: random.Random(1).choice("ab") + workflow.random().choice("a")[:0],
    "references": lambda: [os.getcwd, glob.glob, concurrent.futures.ThreadPoolExecutor][:0],
    "uuid5": lambda: uuid.uuid5(uuid.NAMESPACE_DNS, "example.com").version,
}


@workflow.defn
class Calls:
    @workflow.run
    async def run(self, name: str) -> Any:
        try:
            return str(CODE[name]())
        except (RestrictedWorkflowAccessError, UnintentionalPassthroughError) as error:
            raise ApplicationError(str(error), type=type(error).__name__) from error

    @workflow.signal
    def unused(self) -> None:
        """No signal is sent."""


@workflow.defn
class Imports:
    @workflow.run
    async def run(self, name: str) -> str:
        try:
            exec(f"import {name}")
        except (RestrictedWorkflowAccessError, UnintentionalPassthroughError) as error:
            return type(error).__name__
        return sys.modules[name].__name__


@workflow.defn
class Waits:
    @workflow.run
    async def run(self) -> int:
        async def two() -> int:
            return 2

        done, _ = await asyncio.wait([asyncio.create_task(two())])
        return sum([task.result() for task in done])


async def outcomes(names: list[str], restrictions: SandboxRestrictions, definition: type = Calls) -> dict[str, str]:
    """What became of each, as its result or the message of its error."""
    found = {}
    async with await Client.connect("memory:") as client:
        runner = SandboxedWorkflowRunner(restrictions=restrictions)
        async with Worker(client, task_queue="tq", workflows=[definition], workflow_runner=runner):
            for name in names:
                handle = await client.start_workflow(definition.__name__, name, id=name, task_queue="tq")
                try:
                    found[name] = await handle.result()
                except Exception as error:
                    cause: Any = error.__cause__
                    assert cause.type in ("RestrictedWorkflowAccessError", "UnintentionalPassthroughError")
                    found[name] = cause.message
    return found


async def test_what_temporal_refuses_by_default_is_refused() -> None:
    allowed = ["date", "Day", "own random", "references", "uuid5"]
    names = [name for name in CODE if name not in [*allowed, "__import__"]]
    found = await outcomes([*names, *allowed], SandboxRestrictions.default)
    for name in names:
        assert found[name].startswith(f"Cannot access {name} from inside a workflow"), found[name]
    assert [found[name] for name in allowed] == ["2001", "2001", "a", "[]", "5"]
    assert os.getcwd() == HERE
    assert os.environ.get("PATH")
    assert random.choice("a") == "a"
    assert early_date.today().year > 2020
    assert early_uuid4().version == 4


async def test_the_guard_alone_gives_the_runs_values() -> None:
    found = await outcomes(
        ["datetime.date.today", "uuid.uuid4", "os.name", "os.getpid"], SandboxRestrictions.guard_only
    )
    assert found["os.name"] == os.name
    assert found["os.getpid"] == str(os.getpid())
    assert SandboxedWorkflowRunner() == SandboxedWorkflowRunner(restrictions=SandboxRestrictions.guard_only)


async def test_a_restriction_can_be_lifted() -> None:
    members = MEMBERS.with_child_unrestricted("datetime", "date", "today").with_child_unrestricted("os")
    found = await outcomes(
        ["datetime.date.today", "datetime.datetime.today", "os.name"],
        replace(SandboxRestrictions.default, invalid_module_members=members),
    )
    assert found["datetime.date.today"].startswith("20")
    assert found["os.name"] == os.name
    assert "datetime.datetime.today" in found["datetime.datetime.today"]


async def test_a_restriction_can_be_added_to_a_type_written_in_c() -> None:
    members = MEMBERS | SandboxMatcher(children={"datetime": SandboxMatcher(use={"date"})})
    found = await outcomes(["date", "Day"], replace(SandboxRestrictions.default, invalid_module_members=members))
    assert found["date"].startswith("Cannot access datetime.date ")
    assert found["Day"].startswith("Cannot access datetime.date ")
    assert (early_date(2001, 1, 1).year, Day(2001, 1, 1).year) == (2001, 2001)
    assert type(early_date.__new__(Day, 2001, 1, 1)) is Day


@pytest.mark.parametrize("way", ["module", "package", "all"])
async def test_code_of_modules_that_pass_through_is_not_restricted(way: str) -> None:
    restrictions = SandboxRestrictions.default
    if way == "all":
        restrictions = restrictions.with_passthrough_all_modules()
    else:
        restrictions = restrictions.with_passthrough_modules(__name__ if way == "module" else "tests.worker")
    assert (await outcomes(["os.name"], restrictions))["os.name"] == os.name


async def test_modules_can_be_refused() -> None:
    restrictions = replace(SandboxRestrictions.default, invalid_modules=SandboxMatcher(access={"json", "wave"}))
    found = await outcomes(["json", "string"], restrictions, Imports)
    assert found == {"json": "RestrictedWorkflowAccessError", "string": "string"}


async def test_imports_in_a_workflow_are_told_of() -> None:
    module = "tests.worker.imported_late"
    raising = SandboxRestrictions.default.with_import_notification_policy(Policy.RAISE_ON_UNINTENTIONAL_PASSTHROUGH)
    assert await outcomes([module, "json"], raising, Imports) == {
        module: "UnintentionalPassthroughError",
        "json": "json",
    }
    policy = Policy.WARN_ON_DYNAMIC_IMPORT | Policy.WARN_ON_UNINTENTIONAL_PASSTHROUGH
    with pytest.warns() as warned:
        await outcomes([module], SandboxRestrictions.default.with_import_notification_policy(policy), Imports)
    assert [str(warning.message) for warning in warned] == [
        f"Module {module} was imported after initial workflow load.",
        f"Module {module} was not intentionally passed through to the sandbox.",
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        await outcomes([module], SandboxRestrictions.default, Imports)  # it is loaded by now


async def test_a_module_that_does_what_is_restricted_cannot_be_loaded_by_a_workflow() -> None:
    module = "tests.worker.imports_badly"
    silent = SandboxRestrictions.default.with_import_notification_policy(Policy.SILENT)
    assert await outcomes([module], silent, Imports) == {module: "RestrictedWorkflowAccessError"}
    assert module not in sys.modules


async def test_a_restriction_can_be_a_warning() -> None:
    async with await Client.connect("memory:") as client:
        runner = SandboxedWorkflowRunner(restrictions=SandboxRestrictions.default)
        async with Worker(client, task_queue="tq", workflows=[Waits], workflow_runner=runner):
            with pytest.warns(UserWarning, match=r"workflow\.wait\(\)") as warned:
                assert await client.execute_workflow(Waits.run, id="w", task_queue="tq") == 2
        assert len(warned) == 1
        async with Worker(client, task_queue="tq", workflows=[Waits], workflow_runner=UnsandboxedWorkflowRunner()):
            assert await client.execute_workflow(Waits.run, id="w2", task_queue="tq") == 2


def test_matchers() -> None:
    class Context:
        is_runtime = False

    later = SandboxMatcher(use={"*"}, only_runtime=True, exclude={"stat"})
    assert not later.match_access(Context, "getcwd", include_use=True)
    Context.is_runtime = True
    assert later.match_access(Context, "getcwd", include_use=True)
    assert not later.match_access(Context, "getcwd")
    assert not later.match_access(Context, "stat", include_use=True)
    assert later.child_matcher("environ") is SandboxMatcher.all_runtime
    nested = SandboxMatcher.nested_child(["a", "b"], SandboxMatcher.all)
    assert nested.match_access(Context, "a", "b")
    assert not nested.match_access(Context, "a", "c")
    assert (nested | SandboxMatcher(use={"c"})).match_access(Context, "c", include_use=True)
    assert not nested.with_child_unrestricted("a", "b").match_access(Context, "a", "b")
    with pytest.raises(ValueError, match="only_runtime"):
        nested | later
    with pytest.raises(ValueError, match="match_self"):
        SandboxMatcher(leaf_message="no leaf")
