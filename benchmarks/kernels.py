"""Instructions of each kernel on one call of a typical shape, to find an op or a shape that is much dearer than others.

Weights and inputs are random; instructions are counted by QEMU with -icount. Writes a Markdown page.

    python benchmarks/kernels.py [--rounding double] [--out docs/results-kernels.md] [TARGET...]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np

sys.path.append(str(Path(__file__).resolve().parent.parent))  # an installed tinyscene comes first

from tests.graphs import Builder, random_input
from tinyscene.firmware_harness.build.targets import TARGETS, Target, target_named
from tinyscene.firmware_harness.run.engine import FirmwareEngine
from tinyscene.runtime import ops
from tinyscene.runtime.arith import Rounding
from tinyscene.runtime.cost import graph_cost
from tinyscene.runtime.graph import Graph

RESULTS = Path(__file__).resolve().parent.parent / "docs" / "results-kernels.md"
DEFAULT_TARGETS = [target for target in TARGETS.values() if target.emulator is not None]
MOST_OUTPUTS = 16
SHAPE = (16, 16, 32)
SAME = (1, 1, 1, 1)
TITLE = """# Instructions of each kernel

Written by `python benchmarks/kernels.py`; do not edit. Each row is one call, with random weights and inputs, counted by
QEMU with -icount. The input is 16x16x32 where the row names no other; `{rounding}` rule. A unit is a MAC where the op
has weights, a tap of a pool, an element that a reduction reads, otherwise an output.

"""

NETWORK_TITLE = """## Networks of the shapes of MLPerf Tiny

