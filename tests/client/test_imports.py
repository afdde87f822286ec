"""The package's front door costs nothing until it is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import perdure

SCRIPT = """
import sys
before = set(sys.modules)
import perdure
loaded = {name.partition(".")[0] for name in set(sys.modules) - before} - {"perdure", "importlib"}
assert not any(name.startswith("perdure.") for name in sys.modules), "a module of perdure was loaded"
assert not loaded & {"typing", "asyncio", "msgspec", "inspect"}, loaded
from perdure import Client, Saga, Worker, activity, workflow
import perdure.client
assert Client is perdure.client.Client
"""


def test_importing_the_package_loads_nothing() -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", SCRIPT], check=True)


def test_every_name_is_there() -> None:
    assert set(perdure.__all__) <= set(dir(perdure))
    for name in perdure.__all__:
        assert getattr(perdure, name) is not None
    with pytest.raises(AttributeError, match="module 'perdure' has no attribute 'nothing'"):
        _ = perdure.nothing  # type: ignore[attr-defined]
