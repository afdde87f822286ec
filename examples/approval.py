"""An expense that somebody has to approve: reminders, a deputy when nobody answers, and decisions that are checked.

Run it with ``python examples/approval.py``.
"""

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from home import run

from perdure import Client, Worker, activity, workflow
from perdure.client import WorkflowUpdateFailedError
from perdure.exceptions import ApplicationError


@dataclass
class Expense:
    """Who spent what."""

    employee: str
    amount: int


@dataclass
class Decision:
    """Who decided what."""

    by: str
    approved: bool


@activity.defn
async def notify(person: str, text: str) -> None:
    """Send a message."""
    print(f"  to {person}: {text}")


@workflow.defn
class ApproveExpense:
    """Asks the manager, then the deputy, then rejects."""

    def __init__(self) -> None:
        self._expense: Expense | None = None
        self._asked: list[str] = []
        self._decision: Decision | None = None

    @workflow.run
    async def run(self, expense: Expense) -> str:
        self._expense = expense
        for person, patience in (("manager", timedelta(seconds=0.3)), ("deputy", timedelta(seconds=1.5))):
            self._asked.append(person)
            await self._notify(person, f"{expense.employee} spent {expense.amount}")
            try:
                await workflow.wait_condition(lambda: self._decision is not None, timeout=patience)
                break
            except TimeoutError:
                continue
        decision = self._decision or Decision("nobody", False)
        verdict = f"{'approved' if decision.approved else 'rejected'} by {decision.by}"
        await self._notify(expense.employee, f"your expense was {verdict}")
        await workflow.wait_condition(workflow.all_handlers_finished)  # whoever decided gets an answer first
        return verdict

    async def _notify(self, person: str, text: str) -> None:
        await workflow.execute_activity(notify, args=[person, text], start_to_close_timeout=timedelta(seconds=10))

    @workflow.update
    def decide(self, decision: Decision) -> str:
        """Approve or reject. Whoever calls this learns whether it counted."""
        self._decision = decision
        return f"noted, {decision.by}"

    @decide.validator
    def check(self, decision: Decision) -> None:
        """Refuse what must not even get into the history."""
        if decision.by not in self._asked:
            raise ApplicationError(f"{decision.by} was not asked")
        if self._decision is not None:
            raise ApplicationError(f"{self._decision.by} has decided already")

    @workflow.query
    def asked(self) -> list[str]:
        """Who was asked so far."""
        return self._asked


async def main(url: str) -> None:
    """Let the deputy approve one expense, and nobody the other."""
    async with (
        await Client.connect(url) as client,
        Worker(client, task_queue="approvals", workflows=[ApproveExpense], activities=[notify]),
    ):
        first, second = [
            await client.start_workflow(
                ApproveExpense.run, Expense(name, amount), id=f"expense-{name}", task_queue="approvals"
            )
            for name, amount in (("ada", 120), ("bob", 90_000))
        ]
        try:
            await first.execute_update(ApproveExpense.decide, Decision("stranger", True))
        except WorkflowUpdateFailedError as error:
            print(f"refused: {error.cause}")
        while "deputy" not in await first.query(ApproveExpense.asked):
            await asyncio.sleep(0.02)
        print(await first.execute_update(ApproveExpense.decide, Decision("deputy", True)))
        print(f"ada's expense: {await first.result()}")
        print(f"bob's expense: {await second.result()}")


if __name__ == "__main__":
    run(main)
