import numpy as np

from perdure import workflow
from tests.testing.third_party import loads

loads["numpy"] += 1


@workflow.defn
class Uses:
    @workflow.run
    async def run(self) -> str:
        total = int(np.arange(10).sum())
        await workflow.sleep(1)
        return f"{total} {np.linalg.det(np.eye(3)):.0f} {np.random.default_rng(7).integers(100)}"
