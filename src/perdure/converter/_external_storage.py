"""External storage: large payloads kept beside the history, which then holds references.

A payload of at least ``payload_size_threshold`` bytes goes to a :class:`StorageDriver` after the payload codec had it;
what stays is a reference: a ``json/protobuf`` payload of Temporal's ``ExternalStorageReference``, with the driver's name
and whatever the driver wants to see again. On the way in the reference is exchanged for the payload before the codec.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from perdure.api.common.v1 import Payload, PayloadExternalPayloadDetails

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

_T = TypeVar("_T")

_MESSAGE_TYPE = b"temporal.api.sdk.v1.ExternalStorageReference"
_LEGACY_ENCODING = b"json/external-storage-reference"
_MARKER = "__temporal_external_storage_reference"


@dataclass(frozen=True)
class StorageDriverClaim:
    """What a driver needs to find a payload again. It is part of the history: keep it small, and free of secrets."""

    claim_data: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class StorageDriverWorkflowInfo:
    """The workflow that a payload is stored for."""

    namespace: str
    id: str | None = None
    run_id: str | None = None
    """None where it is not known yet, as for a workflow that is being started."""
    type: str | None = None


@dataclass(frozen=True, kw_only=True)
class StorageDriverActivityInfo:
    """The activity that a payload is stored for, where no workflow runs it."""

    namespace: str
    id: str | None = None
    run_id: str | None = None
    type: str | None = None


@dataclass(frozen=True)
class StorageDriverStoreContext:
    """What a driver is told when it stores."""

    target: StorageDriverActivityInfo | StorageDriverWorkflowInfo | None = None
    """Who will read the payload: the child that is started, the workflow that is signalled, the parent that gets the
    result; otherwise who stores it. An activity's payloads belong to its workflow."""


@dataclass(frozen=True)
class StorageDriverSelectContext:
    """What a driver selector is told."""

    target: StorageDriverActivityInfo | StorageDriverWorkflowInfo | None = None
    """See :attr:`StorageDriverStoreContext.target`."""


@dataclass(frozen=True)
class StorageDriverRetrieveContext:
    """What a driver is told when it retrieves: nothing yet, so that a claim alone must do."""


class StorageDriver(ABC):
    """Keeps payloads somewhere. Stored payloads must be there before :meth:`store` returns."""

    @abstractmethod
    def name(self) -> str:
        """This driver's name. Histories hold it: whoever reads them needs a driver of that name."""

    def type(self) -> str:
        """What kind of driver this is, the same for every instance; the class's name by default."""
        return type(self).__name__

    @abstractmethod
    async def store(self, context: StorageDriverStoreContext, payloads: Sequence[Payload]) -> list[StorageDriverClaim]:
        """Keep payloads; one claim for each. May be called again for the same payloads."""

    @abstractmethod
    async def retrieve(
        self, context: StorageDriverRetrieveContext, claims: Sequence[StorageDriverClaim]
    ) -> list[Payload]:
        """The payloads of these claims, in their order."""


class StorageWarning(RuntimeWarning):
    """Something about external storage that is not an error."""


