"""Protobuf's JSON form of API messages and histories, without protobuf.

``history_to_json`` and ``history_from_json`` speak the form in which Temporal's CLI, Web UI and SDKs exchange
histories; ``to_json_dict`` and ``from_json_dict`` do the same for any message.
"""

from perdure.api.json._history import (
    event_from_json_dict,
    event_to_json_dict,
    history_from_json,
    history_to_json,
    history_to_json_dict,
)
from perdure.api.json._messages import from_json_dict, to_json_dict
from perdure.api.json._scalars import JSONFormError

__all__ = [
    "JSONFormError",
    "event_from_json_dict",
    "event_to_json_dict",
    "from_json_dict",
    "history_from_json",
    "history_to_json",
    "history_to_json_dict",
    "to_json_dict",
]
