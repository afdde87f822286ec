"""A caller and a handler in one process, to be killed: ``python -m tests.nexus.victim URL``."""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta

import nexusrpc
from nexusrpc.handler import StartOperationContext, service_handler, sync_operation

from perdure import Client, Worker, nexus, workflow
from perdure.api.nexus.v1 import EndpointSpec, EndpointTarget, EndpointTargetWorker
from perdure.api.operatorservice.v1 import CreateNexusEndpointRequest


@nexusrpc.service
class Post:
    send: nexusrpc.Operation[str, str]
    stamp: nexusrpc.Operation[str, str]


@workflow.defn
class Delivery:
    def __init__(self) -> None:
        self.is_there = False

    @workflow.run
    async def run(self, letter: str) -> str:
        await workflow.wait_condition(lambda: self.is_there)
        return f"{letter} delivered"

    @workflow.signal
    def arrive(self) -> None:
        self.is_there = True


@service_handler(service=Post)
class PostHandler:
    """``stamp`` never answers in a process that is to be killed."""

    def __init__(self, is_doomed: bool) -> None:
        self.is_doomed = is_doomed

    @nexus.workflow_run_operation
    async def send(self, ctx: nexus.WorkflowRunOperationContext, letter: str) -> nexus.WorkflowHandle[str]:
        return await ctx.start_workflow(Delivery.run, letter, id=f"delivery-{letter}")

    @sync_operation
    async def stamp(self, ctx: StartOperationContext, letter: str) -> str:
        if self.is_doomed:
            print("stamping", flush=True)
            await asyncio.Event().wait()
        return f"{letter} stamped"


@workflow.defn
class Sender:
    @workflow.run
    async def run(self, letter: str) -> list[str]:
        post = workflow.create_nexus_client(service=Post, endpoint="post")
        sent = await post.start_operation(Post.send, letter, schedule_to_close_timeout=timedelta(minutes=5))
        stamped = await post.execute_operation(Post.stamp, letter)
        return [stamped, await sent]


def worker(client: Client, *, is_doomed: bool) -> Worker:
    return Worker(
        client,
        task_queue="q",
        workflows=[Sender, Delivery],
        nexus_service_handlers=[PostHandler(is_doomed)],
    )


async def main(url: str) -> None:
    async with await Client.connect(url) as client:
        target = EndpointTarget(worker=EndpointTargetWorker(client.namespace, "q"))
        await client.operator_service.create_nexus_endpoint(
            CreateNexusEndpointRequest(EndpointSpec("post", target=target))
        )
        async with worker(client, is_doomed=True):
            await client.execute_workflow(Sender.run, "a", id="s", task_queue="q")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