One inference, `speed`, with random weights.
"""

Case = Callable[[Builder], str]
DILATED, TWICE = ((1, 1), (2, 2, 2, 2), False, (2, 2)), (2, 2)
CASES: dict[str, Case] = {
    "conv 1x1 to 32": lambda b: b.conv(b.input, (1, 1), channels=32),
    "conv 1x1 to 10": lambda b: b.conv(b.input, (1, 1), channels=10),
    "conv 1x1 to 1": lambda b: b.conv(b.input, (1, 1), channels=1),
    "conv 1x1 stride 2 to 32": lambda b: b.conv(b.input, (1, 1), channels=32, stride=TWICE),
    "conv 3x3 to 32": lambda b: b.conv(b.input, (3, 3), channels=32, pads=SAME),
    "conv 3x3 stride 2 to 32": lambda b: b.conv(b.input, (3, 3), channels=32, stride=TWICE, pads=SAME),
    "conv 3x3 of 32x32x1 to 8": lambda b: b.conv(_part(b, (32, 32, 1)), (3, 3), channels=8, pads=SAME),
    "conv 10x4 stride 2 of 64x16x1 to 32": lambda b: b.conv(_part(b, (64, 16, 1)), (10, 4), channels=32, stride=TWICE),
    "conv 3x1 of 64x1x64 to 32": lambda b: b.conv(_part(b, (64, 1, 64)), (3, 1), channels=32, pads=(1, 0, 1, 0)),
    "conv 3x3 dilation 2 to 32": lambda b: b.convolution(b.input, ops.Conv2D(*DILATED), (3, 3), 32),
    "conv 3x3 of 4 groups to 32": lambda b: b.convolution(b.input, ops.Conv2D(pads=SAME, groups=4), (3, 3), 32),
    "conv 3x3 of 32 groups to 64": lambda b: b.convolution(b.input, ops.Conv2D(pads=SAME, groups=32), (3, 3), 64),
    "depthwise 3x3": lambda b: b.conv(b.input, (3, 3), pads=SAME),
    "depthwise 3x3 stride 2": lambda b: b.conv(b.input, (3, 3), stride=TWICE, pads=SAME),
    "depthwise 3x3 dilation 2": lambda b: b.convolution(b.input, ops.DepthwiseConv2D(*DILATED), (3, 3), 32),
    "depthwise 3x3, two outputs each": lambda b: b.convolution(b.input, ops.DepthwiseConv2D(pads=SAME), (3, 3), 64),
    "depthwise 5x5": lambda b: b.conv(b.input, (5, 5), pads=(2, 2, 2, 2)),
    "depthwise 15x1 of 32x1x64": lambda b: b.conv(_part(b, (32, 1, 64)), (15, 1)),
    "depthwise 1x1": lambda b: b.conv(b.input, (1, 1)),
    "transposed conv 3x3 stride 2 to 16": lambda b: b.convolution(
        b.input, ops.TransposeConv2D(TWICE, (32, 32)), (3, 3), 16
    ),
    "dense 640 to 128": lambda b: b.fully_connected(_part(b, (640,)), 128),
    "dense 128 to 640": lambda b: b.fully_connected(_part(b, (128,)), 640),
    "dense 64 to 10, 16 rows": lambda b: b.fully_connected(_part(b, (16, 64)), 10),
    "product of 32x32 matrices": lambda b: _product(b),
    "add": lambda b: b.add(b.input, b.table(b.input)),
    "sub": lambda b: b.sub(b.input, b.table(b.input)),
    "add of a row": lambda b: b.add(b.input, b.constant((1, 1, 1, 32))),
    "mul": lambda b: b.mul(b.input, b.table(b.input)),
    "mul by a row": lambda b: b.mul(b.input, b.constant((1, 1, 1, 32))),
    "squared difference": lambda b: b.squared_difference(b.input, b.table(b.input)),
    "prelu": lambda b: b.node(ops.PRelu(), (b.input, b.constant((1, 1, 1, 32))), b.tensors[b.input].shape),
    "table": lambda b: b.table(b.input),
    "max pool 2x2 stride 2": lambda b: b.pool(b.input, "max", TWICE, stride=TWICE),
    "max pool 3x3": lambda b: b.pool(b.input, "max", (3, 3), pads=SAME),
    "average pool 2x2 stride 2": lambda b: b.pool(b.input, "average", TWICE, stride=TWICE),
    "average pool 3x3": lambda b: b.pool(b.input, "average", (3, 3), same=True),
    "mean over space": lambda b: b.mean(b.input),
    "mean over channels": lambda b: b.mean(b.input, over="channels"),
    "sum over rows": lambda b: b.reduce(b.input, "sum", (1,)),
    "mean over rows and channels": lambda b: b.reduce(b.input, "mean", (1, 3)),
    "largest over space": lambda b: b.reduce(b.input, "max", (1, 2)),
    "softmax of 32": lambda b: b.softmax(b.input),
    "log softmax of 32": lambda b: b.log_softmax(b.input),
    "l2 norm of 32": lambda b: b.l2_norm(b.input),
    "transpose": lambda b: b.moved(ops.Transpose((0, 3, 1, 2)), b.input),
    "pad by 1": lambda b: b.moved(ops.Pad((0, 1, 1, 0), (0, 1, 1, 0), 0), b.input),
    "concat of channels": lambda b: b.concat(b.input, b.pool(b.input, "max", (1, 1)), 3),
    "resize bilinear to 32x32": lambda b: b.moved(ops.Resize("bilinear", (32, 32), "half_pixel"), b.input),
}


def resnet8(b: Builder) -> str:
    """MLPerf Tiny's image classification: 32x32x3, residual blocks of 16, 32 and 64 channels."""
    x = b.conv(b.input, (3, 3), channels=16, pads=SAME, relu=True)
    x = b.add(x, b.conv(b.conv(x, (3, 3), channels=16, pads=SAME, relu=True), (3, 3), channels=16, pads=SAME), True)
    for channels in (32, 64):
        inner = b.conv(x, (3, 3), channels=channels, stride=TWICE, pads=(0, 0, 1, 1), relu=True)
        side = b.conv(x, (1, 1), channels=channels, stride=TWICE)
        x = b.add(side, b.conv(inner, (3, 3), channels=channels, pads=SAME), True)
    return b.softmax(b.fully_connected(b.reshape(b.pool(x, "average", (8, 8), stride=(8, 8)), (1, 64)), 10))


def autoencoder(b: Builder) -> str:
    """MLPerf Tiny's anomaly detection: ten matrix products from 640 to 640."""
    x = b.reshape(b.input, (1, 640))
    for outputs in (128, 128, 128, 128, 8, 128, 128, 128, 128):
        x = b.fully_connected(x, outputs, relu=True)
    return b.fully_connected(x, 640)


def ds_cnn(b: Builder) -> str:
    """MLPerf Tiny's keyword spotting: 49x10x1, four depthwise separable blocks of 64 channels."""
    x = b.conv(b.input, (10, 4), channels=64, stride=TWICE, pads=(4, 1, 5, 1), relu=True)
    for _ in range(4):
        x = b.conv(b.conv(x, (3, 3), pads=SAME, relu=True), (1, 1), channels=64, relu=True)
    return b.softmax(b.fully_connected(b.reshape(b.pool(x, "average", (25, 5), stride=(25, 5)), (1, 64)), 12))


