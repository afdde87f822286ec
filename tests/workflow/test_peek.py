"""What the matcher reads of undecoded attributes must be where the full structs have it."""

from __future__ import annotations

import pytest

from perdure.api.history import v1 as history_v1
from perdure.worker import _workflow_runtime as runtime


@pytest.mark.parametrize(
    ("beginning", "whole"),
    [
        (runtime._ActivityScheduled, history_v1.ActivityTaskScheduledEventAttributes),
        (runtime._ChildInitiated, history_v1.StartChildWorkflowExecutionInitiatedEventAttributes),
        (runtime._TaskCompleted, history_v1.WorkflowTaskCompletedEventAttributes),
    ],
)
def test_beginnings_are_beginnings(beginning: type, whole: type) -> None:
    fields = beginning.__struct_fields__  # type: ignore[attr-defined]
    assert whole.__struct_fields__[: len(fields)] == fields  # type: ignore[attr-defined]
