"""A logger that says which attempt it logs for."""

from __future__ import annotations

import logging
from collections.abc import Mapping, MutableMapping
from typing import Any

from perdure.activity._context import current_context, info


class LoggerAdapter(logging.LoggerAdapter[logging.Logger]):
    """Adds the running attempt's details to each message.

    Attributes:
        activity_info_on_message: Append the details to the message. Default True.
        activity_info_on_extra: Put them into the record as ``temporal_activity``. Default True.
        full_activity_info_on_extra: Put the whole :class:`Info` into the record as ``activity_info``. Default False.
    """

    def __init__(self, logger: logging.Logger, extra: Mapping[str, Any] | None) -> None:
        super().__init__(logger, extra or {})
        self.activity_info_on_message = True
        self.activity_info_on_extra = True
        self.full_activity_info_on_extra = False

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Add the details of the attempt that runs here, if one does."""
        context = current_context.get(None)
        if context is None:
            return msg, kwargs
        if self.activity_info_on_message:
            msg = f"{msg} ({context.logger_details})"
        if self.activity_info_on_extra or self.full_activity_info_on_extra:
            extra = dict(kwargs.get("extra") or {})
            if self.activity_info_on_extra:
                extra["temporal_activity"] = context.logger_details
            if self.full_activity_info_on_extra:
                extra["activity_info"] = info()
            kwargs["extra"] = extra
        return msg, kwargs

    @property
    def base_logger(self) -> logging.Logger:
        """The logger underneath, for handlers and formatters."""
        return self.logger


#: Logs with the running attempt's details.
logger = LoggerAdapter(logging.getLogger("perdure.activity"), None)
