"""Modelled cycles, time and energy of networks on boards, beside instructions and published results.

Networks of the shapes of MLPerf Tiny and the two largest CP-Mobiles, with random weights, rounding `double`. Published
cycles are those of other engines on the same board. Writes a Markdown page.

    python benchmarks/firmware_cycles.py [--out docs/results-firmware-cycles.md] [BOARD...]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import numpy as np

sys.path.append(str(Path(__file__).resolve().parent.parent))  # an installed tinyscene comes first

from tests.export.formats.tflite_models import NETS
from tests.firmware_harness.random_graphs import CP_MOBILE, cp_mobile
from tinyscene.export.formats.tflite_model import open_tflite
from tinyscene.firmware_harness.build.targets import target_named
from tinyscene.firmware_harness.cycles.boards import NUCLEO_L4R5ZI, Board, board_named
from tinyscene.firmware_harness.cycles.estimate import machine_of_board, short
from tinyscene.firmware_harness.cycles.published import published_rows
from tinyscene.firmware_harness.emit.schedule import Optimise
from tinyscene.firmware_harness.run.engine import FirmwareEngine
from tinyscene.firmware_harness.run.executed import Executed
from tinyscene.runtime.graph import Graph
from tinyscene.runtime.markdown import table

RESULTS = Path(__file__).resolve().parent.parent / "docs" / "results-firmware-cycles.md"
BOARDS = (NUCLEO_L4R5ZI,)  # with the most published rows of other engines
TINY = {"kws": "ds_cnn", "ic": "resnet8", "ad": "autoencoder", "vww": "mobilenet"}
TIMEOUT_SECONDS = 600.0
TITLE = """# Modelled cycles of networks as firmware

Written by `python benchmarks/firmware_cycles.py`; do not edit. Networks of the shapes of MLPerf Tiny (kws, ic, ad, vww)
and the largest CP-Mobiles, with random weights and rounding `double`; [cycles](cycles.md) describes the model and its
intervals. Published: the fewest and the most cycles of int8 rows of the same network on the same board, in
`firmware_harness/cycles/published_rows.csv`. `speed` and `ram` are the kernel sets' own choice, without a board.

"""
HEAD = ("network", "board", "mode", "instructions", "cycles", "interval", "ms", "uJ", "published cycles")


def networks() -> Iterator[tuple[str, Graph]]:
    """Name and graph of each network."""
    with tempfile.TemporaryDirectory() as folder:
        for name, made in TINY.items():
            net, output = NETS[made](np.random.default_rng(12))
            path = Path(folder) / f"{name}.tflite"
            path.write_bytes(net.finish(output))
            yield name, open_tflite(path).graph
    for name in CP_MOBILE:
        yield name, cp_mobile(np.random.default_rng(40), name)


def row(name: str, graph: Graph, board: Board, optimise: Optimise) -> tuple[str, ...]:
    """One network on one board in one mode."""
    engine = FirmwareEngine(graph, target_named(board.target), optimise=optimise)
    image = engine.product_image()
    assert image is not None
    (counts,) = Executed(image).segments(engine.zeros.tobytes(), TIMEOUT_SECONDS)
    machine = machine_of_board(board)
    cycles = machine.cycles(counts)
    energy = machine.microjoules(cycles)
    milliseconds = machine.milliseconds(cycles)
    assert milliseconds is not None
    millions = [f"{value / 1e6:.3g} M" for value in (counts.instructions, cycles.value)]
    interval = f"{cycles.low / 1e6:.3g} to {cycles.high / 1e6:.3g} M"
    costs = short(milliseconds.value), "unknown" if energy is None else short(energy.value)
    return (name, board.name, optimise, *millions, interval, *costs, published(name, board))


def published(name: str, board: Board) -> str:
    """The least and the most published cycles of a network on a board."""
    rows = [r.cycles for r in published_rows() if r.network == name and r.chip == board.name and r.dtype == "int8"]
    return f"{min(rows) / 1e6:.3g} to {max(rows) / 1e6:.3g} M" if rows else "-"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("boards", nargs="*", metavar="BOARD")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    boards = [board_named(name) for name in arguments.boards] or list(BOARDS)
    rows = []
    for name, graph in networks():
        for board in boards:
            for optimise in get_args(Optimise):
                rows.append(row(name, graph, board, optimise))
                print(*rows[-1], flush=True)
    arguments.out.write_text(TITLE + "".join(f"{line}\n" for line in table(HEAD, rows, 6)))


if __name__ == "__main__":
    main()
