"""Where the examples keep their state: in the folder given on the command line, or in a temporary one."""

import asyncio
import logging
import sys
import tempfile
from collections.abc import Callable, Coroutine
from typing import Any


def run(main: Callable[[str], Coroutine[Any, Any, None]]) -> None:
    """Run an example's ``main`` with the URL of its home."""
    logging.basicConfig(level=logging.ERROR)  # failed attempts are part of the story, and the example tells it
    if len(sys.argv) > 1:
        asyncio.run(main(f"lmdb:{sys.argv[1]}"))
        return
    with tempfile.TemporaryDirectory(prefix="perdure-example-") as folder:
        asyncio.run(main(f"lmdb:{folder}"))
