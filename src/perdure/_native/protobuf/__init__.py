"""API structs to protobuf's wire bytes and back, by tables; no message objects in between.

``tables`` says of each struct which field has which number and kind, ``writer`` and ``reader`` go by that. They know
protobuf, not Temporal: tables are filled from outside.
"""
