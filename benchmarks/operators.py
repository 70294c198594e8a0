"""Write docs/operators.md: each op of the set, the operators it is read from and written as, and what each target runs.

    python benchmarks/operators.py [--quick] [--out docs/operators.md]

Each row is a graph of that op alone, run on random codes. A cell shows the status that `verify` gives the target
(equal, a named exception, refused), the kernels that the C calls, or where Vela places the operators. `--quick` leaves
out the targets that emulate or convert; `tests/project/test_operators_page.py` compares the others with the page.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx

sys.path.append(str(Path(__file__).resolve().parent.parent))  # an installed tinyscene comes first

from tests.graphs import FUNCTIONS, Builder, random_input
from tests.random_nodes import random_extremum, random_lstm
from tinyscene.export.formats.onnx_write import to_onnx
from tinyscene.export.formats.tflite_file import TfliteFile
from tinyscene.export.targets.ethos_u import NPUS, estimate
from tinyscene.export.verify.verify import verify
from tinyscene.firmware_harness.cpu.kernel_sets import kernel_set_named
from tinyscene.firmware_harness.emit.schedule import schedule
from tinyscene.runtime import ops
from tinyscene.runtime.errors import TinysceneError
from tinyscene.runtime.graph import Graph, Quant
from tinyscene.runtime.terminal import bar
from tinyscene.runtime.tflite_tables import read_tables
from tinyscene.runtime.tflite_write import to_tflite

QUICK = {
    "LiteRT": "litert",
    "LiteRT, reference": "litert-reference",
    "TFLite Micro": "tflm",
    "ONNX Runtime": "ort",
    "ONNX Runtime, int8": "ort-int8",
}
SLOW = {"Hexagon": "hexagon", "Core ML": "coreml"}
KERNELS = {"C, portable": "c99", "C, DSP": "dsp", "C, Helium": "mve"}
TOOLS = ("onnxruntime-qnn", "coremltools", "ethos-u-vela")  # of the columns that --quick leaves out
PLACED = """
*Converted* is written for Core ML and read back, not run; *NPU* and *CPU* are where Vela places the operators. These
columns were made with {tools}."""
NPU = "ethos-u55-128"
PLAIN = {"QuantizeLinear", "DequantizeLinear"}
SHAPE = (6, 8, 4)
Make = Callable[[Builder, str], str]


@dataclass(frozen=True)
class Row:
    """One op or variant of it; ``make`` appends it to a builder."""

    op: str
    what: str
    make: Make


def _window(kernel: tuple[int, int], **options: object) -> Make:
    return lambda b, x: b.convolution(x, ops.Conv2D(**options), kernel, 8)  # type: ignore[arg-type]


def _depthwise(multiplier: int, **options: object) -> Make:
    return lambda b, x: b.convolution(x, ops.DepthwiseConv2D(**options), (3, 3), SHAPE[2] * multiplier)  # type: ignore[arg-type]


def _pool(kind: str, pads: ops.Pads) -> Make:
    def make(b: Builder, x: str) -> str:
        op = ops.Pool2D(kind, (3, 3), (2, 2), pads)  # type: ignore[arg-type]
        shape = ops.OPS[ops.Pool2D].shape(op, b.tensors[x].shape)
        return b.node(op, (x,), shape, b.tensors[x].quant)

    return make


def _functions() -> Iterator[Row]:
    for function in FUNCTIONS:
        yield Row("Lookup", str(function), lambda b, x, f=function: b.lookup(x, f))  # type: ignore[misc]


SAME: ops.Pads = (1, 1, 1, 1)
ROOTS = Quant.per_tensor(0.05, -128)
ROWS = (
    Row("Conv2D", "any window, stride and padding", _window((3, 2), stride=(2, 1), pads=SAME)),
    Row("Conv2D", "1x1", _window((1, 1))),
    Row("Conv2D", "dilation", _window((3, 3), dilation=(2, 2), pads=(2, 2, 2, 2))),
    Row("Conv2D", "groups", _window((3, 3), groups=2, pads=SAME)),
    Row("DepthwiseConv2D", "any window, stride and padding", _depthwise(1, stride=(2, 2), pads=SAME)),
    Row("DepthwiseConv2D", "dilation", _depthwise(1, dilation=(2, 1), pads=SAME)),
    Row("DepthwiseConv2D", "several outputs for each channel", _depthwise(2, pads=SAME)),
    Row("TransposeConv2D", "", lambda b, x: b.convolution(x, ops.TransposeConv2D((2, 2), (12, 16)), (3, 3), 5)),
    Row("Pool2D", "maximum", _pool("max", (0, 0, 0, 0))),
    Row("Pool2D", "maximum, any padding", _pool("max", (1, 0, 2, 1))),
    Row("Pool2D", "average, padding left out", _pool("average", (0, 0, 1, 0))),
    Row("Pool2D", "average, any padding", _pool("average", (1, 0, 2, 1))),
    Row("FullyConnected", "", lambda b, x: b.fully_connected(b.reshape(x, (1, 192)), 10)),
    Row("FullyConnected", "of rows", lambda b, x: b.fully_connected(b.reshape(x, (1, 6, 32)), 10)),
    Row(
        "BatchMatMul",
        "",
        lambda b, x: b.node(ops.BatchMatMul(), (x, b.constant((1, 6, 4, 5), b.quant(0.03))), (1, 6, 8, 5)),
    ),
    Row("Add", "", lambda b, x: b.add(x, b.conv(x, (1, 1)))),
    Row("Add", "broadcast", lambda b, x: b.add(x, b.constant((4,)))),
    Row("Sub", "", lambda b, x: b.sub(x, b.conv(x, (1, 1)))),
    Row("Mul", "", lambda b, x: b.mul(x, b.conv(x, (1, 1)))),
    Row("Mul", "broadcast", lambda b, x: b.mul(x, b.mean(x))),
    Row("SquaredDifference", "", lambda b, x: b.squared_difference(x, b.conv(x, (1, 1)))),
    Row("Extremum", "larger of two", lambda b, x: random_extremum(b.rng, b, x, "max")),
    *_functions(),
    Row("Table", "any function of one element", lambda b, x: b.table(x)),
    Row("PRelu", "", lambda b, x: b.prelu(x)),
    Row("Rsqrt", "", lambda b, x: b.rsqrt(b.node(ops.Lookup("relu"), (x,), b.tensors[x].shape, ROOTS))),
    Row("Reduce", "mean over height and width", lambda b, x: b.reduce(x, "mean", (1, 2))),
    Row("Reduce", "mean over other axes", lambda b, x: b.reduce(x, "mean", (1,))),
    Row("Reduce", "sum", lambda b, x: b.reduce(x, "sum", (2,))),
    Row("Reduce", "maximum, minimum", lambda b, x: b.reduce(x, "max", (1, 2))),
    Row("Softmax", "", lambda b, x: b.softmax(x)),
    Row("L2Norm", "", lambda b, x: b.l2_norm(x)),
    Row("LogSoftmax", "", lambda b, x: b.log_softmax(x)),
    Row("Lstm", "", lambda b, x: random_lstm(b.rng, b, x)),
    Row("Reshape", "", lambda b, x: b.reshape(x, (1, 48, 4))),
    Row("Transpose", "", lambda b, x: b.moved(ops.Transpose((0, 3, 1, 2)), x)),
    Row("Pad", "zero point", lambda b, x: _pad(b, x, b.tensors[x].quant.zero_point)),
    Row("Pad", "another code", lambda b, x: _pad(b, x, 100)),
    Row("Slice", "", lambda b, x: b.moved(ops.Slice((0, 1, 0, 0), (1, 3, 4, 4), (1, 1, 2, 1)), x)),
    Row("Slice", "backwards", lambda b, x: b.moved(ops.Slice((0, 5, 0, 0), (1, 6, 8, 4), (1, -1, 1, 1)), x)),
    Row("Resize", "nearest", lambda b, x: b.moved(ops.Resize("nearest", (9, 12), "asymmetric"), x)),
    Row("Resize", "bilinear", lambda b, x: b.moved(ops.Resize("bilinear", (9, 12), "half_pixel"), x)),
    Row("Concat", "", lambda b, x: b.concat(x, b.pool(x, "max", (1, 1)), 3)),
)


def _pad(b: Builder, x: str, code: int) -> str:
    return b.moved(ops.Pad((0, 1, 0, 1), (0, 0, 2, 0), code), x)


def graph_of(row: Row) -> Graph:
    """The op alone, or behind another that it needs."""
    b = Builder(np.random.default_rng(1), row.op.lower(), SHAPE)
    return b.graph(row.make(b, b.input))


def cells(row: Row, *, quick: bool) -> dict[str, str]:
    """By column: operators of the files, a word for each target."""
    graph = graph_of(row)
    found = {"TFLite": _written(graph, to_tflite, _tflite_operators), "ONNX": _written(graph, to_onnx, _onnx_operators)}
    targets = QUICK if quick else QUICK | SLOW
    codes = random_input(np.random.default_rng(2), graph, 4)
    results = verify(graph, codes, targets=tuple(targets.values())).results
    found |= {column: _word(result.status) for column, result in zip(targets, results, strict=True)}
    found |= {column: _kernels(graph, name) for column, name in KERNELS.items()}
    if not quick:
        found["Ethos-U55"] = _npu(graph)
    return found


def _word(status: str) -> str:
    return {"named exception": "exception", "skipped": "not tried"}.get(status, status)


def _written(graph: Graph, write: Callable[[Graph], bytes], operators: Callable[[bytes], list[str]]) -> str:
    try:
        names = operators(write(graph))
    except TinysceneError:
        return "-"
    return ", ".join(dict.fromkeys(names))


def _tflite_operators(data: bytes) -> list[str]:
    return [operator.kind for operator in TfliteFile(read_tables(data, "operators"), "operators").operators]


def _onnx_operators(data: bytes) -> list[str]:
    return [node.op_type for node in onnx.load_from_string(data).graph.node if node.op_type not in PLAIN]


def _kernels(graph: Graph, name: str) -> str:
    """Whether the last op runs in a kernel of the set or in portable C."""
    call = schedule(graph, kernel_set_named(name), "layers")[-1]
    own = re.match(rf"ts_{name}_", call.layer.kernel)
    return "portable" if name != "c99" and not own else "yes"


def _npu(graph: Graph) -> str:
    try:
        result = estimate(to_tflite(graph), NPUS[NPU])
    except TinysceneError:
        return "-"
    return "NPU" if not result.ops_on_cpu else "CPU" if not result.ops_on_npu else "in part"


PAGE = """# Operators

