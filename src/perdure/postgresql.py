"""Starting and signaling workflows inside a database transaction of your own.

Where the application's rows and perdure's tables share one PostgreSQL database, both can be committed together::

    async with connection.transaction():
        await connection.execute("INSERT INTO orders ...")
        await in_transaction(client, connection).start_workflow(Order.run, 17, id="order-17", task_queue="orders")

The request is written into the table ``outbox`` with the transaction, and carried out, once, after it committed: by a process
that has the database as its ``postgresql://`` home, within milliseconds while one runs. If the transaction is rolled
back, nothing happens. Requests about one workflow are carried out in the order in which they were written.
"""

from __future__ import annotations

import re
from typing import Any, cast

import msgspec

from perdure.api.workflowservice import v1 as ws
from perdure.client import Client
from perdure.service import RPCError, RPCStatusCode, WorkflowService

__all__ = ["in_transaction"]

_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,50}")


def in_transaction(client: Client, connection: Any, *, schema: str = "perdure") -> Client:
    """A client whose requests become part of the connection's transaction.

    It starts (``start_workflow``, also with ``start_signal``), signals, cancels and terminates workflows, and completes
    or fails activities by their task token: an activity that writes rows may so commit its result together with them
    (``client.get_async_activity_handle(task_token=...)``, then ``activity.raise_complete_async()``). It gives no results:
    a handle it returns knows the workflow's id alone. Whether a start is allowed (reuse and conflict policies) is decided
    when it is carried out; one that is refused then stays in ``outbox`` with its error.

    Args:
        connection: an ``asyncpg`` connection, or a ``psycopg`` asynchronous one, on the database of the home.
        schema: the schema of the home's tables.
    """
    if not _SCHEMA.fullmatch(schema):
        raise ValueError(f"schema={schema!r} is not the name of a schema of perdure's")
    config = client.config()
    config["service_client"] = cast("Any", _Outbox(connection, schema))
    return Client(**config)


class _Outbox:
    """A service that writes requests down."""

    in_process = False

    def __init__(self, connection: Any, schema: str) -> None:
        self._connection = connection
        self._schema = schema

    async def _write(self, method: str, workflow_id: str, request: Any) -> None:
        places = ("$1", "$2", "$3", "$4") if hasattr(self._connection, "fetchval") else ("%s", "%s", "%s", "%s")
        values = (workflow_id.replace("\0", ""), method, msgspec.msgpack.encode(request), self._schema)
        sql = (
            f"WITH written AS (INSERT INTO {self._schema}.outbox (workflow_id, method, body) "
            f"VALUES ({places[0]}, {places[1]}, {places[2]})) SELECT pg_notify({places[3]}, '0 o')"
        )
        if hasattr(self._connection, "fetchval"):
            await self._connection.execute(sql, *values)
        else:
            await self._connection.execute(sql, values)

    async def start_workflow_execution(
        self, request: ws.StartWorkflowExecutionRequest, **_: Any
    ) -> ws.StartWorkflowExecutionResponse:
        await self._write("start_workflow_execution", request.workflow_id, request)
        return ws.StartWorkflowExecutionResponse(started=True)

    async def signal_with_start_workflow_execution(
        self, request: ws.SignalWithStartWorkflowExecutionRequest, **_: Any
    ) -> ws.SignalWithStartWorkflowExecutionResponse:
        await self._write("signal_with_start_workflow_execution", request.workflow_id, request)
        return ws.SignalWithStartWorkflowExecutionResponse(started=True)

    async def signal_workflow_execution(
        self, request: ws.SignalWorkflowExecutionRequest, **_: Any
    ) -> ws.SignalWorkflowExecutionResponse:
        await self._write("signal_workflow_execution", _workflow_id(request), request)
        return ws.SignalWorkflowExecutionResponse()

    async def request_cancel_workflow_execution(
        self, request: ws.RequestCancelWorkflowExecutionRequest, **_: Any
    ) -> ws.RequestCancelWorkflowExecutionResponse:
        await self._write("request_cancel_workflow_execution", _workflow_id(request), request)
        return ws.RequestCancelWorkflowExecutionResponse()

    async def terminate_workflow_execution(
        self, request: ws.TerminateWorkflowExecutionRequest, **_: Any
    ) -> ws.TerminateWorkflowExecutionResponse:
        await self._write("terminate_workflow_execution", _workflow_id(request), request)
        return ws.TerminateWorkflowExecutionResponse()

    async def respond_activity_task_completed(
        self, request: ws.RespondActivityTaskCompletedRequest, **_: Any
    ) -> ws.RespondActivityTaskCompletedResponse:
        await self._write("respond_activity_task_completed", "", request)
        return ws.RespondActivityTaskCompletedResponse()

    async def respond_activity_task_failed(
        self, request: ws.RespondActivityTaskFailedRequest, **_: Any
    ) -> ws.RespondActivityTaskFailedResponse:
        await self._write("respond_activity_task_failed", "", request)
        return ws.RespondActivityTaskFailedResponse()

    async def close(self) -> None:
        """Nothing is open."""

    def __getattr__(self, name: str) -> Any:
        if not hasattr(WorkflowService, name):
            raise AttributeError(name)

        async def refuse(request: Any, **_: Any) -> Any:
            raise RPCError(
                f"{name} cannot be part of a transaction: only what starts, signals, cancels or terminates workflows, or "
                "answers activities, can; use the client itself",
                RPCStatusCode.UNIMPLEMENTED,
            )

        return refuse


def _workflow_id(request: Any) -> str:
    return "" if request.workflow_execution is None else str(request.workflow_execution.workflow_id)
