"""Instructions of log-mel per clip, for every preset and emulated processor with a float unit.

Counted by QEMU with -icount on one clip of noise; the data changes the count by less than 0.1 %. A processor without a
float unit is left out unless it is named: it needs some 50 times as many.

    python benchmarks/firmware_frontend.py [TARGET...]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from firmware_harness.frontend import PCM_FULL_SCALE
from firmware_harness.listen import LogMelFirmware
from firmware_harness.targets import CORTEX_M4, CORTEX_M7, CORTEX_M33, CORTEX_M55, Target, target_named
from runtime.graph import Quant
from runtime.spec import PRESETS, FrontendSpec

FLOAT_TARGETS = (CORTEX_M4, CORTEX_M7, CORTEX_M33, CORTEX_M55)


def measure(spec: FrontendSpec, target: Target) -> tuple[int, int, int]:
    """Instructions per clip, bytes of tables, and bytes of state that live between calls."""
    quant = Quant.per_tensor((10.0 - spec.norm_mean) / spec.norm_std / 200, 0)
    firmware = LogMelFirmware(spec, quant, target)
    noise = np.random.default_rng(0).normal(0.0, 0.05 * PCM_FULL_SCALE, spec.clip_samples).astype("<i2")
    firmware.codes([[noise]])
    assert firmware.instructions is not None
    return firmware.instructions, firmware.emitted.constant_bytes, 4 * (spec.win_length + 2) + 12


def main() -> None:
    targets = [target_named(name) for name in sys.argv[1:]] or list(FLOAT_TARGETS)
    print("| preset | target | instructions per clip | per frame | tables, B | state, B | scratch, B |")
    print("|---|---|---|---|---|---|---|")
    for spec in PRESETS.values():
        for target in targets:
            instructions, table_bytes, state_bytes = measure(spec, target)
            print(
                f"| {spec.name} | {target.name} | {instructions:,} | {instructions // spec.n_frames:,} "
                f"| {table_bytes:,} | {state_bytes:,} | {4 * spec.n_fft:,} |"
            )


if __name__ == "__main__":
    main()
