from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pydantic

from perdure import workflow
from tests.testing.third_party import loads

loads["pydantic"] += 1


class Order(pydantic.BaseModel):
    number: int
    items: list[str] = pydantic.Field(min_length=1)


class Stamped(pydantic.BaseModel, defer_build=True):
    at: datetime = pydantic.Field(default_factory=datetime.now)
    id: UUID = pydantic.Field(default_factory=uuid4)


@workflow.defn
class Uses:
    @workflow.run
    async def run(self) -> str:
        order = Order.model_validate({"number": "17", "items": ["tea"]})
        stamped = Stamped()
        assert abs(stamped.at.timestamp() - workflow.time()) < 0.001
        await workflow.execute_activity(
            "same", [str(stamped.id)], start_to_close_timeout=timedelta(seconds=9), activity_id=str(stamped.id)
        )
        try:
            Order(number=1, items=[])
        except pydantic.ValidationError as error:
            return f"{order.model_dump_json()} {error.error_count()}"
        return "valid"
