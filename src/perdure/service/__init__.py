"""The seam: one method per Temporal RPC, and the one error every RPC raises.

The API (client and worker) talks to a :class:`WorkflowService` and to nothing below it. The embedded engine implements
it over a store; so can a gRPC client of a real Temporal cluster, or a test double.
"""

import logging

from perdure.service._client import ServiceClient
from perdure.service._config import (
    ConnectConfig,
    DnsLoadBalancingConfig,
    GrpcCompression,
    HttpConnectProxyConfig,
    KeepAliveConfig,
    PayloadLimitsConfig,
    RetryConfig,
    TLSConfig,
)
from perdure.service._errors import GrpcStatus, RPCError, RPCStatusCode, ServiceClosedError
from perdure.service._operator_service import OperatorService
from perdure.service._test_service import TestService
from perdure.service._workflow_service import WorkflowService

logger = logging.getLogger(__name__)

__all__ = [
    "ConnectConfig",
    "DnsLoadBalancingConfig",
    "GrpcCompression",
    "HttpConnectProxyConfig",
    "KeepAliveConfig",
    "OperatorService",
    "PayloadLimitsConfig",
    "GrpcStatus",
    "RPCError",
    "RPCStatusCode",
    "RetryConfig",
    "ServiceClient",
    "ServiceClosedError",
    "TLSConfig",
    "TestService",
    "WorkflowService",
    "logger",
]
