"""Temporal's ``temporal.api.replication.v1``: replication settings of a namespace."""

from __future__ import annotations

from perdure.api._message import Message


class ClusterReplicationConfig(Message):
    """Temporal's ``temporal.api.replication.v1.ClusterReplicationConfig``."""

    cluster_name: str = ""
    replication_ramp_duration: int | None = None


class FailoverStatus(Message):
    """Temporal's ``temporal.api.replication.v1.FailoverStatus``."""

    failover_time: int | None = None
    failover_version: int = 0


class NamespaceReplicationConfig(Message):
    """Temporal's ``temporal.api.replication.v1.NamespaceReplicationConfig``."""

    active_cluster_name: str = ""
    clusters: list[ClusterReplicationConfig] = []
    state: int = 0
