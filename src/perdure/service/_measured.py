"""What a connection measures of its requests, by the names of Temporal's SDK metrics.

Only a connection with a runtime that wants metrics has such a layer.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, cast

from perdure.service._errors import RPCError
from perdure.service._operator_service import OperatorService
from perdure.service._test_service import TestService
from perdure.service._workflow_service import WorkflowService

if TYPE_CHECKING:
    from perdure.runtime._named_metrics import NamedMetrics

_NOT_RPCS = frozenset(("close", "detach_activity_task", "in_process"))
_RPCS = {
    name: "".join(map(str.capitalize, name.split("_")))
    for protocol in (WorkflowService, OperatorService, TestService)
    for name in dir(protocol)
    if not name.startswith("_") and name not in _NOT_RPCS
}
#: RPCs that wait for something to happen; so does the reading of a history when it waits for new events.
_LONG = frozenset(name for name in _RPCS if name.startswith("poll_")) | {"update_workflow_execution"}


class MeasuredRequests:
    """A service as it is, with its requests counted and timed."""

    def __init__(self, service: WorkflowService, metrics: NamedMetrics) -> None:
        self._service = service
        self._metrics = metrics

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._service, name)
        operation = _RPCS.get(name)
        if operation is None:
            return found

        async def measured(*args: Any, **options: Any) -> Any:
            request = args[0] if args else options.get("request", options.get("req"))
            is_long = name in _LONG or getattr(request, "wait_new_event", False)
            kind = "long_request" if is_long else "request"
            labels = _labels(operation, request)
            self._metrics.count(kind, **labels)
            begin = time.perf_counter()
            try:
                return await found(*args, **options)
            except RPCError as error:
                self._metrics.count(f"{kind}_failure", status_code=error.status.name, **labels)
                raise
            finally:
                self._metrics.time(f"{kind}_latency", time.perf_counter() - begin, **labels)

        self.__dict__[name] = measured
        return measured


def _labels(operation: str, request: object) -> dict[str, str]:
    labels = {"operation": operation}
    namespace = getattr(request, "namespace", "")
    if namespace and isinstance(namespace, str):
        labels["namespace"] = namespace
    queue = getattr(request, "task_queue", None)
    name = getattr(queue, "normal_name", "") or getattr(queue, "name", "")
    if name:
        labels["task_queue"] = name
    return labels


def measured(service: WorkflowService, runtime: object) -> WorkflowService:
    """A service whose requests are measured, if the runtime wants metrics and they are not measured yet."""
    from perdure.runtime._named_metrics import named_metrics

    metrics = named_metrics(runtime, {})
    if metrics is None or isinstance(service, MeasuredRequests):
        return service
    return cast("WorkflowService", MeasuredRequests(service, metrics))


def unmeasured(service: WorkflowService) -> WorkflowService:
    """The service behind the layer that measures, if there is one."""
    return service._service if isinstance(service, MeasuredRequests) else service
