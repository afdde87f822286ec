from loguru import logger

from perdure import workflow
from tests.testing.third_party import loads

loads["loguru"] += 1


@workflow.defn
class Uses:
    @workflow.run
    async def run(self) -> str:
        logger.info("before")
        await workflow.sleep(1)
        logger.bind(id=workflow.info().workflow_id).warning("after")
        return "logged"
