"""Temporal's RPCs: the path of each, and the seam's method with its request and response.

Temporal names the messages of an RPC after it, so the list follows from our structs: what has them, is there.
"""

from __future__ import annotations

import re
from types import ModuleType
from typing import NamedTuple

from perdure.api._message import Message
from perdure.api.operatorservice import v1 as operatorservice_v1
from perdure.api.testservice import v1 as testservice_v1
from perdure.api.workflowservice import v1 as workflowservice_v1
from perdure.wire._tables import EmptyMessage, HealthCheckRequest, HealthCheckResponse

__all__ = [
    "HEALTH_SERVICE",
    "OPERATOR_SERVICE",
    "SERVICES",
    "TEST_SERVICE",
    "WORKFLOW_SERVICE",
    "HealthCheckRequest",
    "HealthCheckResponse",
    "Method",
]


class Method(NamedTuple):
    """One RPC."""

    path: str
    """Where gRPC sends it: ``/temporal.api.workflowservice.v1.WorkflowService/StartWorkflowExecution``."""
    attribute: str
    """The seam's method: ``start_workflow_execution``."""
    request: type[Message]
    response: type[Message]


WORKFLOW_SERVICE = "temporal.api.workflowservice.v1.WorkflowService"
OPERATOR_SERVICE = "temporal.api.operatorservice.v1.OperatorService"
TEST_SERVICE = "temporal.api.testservice.v1.TestService"
HEALTH_SERVICE = "grpc.health.v1.Health"


def _named(service: str, module: ModuleType) -> tuple[Method, ...]:
    found = []
    for name, request in vars(module).items():
        rpc = name.removesuffix("Request")
        response = getattr(module, rpc + "Response", None)
        if rpc != name and response is not None:
            found.append(_method(service, rpc, request, response))
    return tuple(sorted(found))


def _method(service: str, rpc: str, request: type[Message], response: type[Message]) -> Method:
    attribute = re.sub(r"(?<!^)(?=[A-Z])", "_", rpc).lower()
    return Method(f"/{service}/{rpc}", attribute, request, response)


_sleep = testservice_v1.SleepRequest, testservice_v1.SleepResponse

#: Full name of a service -> its RPCs. ``get_current_time`` has an empty request; the health service is no part of the
#: seam, its ``check`` and ``watch`` are the server's and the client's own.
SERVICES: dict[str, tuple[Method, ...]] = {
    WORKFLOW_SERVICE: _named(WORKFLOW_SERVICE, workflowservice_v1),
    OPERATOR_SERVICE: _named(OPERATOR_SERVICE, operatorservice_v1),
    TEST_SERVICE: (
        *(it for it in _named(TEST_SERVICE, testservice_v1)),
        _method(TEST_SERVICE, "SleepUntil", testservice_v1.SleepUntilRequest, testservice_v1.SleepResponse),
        _method(TEST_SERVICE, "UnlockTimeSkippingWithSleep", *_sleep),
        _method(TEST_SERVICE, "GetCurrentTime", EmptyMessage, testservice_v1.GetCurrentTimeResponse),
    ),
    HEALTH_SERVICE: (
        _method(HEALTH_SERVICE, "Check", HealthCheckRequest, HealthCheckResponse),
        _method(HEALTH_SERVICE, "Watch", HealthCheckRequest, HealthCheckResponse),
    ),
}
