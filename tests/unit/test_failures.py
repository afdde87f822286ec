"""Exceptions and failures: the same failures as Temporal's SDK makes, the same exceptions back."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
import temporalio.api.failure.v1
import temporalio.converter
import temporalio.exceptions
from google.protobuf.json_format import MessageToDict, ParseDict

from perdure import exceptions
from perdure.api.common.v1 import Payload
from perdure.api.failure.v1 import Failure, ResetWorkflowFailureInfo
from perdure.api.json import from_json_dict, to_json_dict
from perdure.converter import (
    DataConverter,
    DefaultFailureConverter,
    DefaultFailureConverterWithEncodedAttributes,
    FailureConverter,
    PayloadCodec,
    PayloadConverter,
)
from perdure.exceptions import ApplicationError, FailureError

ACTIVITY = {
    "scheduled_event_id": 5,
    "started_event_id": 6,
    "identity": "me",
    "activity_type": "act",
    "activity_id": "1",
}
CHILD = {
    "namespace": "ns",
    "workflow_id": "wf",
    "run_id": "run",
    "workflow_type": "type",
    "initiated_event_id": 3,
    "started_event_id": 0,
}
OPERATION = {
    "scheduled_event_id": 5,
    "endpoint": "e",
    "service": "s",
    "operation": "o",
    "operation_token": "t",
}

# (class, positional arguments, keyword arguments); enumerations by (enumeration, member)
ERRORS: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("ApplicationError", ("plain",), {}),
    (
        "ApplicationError",
        ("full", 1, {"a": [None]}),
        {
            "type": "T",
            "non_retryable": True,
            "next_retry_delay": timedelta(seconds=1, microseconds=7),
            "category": ("ApplicationErrorCategory", "BENIGN"),
        },
    ),
    ("CancelledError", (), {}),
    ("CancelledError", ("why", "detail"), {}),
    ("TerminatedError", ("ended",), {}),
    ("TimeoutError", ("late",), {"type": ("TimeoutType", "HEARTBEAT"), "last_heartbeat_details": [1, "two"]}),
    ("TimeoutError", ("late",), {"type": None, "last_heartbeat_details": []}),
    ("ServerError", ("down",), {"non_retryable": True}),
    ("ActivityError", ("failed",), {**ACTIVITY, "retry_state": ("RetryState", "TIMEOUT")}),
    ("ActivityError", ("failed",), {**ACTIVITY, "retry_state": None}),
    ("ChildWorkflowError", ("failed",), {**CHILD, "retry_state": ("RetryState", "CANCEL_REQUESTED")}),
    ("NexusOperationError", ("failed",), OPERATION),
    ("WorkflowAlreadyStartedError", ("wf", "type"), {"run_id": "run", "first_run_id": "first"}),
    ("ActivityAlreadyStartedError", ("act", "type"), {"run_id": "run"}),
    ("NexusOperationAlreadyStartedError", ("op",), {"run_id": "run"}),
    ("InvalidVersioningOverrideError", (), {}),
    ("FailureError", ("bare",), {}),
]


def _make(module: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    values = {
        key: getattr(getattr(module, value[0]), value[1]) if isinstance(value, tuple) else value
        for key, value in kwargs.items()
    }
    return getattr(module, name)(*args, **values)


def _ours(error: BaseException, failure_converter: FailureConverter | None = None) -> Failure:
    failure = Failure()
    (failure_converter or FailureConverter.default).to_failure(error, PayloadConverter.default, failure)
    return failure


def _theirs(error: BaseException, failure_converter: Any = None) -> temporalio.api.failure.v1.Failure:
    failure = temporalio.api.failure.v1.Failure()
    converter = failure_converter or temporalio.converter.FailureConverter.default
    converter.to_failure(error, temporalio.converter.PayloadConverter.default, failure)
    return failure


def _raised(error: BaseException, cause: BaseException | None, context: BaseException | None = None) -> BaseException:
    try:
        if context is not None:
            try:
                raise context
            except BaseException:
                raise error  # noqa: B904  (the context is the point)
        raise error from cause
    except BaseException as raised:
        return raised


def test_every_public_name_of_temporals_is_here() -> None:
    names = {
        name
        for name, value in vars(temporalio.exceptions).items()
        if getattr(value, "__module__", "") == "temporalio.exceptions" and not name.startswith("_")
    }
    assert names == set(exceptions.__all__)


@pytest.mark.parametrize(("name", "args", "kwargs"), ERRORS, ids=lambda part: part if isinstance(part, str) else "")
def test_failures_and_errors_are_temporals(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    ours = _raised(_make(exceptions, name, args, kwargs), _make(exceptions, *ERRORS[1]))
    theirs = _raised(_make(temporalio.exceptions, name, args, kwargs), _make(temporalio.exceptions, *ERRORS[1]))
    assert str(ours) == str(theirs)
    failure, expected = _ours(ours), _theirs(theirs)
    assert to_json_dict(failure) == MessageToDict(expected)

    back = FailureConverter.default.from_failure(failure, PayloadConverter.default)
    their_back = temporalio.converter.FailureConverter.default.from_failure(
        expected, temporalio.converter.PayloadConverter.default
    )
    while their_back is not None:
        assert type(back).__name__ == type(their_back).__name__
        assert str(back) == str(their_back)
        ours_public, theirs_public = (
            {
                key: getattr(error, key)
                for key in dir(error)
                if not key.startswith("_") and key not in ("failure", "cause", "add_note", "with_traceback", "args")
            }
            for error in (back, their_back)
        )
        assert repr(ours_public) == repr(theirs_public)
        assert isinstance(back, FailureError)
        back, their_back = back.cause, their_back.__cause__  # type: ignore[assignment]
    assert back is None


@pytest.mark.parametrize(("name", "args", "kwargs"), ERRORS, ids=lambda part: part if isinstance(part, str) else "")
def test_errors_survive_pickling(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    error = _make(exceptions, name, args, kwargs)
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))


def test_foreign_exceptions_become_application_errors() -> None:
    for context in (None, KeyError("context")):
        ours = _raised(ValueError("bad"), RuntimeError("cause"), context)
        assert to_json_dict(_ours(ours)) == MessageToDict(_theirs(ours))
    assert _ours(ours).application_failure_info.type == "ValueError"  # type: ignore[union-attr]
    assert "raise error" in _ours(ours).stack_trace


def test_the_context_is_the_cause_unless_suppressed() -> None:
    failure = _ours(_raised(ApplicationError("outer"), None, KeyError("inner")))
    assert failure.cause is not None
    assert failure.cause.message == "'inner'"
    error = _raised(ApplicationError("outer"), None, KeyError("inner"))
    error.__suppress_context__ = True
    assert _ours(error).cause is None


def test_an_error_from_a_failure_gives_that_failure_again() -> None:
    failure = _ours(ApplicationError("m", "detail"))
    failure.source = "GoSDK"
    error = FailureConverter.default.from_failure(failure, PayloadConverter.default)
    assert isinstance(error, FailureError)
    assert error.failure is failure
    again = _ours(error)
    assert again == failure
    assert again is not failure
    again.application_failure_info.details.payloads.clear()  # type: ignore[union-attr]
    assert failure.application_failure_info.details.payloads  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (Failure(), "Failure error"),
        (Failure(message="m"), "m"),
        (Failure(reset_workflow_failure_info=ResetWorkflowFailureInfo()), "Failure error"),
    ],
)
def test_failures_of_other_kinds_become_failure_errors(failure: Failure, message: str) -> None:
    error = FailureConverter.default.from_failure(failure, PayloadConverter.default)
    assert type(error) is FailureError
    assert str(error) == message
    assert _ours(error) == failure


def test_common_attributes_are_encoded_like_temporals() -> None:
    ours = _raised(ApplicationError("secret", type="T"), ValueError("inner"))
    theirs = _raised(temporalio.exceptions.ApplicationError("secret", type="T"), ValueError("inner"))
    failure = _ours(ours, DefaultFailureConverterWithEncodedAttributes())
    expected = _theirs(theirs, temporalio.converter.DefaultFailureConverterWithEncodedAttributes())
    assert to_json_dict(failure) == MessageToDict(expected)
    assert failure.message == "Encoded failure"
    assert failure.cause is not None and failure.cause.message == "Encoded failure"
    error = FailureConverter.default.from_failure(failure, PayloadConverter.default)
    assert str(error) == "T: secret"
    assert str(error.__cause__) == "ValueError: inner"
    assert failure.message == "Encoded failure"


@pytest.mark.parametrize(
    "payload", [Payload(), Payload({"encoding": b"json/plain"}, b"[1]"), Payload({"encoding": b"json/plain"}, b"{}")]
)
def test_encoded_attributes_that_cannot_be_read_do_not_matter(payload: Payload) -> None:
    error = DefaultFailureConverter().from_failure(
        Failure(message="Encoded failure", encoded_attributes=payload), PayloadConverter.default
    )
    assert str(error) == "Encoded failure"


class Xor(PayloadCodec):
    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [
            Payload({"encoding": b"xor"} | {"was": p.metadata["encoding"]}, bytes(b ^ 1 for b in p.data))
            for p in payloads
        ]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [Payload({"encoding": p.metadata["was"]}, bytes(b ^ 1 for b in p.data)) for p in payloads]


async def test_the_codec_sees_every_payload_of_a_failure() -> None:
    converter = DataConverter(payload_codec=Xor(), failure_converter_class=DefaultFailureConverterWithEncodedAttributes)
    error = _raised(
        _make(exceptions, *ERRORS[5]), _raised(exceptions.CancelledError("c", 5), ApplicationError("root", "detail"))
    )
    failure = Failure()
    await converter.encode_failure(error, failure)
    text = repr(failure)
    assert text.count("xor") == 7  # encoded attributes at three levels, and 2 + 1 + 1 details
    assert '"detail"' not in text
    back = await converter.decode_failure(failure)
    assert isinstance(back, exceptions.TimeoutError)
    assert list(back.last_heartbeat_details) == [1, "two"]
    assert isinstance(back.cause, exceptions.CancelledError)
    assert isinstance(back.cause.cause, ApplicationError)
    assert list(back.cause.cause.details) == ["detail"]


def test_failures_parse_back_from_json() -> None:
    failure = _ours(_raised(_make(exceptions, *ERRORS[8]), _make(exceptions, *ERRORS[1])))
    expected = ParseDict(to_json_dict(failure), temporalio.api.failure.v1.Failure())
    assert from_json_dict(MessageToDict(expected), Failure) == failure


@pytest.mark.parametrize(
    ("error", "is_cancelled"),
    [
        (asyncio.CancelledError(), True),
        (exceptions.CancelledError(), True),
        (ValueError(), False),
        (_raised(_make(exceptions, *ERRORS[9]), exceptions.CancelledError()), True),
        (_raised(_make(exceptions, *ERRORS[10]), exceptions.CancelledError()), True),
        (_raised(_make(exceptions, *ERRORS[11]), exceptions.CancelledError()), True),
        (_raised(_make(exceptions, *ERRORS[9]), ValueError()), False),
        (_raised(ApplicationError("x"), exceptions.CancelledError()), False),
    ],
)
def test_is_cancelled_exception(error: BaseException, is_cancelled: bool) -> None:
    assert exceptions.is_cancelled_exception(error) is is_cancelled
