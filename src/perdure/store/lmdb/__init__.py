"""The store on one machine: one LMDB environment in a folder of a local disk, owned by one process.

The event loop's thread encodes a commit into one buffer; a writer thread that never takes the interpreter's lock
applies what waits in one transaction and syncs it (``_writer``). ``_batch`` has the layout of keys and rows.
"""

from perdure.store.lmdb._store import DEFAULT_MAP_SIZE, LMDBStore

__all__ = ["DEFAULT_MAP_SIZE", "LMDBStore"]
