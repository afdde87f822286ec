"""Errors that workflows, activities and clients raise and see. Names and fields are Temporal's."""


class TemporalError(Exception):
    """The root of every error perdure raises on purpose."""
