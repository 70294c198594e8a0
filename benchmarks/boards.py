"""Instructions and cycles for a second of audio on the boards of the examples, beside the clock, as a Markdown page.

Weights are random: instructions depend on shapes only. Each network runs as `firmware export` ships it, with the kernel
set of its board; both arithmetics of the log-mel are counted.

    python benchmarks/boards.py [--out docs/results-boards.md]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

sys.path.append(str(Path(__file__).resolve().parent.parent))  # an installed tinyscene comes first

from tests.graphs import random_input
from tinyscene.export.quantise.steps import POST_TRAINING, Work, run_steps
from tinyscene.firmware_harness.build.targets import TARGETS
from tinyscene.firmware_harness.ship.board_rates import Board, Rate, board_rates
from tinyscene.firmware_harness.ship.formats import FORMATS
from tinyscene.firmware_harness.ship.product import Options, Product
from tinyscene.runtime.bundle import Bundle, BundleContent, Golden, write_bundle
from tinyscene.runtime.graph import LOG_MEL
from tinyscene.runtime.manifest import Provenance
from tinyscene.runtime.markdown import table
from tinyscene.runtime.spec import Arithmetic, FrontendSpec, preset
from tinyscene.training.models.build import build_model
from tinyscene.training.models.config import named_config

RESULTS = Path(__file__).resolve().parent.parent / "docs" / "results-boards.md"
NETWORKS = {"cpm23-8": "cpm23", "cpm23-16": "cpm23", "dcase25": "dcase25"}  # network -> its front end
ARITHMETICS: tuple[Arithmetic, ...] = ("integer", "float")
CALIBRATION_CLIPS = 8
LABELS = tuple(f"scene {i}" for i in range(10))
PAGE = """# Instructions for a second of audio, by board

Written by `python benchmarks/boards.py`; do not edit. QEMU counts instructions on the machine that stands for each
board of [the examples](how-to-microphone.md); a processor takes one clock or more for an instruction, and waits for
flash come on top. Weights are random, which changes no count. `per clock`: instructions of network and log-mel,
divided by the clock: what is well below 0.5 can keep up, what is above 1 cannot. `cycles per clock`: with the log-mel
in integers, [modelled](cycles.md) for memory without wait states, where the processor has a cost model: what is below 1
with its interval can keep up, if code and constants are in such memory.

{table}

The ESP32-S3 is counted on an LX106, which has no float unit and no high half of a product; its own figures are lower,
and not shown here.
"""


@dataclass(frozen=True)
class Row:
    """A network on a board, by both arithmetics of the log-mel."""

    network: str
    macs: int
    rates: dict[Arithmetic, Rate]

    def cells(self) -> list[str]:
        integer, floats = self.rates["integer"], self.rates["float"]
        board = integer.board
        counts = (integer.network, integer.front_end, floats.front_end)
        return [
            f"{self.network}, {self.macs / 1e6:.1f} M MACs",
            board.name,
            f"{board.clock_hz // 1_000_000} MHz",
            *(f"{count / 1e6:,.1f} M" for count in counts),
            *(f"{rate.share:.2f}" for rate in (integer, floats)),
            integer.cycle_share,
        ]


def _bundle(name: str, spec: FrontendSpec, folder: Path) -> Bundle:
    torch.manual_seed(0)
    model = build_model(named_config(name)).eval()
    clips = torch.randn(CALIBRATION_CLIPS, 1, spec.n_mels, spec.n_frames)
    graph = run_steps(POST_TRAINING, Work(model, {LOG_MEL: clips}, None, name, LABELS)).graph
    assert graph is not None
    golden = Golden.of(graph, random_input(np.random.default_rng(0), graph, 1))
    folder.mkdir(exist_ok=True)
    return write_bundle(folder / name, BundleContent(graph, spec, b"TFL3", b"onnx", golden), Provenance("random", {}))


def _boards() -> Iterator[Board]:
    for form in FORMATS.values():
        yield from form.boards


def rows() -> Iterator[Row]:
    """Every network on every board, with the kernel set of the board's machine."""
    with tempfile.TemporaryDirectory() as folder:
        for name, frontend in NETWORKS.items():
            bundles = {
                each: _bundle(name, replace(preset(frontend), arithmetic=each), Path(folder) / each)
                for each in ARITHMETICS
            }
            for board in _boards():
                rates = {}
                for arithmetic, bundle in bundles.items():
                    product = Product(bundle, Options(cpu=TARGETS[board.machine].cpu), "tinyscene")
                    (rates[arithmetic],) = board_rates(product, [board])
                yield Row(name, product.macs, rates)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    heads = ["network", "board", "clock", "network", "log-mel, integer", "log-mel, float"]
    heads += ["per clock, integer", "per clock, float", "cycles per clock"]
    arguments.out.write_text(PAGE.format(table="\n".join(table(heads, [row.cells() for row in rows()], numbers=6))))


if __name__ == "__main__":
    main()
