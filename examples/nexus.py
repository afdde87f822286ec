"""A team's service that other teams' workflows call by name: Nexus.

Run it with ``python examples/nexus.py``.
"""

import asyncio

import nexusrpc
from home import run
from nexusrpc.handler import StartOperationContext, service_handler, sync_operation

from perdure import Client, Worker, nexus, workflow
from perdure.api.nexus.v1 import EndpointSpec, EndpointTarget, EndpointTargetWorker
from perdure.api.operatorservice.v1 import CreateNexusEndpointRequest
from perdure.exceptions import NexusOperationError
from perdure.service import RPCError, RPCStatusCode

# --- the contract: all that a caller needs to have of the kitchen


@nexusrpc.service
class Kitchen:
    """What the kitchen does for others."""

    price: nexusrpc.Operation[str, int]
    cook: nexusrpc.Operation[str, str]


# --- the kitchen's own code, on the kitchen's own queue


@workflow.defn
class Cooking:
    """A dish in the making. Nobody outside the kitchen knows that it is a workflow."""

    @workflow.run
    async def run(self, dish: str) -> str:
        try:
            await workflow.sleep(60 if dish == "stew" else 0.1)
        except asyncio.CancelledError:
            workflow.logger.info("the stove is off")
            raise
        return f"{dish}, well done"


@service_handler(service=Kitchen)
class KitchenHandler:
    """Answers what others call."""

    @sync_operation
    async def price(self, ctx: StartOperationContext, dish: str) -> int:
        """Done as soon as it returns."""
        prices = {"soup": 4, "stew": 9}
        if dish not in prices:
            raise nexusrpc.HandlerError(f"we have no {dish}", type=nexusrpc.HandlerErrorType.NOT_FOUND)
        return prices[dish]

    @nexus.workflow_run_operation
    async def cook(self, ctx: nexus.WorkflowRunOperationContext, dish: str) -> nexus.WorkflowHandle[str]:
        """Goes on as a workflow: done when that has ended."""
        return await ctx.start_workflow(Cooking.run, dish, id=f"cooking-{ctx.request_id}")


# --- the waiter's code, somewhere else


@workflow.defn
class Serve:
    """Orders a dish, and gives up on it after a while."""

    @workflow.run
    async def run(self, dish: str) -> str:
        kitchen = workflow.create_nexus_client(service=Kitchen, endpoint="kitchen")
        try:
            price = await kitchen.execute_operation(Kitchen.price, dish)
        except NexusOperationError as error:
            return f"sorry: {error.__cause__}"
        order = await kitchen.start_operation(Kitchen.cook, dish)
        try:
            async with asyncio.timeout(1):
                return f"{await order}, for {price}"
        except NexusOperationError as error:  # as an activity does, it says itself that it was cancelled
            return f"{dish} takes too long: {error.__cause__}"


async def add_endpoint(client: Client, name: str, task_queue: str) -> None:
    """Once per home, by who runs it: the name under which callers find the queue."""
    target = EndpointTarget(worker=EndpointTargetWorker(client.namespace, task_queue))
    try:
        await client.operator_service.create_nexus_endpoint(
            CreateNexusEndpointRequest(EndpointSpec(name, target=target))
        )
    except RPCError as error:
        if error.status is not RPCStatusCode.ALREADY_EXISTS:
            raise


async def main(url: str) -> None:
    """Two workers that share a contract and an endpoint's name, and nothing else."""
    async with await Client.connect(url) as client:
        await add_endpoint(client, "kitchen", "kitchen-queue")
        async with (
            Worker(client, task_queue="kitchen-queue", workflows=[Cooking], nexus_service_handlers=[KitchenHandler()]),
            Worker(client, task_queue="tables", workflows=[Serve]),
        ):
            for dish in ("soup", "stew", "sushi"):
                print(await client.execute_workflow(Serve.run, dish, id=f"table-{dish}", task_queue="tables"))
            async for cooking in client.list_workflows("WorkflowType = 'Cooking' ORDER BY StartTime ASC"):
                status = cooking.status
                print(f"in the kitchen: {status.name.lower() if status else 'unknown'}")


if __name__ == "__main__":
    run(main)
