"""Flip bits in the constants of a small product and count how each flip is noticed.

On this machine every bit of .rodata, on the emulated Cortex-M4 a sample or, with --flips 0, every bit too. Prints one
table per target: flips in the emitted constants, and in the rest of .rodata.

    python benchmarks/bit_flips.py [--flips 5000] [--seed 0] [--frontend-arithmetic float] [TARGET...]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import get_args

import numpy as np

sys.path.append(str(Path(__file__).resolve().parent.parent))  # an installed tinyscene comes first

from tests.firmware_harness.ship.flips import CAUGHT, OUTCOMES, build_flipped, counts
from tinyscene.firmware_harness.build.targets import Target, target_named
from tinyscene.runtime.spec import Arithmetic


def flip(target: Target, arithmetic: Arithmetic, n_flips: int, seed: int) -> bool:
    """Flip, print the table, and return whether every flip in the emitted constants was caught."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        flipped = build_flipped(target, Path(folder), arithmetic)
        bits = flipped.bits()
        if 0 < n_flips < len(bits):
            chosen = np.random.default_rng(seed).choice(len(bits), n_flips, replace=False)
            bits = bits[np.sort(chosen)]
        outcomes = flipped.outcomes(bits)
        inside = flipped.in_constants(bits)
    bits_of_rodata = 8 * (flipped.rodata[1] - flipped.rodata[0])
    print(f"{target.title}, log-mel in {arithmetic}: {len(bits):,} flips of {bits_of_rodata:,} bits in .rodata")
    for name, part in (("emitted constants", outcomes[inside]), ("rest of .rodata", outcomes[~inside])):
        row = ", ".join(f"{what} {n:,}" for what, n in counts(part).items() if n)
        print(f"  {name}: {part.size:,} flips: {row}")
    caught = int(np.isin(outcomes, list(CAUGHT)).sum())
    wrong, crashed = (int((outcomes == code).sum()) for code in (5, 6))
    print(
        f"  caught {caught:,}, {OUTCOMES[5]} {wrong:,}, {OUTCOMES[6]} {crashed:,}; "
        f"{time.perf_counter() - started:.0f} s"
    )
    return bool(np.isin(outcomes[inside], list(CAUGHT)).all())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flips", type=int, default=5000, help="flips on an emulated target, 0 for every bit")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--frontend-arithmetic", choices=get_args(Arithmetic), default="float")
    parser.add_argument("targets", nargs="*", default=["host", "cortex-m4"])
    words = parser.parse_args()
    targets = [target_named(name) for name in words.targets]
    caught = [
        flip(t, words.frontend_arithmetic, words.flips if t.emulator is not None else 0, words.seed) for t in targets
    ]
    return 0 if all(caught) else 1


if __name__ == "__main__":
    raise SystemExit(main())
