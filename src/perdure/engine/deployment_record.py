"""What is kept of worker deployments: one document of the store each."""

from __future__ import annotations

import msgspec

from perdure.api.common import v1 as common_v1
from perdure.api.deployment import v1 as deployment_v1
from perdure.engine import limits
from perdure.engine.errors import invalid_argument

UNVERSIONED = "__unversioned__"


class VersionRecord(msgspec.Struct):
    """What is kept of a version. Times are nanoseconds, 0 for never."""

    build_id: str
    created: int
    current_since: int = 0
    ramping_since: int = 0
    routing_changed: int = 0
    first_activated: int = 0
    deactivated: int = 0
    last_current: int = 0
    drained_at: int = 0
    #: (TaskKind, name)
    queues: list[tuple[int, str]] = []
    metadata: dict[str, common_v1.Payload] = {}
    modifier: str = ""
    #: Of the request that made it before a worker of it polled.
    create_request_id: str = ""


class DeploymentRecord(msgspec.Struct):
    """What is kept of a deployment. A build id of None means workers without a version."""

    namespace_id: str
    name: str
    created: int
    versions: dict[str, VersionRecord] = {}
    current: str | None = None
    ramping: str | None = None
    #: Whether ``ramping`` counts: None alone would be a ramp to workers without a version.
    is_ramping: bool = False
    percentage: float = 0.0
    current_changed: int = 0
    ramping_changed: int = 0
    percentage_changed: int = 0
    #: Of this record, and of its routing alone.
    revision: int = 0
    routing_revision: int = 0
    modifier: str = ""
    manager: str = ""
    #: Of the request that made it before a worker of it polled.
    create_request_id: str = ""

    def token(self) -> bytes:
        """Proof of having seen this state."""
        return b"%d" % self.revision


def check_names(deployment: str, build_id: str) -> None:
    """Refuse names that cannot be told apart in texts."""
    limits.check_id(deployment, "DeploymentName")
    limits.check_id(build_id, "BuildId")
    if "." in deployment or ":" in deployment:
        raise invalid_argument("DeploymentName must contain neither '.' nor ':'.")
    if deployment.startswith("__") or build_id.startswith("__"):
        raise invalid_argument("DeploymentName and BuildId must not begin with '__'.")


def named_build_id(record: DeploymentRecord, build_id: str, text: str) -> str | None:
    """The build id a request names; None for workers without a version."""
    if build_id:
        return build_id
    if not text or text == UNVERSIONED:
        return None
    for separator in (".", ":"):
        prefix = record.name + separator
        if text.startswith(prefix):
            return text[len(prefix) :]
    raise invalid_argument(f"Version {text!r} is not of deployment {record.name!r}.")


def version_text(record: DeploymentRecord, build_id: str | None) -> str:
    """A version as older requests name it: ``deployment.build_id``."""
    return UNVERSIONED if build_id is None else f"{record.name}.{build_id}"


def version_message(record: DeploymentRecord, build_id: str | None) -> deployment_v1.WorkerDeploymentVersion | None:
    """A version's message; None for workers without a version."""
    return None if build_id is None else deployment_v1.WorkerDeploymentVersion(build_id, record.name)


def routing_config(record: DeploymentRecord) -> deployment_v1.RoutingConfig:
    """The routing as a message."""
    return deployment_v1.RoutingConfig(
        current_version=version_text(record, record.current),
        ramping_version=version_text(record, record.ramping) if record.is_ramping else "",
        ramping_version_percentage=record.percentage,
        current_version_changed_time=record.current_changed or None,
        ramping_version_changed_time=record.ramping_changed or None,
        ramping_version_percentage_changed_time=record.percentage_changed or None,
        current_deployment_version=version_message(record, record.current),
        ramping_deployment_version=version_message(record, record.ramping),
        revision_number=record.routing_revision,
    )
