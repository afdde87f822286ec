"""Batch operations: one request carried out on many executions, as a job that outlives the process.

A job is a document of the store. It goes through its executions page by page; after each page the document says where it
goes on, so a job that was interrupted does at most one page again. Doing it again does no harm: signals, cancellations and
resets carry request ids that follow from the job and the execution, and what is gone already counts as done.

Executions that started or closed after the job did are passed over: what the job itself brings about (a reset's new run,
a terminated run among the closed ones) is never taken for something to do.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from perdure.api.batch import v1 as batch_v1
from perdure.api.common import v1 as common_v1
from perdure.api.enums.v1 import BatchOperationState, ExecutionType
from perdure.api.workflowservice import v1 as ws
from perdure.engine import limits
from perdure.engine.batch_operations import Operation, find_operation
from perdure.engine.core import Core
from perdure.engine.errors import (
    CONCURRENT_LIMIT,
    batch_already_started,
    invalid_argument,
    not_found,
    resource_exhausted,
    unreadable,
)
from perdure.engine.listing import read_query
from perdure.engine.namespaces import Namespace, Namespaces, activities_of
from perdure.engine.standalone_activities import COLUMNS
from perdure.service import RPCError, RPCStatusCode
from perdure.store.api import Document, StoreError, VisibilityRecord
from perdure.store.visibility import And, Field, In, Query

if TYPE_CHECKING:
    from perdure.service import WorkflowService

logger = logging.getLogger("perdure.engine")

#: The kind of a job's document.
BATCH = "batch"
MAX_EXECUTIONS = 1000
#: How many executions are worked on at once; a page of a job.
PAGE_SIZE = 100
_RUNNING = int(BatchOperationState.BATCH_OPERATION_STATE_RUNNING)
_COMPLETED = int(BatchOperationState.BATCH_OPERATION_STATE_COMPLETED)
_FAILED = int(BatchOperationState.BATCH_OPERATION_STATE_FAILED)
_WORKFLOW = int(ExecutionType.EXECUTION_TYPE_WORKFLOW)
_ACTIVITY = int(ExecutionType.EXECUTION_TYPE_ACTIVITY)
_OPEN = In(Field("ExecutionStatus", "Keyword"), (1, 8))
_ID_SPACE = uuid.UUID("3c2a1f0e-6a52-4c43-8d0a-1f7c5f4be9a1")
_encode = msgspec.msgpack.Encoder().encode


class Job(msgspec.Struct, array_like=True):
    """What is kept of a job."""

    request: ws.StartBatchOperationRequest
    start_time: int
    state: int = _RUNNING
    close_time: int = 0
    total: int = 0
    done: int = 0
    failed: int = 0
    #: Where it goes on: a page token of the listing, or how many of the given executions are done.
    token: bytes = b""


class Target(NamedTuple):
    """An execution to work on, and the request id of doing so."""

    id: str
    run_id: str
    request_id: str


_decode = msgspec.msgpack.Decoder(Job).decode


class Batches:
    """The batch operations of a store."""

    def __init__(self, core: Core, namespaces: Namespaces, service: WorkflowService) -> None:
        self._core = core
        self._namespaces = namespaces
        self._service = service
        #: (namespace id, job id) of jobs that are starting or under way -> done when they no longer are.
        self._working: dict[tuple[str, str], asyncio.Future[None]] = {}
        self._stopping: set[tuple[str, str]] = set()

    async def open(self) -> None:
        """Go on with the jobs that were under way, and forget those that ended a retention ago."""
        for namespace in self._namespaces.all():
            for document in await self._documents(namespace):
                job = _decode(document.body)
                if job.state == _RUNNING:
                    self._working[namespace.namespace_id, job.request.job_id] = self._core.loop.create_future()
                    self._core.spawn(self._work(namespace, job))
                elif self._is_over(namespace, job):
                    await self._core.store.commit([], [msgspec.structs.replace(document, body=b"")])

    async def _documents(self, namespace: Namespace) -> list[Document]:
        found: list[Document] = []
        while True:
            after = found[-1].id if found else ""
            page = await self._core.store.list_documents(namespace.namespace_id, BATCH, 1000, after)
            found += page
            if len(page) < 1000:
                return found

    def _is_over(self, namespace: Namespace, job: Job) -> bool:
        return job.close_time // limits.NS_PER_MS + namespace.retention_ms < self._core.now() // limits.NS_PER_MS

    # ---- requests

    async def start(self, request: ws.StartBatchOperationRequest) -> ws.StartBatchOperationResponse:
        """Temporal's StartBatchOperation. The job is durable before the answer; one at a time in a namespace."""
        operation = _check(request)
        namespace = self._namespaces.get(request.namespace)
        job = Job(request, self._core.now())
        query = self._query(namespace, request, operation)
        name = (namespace.namespace_id, request.job_id)
        if name in self._working or await self._find(namespace, request.job_id) is not None:
            raise batch_already_started(request.job_id)
        if any(namespace_id == namespace.namespace_id for namespace_id, _ in self._working):
            raise resource_exhausted("Max concurrent batch operations is reached", CONCURRENT_LIMIT)
        self._working[name] = self._core.loop.create_future()
        try:
            job.total = len(_executions(request))
            if not job.total:
                await self._core.settle()
                counts = await self._core.store.count_runs(_namespace_id(namespace, operation), query)
                job.total = sum(counts.values())
            await self._save(namespace, job)
        except BaseException as error:
            self._ended(name)
            if isinstance(error, StoreError):
                raise unreadable(error) from None
            raise
        self._core.spawn(self._work(namespace, job))
        return ws.StartBatchOperationResponse()

    async def stop(self, request: ws.StopBatchOperationRequest) -> ws.StopBatchOperationResponse:
        """Temporal's StopBatchOperation. What was done stays done."""
        limits.check_id(request.job_id, "JobId")
        namespace = self._namespaces.get(request.namespace)
        if not request.reason:
            raise invalid_argument("Reason is not set on request.")
        job = await self._get(namespace, request.job_id)
        if job.state != _RUNNING:
            raise not_found(f"batch operation {request.job_id!r} has already ended")
        name = (namespace.namespace_id, request.job_id)
        working = self._working.get(name)
        if working is not None:
            self._stopping.add(name)
            await asyncio.shield(working)
        return ws.StopBatchOperationResponse()

    async def describe(self, request: ws.DescribeBatchOperationRequest) -> ws.DescribeBatchOperationResponse:
        """Temporal's DescribeBatchOperation."""
        limits.check_id(request.job_id, "JobId")
        job = await self._get(self._namespaces.get(request.namespace), request.job_id)
        operation = find_operation(job.request)
        assert operation is not None
        return ws.DescribeBatchOperationResponse(
            operation_type=operation.type,
            job_id=job.request.job_id,
            state=job.state,
            start_time=job.start_time,
            close_time=job.close_time or None,
            total_operation_count=job.total,
            complete_operation_count=job.done,
            failure_operation_count=job.failed,
            identity=operation.identity,
            reason=job.request.reason,
            query=job.request.visibility_query,
            executions=_executions(job.request),
        )

    async def list_jobs(self, request: ws.ListBatchOperationsRequest) -> ws.ListBatchOperationsResponse:
        """Temporal's ListBatchOperations: the newest first."""
        namespace = self._namespaces.get(request.namespace)
        size = request.page_size if 0 < request.page_size <= limits.MAX_PAGE_SIZE else limits.MAX_PAGE_SIZE
        try:
            start = int(request.next_page_token or b"0")
        except ValueError:
            raise invalid_argument("Invalid NextPageToken: it is not one that a listing gave.") from None
        jobs = [_decode(document.body) for document in await self._documents(namespace)]
        jobs = [job for job in jobs if job.state == _RUNNING or not self._is_over(namespace, job)]
        jobs.sort(key=lambda job: (-job.start_time, job.request.job_id))
        infos = []
        for job in jobs[start : start + size]:
            operation = find_operation(job.request)
            infos.append(
                batch_v1.BatchOperationInfo(
                    job.request.job_id,
                    job.state,
                    job.start_time,
                    job.close_time or None,
                    0 if operation is None else operation.type,
                )
            )
        more = start + size < len(jobs)
        return ws.ListBatchOperationsResponse(infos, b"%d" % (start + size) if more else b"")

    async def _find(self, namespace: Namespace, job_id: str) -> Job | None:
        try:
            document = await self._core.store.load_document(namespace.namespace_id, BATCH, job_id)
        except StoreError as error:
            raise unreadable(error) from None
        return None if document is None else _decode(document.body)

    async def _get(self, namespace: Namespace, job_id: str) -> Job:
        job = await self._find(namespace, job_id)
        if job is None:
            raise not_found(f"batch operation not found for ID: {job_id}")
        return job

    def _query(
        self, namespace: Namespace, request: ws.StartBatchOperationRequest, operation: Operation
    ) -> Query | None:
        if not request.visibility_query:
            return None
        columns = COLUMNS if operation.is_on_activities else None
        query = read_query(request.visibility_query, namespace.search_attributes, columns)
        if query is None or query.group_by is not None or query.order_by:
            raise invalid_argument("invalid query: the filter of a batch operation has no GROUP BY or ORDER BY")
        if operation.is_for_open and query.where is not None:
            return Query(And((query.where, _OPEN)))
        return query

    async def _save(self, namespace: Namespace, job: Job) -> None:
        batch = self._core.put_document(Document(namespace.namespace_id, BATCH, job.request.job_id, _encode(job)))
        waiter: asyncio.Future[None] = self._core.loop.create_future()
        batch.waiters.append(waiter)
        await waiter

    # ---- work

    async def _work(self, namespace: Namespace, job: Job) -> None:
        name = (namespace.namespace_id, job.request.job_id)
        operation = find_operation(job.request)
        assert operation is not None
        delay = 0.05
        try:
            while job.state == _RUNNING:
                try:
                    await self._page(namespace, job, operation)
                    delay = 0.05
                except (RPCError, StoreError) as error:
                    logger.warning("batch operation %s goes on in %.2f s: %s", job.request.job_id, delay, error)
                    await asyncio.sleep(delay)
                    delay = min(delay * 2, 5.0)
        finally:
            self._ended(name)

    def _ended(self, name: tuple[str, str]) -> None:
        self._stopping.discard(name)
        working = self._working.pop(name)
        if not working.done():
            working.set_result(None)

    async def _page(self, namespace: Namespace, job: Job, operation: Operation) -> None:
        """Do one page and say so, durably."""
        rate = job.request.max_operations_per_second
        size = PAGE_SIZE if rate <= 0 else max(1, min(PAGE_SIZE, int(rate)))
        began = self._core.loop.time()
        targets, token = await self._targets(namespace, job, operation, size)
        results = await asyncio.gather(*(self._one(namespace, job, operation, target) for target in targets))
        if rate > 0 and token:
            await asyncio.sleep(max(0.0, began + len(targets) / rate - self._core.loop.time()))
        done = job.done + sum(results)
        failed = job.failed + len(results) - sum(results)
        after = msgspec.structs.replace(job, done=done, failed=failed, token=token)
        is_stopped = (namespace.namespace_id, job.request.job_id) in self._stopping
        if is_stopped or not token:
            after.state = _FAILED if is_stopped else _COMPLETED
            after.close_time = self._core.now()
            after.total = after.total if is_stopped else done + failed
        await self._save(namespace, after)
        for field in ("state", "close_time", "total", "done", "failed", "token"):
            setattr(job, field, getattr(after, field))

    async def _targets(
        self, namespace: Namespace, job: Job, operation: Operation, size: int
    ) -> tuple[list[Target], bytes]:
        """The executions of the next page, and where the page after it begins (b"": there is none)."""
        executions = _executions(job.request)
        if executions:
            start = int(job.token or b"0")
            page = executions[start : start + size]
            more = start + size < len(executions)
            targets = [self._target(job, found.business_id, found.run_id) for found in page]
            return targets, b"%d" % (start + size) if more else b""
        await self._core.settle()
        query = self._query(namespace, job.request, operation)
        found = await self._core.store.list_runs(_namespace_id(namespace, operation), query, size, job.token)
        records = [record for record in found.records if _is_before(record, job.start_time)]
        return [
            self._target(job, record.key.workflow_id, record.key.run_id) for record in records
        ], found.next_page_token

    def _target(self, job: Job, id: str, run_id: str) -> Target:
        name = f"{job.request.namespace}/{job.request.job_id}/{job.start_time}/{id}/{run_id}"
        return Target(id, run_id, str(uuid.uuid5(_ID_SPACE, name)))

    async def _one(self, namespace: Namespace, job: Job, operation: Operation, target: Target) -> bool:
        """Do it to one execution; False: it was refused."""
        try:
            await operation.apply(self._service, namespace.name, job.request.reason, target)
        except RPCError as error:
            if error.status is RPCStatusCode.UNAVAILABLE:
                raise
            return error.status is RPCStatusCode.NOT_FOUND
        return True


