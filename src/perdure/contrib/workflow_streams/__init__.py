"""A stream that a workflow keeps: a log of items with offsets, for progress, tokens, events.

The workflow makes a :class:`WorkflowStream` in its ``__init__`` and publishes to topics of it. Activities and other
programs publish and subscribe with a :class:`WorkflowStreamClient`:

.. code-block:: python

    async with WorkflowStreamClient.create(client, "order-17") as stream:
        stream.topic("progress", type=Progress).publish(Progress(10))

    async for item in stream.subscribe("progress", result_type=Progress):
        print(item.offset, item.data)

Publishing is a signal for a batch of items, with a number: one that is sent twice counts once, also over
continue-as-new. Subscribing is an update that waits for items; of a closed workflow, a query. So a stream costs history
per batch and per poll, and is not for thousands of items a second. Signals, updates and queries are those of Temporal's
SDKs.
"""

from perdure.contrib.workflow_streams._client import WorkflowStreamClient
from perdure.contrib.workflow_streams._stream import WorkflowStream
from perdure.contrib.workflow_streams._topic_handle import TopicHandle, WorkflowTopicHandle
from perdure.contrib.workflow_streams._types import (
    PollInput,
    PollResult,
    PublishEntry,
    PublisherState,
    PublishInput,
    WorkflowStreamItem,
    WorkflowStreamState,
)

__all__ = [
    "PollInput",
    "PollResult",
    "PublishEntry",
    "PublishInput",
    "PublisherState",
    "TopicHandle",
    "WorkflowStream",
    "WorkflowStreamClient",
    "WorkflowStreamItem",
    "WorkflowStreamState",
    "WorkflowTopicHandle",
]
