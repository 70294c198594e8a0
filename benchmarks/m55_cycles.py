"""Cycles of networks on Cortex-M55 by LLVM's model of that processor, which no board validates.

Executed counts come from QEMU, the cycles of each run of instructions without a branch from llvm-mca, as of the same
run repeated: memory has no wait states, and a branch costs nothing (most are ends of low-overhead loops). Networks are
those of `firmware_cycles.py`, mode `speed`, rounding `double`. Writes a Markdown page.

    python benchmarks/m55_cycles.py [--out docs/results-m55-cycles.md] [NETWORK...]

Needs llvm-mca and llvm-objdump of LLVM 16 or newer (Debian: llvm-19): older versions have no model of Cortex-M55.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parent.parent))  # an installed tinyscene comes first

from benchmarks.firmware_cycles import networks
from tinyscene.firmware_harness.build.image import Image
from tinyscene.firmware_harness.build.targets import CORTEX_M55
from tinyscene.firmware_harness.run.engine import FirmwareEngine
from tinyscene.firmware_harness.run.executed import Executed
from tinyscene.runtime.markdown import table

RESULTS = Path(__file__).resolve().parent.parent / "docs" / "results-m55-cycles.md"
LLVM = "-19"
TRIPLE, PROCESSOR = "thumbv8.1m.main-none-eabi", "--mcpu=cortex-m55"
ITERATIONS = 100
UNKNOWN = "<unknown>"  # to LLVM: a few forms of products with a scalar, which are left out
TIMEOUT_SECONDS = 600.0
LINE = re.compile(r"^ *([0-9a-f]+): (?:[0-9a-f]{4} ?)+\s*\t(\S+)(?:\t([^@<]*))?")
LOOPS = re.compile(r"(letp|lctp|[wd]lstp)\b")  # begins and ends of loops of vectors, which are no branches of a listing
TITLE = """# Modelled cycles on Cortex-M55

Written by `python benchmarks/m55_cycles.py`; do not edit. Networks of the shapes of MLPerf Tiny (kws, ic, ad, vww) and
the largest CP-Mobiles, with random weights, mode `speed`, rounding `double`. LLVM's model of the processor, memory
without wait states, branches for nothing: no board validates these figures.

"""


def cycles(image: Image, vectors: bytes) -> tuple[int, float]:
    """Executed instructions and modelled cycles of one inference."""
    executed = Executed(image)
    (events,) = executed.events(vectors, TIMEOUT_SECONDS)
    counts = {}
    for each, count in zip(executed.listing.listed, events[:, 0].tolist(), strict=True):
        free = each.kind in ("branch", "call") or LOOPS.match(each.mnemonic) is not None
        counts[each.address] = None if free else count
    runs = list(_runs(image, counts))
    modelled = _modelled([text for _, text in runs])
    return int(events[:, 0].sum()), float(np.dot([count for count, _ in runs], modelled))


def _runs(image: Image, counts: dict[int, int | None]) -> Iterator[tuple[int, list[str]]]:
    """Instructions that run one after the other, equally often, and how often; ``counts`` None where a run ends."""
    listing = subprocess.run(
        [f"llvm-objdump{LLVM}", "-d", f"--triple={TRIPLE}", PROCESSOR, str(image.path)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    count, run = 0, list[str]()
    for line in listing.splitlines():
        found = LINE.match(line)
        now = counts.get(int(found[1], 16), 0) if found else 0
        if run and now != count:
            yield count, run
            run = []
        count = now or 0
        if found and now and found[2] != UNKNOWN:
            run.append(f"{found[2]} {(found[3] or '').strip()}")
    if run:
        yield count, run


def _modelled(runs: list[list[str]]) -> list[float]:
    """Cycles of each run of instructions, on average over its repetitions."""
    regions = "".join(
        f"# LLVM-MCA-BEGIN {number}\n" + "".join(f"{line}\n" for line in run) + "# LLVM-MCA-END\n"
        for number, run in enumerate(runs)
    )
    printed = subprocess.run(
        [
            f"llvm-mca{LLVM}",
            f"--mtriple={TRIPLE}",
            PROCESSOR,
            f"--iterations={ITERATIONS}",
            "--all-views=0",
            "--summary-view",
        ],
        input=regions,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    totals = [int(total) / ITERATIONS for total in re.findall(r"Total Cycles: +(\d+)", printed)]
    assert len(totals) == len(runs)
    return totals


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", metavar="NETWORK")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    rows = []
    for name, graph in networks():
        if arguments.networks and name not in arguments.networks:
            continue
        engine = FirmwareEngine(graph, CORTEX_M55, optimise="speed")
        image = engine.product_image()
        assert image is not None
        instructions, total = cycles(image, engine.zeros.tobytes())
        rows.append((name, f"{instructions / 1e6:.3g} M", f"{total / 1e6:.3g} M"))
        print(*rows[-1], flush=True)
    arguments.out.write_text(
        TITLE + "".join(f"{line}\n" for line in table(("network", "instructions", "cycles"), rows, 2))
    )


if __name__ == "__main__":
    main()
