"""The JSON of archives: what Temporal's archivers write, and what they read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import orjson

from perdure._native.events import HistoryEvent
from perdure.api import json
from perdure.api.common.v1 import Memo, Payload
from perdure.api.enums.v1 import WorkflowExecutionStatus
from perdure.api.json import JSONFormError
from perdure.api.json._scalars import SCALARS, Unset, decode_timestamp, encode_timestamp
from perdure.store.api import RunKey, VisibilityRecord
from perdure.store.archive._api import ArchiveCorruptError, ArchivedExecution, ArchivedRun
from perdure.store.visibility import payload_value

_encode_json = msgspec.json.encode
_decode_json = msgspec.json.decode
_DURATION = SCALARS["Duration"]
_STATUS_PREFIX = "WORKFLOW_EXECUTION_STATUS_"
_encode_fields = msgspec.msgpack.Encoder().encode
_decode_fields = msgspec.msgpack.Decoder(dict[str, Payload]).decode


# ---- histories


def encode_batch(events: Sequence[HistoryEvent]) -> bytes:
    """A batch as Temporal's ``History`` message."""
    return _encode_json({"events": [json.event_to_json_dict(event) for event in events]})


def decode_batch(data: Any) -> list[HistoryEvent]:
    """The events of a batch. Raises ArchiveCorruptError."""
    try:
        return json.history_from_json(_decode_json(data)).events
    except (JSONFormError, msgspec.MsgspecError) as error:
        raise ArchiveCorruptError(f"an archived history is not one: {error}") from None


def split_batches(data: bytes) -> list[msgspec.Raw]:
    """The batches of such a file, not decoded yet. Raises ArchiveCorruptError."""
    try:
        return msgspec.json.decode(data, type=list[msgspec.Raw])
    except msgspec.MsgspecError as error:
        raise ArchiveCorruptError(f"an archived history is not one: {error}") from None


class Blob(msgspec.Struct):
    """Temporal's ``HistoryBlob``: a part of a history, as an object holds it."""

    header: dict[str, Any]
    body: list[msgspec.Raw] = []

    @property
    def is_last(self) -> bool:
        """Whether the history ends here."""
        return self.header.get("isLast") is True


_decode_blob = msgspec.json.Decoder(Blob).decode


def encode_blob(run: ArchivedRun, batches: Sequence[bytes], first: int, last: int, is_last: bool) -> bytes:
    """A blob with the events ``first`` to ``last``."""
    header: dict[str, Any] = {
        "namespace": run.namespace,
        "namespaceId": run.namespace_id,
        "workflowId": run.workflow_id,
        "runId": run.run_id,
    }
    if is_last:
        header["isLast"] = True
    header |= {"firstEventId": str(first), "lastEventId": str(last), "eventCount": str(last - first + 1)}
    return _encode_json({"header": header, "body": [msgspec.Raw(batch) for batch in batches]})


def decode_blob(data: bytes) -> Blob:
    """A blob, its batches not decoded yet. Raises ArchiveCorruptError."""
    try:
        return _decode_blob(data)
    except msgspec.MsgspecError as error:
        raise ArchiveCorruptError(f"an archived history is not one: {error}") from None


# ---- visibility


def encode_execution(execution: ArchivedExecution) -> bytes:
    """Temporal's ``VisibilityRecord``."""
    e = execution
    record: dict[str, Any] = {
        "namespaceId": e.namespace_id,
        "namespace": e.namespace,
        "workflowId": e.workflow_id,
        "runId": e.run_id,
        "workflowTypeName": e.workflow_type,
        "startTime": encode_timestamp(e.start_time),
        "executionTime": encode_timestamp(e.execution_time),
        "closeTime": encode_timestamp(e.close_time),
        "status": WorkflowExecutionStatus(e.status).name,
        "historyLength": str(e.history_length),
    }
    if e.memo:
        record["memo"] = json.to_json_dict(Memo(dict(e.memo)))
    if e.search_attributes:
        record["searchAttributes"] = dict(e.search_attributes)
    if e.history_archival_uri:
        record["historyArchivalUri"] = e.history_archival_uri
    if e.execution_duration is not None:
        record["executionDuration"] = _DURATION.encode(e.execution_duration)
    return _encode_json(record)