@dataclass(frozen=True)
class ExternalStorage:
    """Which payloads are kept outside the history, and where."""

    drivers: Sequence[StorageDriver]
    """Where payloads are stored, and where stored ones are read from, by name."""

    driver_selector: Callable[[StorageDriverSelectContext, Payload], StorageDriver | None] | None = None
    """Says which driver takes a payload, or None to leave it in the history. Needed with more than one driver."""

    payload_size_threshold: int = 256 * 1024
    """Smaller payloads stay in the history."""

    _by_name: dict[str, StorageDriver] = dataclasses.field(init=False, repr=False, compare=False)
    _store_context: StorageDriverStoreContext = dataclasses.field(
        default=StorageDriverStoreContext(), init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        """Check the drivers. Raises ValueError when there is none, or none can be told from another."""
        if not self.drivers:
            raise ValueError("ExternalStorage.drivers must contain at least one driver.")
        if self.payload_size_threshold < 0:
            raise ValueError("ExternalStorage.payload_size_threshold must be greater than or equal to zero.")
        if len(self.drivers) > 1 and self.driver_selector is None:
            raise ValueError("ExternalStorage.driver_selector must be specified if multiple drivers are registered.")
        by_name: dict[str, StorageDriver] = {}
        for driver in self.drivers:
            if driver.name() in by_name:
                raise ValueError(
                    f"ExternalStorage.drivers contains multiple drivers with name '{driver.name()}'. "
                    "Each driver must have a unique name."
                )
            by_name[driver.name()] = driver
        object.__setattr__(self, "_by_name", by_name)

    def _with_store_context(self, context: StorageDriverStoreContext) -> ExternalStorage:
        """This storage, for payloads of that target."""
        clone = dataclasses.replace(self)
        object.__setattr__(clone, "_store_context", context)
        return clone

    # --- out

    async def _store(self, payloads: Sequence[Payload]) -> list[Payload]:
        """The payloads, large ones stored and replaced by references. Drivers work at the same time."""
        results = list(payloads)
        groups: dict[str, list[int]] = {}
        for index, payload in enumerate(payloads):
            driver = self._select(payload)
            if driver is not None:
                groups.setdefault(driver.name(), []).append(index)
        if groups:
            for group in await gather_or_cancel(
                [self._store_in(self._by_name[name], payloads, indexes) for name, indexes in groups.items()]
            ):
                for index, reference in group:
                    results[index] = reference
        return results

    async def _store_in(
        self, driver: StorageDriver, payloads: Sequence[Payload], indexes: list[int]
    ) -> list[tuple[int, Payload]]:
        claims = await driver.store(self._store_context, [payloads[index] for index in indexes])
        if len(claims) != len(indexes):
            raise ValueError(f"Driver '{driver.name()}' returned {len(claims)} claims, expected {len(indexes)}")
        return [
            (index, _reference(driver.name(), claim, payloads[index].ByteSize()))
            for index, claim in zip(indexes, claims, strict=True)
        ]

    def _select(self, payload: Payload) -> StorageDriver | None:
        if payload.ByteSize() < self.payload_size_threshold:
            return None
        if self.driver_selector is None:
            return self.drivers[0]
        driver = self.driver_selector(StorageDriverSelectContext(self._store_context.target), payload)
        if driver is not None and self._by_name.get(driver.name()) is not driver:
            raise ValueError(
                f"Driver '{driver.name()}' returned by driver_selector is not registered in ExternalStorage.drivers"
            )
        return driver

    # --- in

    async def _retrieve(self, payloads: Sequence[Payload]) -> list[Payload]:
        """The payloads, references exchanged for what they stand for."""
        results = list(payloads)
        groups: dict[str, list[tuple[int, StorageDriverClaim]]] = {}
        for index, payload in enumerate(payloads):
            if is_reference(payload):
                name, claim = _parse(payload)
                if name not in self._by_name:
                    raise ValueError(f"No driver found with name '{name}'")
                groups.setdefault(name, []).append((index, claim))
        if groups:
            for group in await gather_or_cancel(
                [self._retrieve_from(self._by_name[name], some) for name, some in groups.items()]
            ):
                for index, payload in group:
                    results[index] = payload
        return results

    async def _retrieve_from(
        self, driver: StorageDriver, claims: list[tuple[int, StorageDriverClaim]]
    ) -> list[tuple[int, Payload]]:
        payloads = await driver.retrieve(StorageDriverRetrieveContext(), [claim for _, claim in claims])
        if len(payloads) != len(claims):
            raise ValueError(f"Driver '{driver.name()}' returned {len(payloads)} payloads, expected {len(claims)}")
        return [(index, payload) for (index, _), payload in zip(claims, payloads, strict=True)]


def is_reference(payload: Payload) -> bool:
    """Whether a payload stands for one that is stored elsewhere, readable as it is."""
    encoding = payload.metadata.get("encoding")
    return encoding == _LEGACY_ENCODING or (
        encoding == b"json/protobuf" and payload.metadata.get("messageType") == _MESSAGE_TYPE
    )


def is_encoded_reference(payload: Payload) -> bool:
    """Whether a payload is a reference that went through a codec, as newer SDKs may write it."""
    return payload.metadata.get(_MARKER) == b"true"


def without_marker(payload: Payload) -> Payload:
    """An encoded reference as the codec made it."""
    return Payload({key: value for key, value in payload.metadata.items() if key != _MARKER}, payload.data)


def refuse_references(payloads: Sequence[Payload]) -> None:
    """Raise RuntimeError if one of the payloads is a reference, since there is nothing to look it up in."""
    for payload in payloads:
        if is_encoded_reference(payload) or is_reference(payload):
            no_storage()


def no_storage() -> NoReturn:
    """Raise what is said of a reference where no external storage is configured."""
    raise RuntimeError(
        "[TMPRL1105] Detected externally stored payload(s) but external storage is not configured. "
        "Give the data converter the external_storage that the payload was stored with."
    )


def _reference(driver: str, claim: StorageDriverClaim, size: int) -> Payload:
    fields = {"claimData": dict(claim.claim_data), "driverName": driver}
    return Payload(
        {"encoding": b"json/protobuf", "messageType": _MESSAGE_TYPE},
        json.dumps(fields, separators=(",", ":"), sort_keys=True).encode(),
        [PayloadExternalPayloadDetails(size)],
    )


def _parse(payload: Payload) -> tuple[str, StorageDriverClaim]:
    """The driver's name and the claim of a reference."""
    try:
        fields = json.loads(payload.data)
        if payload.metadata.get("encoding") == _LEGACY_ENCODING:
            return fields["driver_name"], StorageDriverClaim(fields["driver_claim"]["claim_data"])
        # Protobuf's JSON leaves out what is empty.
        return fields.get("driverName", ""), StorageDriverClaim(fields.get("claimData", {}))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"A reference to an externally stored payload is damaged: {payload.data!r}") from error


async def gather_or_cancel(coroutines: Sequence[Coroutine[Any, Any, _T]]) -> list[_T]:
    """Their results; when one fails, the others are cancelled and awaited."""
    if len(coroutines) == 1:
        return [await coroutines[0]]
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        return list(await asyncio.gather(*tasks))
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
