"""Which buffered actions may start: every overlap policy, alone and mixed."""

from __future__ import annotations

import pytest

from perdure.api.common.v1 import WorkflowExecution
from perdure.api.schedule import v1 as schedule_v1
from perdure.engine.schedule_record import BufferedStart, ScheduleRecord
from perdure.engine.schedule_rules import ScheduleRules, with_defaults
from tests.engine.driver import S
from tests.engine.schedule_driver import overlap, schedule

NAMES = {
    "S": "SKIP",
    "1": "BUFFER_ONE",
    "A": "BUFFER_ALL",
    "C": "CANCEL_OTHER",
    "T": "TERMINATE_OTHER",
    "*": "ALLOW_ALL",
    ".": "",
}


@pytest.mark.parametrize(
    ("buffer", "running", "started", "waiting", "skipped", "ends"),
    [
        # A letter per action, in order; the numbers are their places. "." follows the schedule's policy, SKIP.
        ("", False, [], [], 0, ""),
        ("S", False, [0], [], 0, ""),
        ("SSS", False, [0], [], 2, ""),
        ("SSS", True, [], [], 3, ""),
        ("..", False, [0], [], 1, ""),
        ("111", False, [0], [1], 1, ""),
        ("111", True, [], [0], 2, ""),
        ("AAA", False, [0], [1, 2], 0, ""),
        ("AAA", True, [], [0, 1, 2], 0, ""),
        ("A1", True, [], [0], 1, ""),
        ("1A", True, [], [0, 1], 0, ""),
        ("***", False, [0, 1, 2], [], 0, ""),
        ("***", True, [0, 1, 2], [], 0, ""),
        ("*S*", False, [0, 2, 1], [], 0, ""),
        ("*S*", True, [0, 2], [], 1, ""),
        ("CC", False, [1], [], 0, ""),
        ("CC", True, [], [0, 1], 0, "cancel"),
        ("TT", False, [1], [], 0, ""),
        ("TT", True, [], [0, 1], 0, "terminate"),
        ("CT", True, [], [0, 1], 0, "cancel terminate"),
        ("*T", True, [], [1], 0, "terminate"),
        ("ST", False, [1], [], 0, ""),
        ("SA", False, [0], [1], 0, ""),
    ],
)
def test_what_starts_and_what_waits(
    buffer: str, running: bool, started: list[int], waiting: list[int], skipped: int, ends: str
) -> None:
    info = schedule_v1.ScheduleInfo(running_workflows=[WorkflowExecution("w", "r")] if running else [])
    starts = [BufferedStart(place * S, place * S, overlap(NAMES[letter]), True) for place, letter in enumerate(buffer)]
    rules = ScheduleRules("ns", ScheduleRecord("s", with_defaults(schedule()), info, 0, buffer=list(starts)))
    planned = rules.take_startable()
    assert [starts.index(start) for start in planned.starts] == started
    assert [starts.index(start) for start in rules.record.buffer] == waiting
    assert info.overlap_skipped == skipped
    assert planned.cancel_running == ("cancel" in ends)
    assert planned.terminate_running == ("terminate" in ends)


def test_catchup_window_has_a_least_value() -> None:
    for given, kept in ((None, 365 * 86400 * S), (0, 10 * S), (9 * S, 10 * S), (11 * S, 11 * S)):
        policies = with_defaults(schedule(catchup_window=given)).policies
        assert policies is not None
        assert policies.catchup_window == kept
