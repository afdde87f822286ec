"""Temporal's ``temporal.api.history``. Importing it hands the native event codec its structs."""

from perdure.api.history import v1 as v1
