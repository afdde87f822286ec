"""What goes back and forth. Items travel as base64 of a protobuf payload, so that each keeps its own encoding."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

from perdure.api.common.v1 import Payload

T = TypeVar("T")

PUBLISH = "__temporal_workflow_stream_publish"
POLL = "__temporal_workflow_stream_poll"
OFFSET = "__temporal_workflow_stream_offset"
DRAINING = "StreamDraining"
TRUNCATED = "TruncatedOffset"


def encode_payload(payload: Payload) -> str:
    """A payload as text."""
    return base64.b64encode(payload.SerializeToString()).decode()


def decode_payload(text: str) -> Payload:
    """The payload of a text."""
    return Payload.FromString(base64.b64decode(text))


def bind_topic(bound: dict[str, Any], name: str, type: Any, where: str) -> Any:
    """The type of a topic's values, from now on. Raises RuntimeError when it has another one already."""
    type = Any if type is None else type
    if type is Payload:
        raise RuntimeError(
            "Cannot bind a topic to type=Payload: a Payload can be published to any topic; leave the type out"
        )
    if bound.setdefault(name, type) != type:
        raise RuntimeError(
            f"Topic {name!r} is already bound to type {bound[name]!r} on this {where}; refusing to rebind to {type!r}. "
            "Use one type per topic, or leave it out"
        )
    return type


@dataclass
class WorkflowStreamItem(Generic[T]):
    """One item of a stream."""

    topic: str
    data: T
    offset: int = 0
    """Its place among all items of the stream, whatever their topic."""


@dataclass
class PublishEntry:
    """An item to publish."""

    topic: str
    data: str


@dataclass
class PublishInput:
    """A batch of items. A publisher's batches have rising numbers; a number that was there already is ignored."""

    items: list[PublishEntry] = field(default_factory=list)
    publisher_id: str = ""
    sequence: int = 0


@dataclass
class PollInput:
    """From where to read, and which topics; no topics are all."""

    topics: list[str] = field(default_factory=list)
    from_offset: int = 0


@dataclass
class _WorkflowStreamWireItem:
    topic: str
    data: str
    offset: int = 0


@dataclass
class PollResult:
    """Items, and where to go on. ``more_ready``: the answer was full, ask again at once."""

    items: list[_WorkflowStreamWireItem] = field(default_factory=list)
    next_offset: int = 0
    more_ready: bool = False


@dataclass
class PublisherState:
    """The newest number of a publisher, and when it came."""

    sequence: int
    last_seen: datetime


@dataclass
class WorkflowStreamState:
    """A whole stream, to carry over continue-as-new. Type the argument as ``WorkflowStreamState | None``."""

    log: list[_WorkflowStreamWireItem] = field(default_factory=list)
    base_offset: int = 0
    publishers: dict[str, PublisherState] = field(default_factory=dict)