def decode_execution(data: bytes) -> ArchivedExecution:
    """A visibility record; fields of newer versions are ignored. Raises ArchiveCorruptError."""
    try:
        record = _decode_json(data)
        memo = record.get("memo")
        duration = record.get("executionDuration")
        return ArchivedExecution(
            record.get("namespaceId", ""),
            record.get("namespace", ""),
            record["workflowId"],
            record["runId"],
            record.get("workflowTypeName", ""),
            _moment(record.get("startTime")),
            _moment(record.get("executionTime")),
            decode_timestamp(record["closeTime"]),
            _status(record.get("status", 0)),
            int(record.get("historyLength", 0)),
            json.from_json_dict(memo, Memo).fields if memo else {},
            dict(record.get("searchAttributes", {})),
            record.get("historyArchivalUri", ""),
            None if duration is None else _DURATION.decode(duration),
        )
    except (msgspec.MsgspecError, JSONFormError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArchiveCorruptError(f"an archived visibility record is not one: {error!r}") from None


def _moment(text: str | None) -> int:
    """A time that may be unset."""
    try:
        return 0 if text is None else decode_timestamp(text)
    except Unset:
        return 0


def _status(value: str | int) -> int:
    if isinstance(value, int):
        return value
    name = value if value.startswith(_STATUS_PREFIX) else None
    if name is None:
        wanted = value.replace("_", "").upper()
        name = next(s.name for s in WorkflowExecutionStatus if _bare(s.name) == wanted)
    return int(WorkflowExecutionStatus[name])


def _bare(name: str) -> str:
    return name.removeprefix(_STATUS_PREFIX).replace("_", "")


# ---- between archives and stores


def archived_execution(
    record: VisibilityRecord, namespace: str, types: Mapping[str, str], history_uri: str
) -> ArchivedExecution:
    """What an archive keeps of a closed run's visibility record."""
    fields = _decode_fields(record.search_attributes) if record.search_attributes else {}
    texts = {name: _text(payload, types.get(name, "")) for name, payload in fields.items()}
    key = record.key
    execution_time = record.execution_time or record.start_time
    return ArchivedExecution(
        key.namespace_id,
        namespace,
        key.workflow_id,
        key.run_id,
        record.workflow_type,
        record.start_time,
        execution_time,
        record.close_time,
        record.status,
        record.history_length,
        _decode_fields(record.memo) if record.memo else {},
        {name: text for name, text in texts.items() if text is not None},
        history_uri,
        record.close_time - execution_time,
    )


def search_attributes(execution: ArchivedExecution, types: Mapping[str, str]) -> dict[str, Payload]:
    """An archived run's search attributes as payloads, with the types that the namespace knows."""
    return {name: _payload(text, types.get(name, "")) for name, text in execution.search_attributes.items()}


def visibility_record(execution: ArchivedExecution, types: Mapping[str, str]) -> VisibilityRecord:
    """The record that filters are evaluated over."""
    e = execution
    fields = search_attributes(e, types)
    return VisibilityRecord(
        RunKey(e.namespace_id, e.workflow_id, e.run_id),
        e.workflow_type,
        "",
        e.status,
        e.start_time,
        e.execution_time,
        e.close_time,
        e.history_length,
        search_attributes=_encode_fields(fields) if fields else b"",
    )


def _text(payload: Payload, kind: str) -> str | None:
    """A search attribute as Temporal's archives write it; None when it is unset."""
    try:
        value = orjson.loads(payload.data) if payload.data else None
    except orjson.JSONDecodeError:
        return payload.data.decode("utf-8", "replace")
    if value is None or value == []:
        return None
    if isinstance(value, list):
        if len(value) > 1 or kind == "KeywordList":
            return orjson.dumps(value).decode()
        value = value[0]
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and math.isfinite(value) and value == int(value):
        return str(int(value))
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _payload(text: str, kind: str) -> Payload:
    metadata = {"encoding": b"json/plain"}
    if kind:
        metadata["type"] = kind.encode()
    if kind in ("Int", "Double", "Bool") or (kind in ("KeywordList", "") and text.startswith("[")):
        payload = Payload(metadata, text.encode())
        if not kind or payload_value(payload, kind) is not None:
            return payload
    return Payload(metadata, orjson.dumps([text] if kind == "KeywordList" else text))
