"""Hands the API structs and decoders to the native core, which imports nothing of the package."""

from __future__ import annotations

from types import SimpleNamespace

import msgspec

from perdure._native import activities, transitions
from perdure.api.common import v1 as common_v1
from perdure.api.failure import v1 as failure_v1
from perdure.api.history import v1 as history_v1
from perdure.api.taskqueue import v1 as taskqueue_v1

decode_failure = msgspec.msgpack.Decoder(failure_v1.Failure).decode
decode_payloads = msgspec.msgpack.Decoder(common_v1.Payloads).decode
decode_payload = msgspec.msgpack.Decoder(common_v1.Payload).decode
encode = msgspec.msgpack.Encoder().encode

transitions.configure(SimpleNamespace(history=history_v1, common=common_v1, taskqueue=taskqueue_v1, failure=failure_v1))
activities.configure(decode_failure, decode_payloads)
