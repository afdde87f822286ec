"""Histories recorded on a real Temporal server: read, written back, stored and replayed."""

import json

import pytest

from perdure._native.events import decode_batch, encode_batch
from perdure.api.enums.v1 import EventType
from perdure.api.history.v1 import History
from perdure.api.json import history_from_json, history_to_json_dict
from perdure.client import WorkflowHistory
from perdure.worker import Replayer
from perdure.workflow import NondeterminismError

from . import catalog
from .catalog import Golden

GOLDENS = catalog.goldens()
PYTHON = [golden for golden in GOLDENS if golden.is_python]


def replays(golden: Golden) -> list[list[type]]:
    """The sets of workflows, each of which the history must replay on."""
    module = catalog.load(golden.feature, "perdure")
    return getattr(module, "REPLAYS", {}).get(golden.case, [module.WORKFLOWS])


def history_of(golden: Golden) -> WorkflowHistory:
    """The history under the workflow id that its first event names."""
    text = golden.path.read_text()
    started = json.loads(text)["events"][0]["workflowExecutionStartedEventAttributes"]
    return WorkflowHistory.from_json(started["workflowId"], text)


def test_every_feature_is_recorded() -> None:
    assert {golden.feature for golden in PYTHON} == set(catalog.features())
    assert {golden.producer.split("-")[0] for golden in GOLDENS} == {"python", "go"}


@pytest.mark.parametrize("golden", GOLDENS, ids=str)
def test_json_round_trip_is_exact(golden: Golden) -> None:
    text = golden.path.read_text()
    history = history_from_json(text)
    assert [event.event_id for event in history.events] == list(range(1, len(history.events) + 1))
    assert history_to_json_dict(history) == json.loads(text)


@pytest.mark.parametrize("golden", GOLDENS, ids=str)
def test_event_codec_round_trip_is_exact(golden: Golden) -> None:
    events = history_from_json(golden.path.read_text()).events
    data = encode_batch(events)
    stored = decode_batch(data)
    assert stored == events
    assert history_to_json_dict(History(stored)) == json.loads(golden.path.read_text())
    assert encode_batch(stored) == data


@pytest.mark.parametrize("golden", PYTHON, ids=str)
async def test_python_histories_replay(golden: Golden) -> None:
    for workflows in replays(golden):
        await Replayer(workflows=workflows).replay_workflow(history_of(golden))


@pytest.mark.parametrize("golden", PYTHON, ids=str)
async def test_every_prefix_that_ends_before_a_task_replays(golden: Golden) -> None:
    """A run may be taken up again at any workflow task: each such beginning of the history must replay too."""
    whole = history_of(golden)
    ends = [event.event_id for event in whole.events if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED]
    for end in ends[:12]:
        prefix = WorkflowHistory(whole.workflow_id, whole.events[:end])
        await Replayer(workflows=replays(golden)[0]).replay_workflow(prefix)


@pytest.mark.parametrize(
    ("case", "definition"),
    [("before", "After"), ("history", "Before"), ("after", "Before"), ("deprecated", "Before")],
)
async def test_changed_code_is_found_out(case: str, definition: str) -> None:
    golden = next(golden for golden in PYTHON if (golden.feature, golden.case) == ("patches", case))
    workflow = getattr(catalog.load("patches", "perdure"), definition)
    with pytest.raises(NondeterminismError):
        await Replayer(workflows=[workflow]).replay_workflow(history_of(golden))
