"""The garbage collector's pace while an engine is open.

An engine in full swing keeps thousands of short-lived objects alive at once (futures, coroutines, requests), none of them
part of a cycle. With Python's default pace of 700 allocations the collector would walk them again and again: a quarter
of the processor's time at 100 workflows in flight. While any engine is open, the youngest generation is collected after
20,000 allocations instead; a pace that the application set higher, or switched off, is left alone.
"""

from __future__ import annotations

import gc

PACE = (20_000, 20, 50)

_open_engines = 0
_before: tuple[int, int, int] | None = None


def engine_opened() -> None:
    """Slow the collector down with the first engine."""
    global _open_engines, _before
    _open_engines += 1
    current = gc.get_threshold()
    if _open_engines == 1 and 0 < current[0] < PACE[0]:
        _before = current
        gc.set_threshold(*PACE)


def engine_closed() -> None:
    """Give the collector its old pace back with the last engine."""
    global _open_engines, _before
    _open_engines -= 1
    if _open_engines == 0 and _before is not None:
        if gc.get_threshold() == PACE:
            gc.set_threshold(*_before)
        _before = None
