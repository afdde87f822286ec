"""kill -9 a writer at random instants, many times on one folder; ``tests/torture/store_crash.py`` goes on longer."""

from __future__ import annotations

from pathlib import Path

import pytest

from perdure.store.api import Durability
from tests.store.crash import round_of


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("durability", Durability, ids=lambda durability: durability.value)
def test_a_killed_writer_leaves_whole_runs_and_everything_acknowledged(durability: Durability, tmp_path: Path) -> None:
    acknowledged: dict[int, int] = {}
    for seed in range(24):
        round_of(tmp_path / "store", durability, seed, acknowledged)
    assert sum(acknowledged.values()) > 500
