"""Lose the power over and over, at random instants of recorded loads, and check what is left.

    python -m tests.torture.power_loss --recordings 50 --instants 200 [--durability full|process] [--seed N]

A failure prints the seed of its recording and leaves the folder for a look.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from perdure.store.api import Durability
from tests.store.power_loss import build_shim, lose_power, notes, record


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recordings", type=int, default=50)
    parser.add_argument("--instants", type=int, default=200)
    parser.add_argument("--durability", choices=[durability.value for durability in Durability], default="full")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    durability = Durability(options.durability)
    folder = Path(tempfile.mkdtemp(prefix="perdure-power-"))
    shim = build_shim(folder)
    for seed in range(options.seed, options.seed + options.recordings):
        place = folder / str(seed)
        try:
            record(shim, place / "store", place / "trace", "mixed", seed, durability=durability)
            lose_power(list(notes(place / "trace")), place, seed, options.instants, durability)
        except Exception as error:
            print(f"seed {seed}: {error!r} (left in {place})", file=sys.stderr)
            return 1
        shutil.rmtree(place)
        print(f"recording {seed}: power lost {options.instants} times, nothing missing", flush=True)
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
