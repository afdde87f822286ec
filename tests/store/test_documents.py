"""Documents: what a store keeps beside runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from perdure.store.api import Document, StaleRunError, Store, StoreUnavailableError
from tests.store.backends import Backend
from tests.store.builders import NAMESPACE, OTHER_NAMESPACE, first, run_key


async def test_document_is_found_by_its_name(store: Store) -> None:
    document = Document(NAMESPACE, "schedule", "nightly", b"body")
    await store.commit([], [document])
    assert await store.load_document(NAMESPACE, "schedule", "nightly") == document
    assert await store.load_document(NAMESPACE, "batch", "nightly") is None
    assert await store.load_document(OTHER_NAMESPACE, "schedule", "nightly") is None


async def test_newer_document_replaces_and_an_empty_one_forgets(store: Store) -> None:
    await store.commit([], [Document(NAMESPACE, "k", "a", b"1"), Document(NAMESPACE, "k", "a", b"2")])
    assert await store.load_document(NAMESPACE, "k", "a") == Document(NAMESPACE, "k", "a", b"2")
    await store.commit([], [Document(NAMESPACE, "k", "a"), Document(NAMESPACE, "k", "never")])
    assert await store.load_document(NAMESPACE, "k", "a") is None
    assert await store.list_documents(NAMESPACE, "k", 10) == []


async def test_documents_are_listed_by_id_in_pages(store: Store) -> None:
    names = ["b", "a", "c" * 600, "d"]
    await store.commit([], [Document(NAMESPACE, "k", name, b"x") for name in names])
    await store.commit([], [Document(NAMESPACE, "kk", "z", b"x"), Document(OTHER_NAMESPACE, "k", "z", b"x")])
    assert [d.id for d in await store.list_documents(NAMESPACE, "k", 10)] == sorted(names)
    assert [d.id for d in await store.list_documents(NAMESPACE, "k", 2)] == ["a", "b"]
    assert [d.id for d in await store.list_documents(NAMESPACE, "k", 2, "b")] == ["c" * 600, "d"]


async def test_runs_and_documents_of_a_commit_stand_or_fall_together(store: Store) -> None:
    key = run_key()
    await store.commit([first(key)], [Document(NAMESPACE, "k", "a", b"1")])
    with pytest.raises(StaleRunError):
        await store.commit([first(key)], [Document(NAMESPACE, "k", "a", b"2"), Document(NAMESPACE, "k", "b", b"2")])
    assert await store.list_documents(NAMESPACE, "k", 10) == [Document(NAMESPACE, "k", "a", b"1")]


async def test_documents_of_a_failed_commit_are_gone(failing: Backend, store: Store) -> None:
    assert failing.fail_commits is not None
    failing.fail_commits(store, 1)
    with pytest.raises(StoreUnavailableError):
        await store.commit([], [Document(NAMESPACE, "k", "a", b"1")])
    assert await store.load_document(NAMESPACE, "k", "a") is None


async def test_documents_survive_reopening(persistent: Backend, tmp_path: Path) -> None:
    store = await persistent.open(tmp_path)
    await store.commit([], [Document(NAMESPACE, "k", "a", b"1")])
    await store.close()
    store = await persistent.open(tmp_path)
    assert await store.load_document(NAMESPACE, "k", "a") == Document(NAMESPACE, "k", "a", b"1")
    await store.close()


@pytest.mark.parametrize(
    "document",
    [Document("nowhere", "k", "a", b"x"), Document(NAMESPACE, "", "a", b"x"), Document(NAMESPACE, "k" * 65, "a", b"x")],
)
async def test_impossible_document_is_refused(store: Store, document: Document) -> None:
    with pytest.raises(ValueError, match=r"namespace_id|kind"):
        await store.commit([], [document])
