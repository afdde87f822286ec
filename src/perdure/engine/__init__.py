"""The embedded engine: Temporal's service over a store.

Read :mod:`perdure.engine.core` first: it holds the runs, the commit pipeline and the timers that everything else uses.
"""

from perdure.engine.engine import Engine

__all__ = ["Engine"]
