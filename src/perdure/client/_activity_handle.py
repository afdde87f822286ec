"""The handle of a standalone activity."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Generic, cast

from perdure.api.workflowservice import v1 as ws
from perdure.client import _check
from perdure.client._activity_execution import one_result
from perdure.client._activity_inputs import (
    CancelActivityInput,
    DescribeActivityInput,
    PauseActivityInput,
    TerminateActivityInput,
    UnpauseActivityInput,
    UpdateActivityOptionsInput,
)
from perdure.client._exceptions import ActivityFailureError
from perdure.converter import ActivitySerializationContext, DataConverter
from perdure.types import ReturnType

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import timedelta

    from perdure.api.activity.v1 import ActivityExecutionOutcome
    from perdure.client._activity_execution import ActivityExecutionDescription
    from perdure.client._activity_options import ActivityExecutionOptions, ActivityOptionsUpdate
    from perdure.client._client import Client
    from perdure.client._interceptor import OutboundInterceptor


class ActivityHandle(Generic[ReturnType]):
    """A standalone activity that was started, or may have been: making a handle asks nobody."""

    def __init__(self, client: Client, id: str, *, run_id: str | None = None, result_type: type | None = None) -> None:
        """Made by :meth:`Client.start_activity` and :meth:`Client.get_activity_handle`."""
        self._client = client
        self._id = id
        self._run_id = run_id
        self._result_type = result_type
        self._known_outcome: ActivityExecutionOutcome | None = None

    def __repr__(self) -> str:
        """Name the activity."""
        return f"<ActivityHandle {self._id!r}{f' run {self._run_id}' if self._run_id else ''}>"

    @functools.cached_property
    def _converter(self) -> DataConverter:
        return activity_converter(self._client, self._id)

    @property
    def id(self) -> str:
        """The activity id."""
        return self._id

    @property
    def run_id(self) -> str | None:
        """The exact run that calls go to; None for the newest of the activity id."""
        return self._run_id

    async def result(
        self, *, rpc_metadata: Mapping[str, str | bytes] = {}, rpc_timeout: timedelta | None = None
    ) -> ReturnType:
        """Wait for the activity to close and return its result.

        Args:
            rpc_metadata: Headers of the calls.
            rpc_timeout: Bounds each call, not the wait.

        Raises:
            ActivityFailureError: it failed, timed out, or was cancelled or terminated; its cause says which.
        """
        _check.rpc_options("result", rpc_metadata, rpc_timeout)
        client = self._client
        client._check_usable()
        while self._known_outcome is None:
            response = await client._service.poll_activity_execution(
                ws.PollActivityExecutionRequest(client.namespace, self._id, self._run_id or ""),
                metadata=client._metadata(rpc_metadata),
                timeout=rpc_timeout,
            )
            self._known_outcome = response.outcome
        outcome = self._known_outcome
        if outcome.failure is not None:
            raise ActivityFailureError(cause=await self._converter.decode_failure(outcome.failure))
        if outcome.result is None:
            return cast("ReturnType", None)
        return cast("ReturnType", await one_result(self._converter, outcome.result, self._result_type))

    async def cancel(
        self,
        *,
        reason: str | None = None,
        rpc_metadata: Mapping[str, str | bytes] = {},
        rpc_timeout: timedelta | None = None,
    ) -> None:
        """Ask the activity to cancel. An attempt that runs learns of it by its next heartbeat."""
        await self._calls("cancel", reason, rpc_metadata, rpc_timeout).cancel_activity(
            CancelActivityInput(self._id, self._run_id, reason, rpc_metadata, rpc_timeout)
        )

    async def terminate(
        self,
        *,
        reason: str | None = None,
        rpc_metadata: Mapping[str, str | bytes] = {},
        rpc_timeout: timedelta | None = None,
    ) -> None:
        """Close the activity now. An attempt that runs is not stopped, but its answer counts no more."""
        await self._calls("terminate", reason, rpc_metadata, rpc_timeout).terminate_activity(
            TerminateActivityInput(self._id, self._run_id, reason, rpc_metadata, rpc_timeout)
        )

    async def pause(
        self,
        *,
        reason: str | None = None,
        rpc_metadata: Mapping[str, str | bytes] = {},
        rpc_timeout: timedelta | None = None,
    ) -> None:
        """Start no further attempt until :meth:`unpause`. One that runs learns of it by its next heartbeat."""
        await self._calls("pause", reason, rpc_metadata, rpc_timeout).pause_activity(
            PauseActivityInput(self._id, self._run_id, reason, rpc_metadata, rpc_timeout)
        )

    async def unpause(
        self,
        *,
        reason: str | None = None,
        jitter: timedelta | None = None,
        rpc_metadata: Mapping[str, str | bytes] = {},
        rpc_timeout: timedelta | None = None,
    ) -> None:
        """Let attempts start again: now, or at a random time within ``jitter``."""
        _check.duration_ns("unpause", "jitter", jitter)
        await self._calls("unpause", reason, rpc_metadata, rpc_timeout).unpause_activity(
            UnpauseActivityInput(self._id, self._run_id, reason, jitter, rpc_metadata, rpc_timeout)
        )

    async def update_options(
        self,
        updates: Sequence[ActivityOptionsUpdate[Any]],
        *,
        rpc_metadata: Mapping[str, str | bytes] = {},
        rpc_timeout: timedelta | None = None,
    ) -> ActivityExecutionOptions:
        """Change options of the attempts to come; returns the options that hold now.

        Args:
            updates: Made from :class:`ActivityOptionsKeys`, each option at most once.
            rpc_metadata: Headers of the call.
            rpc_timeout: Bounds the call.
        """
        if not updates:
            raise ValueError("update_options: give at least one update; restore_original_options() takes changes back")
        return await self._calls("update_options", None, rpc_metadata, rpc_timeout).update_activity_options(
            UpdateActivityOptionsInput(self._id, self._run_id, updates, False, rpc_metadata, rpc_timeout)
        )

    async def restore_original_options(
        self, *, rpc_metadata: Mapping[str, str | bytes] = {}, rpc_timeout: timedelta | None = None
    ) -> ActivityExecutionOptions:
        """Take every change of options back; returns the options that hold now."""
        return await self._calls("restore_original_options", None, rpc_metadata, rpc_timeout).update_activity_options(
            UpdateActivityOptionsInput(self._id, self._run_id, [], True, rpc_metadata, rpc_timeout)
        )

    async def describe(
        self,
        *,
        include_input: bool = False,
        include_outcome: bool = False,
        include_heartbeat_details: bool = False,
        include_last_failure: bool = False,
        rpc_metadata: Mapping[str, str | bytes] = {},
        rpc_timeout: timedelta | None = None,
    ) -> ActivityExecutionDescription:
        """What is known of the activity; payloads only where they are asked for."""
        return await self._calls("describe", None, rpc_metadata, rpc_timeout).describe_activity(
            DescribeActivityInput(
                self._id,
                self._run_id,
                include_input,
                include_outcome,
                include_heartbeat_details,
                include_last_failure,
                rpc_metadata,
                rpc_timeout,
            )
        )

    def _calls(self, where: str, reason: str | None, metadata: object, timeout: object) -> OutboundInterceptor:
        """The interceptors, after a look at the arguments."""
        if reason is not None:
            _check.reason(where, reason)
        _check.rpc_options(where, metadata, timeout)
        self._client._check_usable()
        return self._client._impl


def activity_converter(
    client: Client, activity_id: str, activity_type: str | None = None, task_queue: str | None = None
) -> DataConverter:
    """The client's converter, told which activity it converts for."""
    return client.data_converter.with_context(
        ActivitySerializationContext(
            namespace=client.namespace,
            activity_id=activity_id,
            activity_type=activity_type,
            activity_task_queue=task_queue,
            workflow_id=None,
            workflow_type=None,
            is_local=False,
        )
    )
