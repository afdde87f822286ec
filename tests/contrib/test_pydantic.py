"""Pydantic models through workflows and activities."""

from __future__ import annotations

import pickle
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pydantic
import pytest

from perdure import Client, Worker, activity, workflow
from perdure.api.common.v1 import Payload
from perdure.client import WorkflowFailureError
from perdure.contrib.pydantic import (
    PydanticJSONPlainPayloadConverter,
    PydanticPayloadConverter,
    ToJsonOptions,
    pydantic_data_converter,
)
from perdure.converter import DataConverter


class Line(pydantic.BaseModel):
    item: str
    amount: int = pydantic.Field(gt=0)


class Order(pydantic.BaseModel):
    id: UUID
    at: datetime
    lines: list[Line]
    note: str | None = None


@activity.defn
async def double(order: Order) -> Order:
    return order.model_copy(update={"lines": order.lines * 2})


@workflow.defn
class Shop:
    @workflow.run
    async def run(self, order: Order) -> list[Order]:
        assert isinstance(order, Order)
        return [order, await workflow.execute_activity(double, order, start_to_close_timeout=timedelta(seconds=30))]


ORDER = Order(id=UUID(int=1), at=datetime(2026, 1, 2, 3, 4), lines=[Line(item="tea", amount=2)])


async def test_models_go_through() -> None:
    async with (
        await Client.connect("memory:", data_converter=pydantic_data_converter) as client,
        Worker(client, task_queue="q", workflows=[Shop], activities=[double]),
    ):
        first, second = await client.execute_workflow(Shop.run, ORDER, id="a", task_queue="q")
        assert first == ORDER
        assert second.lines == ORDER.lines * 2
        handle = await client.start_workflow(
            "Shop", {"id": "no uuid"}, id="b", task_queue="q", task_timeout=timedelta(seconds=1)
        )
        await handle.terminate()
        with pytest.raises(WorkflowFailureError):
            await handle.result()


def test_payloads() -> None:
    converter = PydanticPayloadConverter()
    payloads = converter.to_payloads([ORDER, None, b"bytes", {"a": (1, {2})}])
    assert [payload.metadata["encoding"] for payload in payloads] == [
        b"json/plain",
        b"binary/null",
        b"binary/plain",
        b"json/plain",
    ]
    hints: Any = [Order, None, bytes, dict[str, tuple[int, set[int]]]]
    assert converter.from_payloads(payloads, hints) == [ORDER, None, b"bytes", {"a": (1, {2})}]
    assert converter.from_payload(Payload({"encoding": b"json/plain"}, b"[1]")) == [1]
    with pytest.raises(pydantic.ValidationError):
        converter.from_payload(Payload({"encoding": b"json/plain"}, b'{"item": "tea", "amount": 0}'), Line)


def test_options() -> None:
    class Sparse(PydanticPayloadConverter):
        def __init__(self) -> None:
            super().__init__(ToJsonOptions(exclude_unset=True), max_cached_type_adapters=0)

    [payload] = DataConverter(payload_converter_class=Sparse).payload_converter.to_payloads([ORDER])
    assert b"note" not in payload.data
    with pytest.raises(ValueError, match="cannot be negative"):
        PydanticPayloadConverter(max_cached_type_adapters=-1)
    converter = PydanticJSONPlainPayloadConverter(ToJsonOptions(True))
    copy = pickle.loads(pickle.dumps(converter))
    assert copy.to_payload(ORDER) == payload
    assert copy.from_payload(payload, Order) == ORDER

    class Unhashable:
        __hash__ = None  # type: ignore[assignment]

        def __get_pydantic_core_schema__(self, _source: Any, _handler: Any) -> Any:
            return pydantic.TypeAdapter(int).core_schema

    assert converter.from_payload(Payload({}, b"5"), Unhashable()) == 5  # type: ignore[arg-type]
