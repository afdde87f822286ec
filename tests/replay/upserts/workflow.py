"""Memo and search attributes of every type: given at the start, changed and removed by the workflow."""

from datetime import UTC, datetime
from typing import Any

from sdk import common, workflow

KEYS = {
    "ReplayKeyword": common.SearchAttributeKey.for_keyword("ReplayKeyword"),
    "ReplayText": common.SearchAttributeKey.for_text("ReplayText"),
    "ReplayInt": common.SearchAttributeKey.for_int("ReplayInt"),
    "ReplayFloat": common.SearchAttributeKey.for_float("ReplayFloat"),
    "ReplayBool": common.SearchAttributeKey.for_bool("ReplayBool"),
    "ReplayDatetime": common.SearchAttributeKey.for_datetime("ReplayDatetime"),
    "ReplayKeywords": common.SearchAttributeKey.for_keyword_list("ReplayKeywords"),
}
VALUES: dict[str, Any] = {
    "ReplayKeyword": "key",
    "ReplayText": "some text",
    "ReplayInt": 7,
    "ReplayFloat": 7.5,
    "ReplayBool": True,
    "ReplayDatetime": datetime(2024, 2, 29, 12, 30, 15, 250000, tzinfo=UTC),
    "ReplayKeywords": ["a", "b"],
}
TYPES = {
    "ReplayKeyword": "KEYWORD",
    "ReplayText": "TEXT",
    "ReplayInt": "INT",
    "ReplayFloat": "DOUBLE",
    "ReplayBool": "BOOL",
    "ReplayDatetime": "DATETIME",
    "ReplayKeywords": "KEYWORD_LIST",
}


@workflow.defn
class Upserts:
    @workflow.run
    async def run(self) -> list[Any]:
        seen: list[Any] = [sorted(workflow.memo()), workflow.info().typed_search_attributes.get(KEYS["ReplayKeyword"])]
        workflow.upsert_memo({"added": {"by": "workflow"}, "given": None})
        workflow.upsert_search_attributes([KEYS[name].value_set(value) for name, value in VALUES.items()])
        workflow.upsert_search_attributes([KEYS["ReplayInt"].value_unset(), KEYS["ReplayBool"].value_set(False)])
        seen += [sorted(workflow.memo()), len(workflow.info().typed_search_attributes)]
        return seen


WORKFLOWS = [Upserts]


async def drive(d: Any) -> None:
    await d.add_search_attributes(TYPES)
    async with d.worker():
        attributes = common.TypedSearchAttributes([common.SearchAttributePair(KEYS["ReplayKeyword"], "given")])
        assert await d.run(Upserts.run, memo={"given": 1, "kept": [1, 2]}, search_attributes=attributes) == [
            ["given", "kept"],
            "given",
            ["added", "kept"],
            6,
        ]
