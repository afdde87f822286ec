"""At most so many passes in any period, per key.

One workflow per key hands out times, not permits: whoever asks learns at once when its turn is, and sleeps till then
on a timer of its own. So the keeper never waits for anybody, and nothing is to be given back.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

from perdure import workflow
from perdure.common import VersioningBehavior
from perdure.limits._common import ASK_AGAIN, PREFIX, check_duration, check_key, check_limit, reach, tell


async def rate_limit(key: str, *, limit: int, per: timedelta) -> None:
    """Wait until this workflow may pass: never more than ``limit`` in any period of ``per`` do.

    ::

        await limits.rate_limit("mail-provider", limit=100, per=timedelta(minutes=1))
        await workflow.execute_activity(send_mail, mail, start_to_close_timeout=timedelta(seconds=30))

    Turns are given in the order of asking. A workflow that is cancelled while it waits leaves its turn unused.

    Replay: deterministic; signals to and from the workflow that keeps the limit, and a timer.
    """
    check_key("limits.rate_limit", key)
    check_limit("limits.rate_limit", limit)
    seconds = check_duration("limits.rate_limit", "per", per)
    turn: list[float] = []
    me = workflow.info().workflow_id
    answer = f"perdure-turn/{workflow.uuid4()}"
    keeper = f"perdure-limits/rate/{key}"
    request = [me, answer, limit, seconds]
    workflow.set_signal_handler(answer, turn.append)
    while not turn:
        await reach(keeper, "ask", request, RateLimiter.run, [[], [request]])
        try:
            await workflow.wait_condition(lambda: bool(turn), timeout=ASK_AGAIN.total_seconds())
        except TimeoutError:
            continue  # the keeper was terminated by hand
    workflow.set_signal_handler(answer, None)
    if turn[0] > workflow.time():
        await asyncio.sleep(turn[0] - workflow.time())


@workflow.defn(name=f"{PREFIX}RateLimiter", versioning_behavior=VersioningBehavior.AUTO_UPGRADE)
class RateLimiter:
    """The turns of one key in the last period. Ends when all of them are past."""

    @workflow.init
    def __init__(self, turns: list[float], requests: list[tuple[str, str, int, float]]) -> None:
        self._turns = turns
        self._requests = requests
        self._until = 0.0

    @workflow.run
    async def run(self, turns: list[float], requests: list[tuple[str, str, int, float]]) -> None:
        while True:
            while self._requests:
                waiting, self._requests = self._requests, []
                await asyncio.gather(*[self._answer(*request) for request in waiting])
            if workflow.info().is_continue_as_new_suggested():
                workflow.continue_as_new(args=[self._turns, self._requests])
            try:
                left = max(self._until - workflow.time(), 0.001)
                await workflow.wait_condition(lambda: bool(self._requests), timeout=left)
            except TimeoutError:
                if not self._requests:
                    return

    async def _answer(self, asker: str, signal: str, limit: int, seconds: float) -> None:
        turn = self._next(workflow.time(), limit, seconds)
        await tell(asker, signal, turn)

    def _next(self, now: float, limit: int, seconds: float) -> float:
        turn = max(now, self._turns[-1] if self._turns else 0.0)
        if len(self._turns) >= limit:
            turn = max(turn, self._turns[-limit] + seconds)
        self._turns = [*self._turns[-limit + 1 :], turn] if limit > 1 else [turn]
        self._until = max(self._until, turn + seconds)
        return turn

    @workflow.signal
    def ask(self, asker: str, signal: str, limit: int, seconds: float) -> None:
        """Ask for the next turn; the answer comes as that signal."""
        self._requests.append((asker, signal, limit, seconds))