Written by `python benchmarks/operators.py`; do not edit. Every op of the integer graph with the operators that files
have for it, and what each target makes of a graph of that op alone with random scales and codes: *equal* to the graph
in every byte; *exception*, a difference that [the numeric contract](numeric-contract.md) names and bounds; *refused*
with a reason by that target alone. *Portable* is C for any processor.{placed}

## Read from files

* TFLite: {tflite}.
* ONNX, between QuantizeLinear and DequantizeLinear or as operators of codes: {onnx}.
* PyTorch, exported by `torch.export`: {pytorch}.

What is not listed is refused by its name; an operator of PyTorch only where PyTorch does not decompose it into these.

## Ops

{table}
"""


def page(*, quick: bool) -> str:
    """The whole page."""
    from tinyscene.export.formats.onnx_read import READERS as ONNX_READERS
    from tinyscene.export.formats.tflite_operators import READERS as TFLITE_READERS
    from tinyscene.export.formats.tflite_variables import OF_VARIABLES
    from tinyscene.export.quantise.aten import ROWS as PYTORCH_ROWS

    rows = [cells(row, quick=quick) for row in bar(list(ROWS), "running ops")]
    head = ["op", *rows[0]]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for row, found in zip(ROWS, rows, strict=True):
        title = f"**{row.op}**{f', {row.what}' if row.what else ''}"
        lines.append(f"| {' | '.join([title, *found.values()])} |")
    placed = "" if quick else PLACED.format(tools=", ".join(f"{name} {version(name)}" for name in TOOLS))
    tables = {"tflite": [*TFLITE_READERS, *OF_VARIABLES], "onnx": ONNX_READERS, "pytorch": PYTORCH_ROWS}
    names = {kind: ", ".join(sorted(table)) for kind, table in tables.items()}
    return PAGE.format(table="\n".join(lines), placed=placed, **names)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="only targets that neither emulate nor convert")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "operators.md")
    options = parser.parse_args(arguments)
    options.out.write_text(page(quick=options.quick))


if __name__ == "__main__":
    main()
