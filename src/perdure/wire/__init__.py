"""Temporal's protocol: messages as protobuf, and Temporal's services over gRPC. Extra ``perdure[temporal]``.

``codec`` turns our structs into protobuf bytes and back, ``methods`` lists the RPCs and the seam's names for them,
``errors`` translates refusals. No protobuf message object is made on the way: tables built from Temporal's descriptors
say which field has which number.
"""

import os

# Of a process that speaks gRPC, forked children must not; but an activity's process pool forks. gRPC's own handlers for
# that give up while threads are in a call, and then take the child down with them: without them it merely lives.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
