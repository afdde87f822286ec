"""What is kept of a schedule: one document of the store."""

from __future__ import annotations

import msgspec

from perdure.api.common import v1 as common_v1
from perdure.api.failure import v1 as failure_v1
from perdure.api.schedule import v1 as schedule_v1

#: The kind of a schedule's document.
SCHEDULE = "schedule"
INITIAL_CONFLICT_TOKEN = 1


class BufferedStart(msgspec.Struct, array_like=True):
    """An action whose time has come and that has not been taken yet."""

    #: Nanoseconds since the epoch: as the spec says, and with jitter.
    nominal: int
    actual: int
    #: A ScheduleOverlapPolicy; 0: the schedule's, as it is when the action's turn comes.
    overlap: int
    #: Triggered or backfilled: pauses, remaining actions and the catch-up window do not count.
    manual: bool


class ScheduleRecord(msgspec.Struct, array_like=True):
    """A schedule, what it did, and what it still has to do."""

    schedule_id: str
    schedule: schedule_v1.Schedule
    info: schedule_v1.ScheduleInfo
    #: Actions up to this time (nanoseconds since the epoch, with jitter) were taken or passed over.
    last_processed: int
    conflict_token: int = INITIAL_CONFLICT_TOKEN
    buffer: list[BufferedStart] = []
    backfills: list[schedule_v1.BackfillRequest] = []
    last_completion_result: common_v1.Payloads | None = None
    continued_failure: failure_v1.Failure | None = None
    memo: common_v1.Memo | None = None
    search_attributes: common_v1.SearchAttributes | None = None
    #: Of the request that created it, then of the newest ones that changed it: a repeated request changes nothing.
    request_ids: list[str] = []
    #: What opening a store needs to know of a schedule that sleeps: when its next turn is due (nanoseconds since the
    #: epoch; NEVER; 0: at once), and the ids of the workflows it has running.
    due: int = 0
    watched: list[str] = []


class Sleeper(msgspec.Struct, array_like=True):
    """The fields of a :class:`ScheduleRecord` of which a sleeping schedule needs some; the others are passed over."""

    schedule_id: str
    schedule: msgspec.Raw
    info: msgspec.Raw
    last_processed: int
    conflict_token: msgspec.Raw
    buffer: msgspec.Raw
    backfills: msgspec.Raw
    last_completion_result: msgspec.Raw
    continued_failure: msgspec.Raw
    memo: msgspec.Raw
    search_attributes: msgspec.Raw
    request_ids: msgspec.Raw
    due: int = 0
    watched: list[str] = []


NEVER = -1
decode_sleeper = msgspec.msgpack.Decoder(Sleeper).decode
encode_record = msgspec.msgpack.Encoder().encode
decode_record = msgspec.msgpack.Decoder(ScheduleRecord).decode
