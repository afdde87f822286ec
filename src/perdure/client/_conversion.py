"""Between Python values and payloads, on the way of a client call."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from perdure.api.common.v1 import Header, Memo, Payload, Payloads
from perdure.api.failure.v1 import Failure
from perdure.api.sdk.v1 import UserMetadata
from perdure.client import _check
from perdure.common import HeaderCodecBehavior
from perdure.converter import (
    DataConverter,
    StorageDriverStoreContext,
    StorageDriverWorkflowInfo,
    WorkflowSerializationContext,
)


class Conversion:
    """A client's data converter.

    ``plain`` is its payload converter when that is all there is: no codec and nothing that depends on the workflow.
    Then no call into it suspends, and none needs a converter of its own.
    """

    def __init__(self, converter: DataConverter, namespace: str, header_codec_behavior: HeaderCodecBehavior) -> None:
        self.converter = converter
        self.namespace = namespace
        self.encodes_headers = header_codec_behavior == HeaderCodecBehavior.CODEC
        is_plain = (
            type(converter) is DataConverter and not converter._changes_payloads and self.for_workflow("") is converter
        )
        self.plain = converter.payload_converter if is_plain else None

    def for_workflow(
        self, workflow_id: str, run_id: str | None = None, workflow_type: str | None = None
    ) -> DataConverter:
        """The converter for what goes to and comes from one workflow; run and type are for external storage."""
        converter = self.converter.with_context(WorkflowSerializationContext(self.namespace, workflow_id))
        if converter.external_storage is None:
            return converter
        target = StorageDriverWorkflowInfo(
            namespace=self.namespace, id=workflow_id, run_id=run_id or None, type=workflow_type
        )
        return converter._with_store_context(StorageDriverStoreContext(target))

    async def encode(
        self, workflow_id: str, values: Sequence[Any], run_id: str | None = None, workflow_type: str | None = None
    ) -> Payloads | None:
        """Arguments as payloads; None for no arguments."""
        if not values:
            return None
        if self.plain is not None:
            return Payloads(self.plain.to_payloads(values))
        return Payloads(await self.for_workflow(workflow_id, run_id, workflow_type).encode(values))

    async def decode(self, workflow_id: str, payloads: Payloads | None, hint: type | None, what: str) -> Any:
        """The one value of a result, None for none."""
        if payloads is None or not payloads.payloads:
            return None
        hints = None if hint is None else [hint]
        if self.plain is not None:
            values = self.plain.from_payloads(payloads.payloads, hints)
        else:
            values = await self.for_workflow(workflow_id).decode(payloads.payloads, hints)
        if len(values) > 1:
            warnings.warn(
                f"{what} of workflow {workflow_id!r} has {len(values)} values; only the first is used", stacklevel=3
            )
        return values[0] if values else None

    async def decode_all(self, workflow_id: str, payloads: Payloads | None) -> list[Any]:
        """Every value, without type hints."""
        if payloads is None or not payloads.payloads:
            return []
        return await self.for_workflow(workflow_id).decode(payloads.payloads)

    async def decode_failure(self, workflow_id: str, failure: Failure | None) -> BaseException:
        """The exception that a failure stands for."""
        converter = self.for_workflow(workflow_id)
        if failure is None:
            failure = Failure()
        elif converter._changes_payloads:
            failure = copy.deepcopy(failure)  # decoded in place, and this one belongs to a shared event
        return await converter.decode_failure(failure)

    async def encode_memo(
        self, where: str, workflow_id: str, memo: Mapping[str, Any], workflow_type: str | None = None
    ) -> Memo:
        """A memo: a payload per key. A value that is a payload stays as it is."""
        _check.instance(where, "memo", memo, Mapping)
        converter = self.for_workflow(workflow_id, workflow_type=workflow_type)
        fields: dict[str, Payload] = {}
        for key, value in memo.items():
            _check.text(where, "a memo key", key)
            fields[key] = value if isinstance(value, Payload) else (await converter.encode([value]))[0]
        return Memo(fields)

    async def encode_headers(self, headers: Mapping[str, Payload]) -> Header | None:
        """Headers, through the codec where the client says so."""
        if not headers:
            return None
        fields = dict(headers)
        if self.encodes_headers and self.converter.payload_codec is not None:
            for key, payload in fields.items():
                fields[key] = (await self.converter.payload_codec.encode([payload]))[0]
        return Header(fields)

    async def encode_user_metadata(
        self, where: str, workflow_id: str, summary: str | None, details: str | None
    ) -> UserMetadata | None:
        """A workflow's static summary and details."""
        if summary is None and details is None:
            return None
        converter = self.for_workflow(workflow_id)
        metadata = UserMetadata()
        for name, value in (("summary", summary), ("details", details)):
            if value is not None:
                _check.instance(where, f"static_{name}", value, str)
                setattr(metadata, name, (await converter.encode([value]))[0])
        return metadata


async def decode_user_metadata(
    converter: DataConverter, metadata: UserMetadata | None
) -> tuple[str | None, str | None]:
    """The summary and the details in a workflow's user metadata."""
    if metadata is None:
        return None, None
    values = [
        None if payload is None else (await converter.decode([payload]))[0]
        for payload in (metadata.summary, metadata.details)
    ]
    return values[0], values[1]
