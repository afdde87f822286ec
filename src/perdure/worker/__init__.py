"""Workers: what takes tasks from a task queue and runs your workflows and activities.

A worker asks the service for tasks. A workflow task brings what happened to a workflow since its last task; the worker
runs the workflow's code until it waits, and answers with the commands the code gave. An activity task runs an activity
once and is answered with its outcome. Killing a worker loses nothing but time: tasks without an answer are handed out
again.
"""

from perdure.common import WorkerDeploymentVersion
from perdure.worker._activity_interceptor import (
    ActivityInboundInterceptor,
    ActivityOutboundInterceptor,
    ExecuteActivityInput,
)
from perdure.worker._config import (
    PollerBehavior,
    PollerBehaviorAutoscaling,
    PollerBehaviorSimpleMaximum,
    WorkerConfig,
    WorkerDeploymentConfig,
)
from perdure.worker._interceptor import Interceptor
from perdure.worker._plugin import Plugin
from perdure.worker._shared_state import SharedHeartbeatSender, SharedStateManager
from perdure.worker._tuning import (
    ActivitySlotInfo,
    CustomSlotSupplier,
    FixedSizeSlotSupplier,
    LocalActivitySlotInfo,
    NexusSlotInfo,
    ResourceBasedSlotConfig,
    ResourceBasedSlotSupplier,
    ResourceBasedTunerConfig,
    SlotInfo,
    SlotMarkUsedContext,
    SlotPermit,
    SlotReleaseContext,
    SlotReserveContext,
    WorkerTuner,
    WorkflowSlotInfo,
)
from perdure.worker._worker import Worker

__all__ = [
    "ActivityInboundInterceptor",
    "ActivityOutboundInterceptor",
    "ActivitySlotInfo",
    "CustomSlotSupplier",
    "ExecuteActivityInput",
    "FixedSizeSlotSupplier",
    "Interceptor",
    "LocalActivitySlotInfo",
    "NexusSlotInfo",
    "Plugin",
    "PollerBehavior",
    "PollerBehaviorAutoscaling",
    "PollerBehaviorSimpleMaximum",
    "ResourceBasedSlotConfig",
    "ResourceBasedSlotSupplier",
    "ResourceBasedTunerConfig",
    "SharedHeartbeatSender",
    "SharedStateManager",
    "SlotInfo",
    "SlotMarkUsedContext",
    "SlotPermit",
    "SlotReleaseContext",
    "SlotReserveContext",
    "Worker",
    "WorkerConfig",
    "WorkerDeploymentConfig",
    "WorkerDeploymentVersion",
    "WorkerTuner",
    "WorkflowSlotInfo",
]
