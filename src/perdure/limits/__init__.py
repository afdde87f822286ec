"""Concurrency limits per key, rate limits and debouncing, kept by workflows: ours, on top of Temporal's API.

Each limit is kept by a small workflow of its own, so it is as durable as everything else: a crash or a deploy neither
loses who holds what, nor who waits. Every worker knows these workflows; nothing is to be registered.

=======================  ===================================================================================
``concurrency``          at most so many workflows in a block of code at the same time, per key
``rate_limit``           at most so many passes in any period, per key
``debounce``             a burst of calls becomes one run, once there was quiet
=======================  ===================================================================================

A limit holds for a namespace: workflows of all types and task queues that name the same key share it. The workflow that
keeps it runs on the task queue of whoever named the key first.
"""

from perdure.limits._concurrency import LimitExceededError, concurrency
from perdure.limits._debounce import debounce
from perdure.limits._rate_limit import rate_limit

__all__ = ["LimitExceededError", "concurrency", "debounce", "rate_limit"]
