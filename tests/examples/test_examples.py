"""The examples do what they say, each as one command in a process of its own."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.py") if path.stem != "home")

# What each example must tell, line by line as patterns, in this order; other lines may come between.
TOLD = {
    "approval": [
        r"refused: .*stranger was not asked",
        r"  to deputy: ada spent 120",
        r"noted, deputy",
        r"ada's expense: approved by deputy",
        r"bob's expense: rejected by nobody",
    ],
    "batch": [r"2498 sent, 2 failed, in [2-9] runs of the workflow"],
    "child_workflows": [
        r"  weather, page 1",
        r"  sports, page 2",
        r"  \(gossip is missing: .*nothing to say about gossip\)",
        r"the report is there",
        r"report archived",
    ],
    "crash": [
        r".*charge the card \(attempt 1\)",
        r".*kill -9 \d+",
        r".*ship the parcel \(attempt 2\)",
        r".*result: order 17 is on its way",
        r".*reserve the goods: 1 time",
        r".*charge the card: 1 time",
        r".*ship the parcel: 1 time",
        r".*send the receipt: 1 time",
    ],
    "data_pipeline": [
        r"  transform  attempt 1 begins at row 0",
        r"  transform  attempt 2 begins at row 50",
        r"  validate   100 rows are good",
        r"sum of squares: 1275",
    ],
    "encryption": [
        r"result    Dear Ada, it is a cold\.",
        r"stored    [0-9a-f]+\.\.\. \(binary/encrypted\)",
        r"error     .*Bob has no diagnosis",
        r"rotated   Dear Ada, it is a cold\.",
        r"no key    \w+",
    ],
    "etl": [r"  Oslo does not answer", r"6 rows loaded", r"Lima   16.50", r"Oslo   16.50", r"Rome   16.50"],
    "hello": [
        r"result    \['Hello, World!', 'Hello, Ada!'\]",
        r"status    COMPLETED, \d+ events:",
        r".*Workflow execution signaled",
        r".*Timer fired",
        r".*Activity task completed",
        r".*Workflow execution completed",
    ],
    "limits": [
        r"concurrency  8 prints, never more than [12] at a time",
        r"rate limit   12 mails in \d",
        r"debounce     4 calls, and then: indexed 'draft'",
    ],
    "microservices": [r"  inventory: one tea taken, 2 left", r"  payment: ada paid 23", r"receipt-ada, by snail"],
    "order_processing": [
        r"the customer cancels order-2",
        r"order-1 is on its way as parcel-order-1 \(after: reserved, paid, packed, shipped; now shipped\)",
        r"order-2 was cancelled \(after: reserved, paid; now undone\)",
        r"order-3 failed: .*the card has expired \(after: reserved; now undone\)",
    ],
    "nexus": [
        r"soup, well done, for 4",
        r"stew takes too long: operation canceled",
        r"sorry: we have no sushi",
        r"in the kitchen: completed",
        r"in the kitchen: canceled",
    ],
    "polling": [
        r"poster: ready, asked \d+ times by one attempt",
        r"book:   ready, at attempt [2-9]",
        r"print-poster: 11 events",
        r"print-book: 11 events",
    ],
    "retries": [
        r"  attempt 3: got it",
        r"125.0",
        r"  attempt 1: no answer",
        r"  gave up, taking yesterday's rate",
        r"120.0",
        r"failed at once: .*there is no currency XXX",
    ],
    "saga": [
        r"Lisbon: all booked",
        r"  hotel in Venice cancelled",
        r"  flight to Venice cancelled",
        r"Venice: nothing booked, because .*no cars in Venice",
    ],
    "schedules": [
        r"  report sales",
        r"paused: the office is closed",
        r"  report sales",
        r"  08:00 UTC, weekday|  07:00 UTC, weekday",
        r"  report for the desk of Thursday, 2026-01-08",
        r"  report for the desk of Friday, 2026-01-09",
        r"  report for the desk of Monday, 2026-01-12",
        r"deleted; there are 0 schedules",
    ],
    "signals_and_queries": [r"  3 x tea at 4", r"total    21", r"no cup   12", r"to pay   12"],
    "subscription": [
        r"  ada pays 10 for month 3",
        r"no process runs; the months go on",
        r"  ada pays 12 for month 13",
        r"  goodbye, ada",
        r"paid for 1[4-9] months",
        r"run 1: \d+ events, CONTINUED_AS_NEW",
        r"run 2: \d+ events, COMPLETED",
    ],
    "user_registration": [
        r"ada: waiting, told: your registration ends tomorrow",
        r"ada: account-ada",
        r"  account-bob deleted",
        r"bob: nobody confirmed",
    ],
}


def run(name: str, *arguments: str) -> str:
    ran = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / f"{name}.py"), *arguments],
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    return ran.stdout


@pytest.mark.parametrize("name", NAMES)
def test_example(name: str) -> None:
    if name == "encryption" and importlib.util.find_spec("cryptography") is None:
        pytest.skip("needs perdure[encryption]")
    told = run(name)
    lines = iter(told.splitlines())
    for pattern in TOLD[name]:
        assert any(re.match(pattern, line) for line in lines), (pattern, told)


@pytest.mark.parametrize("name", ["hello", "order_processing"])
def test_an_example_can_be_run_again_on_its_folder(name: str, tmp_path: Path) -> None:
    for _ in range(2):
        assert run(name, str(tmp_path / "data"))


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_explained(name: str) -> None:
    page = (ROOT / "docs" / "examples" / f"{name}.md").read_text()
    assert f"$ python examples/{name}.py" in page
    assert f"docs/examples/{name}.md" in (ROOT / "README.md").read_text()
    assert f"python examples/{name}.py" in (EXAMPLES / f"{name}.py").read_text()