def _namespace_id(namespace: Namespace, operation: Operation) -> str:
    """Under which id the store has the executions."""
    return activities_of(namespace.namespace_id) if operation.is_on_activities else namespace.namespace_id


def _is_before(record: VisibilityRecord, start_time: int) -> bool:
    return record.start_time <= start_time and not record.close_time >= start_time


def _executions(request: ws.StartBatchOperationRequest) -> list[common_v1.Execution]:
    """The executions that a request gives one by one."""
    if request.target_executions:
        return request.target_executions
    operation = find_operation(request)
    kind = _ACTIVITY if operation is not None and operation.is_on_activities else _WORKFLOW
    return [common_v1.Execution(kind, found.workflow_id, found.run_id) for found in request.executions]


def _check(request: ws.StartBatchOperationRequest) -> Operation:
    limits.check_id(request.job_id, "JobId")
    if not request.reason:
        raise invalid_argument("Reason is not set on request.")
    given = sum(map(bool, (request.visibility_query, request.executions, request.target_executions)))
    if not given:
        raise invalid_argument("VisibilityQuery, Executions, or TargetExecutions must be set on request.")
    if given > 1:
        raise invalid_argument("visibility query, executions, and target executions are mutually exclusive")
    operation = find_operation(request)
    if operation is None:
        raise invalid_argument("Batch operation is not set on request.")
    operation.check()
    executions = _executions(request)
    if len(executions) > MAX_EXECUTIONS:
        raise invalid_argument(f"{len(executions)} executions are given, more than the limit of {MAX_EXECUTIONS}.")
    kind = _ACTIVITY if operation.is_on_activities else _WORKFLOW
    for number, execution in enumerate(executions):
        if execution.type != kind:
            raise invalid_argument(
                f"target_executions[{number}] has type {execution.type}, but the operation requires {kind}"
            )
        limits.check_id(execution.business_id, "WorkflowId")
    return operation
