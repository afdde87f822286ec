"""Kill an LMDB writer over and over and check what it leaves.

    python -m tests.torture.store_crash --rounds 2000 [--durability full|process] [--seed N] [--folder PATH]

A failure prints the seed of its round and leaves the folder for a look.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from perdure.store.api import Durability
from tests.store.crash import round_of


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2000)
    parser.add_argument("--durability", choices=[durability.value for durability in Durability], default="full")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="perdure-crash-"))
    acknowledged: dict[int, int] = {}
    for seed in range(options.seed, options.seed + options.rounds):
        # A fresh folder now and then: the first commits of a store are instants of their own.
        place = folder / f"store-{seed // 40}"
        if seed % 40 == 0:
            acknowledged = {}
        try:
            round_of(place, Durability(options.durability), seed, acknowledged)
        except AssertionError as error:
            print(f"seed {seed}: {error} (store left in {place})", file=sys.stderr)
            return 1
        if seed % 50 == 49:
            print(f"{seed + 1 - options.seed} rounds, {sum(acknowledged.values())} updates in {place.name}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
