"""Which role an RPC needs, in which namespace: the rules of Temporal's default authorizer."""

from __future__ import annotations

from enum import IntEnum, IntFlag

from perdure.wire.methods import OPERATOR_SERVICE, TEST_SERVICE, WORKFLOW_SERVICE


class Role(IntFlag):
    """What a caller may do in a namespace, or in all of them. A greater role includes the smaller ones."""

    NONE = 0
    WORKER = 1
    READER = 2
    WRITER = 4
    ADMIN = 8


class Access(IntEnum):
    """What an RPC needs."""

    #: Anybody: it says nothing of what the server holds.
    OPEN = 0
    WORKER = 1
    READ = 2
    WRITE = 4
    ADMIN = 8


_OPEN = {f"/{WORKFLOW_SERVICE}/GetSystemInfo"}
#: What a worker needs and does; the role Worker alone allows these.
_WORKER = {
    "PollWorkflowTaskQueue", "RespondWorkflowTaskCompleted", "RespondWorkflowTaskFailed", "RespondQueryTaskCompleted",
    "PollActivityTaskQueue", "RespondActivityTaskCompleted", "RespondActivityTaskFailed",
    "RespondActivityTaskCanceled", "RecordActivityTaskHeartbeat", "PollNexusTaskQueue", "RespondNexusTaskCompleted",
    "RespondNexusTaskFailed", "ResetStickyTaskQueue", "ShutdownWorker", "RecordWorkerHeartbeat",
    "GetWorkflowExecutionHistory", "DescribeNamespace",
}  # fmt: skip
_READ_PREFIXES = ("Describe", "List", "Get", "Count", "Scan", "Fetch", "Validate")
_READ = {
    "QueryWorkflow", "PollWorkflowExecutionUpdate", "PollActivityExecution", "PollNexusOperationExecution",
    "PollWorkflowExecutionTimeSkipping",
}  # fmt: skip
_ADMIN = {"RegisterNamespace", "UpdateNamespace", "DeprecateNamespace"}
_OPERATOR_READ = {"ListSearchAttributes"}
#: RPCs about the whole server: a role in one namespace does not allow them.
_WHOLE_SERVER = {
    "ListNamespaces", "GetSearchAttributes", "GetClusterInfo", "GetSystemInfo", "CreateNexusEndpoint",
    "UpdateNexusEndpoint", "DeleteNexusEndpoint", "GetNexusEndpoint", "ListNexusEndpoints", "ListClusters",
    "AddOrUpdateRemoteCluster", "RemoveRemoteCluster",
}  # fmt: skip


def access_of(path: str) -> Access:
    """What the RPC of a path needs."""
    if path in _OPEN:
        return Access.OPEN
    _, service, rpc = path.split("/")
    if service == OPERATOR_SERVICE:
        return Access.READ if rpc in _OPERATOR_READ else Access.ADMIN
    if service == TEST_SERVICE or rpc in _ADMIN:
        return Access.ADMIN
    if rpc in _WORKER:
        return Access.WORKER
    if rpc in _READ or rpc.startswith(_READ_PREFIXES):
        return Access.READ
    return Access.WRITE


def is_about_the_server(path: str) -> bool:
    """Whether the RPC belongs to no namespace."""
    _, service, rpc = path.split("/")
    return service == TEST_SERVICE or rpc in _WHOLE_SERVER


def allows(role: Role, path: str) -> bool:
    """Whether a role allows an RPC."""
    access = access_of(path)
    if access is not Access.WORKER:
        return role >= access
    rpc = path.rpartition("/")[2]
    # A reader may read what a worker reads, and no more of what a worker does.
    return bool(role & (Role.WORKER | Role.WRITER | Role.ADMIN)) or (
        bool(role & Role.READER) and rpc.startswith(_READ_PREFIXES)
    )
