"""The counters of how workflows closed, by the names of Temporal's SDK metrics."""

from __future__ import annotations

from perdure.api.enums.v1 import CommandType
from perdure.common import MetricMeter

_NAMES = {
    CommandType.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION: "workflow_completed",
    CommandType.COMMAND_TYPE_FAIL_WORKFLOW_EXECUTION: "workflow_failed",
    CommandType.COMMAND_TYPE_CANCEL_WORKFLOW_EXECUTION: "workflow_canceled",
    CommandType.COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION: "workflow_continue_as_new",
}


class CloseMetrics:
    """Counts the commands with which the workflows of a worker close."""

    def __init__(self, meter: MetricMeter, prefix: str, namespace: str, task_queue: str) -> None:
        meter = meter.with_additional_attributes({"namespace": namespace, "task_queue": task_queue})
        self._counters = {int(kind): meter.create_counter(prefix + name) for kind, name in _NAMES.items()}

    def count(self, command_type: int, workflow_type: str) -> None:
        """A workflow of that type closes with that command."""
        counter = self._counters.get(command_type)
        if counter is not None:
            counter.add(1, {"workflow_type": workflow_type})
