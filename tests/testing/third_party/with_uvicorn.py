import uvicorn
from uvicorn.logging import ColourizedFormatter

from perdure import workflow
from tests.testing.third_party import loads

loads["uvicorn"] += 1


@workflow.defn
class Uses:
    @workflow.run
    async def run(self) -> str:
        await workflow.sleep(1)
        return f"{uvicorn.Config.__name__} {ColourizedFormatter.__name__}"
