"""The store over PostgreSQL: several machines, one database, nothing of ours between them.

``migrations`` has the tables and the function that is a commit; ``_writer`` gathers what waits into one call of it, so
that a commit is one round trip whatever it holds. ``_rows`` turns updates into the function's arrays, ``_filter`` list
filters into SQL. ``_nodes`` keeps the lease without which a process may not commit.
"""

from perdure.store.postgres._migrate import Status, migrate, read_status
from perdure.store.postgres._settings import Settings
from perdure.store.postgres._shared import Message, SharedPostgresStore
from perdure.store.postgres._store import PostgresStore

__all__ = [
    "Message",
    "PostgresStore",
    "Settings",
    "SharedPostgresStore",
    "Status",
    "migrate",
    "read_status",
]
