"""Payloads that only the key can read: what lies on disk is encrypted, and the workflow notices nothing of it.

Run it with ``pip install "perdure[encryption]"`` and ``python examples/encryption.py``.
"""

import dataclasses
from dataclasses import dataclass
from datetime import timedelta

from home import run

from perdure import Client, Worker, activity, workflow
from perdure.client import WorkflowFailureError
from perdure.contrib.encryption import AESGCMCodec
from perdure.converter import DataConverter, DefaultFailureConverterWithEncodedAttributes
from perdure.exceptions import ActivityError, ApplicationError


@dataclass
class Patient:
    """Somebody whose data is nobody else's business."""

    name: str
    diagnosis: str


@activity.defn
async def write_letter(patient: Patient) -> str:
    """Write to the patient."""
    if not patient.diagnosis:
        raise ApplicationError(f"{patient.name} has no diagnosis", non_retryable=True)
    return f"Dear {patient.name}, it is {patient.diagnosis}."


@workflow.defn
class Letter:
    """There is no word of encryption in a workflow."""

    @workflow.run
    async def run(self, patient: Patient) -> str:
        return await workflow.execute_activity(write_letter, patient, start_to_close_timeout=timedelta(seconds=10))


def converter(keys: dict[str, bytes], key_id: str) -> DataConverter:
    """The data converter of everybody who may read: clients and workers alike."""
    return dataclasses.replace(
        DataConverter.default,
        payload_codec=AESGCMCodec(keys, key_id),
        # Error messages and stack traces can tell as much as arguments.
        failure_converter_class=DefaultFailureConverterWithEncodedAttributes,
    )


async def main(url: str) -> None:
    """Write letters, look at what is stored, and change the key."""
    keys = {"january": AESGCMCodec.new_key()}
    async with (
        await Client.connect(url, data_converter=converter(keys, "january")) as client,
        Worker(client, task_queue="letters", workflows=[Letter], activities=[write_letter]),
    ):
        handle = await client.start_workflow(
            Letter.run, Patient("Ada", "a cold"), id="letter-ada", task_queue="letters"
        )
        print(f"result    {await handle.result()}")
        payload = (await handle.fetch_history()).events[0].attributes.input.payloads[0]
        print(f"stored    {payload.data[:24].hex()}... ({payload.metadata['encoding'].decode()})")
        assert b"Ada" not in payload.data
        try:
            await client.execute_workflow(Letter.run, Patient("Bob", ""), id="letter-bob", task_queue="letters")
        except WorkflowFailureError as error:
            assert isinstance(error.cause, ActivityError)
            print(f"error     {error.cause.cause}")

    # A new key beside the old one: new payloads are written with it, old ones can still be read.
    keys["february"] = AESGCMCodec.new_key()
    async with await Client.connect(url, data_converter=converter(keys, "february")) as client:
        print(f"rotated   {await client.get_workflow_handle('letter-ada').result()}")
    async with await Client.connect(url) as client:
        print(f"no key    {type(await nosy(client)).__name__}")


async def nosy(client: Client) -> Exception | None:
    """Try to read a result without a key."""
    try:
        await client.get_workflow_handle("letter-ada").result()
    except Exception as error:
        return error
    return None


if __name__ == "__main__":
    run(main)
