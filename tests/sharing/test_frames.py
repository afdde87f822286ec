"""What goes over the socket comes out as it went in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.api._message import Message
from perdure.api.command import v1 as command_v1
from perdure.api.errordetails import v1 as errordetails_v1
from perdure.api.protocol import v1 as protocol_v1
from perdure.api.update import v1 as update_v1
from perdure.api.workflowservice import v1 as ws
from perdure.service import RPCError, RPCStatusCode, _packing
from perdure.service._packing import decode, encode
from perdure.sharing._frames import METHODS, Buffer, Kind, decode_call, encode_call, pack
from tests.api.messages import messages

_TYPES = sorted(
    {kind for method in METHODS for kind in (method.request, method.response)}, key=lambda kind: kind.__name__
)


@given(st.sampled_from(_TYPES).flatmap(messages))
def test_every_message_comes_out_as_it_went_in(message: Message) -> None:
    assert decode(type(message), encode(message)) == message


def test_what_a_field_of_any_kind_holds_keeps_its_kind() -> None:
    answer = ws.RespondWorkflowTaskCompletedRequest(
        task_token=b"t",
        commands=[
            command_v1.Command(3, attributes=command_v1.StartTimerCommandAttributes("5", 7)),
            command_v1.Command(1),
        ],
        messages=[protocol_v1.Message("m", body=update_v1.Acceptance(accepted_request_message_id="x"))],
    )
    method = next(method for method in METHODS if method.request is type(answer))
    assert decode_call(method, encode_call(answer, 5)) == (answer, 5)

    failure = errordetails_v1.MultiOperationExecutionFailure(
        [
            errordetails_v1.MultiOperationExecutionFailureOperationStatus(
                6, "there", [errordetails_v1.WorkflowExecutionAlreadyStartedFailure("r", "id")]
            )
        ]
    )
    error = _packing.decode_error(
        _packing.encode_error(RPCError("no", RPCStatusCode.ALREADY_EXISTS, details=[failure]))
    )
    assert (error.message, error.status, error.details) == ("no", RPCStatusCode.ALREADY_EXISTS, (failure,))


@given(st.lists(st.tuples(st.sampled_from(Kind), st.integers(0, 2**32 - 1), st.binary(max_size=30))), st.data())
def test_frames_arrive_whole_however_their_bytes_do(frames: list[tuple[Kind, int, bytes]], data: st.DataObject) -> None:
    stream = b"".join(pack(kind, call, 3, body) for kind, call, body in frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    buffer = Buffer()
    arrived = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        arrived += buffer.feed(stream[start:end])
    assert arrived == [(kind, call, 3, body) for kind, call, body in frames]


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 11, b"\0" * 8 + b"\x63" + b"\0\0"])
def test_what_is_no_frame_is_refused(garbage: bytes) -> None:
    with pytest.raises(ValueError, match="not a frame"):
        Buffer().feed(garbage)