NETWORKS: dict[str, tuple[Case, tuple[int, int, int]]] = {
    "ResNet-8": (resnet8, (32, 32, 3)),
    "dense autoencoder": (autoencoder, (1, 1, 640)),
    "DS-CNN": (ds_cnn, (49, 10, 1)),
}


@dataclass(frozen=True)
class Cost:
    """One call: instructions on each target, and what they are divided by."""

    case: str
    units: int
    instructions: dict[str, int]

    def __str__(self) -> str:
        columns = (f"{n:,} | {n / self.units:.2f}" for n in self.instructions.values())
        return f"| {self.case} | {self.units:,} | {' | '.join(columns)} |"


def costs(targets: list[Target], rounding: Rounding) -> Iterator[Cost]:
    """Every case, a few of them in each build."""
    names = list(CASES)
    for first in range(0, len(names), MOST_OUTPUTS):
        b = Builder(np.random.default_rng(7), "kernels", SHAPE)
        outputs = {name: CASES[name](b) for name in names[first : first + MOST_OUTPUTS]}
        graph = b.graph(*outputs.values())
        codes = random_input(np.random.default_rng(7), graph)
        profiles = {}
        for target in targets:
            engine = FirmwareEngine(graph, target, rounding, optimise="speed")
            calls = (call.output for call in engine.emitted.calls)
            profiles[target.name] = dict(zip(calls, engine.profile(codes), strict=True))
        macs = {layer.name: layer.macs for layer in graph_cost(graph, "stored").layers}
        for name, output in outputs.items():
            units = _units(graph, output, macs)
            yield Cost(name, units, {target: profile[output] for target, profile in profiles.items()})


def network_costs(targets: list[Target], rounding: Rounding) -> Iterator[Cost]:
    """One inference of each network, with the fastest kernels."""
    for name, (build, shape) in NETWORKS.items():
        b = Builder(np.random.default_rng(7), name, shape)
        graph = b.graph(build(b))
        codes = random_input(np.random.default_rng(7), graph)
        instructions = {}
        for target in targets:
            measured = FirmwareEngine(graph, target, rounding, optimise="speed").measure(codes).instructions
            assert measured is not None
            instructions[target.name] = measured
        yield Cost(name, graph_cost(graph, "stored").macs, instructions)


def _units(graph: Graph, output: str, macs: dict[str, int]) -> int:
    """MACs of the node, the taps of a pool, the elements that a reduction reads, or else outputs."""
    node = next(node for node in graph.nodes if node.output == output)
    size = graph.tensors[output].n_bytes
    if isinstance(node.op, ops.Pool2D):
        return size * node.op.kernel[0] * node.op.kernel[1]
    if isinstance(node.op, ops.Reduce):
        return graph.tensors[node.inputs[0]].n_bytes
    return macs[node.name] if ops.has_weight(node.op) or isinstance(node.op, ops.BatchMatMul) else size


def _part(b: Builder, shape: tuple[int, ...]) -> str:
    """The first elements of the input in another shape."""
    size = int(np.prod(shape))
    part = b.moved(ops.Slice((0, 0), (1, size), (1, 1)), b.reshape(b.input, (1, int(np.prod(SHAPE)))))
    return b.reshape(part, (1, *shape))


def _product(b: Builder) -> str:
    x = _part(b, (32, 32))
    return b.node(ops.BatchMatMul(), (x, b.table(x)), (1, 32, 32))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    parser.add_argument("--rounding", choices=get_args(Rounding), default="double")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    targets = [target_named(name) for name in arguments.targets] or DEFAULT_TARGETS
    heads = "".join(f" {target.name} | per unit |" for target in targets)
    rule = "|---" * (2 + 2 * len(targets)) + "|"
    text = TITLE.format(rounding=arguments.rounding)
    tables = (
        (f"| call | units |{heads}", costs),
        (f"\n{NETWORK_TITLE}\n| network | MACs |{heads}", network_costs),
    )
    for head, measured in tables:
        text += f"{head}\n{rule}\n"
        for cost in measured(targets, arguments.rounding):
            print(cost, flush=True)
            text += f"{cost}\n"
    arguments.out.write_text(text)


if __name__ == "__main__":
    main()
