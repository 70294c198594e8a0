"""The published CP-Mobile on an emulated Raspberry Pi, compared with the same engines on this machine, byte for byte.

The bundle and the recordings are those of benchmarks/verify.py. LiteRT, default and reference, and ONNX Runtime run on
every second on both; the ten int8 scores of each are compared. Exit code 1 when LiteRT's differ.

    python benchmarks/pi.py --shared DIR [--clips N] [--out docs/results-pi.md] [ENGINE...]

DIR is as for benchmarks/verify.py. Needs root, and mmdebstrap and qemu-user-static.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from verify import quantised_bundle, sets

sys.path.append(str(Path(__file__).resolve().parent.parent))  # an installed tinyscene comes first

from tinyscene.export.targets.raspberry_pi import PROCESSORS, WHEELS, PiEngine, Processor, pi_root
from tinyscene.runtime.arrays import I8
from tinyscene.runtime.bundle import Bundle
from tinyscene.runtime.engines import open_engine
from tinyscene.runtime.temporaries import temporary_folder

ENGINES = ["litert", "litert-reference", "ort"]
RESULTS = Path(__file__).resolve().parent.parent / "docs" / "results-pi.md"
PAGE = """# The published CP-Mobile on an emulated Raspberry Pi

Written by `python benchmarks/pi.py --shared DIR`; do not edit. The network is the checkpoint of the 2023 winner, int8
with GRN, as in [the results of verify](results-verify.md). Its ten int8 scores for each of {clips} seconds ({counts})
are compared with those of the same engine on x86-64. The Pi runs Debian's Python and the published arm64 wheels
({wheels}) under QEMU's user emulation, with the processor's own cpuinfo and with /sys.

{table}

QEMU does not model the speed of a Pi, so no times are given. ONNX Runtime sums and multiplies real values, in an order
that depends on the processor; the resulting differences at near-ties are listed in [the numeric
contract](numeric-contract.md#known-exceptions).
"""


@dataclass(frozen=True)
class Row:
    """One engine on one emulated processor, compared with itself on this machine."""

    processor: Processor
    engine: str
    clips: int
    clips_different: int
    largest: int  # units of the int8 scores
    labels_different: int

    def line(self) -> str:
        verdict = "equal" if self.clips_different == 0 else f"differ by at most {self.largest}"
        equal, labels = self.clips - self.clips_different, self.clips - self.labels_different
        name = f"{self.processor.board}, {self.processor.name}"
        return f"| {name} | {self.engine} | {equal} of {self.clips} | {verdict} | {labels} of {self.clips} |"


def compared(bundle: Bundle, processor: Processor, engine: str, codes: I8, expected: I8) -> Row:
    """``expected`` are the scores of the same engine on this machine."""
    scores = PiEngine(bundle, processor, engine).output_codes(codes)
    difference = np.abs(scores.astype(int) - expected).reshape(len(codes), -1).max(1)
    labels = scores.reshape(len(codes), -1).argmax(1) != expected.reshape(len(codes), -1).argmax(1)
    return Row(processor, engine, len(codes), int((difference > 0).sum()), int(difference.max()), int(labels.sum()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("engines", nargs="*", metavar="ENGINE", default=ENGINES, help=f"of {', '.join(ENGINES)}")
    parser.add_argument("--shared", type=Path, required=True, metavar="DIR")
    parser.add_argument("--clips", type=int, default=250, metavar="N", help="at most N seconds of each set")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    pi_root()
    rows = []
    with temporary_folder("benchmark") as scratch:
        bundle, calibrated = quantised_bundle(options.shared, scratch)
        codes_of = {name: clips.codes for name, clips in sets(options.shared, bundle, calibrated, options.clips)}
        codes = np.concatenate(list(codes_of.values()))
        for engine in options.engines:
            expected = open_engine(engine, bundle).output_codes(codes)
            for processor in PROCESSORS.values():
                begin = time.perf_counter()
                rows.append(compared(bundle, processor, engine, codes, expected))
                print(f"{rows[-1].line()}  {time.perf_counter() - begin:.0f} s", flush=True)
    head = "| processor | engine | clips with equal scores | scores | equal labels |\n|---|---|---|---|---|"
    counts = ", ".join(f"{len(part)} of {name}" for name, part in codes_of.items())
    table = "\n".join([head, *(row.line() for row in rows)])
    wheels = ", ".join(name.replace("==", " ") for name in WHEELS[:3])
    options.out.write_text(PAGE.format(clips=len(codes), counts=counts, wheels=wheels, table=table))
    sys.exit(any(row.clips_different for row in rows if row.engine != "ort"))


if __name__ == "__main__":
    main()
