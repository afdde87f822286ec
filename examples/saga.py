"""A trip that is booked as a whole or not at all: when a step fails, those before it are undone.

Run it with ``python examples/saga.py``.
"""

from dataclasses import dataclass
from datetime import timedelta

from home import run

from perdure import Client, Saga, Worker, activity, workflow
from perdure.client import WorkflowFailureError
from perdure.common import RetryPolicy
from perdure.exceptions import ActivityError, ApplicationError


@dataclass
class Trip:
    """Where to, for whom."""

    id: str
    city: str


@activity.defn
async def book_flight(trip: Trip) -> None:
    """Book, under the trip's id, so that booking twice books once."""
    print(f"  flight to {trip.city} booked")


@activity.defn
async def cancel_flight(trip: Trip) -> None:
    """Undo the booking; fine when there is none."""
    print(f"  flight to {trip.city} cancelled")


@activity.defn
async def book_hotel(trip: Trip) -> None:
    """Book, as above."""
    print(f"  hotel in {trip.city} booked")


@activity.defn
async def cancel_hotel(trip: Trip) -> None:
    """Undo the booking; fine when there is none."""
    print(f"  hotel in {trip.city} cancelled")


@activity.defn
async def rent_car(trip: Trip) -> None:
    """Rent a car, where there are any."""
    if trip.city == "Venice":
        raise ApplicationError("no cars in Venice", non_retryable=True)
    print(f"  car in {trip.city} rented")


@workflow.defn
class BookTrip:
    """Flight, hotel and car."""

    @workflow.run
    async def run(self, trip: Trip) -> str:
        options = workflow.ActivityConfig(
            start_to_close_timeout=timedelta(seconds=10), retry_policy=RetryPolicy(maximum_attempts=3)
        )
        async with Saga(start_to_close_timeout=timedelta(seconds=10)) as saga:
            # The compensation comes first: a step that timed out may have happened all the same.
            saga.add(cancel_flight, trip)
            await workflow.execute_activity(book_flight, trip, **options)
            saga.add(cancel_hotel, trip)
            await workflow.execute_activity(book_hotel, trip, **options)
            await workflow.execute_activity(rent_car, trip, **options)
        return f"{trip.city}: all booked"


async def main(url: str) -> None:
    """Book two trips, of which one fails at its last step."""
    async with (
        await Client.connect(url) as client,
        Worker(
            client,
            task_queue="trips",
            workflows=[BookTrip],
            activities=[book_flight, cancel_flight, book_hotel, cancel_hotel, rent_car],
        ),
    ):
        for city in ("Lisbon", "Venice"):
            trip = Trip(f"trip-{city}", city)
            try:
                print(await client.execute_workflow(BookTrip.run, trip, id=trip.id, task_queue="trips"))
            except WorkflowFailureError as error:
                assert isinstance(error.cause, ActivityError)
                print(f"{city}: nothing booked, because {error.cause.cause}")


if __name__ == "__main__":
    run(main)
