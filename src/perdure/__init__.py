"""Durable execution you embed: workflows as ordinary ``async def`` functions that survive crashes and restarts.

What is here is loaded when it is first used, so that ``import perdure`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # as in typing, which takes longer to import than everything else here

if TYPE_CHECKING:
    from perdure import activity, client, common, converter, exceptions, limits, service, worker, workflow
    from perdure._saga import Saga, SagaCompensationError
    from perdure.client import Client
    from perdure.worker import Worker

__version__ = "0.1.0"

__all__ = [
    "Client",
    "Saga",
    "SagaCompensationError",
    "Worker",
    "__version__",
    "activity",
    "client",
    "common",
    "converter",
    "exceptions",
    "limits",
    "service",
    "worker",
    "workflow",
]

_WHERE = {
    "Client": "perdure.client",
    "Saga": "perdure._saga",
    "SagaCompensationError": "perdure._saga",
    "Worker": "perdure.worker",
}


def __getattr__(name: str) -> object:
    if name in _WHERE:
        value = getattr(import_module(_WHERE[name]), name)
    elif name in __all__:
        value = import_module(f"perdure.{name}")
    else:
        raise AttributeError(f"module 'perdure' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
