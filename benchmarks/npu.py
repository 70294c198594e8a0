"""Estimate every CP-Mobile on every Ethos-U with Vela: share of ops, cycles, memory, and the cycles of GRN.

Weights are random, shapes and ops are those of trained networks. Writes a Markdown page. The exit code is 1 when an op
would run on the CPU.

    python benchmarks/npu.py [--out docs/results-npu.md] [NETWORK...]
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

sys.path.append(str(Path(__file__).resolve().parent.parent))  # an installed tinyscene comes first

from tinyscene.export.quantise.calibration import network_images
from tinyscene.export.quantise.methods import quantise_post_training
from tinyscene.export.targets.ethos_u import NPUS, Estimate, estimate
from tinyscene.runtime.cost import graph_cost
from tinyscene.runtime.graph import Graph
from tinyscene.runtime.integer_log_mel import open_log_mel
from tinyscene.runtime.markdown import table
from tinyscene.runtime.spec import preset
from tinyscene.runtime.tflite_write import to_tflite
from tinyscene.training.models.build import build_model
from tinyscene.training.models.checkpoint import LoadedModel
from tinyscene.training.models.config import MODELS, named_config
from tinyscene.training.models.layers import GRN

RESULTS = Path(__file__).resolve().parent.parent / "docs" / "results-npu.md"
NETWORKS = tuple(name for name, config in MODELS.items() if config.arch == "cp_mobile")
CLIPS = 8
GAMMA = 0.4  # of GRN; with 0, the initial value, GRN would compute nothing
TITLE = """# The networks on Arm Ethos-U

Written by `python benchmarks/npu.py`; do not edit. Estimates of Vela {vela} for the int8 file of each CP-Mobile, with
random weights; nothing was executed. Cycles do not include ops that run on the CPU, hence the columns on ops.
`tinyscene npu BUNDLE --min-npu-share 100` estimates one bundle and fails if an op runs on the CPU.
"""
GRN_TITLE = """
## Cycles of GRN

The same networks with and without GRN. An earlier int8 form of GRN took 60 k of 1.0 M cycles on `ethos-u55-128` for a
network of the size of `cpm23-32l`, at 28.6 dB.
"""


@dataclass(frozen=True)
class Measured:
    """The estimate of one network on one NPU; ``without_grn`` in cycles, None for a network without GRN."""

    network: str
    macs: int
    estimate: Estimate
    without_grn: int | None


def graph_of(name: str, *, grn: bool) -> Graph:
    """Return the network with random weights, quantised with noise as calibration data."""
    torch.manual_seed(0)
    config = named_config(name).model_copy(update={"grn": grn})
    frontend = preset("dcase25" if name == "dcase25" else "cpm23")
    model = build_model(config).eval()
    for module in model.modules():
        if isinstance(module, GRN):
            torch.nn.init.constant_(module.gamma, GAMMA)
    noise = np.random.default_rng(0).normal(0.0, 0.1, (CLIPS, frontend.clip_samples)).astype(np.float32)
    log_mels = np.stack([open_log_mel(frontend)(clip) for clip in noise])
    source = LoadedModel(model, config, frontend, tuple("abcdefghij"))
    return quantise_post_training(source, name, network_images(log_mels)).graph


def measured(names: tuple[str, ...]) -> list[Measured]:
    rows = []
    for name in names:
        has_grn = MODELS[name].grn
        graph = graph_of(name, grn=has_grn)
        content = to_tflite(graph)
        plain = to_tflite(graph_of(name, grn=False)) if has_grn else None
        macs = graph_cost(graph, "dcase").macs
        for npu in NPUS.values():
            print(name, npu.name)
            without = estimate(plain, npu).cycles if plain else None
            rows.append(Measured(name, macs, estimate(content, npu), without))
    return rows


def page(rows: list[Measured]) -> str:
    head = ("network", "NPU", "MACs", "ops on NPU", "share", "cycles", "ms", "SRAM B", "flash B")
    figures = [
        (
            *(row.network, e.npu, f"{row.macs:,}", f"{e.ops_on_npu} of {e.ops_on_npu + e.ops_on_cpu}"),
            *(
                f"{e.npu_share:.0%}",
                f"{e.cycles:,}",
                f"{e.milliseconds:.2f}",
                f"{e.sram_bytes:,}",
                f"{e.flash_bytes:,}",
            ),
        )
        for row in rows
        for e in (row.estimate,)
    ]
    grn = [
        (row.network, row.estimate.npu, f"{row.estimate.cycles:,}", f"{row.without_grn:,}", f"{cost:,}", f"{share:.1%}")
        for row in rows
        if row.without_grn is not None
        for cost in (row.estimate.cycles - row.without_grn,)
        for share in (cost / row.estimate.cycles,)
    ]
    head_grn = ("network", "NPU", "cycles", "without GRN", "GRN", "share")
    lines = [TITLE.format(vela=version("ethos-u-vela")), *table(head, figures, 7)]
    return "\n".join([*lines, GRN_TITLE, *table(head_grn, grn, 4)]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", metavar="NETWORK", default=NETWORKS)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    rows = measured(tuple(options.networks))
    options.out.write_text(page(rows))
    if any(row.estimate.ops_on_cpu for row in rows):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
