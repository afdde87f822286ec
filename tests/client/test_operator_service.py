"""The operator service as a client has it."""

from __future__ import annotations

import pytest

from perdure.api.enums.v1 import IndexedValueType
from perdure.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from perdure.client import Client


@pytest.mark.parametrize("lazy", [False, True])
async def test_search_attributes_are_added_and_filtered_by(lazy: bool) -> None:
    async with await Client.connect("memory:", lazy=lazy) as client:
        kind = int(IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD)
        await client.operator_service.add_search_attributes(AddSearchAttributesRequest({"Customer": kind}, "default"))
        listed = await client.operator_service.list_search_attributes(ListSearchAttributesRequest("default"))
        assert listed.custom_attributes == {"Customer": kind}
        assert (await client.count_workflows("Customer = 'bob'")).count == 0
