"""The error for payloads that convert but are not valid."""

from __future__ import annotations

from typing import Any

from perdure.exceptions import ApplicationError


def create_payload_validation_error(details: Any) -> ApplicationError:
    """A non-retryable error with the type reserved for payloads that fail validation; None means no details."""
    return ApplicationError(
        "Payload validation failed",
        *(() if details is None else (details,)),
        type="PayloadValidationError",
        non_retryable=True,
    )
