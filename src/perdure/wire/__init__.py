"""Temporal's protocol: messages as protobuf, and Temporal's services over gRPC. Extra ``perdure[temporal]``.

``codec`` turns our structs into protobuf bytes and back, ``methods`` lists the RPCs and the seam's names for them,
``errors`` translates refusals. No protobuf message object is made on the way: tables built from Temporal's descriptors
say which field has which number.
"""
