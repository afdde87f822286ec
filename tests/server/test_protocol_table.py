"""docs/protocol.md says of every RPC whether it is there."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

import pytest

from perdure.engine.engine import Engine
from perdure.server._calls import Calls
from perdure.wire.methods import OPERATOR_SERVICE, TEST_SERVICE, WORKFLOW_SERVICE

PAGE = Path(__file__).parents[2] / "docs" / "protocol.md"
SERVICES = {
    "WorkflowService": (WORKFLOW_SERVICE, "workflowservice"),
    "OperatorService": (OPERATOR_SERVICE, "operatorservice"),
    "TestService": (TEST_SERVICE, "testservice"),
}


def written(service: str) -> dict[str, str]:
    """RPC -> what the page says of it."""
    section = PAGE.read_text(encoding="utf-8").split(f"\n## {service}\n")[1].split("\n## ")[0]
    return dict(re.findall(r"^\| (\w+) \| (full|partial|no) \|", section, re.MULTILINE))


def temporals(package: str) -> set[str]:
    """The RPCs that Temporal's generated code has."""
    code = files("temporalio.api").joinpath(package, "v1", "service_pb2_grpc.py").read_text(encoding="utf-8")
    return set(re.findall(r"^    def (\w+)\(self, request", code, re.MULTILINE))


@pytest.mark.parametrize("service", SERVICES)
def test_the_page_lists_what_there_is(service: str) -> None:
    full_name, package = SERVICES[service]
    rows = written(service)
    assert set(rows) >= temporals(package)
    there = {
        path.rpartition("/")[2] for path in Calls(_Everything(), None, {}).implemented() if f"/{full_name}/" in path
    }
    assert {rpc for rpc, word in rows.items() if word != "no"} == there


class _Everything:
    """What an engine has, and a test service."""

    def __getattr__(self, name: str) -> Any:
        from perdure.testing._test_service import TestServiceRpcs

        for owner in (Engine, TestServiceRpcs):
            if hasattr(owner, name):
                return cast("Any", getattr(owner, name))
        raise AttributeError(name)
