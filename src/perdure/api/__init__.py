"""Temporal's API messages as :class:`msgspec.Struct`\\ s, one module per ``temporal.api`` package.

Names, fields and enumeration numbers are Temporal's. Three things differ from protobuf classes: timestamps and
durations are ``int`` nanoseconds (``None`` when unset), a ``oneof`` is a set of optional fields (or, for events and
commands, one ``attributes`` field), and an enumeration field holds a plain ``int``.

Field order inside a struct is part of the store format: append, never insert, move or remove.
"""
