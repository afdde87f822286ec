"""Random programs live through random lives, in memory and replayed, and replay again as a whole."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perdure.api.workflowservice import v1 as ws

from .mini_server import MiniServer
from .programs import Interpreter, Life, programs


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(programs, st.data())
def test_every_life_replays(program: list[Any], data: st.DataObject) -> None:
    server = MiniServer(Interpreter, program)
    try:
        Life(server, data.draw).live()
        for answer in server.answers:
            assert isinstance(answer, ws.RespondWorkflowTaskCompletedRequest), answer
        server.replay()
    finally:
        server.close()
