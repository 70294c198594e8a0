"""The boxes of the picture: one per node, one for the nodes of a global response norm, one per input and output.

A GRN (ConvNeXt V2, Woo et al. 2023) is eleven elementary nodes of the integer graph, always in one order; they share a
box that lists them. Repeated blocks are identified by their joins (a sum or a concatenation, and the nodes between it
and the fork): the names of a block's nodes have a common start, which differs from that of other blocks in digits only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from tinyscene.runtime.printable import printable, short_name

from .records import Inspection, NodeRow, Shape, TensorRow

Kind = Literal[
    "conv", "depthwise", "linear", "recurrent", "sum", "product", "mean", "table", "norm", "shape", "end", "other"
]

KINDS: dict[Kind, str] = {
    "conv": "convolution",
    "depthwise": "depthwise convolution",
    "linear": "matrix product",
    "recurrent": "recurrent layer",
    "sum": "sum, difference",
    "product": "product",
    "mean": "mean, pool",
    "table": "elementwise function",
    "norm": "normalisation",
    "shape": "shape, concatenation",
    "other": "other",
    "end": "input, output",
}
# Op names of graph, TFLite, ONNX and PyTorch in lower case without underscores; the first match decides.
_WORDS: tuple[tuple[str, Kind], ...] = (
    *((part, "recurrent") for part in ("lstm", "gru", "rnn", "svdf")),
    ("depthwise", "depthwise"),
    ("conv", "conv"),
    ("fullyconnected", "linear"),
    ("gemm", "linear"),
    ("matmul", "linear"),
    ("quantizelinear", "shape"),
    ("linear", "linear"),
    ("quantize", "shape"),
    ("norm", "norm"),
    ("grn", "norm"),
    ("pool", "mean"),
    ("mean", "mean"),
    ("reduce", "mean"),
    ("prelu", "table"),
    ("add", "sum"),
    ("sub", "sum"),
    ("difference", "sum"),
    ("mul", "product"),
    ("div", "product"),
    *(
        (part, "shape")
        for part in ("shape", "concat", "flatten", "squeeze", "transpose", "slice", "pad", "split", "pack")
    ),
    *((part, "shape") for part in ("gather", "expand", "tile", "cast", "reverse", "space", "resize", "upsample")),
)
# Elementwise functions: whole words, and parts of words.
_FUNCTIONS = {
    *{"exp", "log", "pow", "abs", "neg", "sign", "floor", "ceil", "round", "erf", "mish", "table"},
    *{"elu", "gelu", "celu", "selu", "max", "min", "maximum", "minimum", "extremum"},
}
_TABLES = ("relu", "sqrt", "lookup", "softmax", "logistic", "sigmoid", "tanh", "swish", "clip")
_GRN = (
    *("Mul", "Mean", "Rsqrt", "Mul", "Mean", "Rsqrt", "Mul", "Mul"),
    *("DepthwiseConv2D", "Mul", "DepthwiseConv2D"),
)
_GRN_PARTS = (
    *("square", "mean", "1/sqrt", "norm", "total", "1/sqrt", "half ratio", "ratio"),
    *("gain", "scaled", "affine"),
)
_TIMES = "\N{MULTIPLICATION SIGN}"
_ENDS = "./_:;"


@dataclass(frozen=True)
class Box:
    """One box. ``parts`` are the numbers and short names of the nodes of a group; its costs are their sums."""

    key: str
    kind: Kind
    title: str
    detail: str
    name: str
    shape: str
    cost: str
    hint: str
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    parts: tuple[tuple[int, str], ...] = ()
    number: str = ""


@dataclass(frozen=True)
class Edge:
    """A tensor from the box that writes it to one that reads it; positions in the list of boxes."""

    source: int
    target: int


def boxes_of(model: Inspection) -> tuple[Box, ...]:
    """Inputs, nodes in execution order, outputs."""
    inputs = [_end(f"input-{i}", "input", tensor, writes=(tensor.name,)) for i, tensor in enumerate(model.inputs)]
    outputs = [_end(f"output-{i}", "output", tensor, reads=(tensor.name,)) for i, tensor in enumerate(model.outputs)]
    return (*inputs, *_nodes(model.nodes), *outputs)


def edges_of(boxes: Sequence[Box]) -> tuple[Edge, ...]:
    """One edge for each pair of boxes that a tensor connects, from an earlier box to a later one."""
    writers: dict[str, int] = {}
    edges: dict[Edge, None] = {}
    for at, box in enumerate(boxes):
        for name in box.reads:
            if name in writers:
                edges[Edge(writers[name], at)] = None
        writers |= dict.fromkeys(box.writes, at)
    return tuple(edges)


def kind_of(op: str) -> Kind:
    """The kind of an op of any format, which gives its colour."""
    word = op.lower().replace("_", "").removeprefix("qlinear")
    if word.endswith("relu") or word.startswith("relu"):
        return "table"
    if word in _FUNCTIONS or any(table in word for table in _TABLES):
        return "table"
    return next((kind for part, kind in _WORDS if part in word), "other")


def _nodes(nodes: tuple[NodeRow, ...]) -> Iterator[Box]:
    at = 0
    while at < len(nodes):
        group = nodes[at : at + len(_GRN)]
        if _is_grn(nodes, at):
            yield _group(group)
            at += len(group)
        else:
            yield _box(nodes[at])
            at += 1


def _is_grn(nodes: tuple[NodeRow, ...], at: int) -> bool:
    """Whether the eleven nodes from ``at`` on are a GRN whose inner tensors nothing else reads."""
    group = nodes[at : at + len(_GRN)]
    if tuple(node.op for node in group) != _GRN or len(group[0].inputs) != 1:
        return False
    x, written = group[0].inputs[0], [node.output.name for node in group]
    reads = [set(node.inputs) for node in group]
    chain = [{written[i]} <= reads[i + 1] for i in range(len(group) - 1)]
    inner = set(written[:-1])
    outside = (*nodes[:at], *nodes[at + len(group) :])
    return all(chain) and reads[9] == {x, written[8]} and not any(inner & set(node.inputs) for node in outside)


def _box(node: NodeRow) -> Box:
    window = _TIMES.join(map(str, node.window)) if node.window else ""
    if node.stride and node.stride != (1, 1):
        high, wide = node.stride
        window += f" /{high}" if high == wide else f" /{high}{_TIMES}{wide}"
    return Box(
        f"node-{node.number}",
        kind_of(node.op),
        printable(node.op),
        " ".join(part for part in (window, printable(node.detail)) if part),
        printable(short_name(node.name)),
        picture_shape(node.output.shape),
        cost_text(node.macs, node.parameter_bytes),
        _hint(node),
        node.inputs,
        tuple(output.name for output in node.outputs),
        number=str(node.number),
    )


def _group(nodes: tuple[NodeRow, ...]) -> Box:
    name = _common([node.name for node in nodes]).rstrip(_ENDS)
    return Box(
        f"group-{nodes[0].number}",
        "norm",
        "GRN",
        f"{len(nodes)} nodes",
        printable(name),
        picture_shape(nodes[-1].output.shape),
        cost_text(sum(node.macs or 0 for node in nodes), sum(node.parameter_bytes or 0 for node in nodes)),
        "Global response norm",
        nodes[0].inputs,
        (nodes[-1].output.name,),
        tuple((node.number, part) for node, part in zip(nodes, _GRN_PARTS, strict=True)),
        f"{nodes[0].number}\N{EN DASH}{nodes[-1].number}",
    )


def _end(key: str, title: str, tensor: TensorRow, reads: tuple[str, ...] = (), writes: tuple[str, ...] = ()) -> Box:
    hint = f"{title} {printable(tensor.name)}: {picture_shape(tensor.shape)} {tensor.dtype}{_codes(tensor)}"
    return Box(
        key,
        "end",
        title,
        tensor.dtype,
        printable(short_name(tensor.name)),
        picture_shape(tensor.shape),
        "",
        hint,
        reads,
        writes,
    )


def _hint(node: NodeRow) -> str:
    lines = [f"{node.number} {node.name}", f"{node.op} {node.detail}".strip()]
    lines.append(f"output {picture_shape(node.output.shape)} {node.output.dtype}{_codes(node.output)}")
    if node.macs is not None:
        lines.append(f"{node.macs:,} MACs, {node.parameter_bytes:,} B of parameters")
    if node.call is not None:
        nodes = f"nodes {node.call.first} to {node.call.last}" if node.call.last > node.call.first else "this node"
        lines.append(f"kernel {node.call.kernel} runs {nodes}")
    return "; ".join(printable(line) for line in lines)


def _codes(tensor: TensorRow) -> str:
    return "" if tensor.scale is None else f", scale {tensor.scale:.4g}, zero point {tensor.zero_point}"


def picture_shape(shape: Shape) -> str:
    """``64 x 16 x 32`` with multiplication signs; a batch of one is left out."""
    if shape is None:
        return "shape unknown"
    inner = shape[1:] if len(shape) > 1 and shape[0] == 1 else shape
    return _TIMES.join("?" if size is None else str(size) for size in inner) or "scalar"


def cost_text(macs: int | None, n_bytes: int | None) -> str:
    """Short costs; empty for none."""
    parts = ["not counted"] if macs is None else [f"{amount(macs)} MAC"] if macs else []
    if n_bytes:
        parts.append(f"{amount(n_bytes)}B" if n_bytes >= 1000 else f"{n_bytes} B")
    return ", ".join(parts)


def amount(value: int) -> str:
    """Three digits and a unit: 2.95 M, 3.1 k, 7."""
    for factor, unit in ((1_000_000_000, " G"), (1_000_000, " M"), (1_000, " k")):
        if value >= factor:
            return f"{value / factor:.3g}{unit}"
    return str(value)


def block_names(boxes: Sequence[Box], segments: Sequence[Sequence[int]]) -> list[str]:
    """A name of the block for each box, empty for boxes of none.

    Args:
        segments: positions of the boxes between a fork and its join, each a block.
    """
    names = [""] * len(boxes)
    templates = set()
    for number, segment in enumerate(segments, start=1):
        prefix = _prefix([boxes[at].name for at in segment])
        if prefix:
            templates.add(re.sub(r"\d+", r"\\d+", re.escape(prefix)))
        else:
            prefix = f"block {number}"
        for at in segment:
            names[at] = prefix.rstrip(_ENDS)
    for at, box in enumerate(boxes):
        match = next((m for template in templates if (m := re.match(template, box.name))), None)
        if match and not names[at] and box.kind != "end":
            names[at] = match[0].rstrip(_ENDS)
    return names


def _prefix(names: Sequence[str]) -> str:
    """The common start of the names, up to the separator behind its last number, which is the block's.

    Names without a path do not count where others have one.
    """
    paths = [name for name in names if re.search(r"[./:]", name)]
    common = _common(paths or names)
    ends = [match.end() for match in re.finditer(r"\d[./_:;]", common)]
    return common[: ends[-1]] if ends else ""


def _common(names: Sequence[str]) -> str:
    """The characters with which all names start."""
    shortest, last = min(names), max(names)
    return shortest[
        : next((at for at, (a, b) in enumerate(zip(shortest, last, strict=False)) if a != b), len(shortest))
    ]


def overlap(a: range, b: range) -> bool:
    """Whether two ranges have a number in common; neither is empty."""
    return a.start < b.stop and b.start < a.stop
