"""Temporal's gRPC API over any home: for Temporal's SDKs, its ``temporal`` CLI and its Web UI.

``async with Server("lmdb:./data", port=7233) as server:`` serves a home in this process; ``perdure server`` does it from
the command line. Needs the extra ``perdure[server]``.
"""

from perdure.server._auth import ApiKey, Auth, JWTAuth
from perdure.server._nexus_callbacks import NexusCallbacks
from perdure.server._server import Server, ServerTLS

__all__ = ["ApiKey", "Auth", "JWTAuth", "NexusCallbacks", "Server", "ServerTLS"]
