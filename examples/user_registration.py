"""A registration that waits for a click: remind once, and forget who never answers.

Run it with ``python examples/user_registration.py``.
"""

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from home import run

from perdure import Client, Worker, activity, workflow

A_DAY = timedelta(seconds=0.8)  # days pass quickly here


@dataclass
class User:
    """Who wants to join."""

    name: str
    email: str


@activity.defn
async def create_account(user: User) -> str:
    """Create the account, not usable yet. Made to be safe to repeat: the mail address is the key."""
    print(f"  account for {user.email} created")
    return f"account-{user.name}"


@activity.defn
async def send_mail(user: User, subject: str) -> None:
    """Send a mail."""
    print(f"  mail to {user.email}: {subject}")


@activity.defn
async def delete_account(account: str) -> None:
    """Delete an account nobody confirmed."""
    print(f"  {account} deleted")


@workflow.defn
class Registration:
    """From the form to the confirmed account, over days."""

    def __init__(self) -> None:
        self._confirmed = False
        self._status = "new"

    @workflow.run
    async def run(self, user: User) -> str:
        options = workflow.ActivityConfig(start_to_close_timeout=timedelta(seconds=10))
        account = await workflow.execute_activity(create_account, user, **options)
        for subject in ("please confirm your address", "your registration ends tomorrow"):
            await workflow.execute_activity(send_mail, args=[user, subject], **options)
            self._status = f"waiting, told: {subject}"
            try:
                await workflow.wait_condition(lambda: self._confirmed, timeout=A_DAY)
            except TimeoutError:
                continue
            await workflow.execute_activity(send_mail, args=[user, f"welcome, {user.name}!"], **options)
            self._status = "confirmed"
            return account
        await workflow.execute_activity(delete_account, account, **options)
        self._status = "expired"
        return "nobody confirmed"

    @workflow.signal
    def confirm(self) -> None:
        """The link in the mail was clicked."""
        self._confirmed = True

    @workflow.query
    def status(self) -> str:
        """How far the registration is."""
        return self._status


async def main(url: str) -> None:
    """Register two people, of whom one answers."""
    async with (
        await Client.connect(url) as client,
        Worker(
            client,
            task_queue="registration",
            workflows=[Registration],
            activities=[create_account, send_mail, delete_account],
        ),
    ):
        ada, bob = [
            await client.start_workflow(
                Registration.run,
                User(name, f"{name}@example.org"),
                id=f"registration-{name}",  # one registration per person at a time
                task_queue="registration",
            )
            for name in ("ada", "bob")
        ]
        while "tomorrow" not in await ada.query(Registration.status):
            await asyncio.sleep(0.02)
        print(f"ada: {await ada.query(Registration.status)}")
        await ada.signal(Registration.confirm)
        print(f"ada: {await ada.result()}")
        print(f"bob: {await bob.result()}")


if __name__ == "__main__":
    run(main)
