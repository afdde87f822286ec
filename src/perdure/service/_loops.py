"""A service belongs to the event loop it was opened on."""

from __future__ import annotations

import asyncio
import threading
from typing import NoReturn


def refuse_loop(thread_id: int) -> NoReturn:
    """Say how to come from here to a service that another loop, of the thread ``thread_id``, has; waiting would not end.

    Raises:
        RuntimeError: always.
    """
    if hasattr(asyncio._get_running_loop(), "run_until_idle"):
        raise RuntimeError("a workflow cannot call the service: that would not replay; do it in an activity")
    if thread_id != threading.get_ident():
        raise RuntimeError(
            "this service belongs to the event loop of another thread; call it from there, "
            "or hand the coroutine over with asyncio.run_coroutine_threadsafe(coroutine, loop)"
        )
    raise RuntimeError("this service was opened on another event loop; connect a client on this loop")
