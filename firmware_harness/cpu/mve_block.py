"""Inverted residuals for Helium as one call that needs little memory: four rows of the expanded tensor at a time.

Layer by layer is faster, because strips then run along the better of both axes. Returns None for blocks with a layer
that its own kernel does not support, for maps too narrow for whole patches along rows, and for a side branch with
another row stride than the block.
"""

from __future__ import annotations

from itertools import accumulate

from tinyscene.runtime import ops
from tinyscene.runtime.graph import Graph, Node
from tinyscene.runtime.plan import Lead

from ..emit.kernel_set import Fused
from ..emit.records import Fields, Layer
from .mve_elements import add
from .mve_products import PIXELS, conv2d, windows_bytes
from .mve_windows import HEADER, LANES, depthwise
from .patterns import ADD_INPUT, Residual, is_one_by_one, longest_residual

RING_ROWS = 4


def lean_block(graph: Graph, at: int) -> Fused | None:
    """The largest inverted residual that begins at node ``at``."""
    return longest_residual(graph, at, _layer)


def _layer(graph: Graph, block: Residual) -> Layer | None:
    parts = _parts(graph, block)
    if parts is None:
        return None
    (_, _, in_width, _), (_, _, width, channels) = graph.tensors[block.x].shape, graph.out(block.last).shape
    expanded = graph.out(block.expand).shape[3]
    rows = _rows_at_once(graph, block)
    summed_bytes = rows * width * channels
    sizes = {
        "ring": RING_ROWS * in_width * expanded,
        "middle": rows * width * expanded,
        "projected": summed_bytes if block.total else 0,
        "beside": summed_bytes if block.side else 0,
        "strip": _strip_bytes(parts["depthwise"]),
        "side_strip": _strip_bytes(parts["side"]) if block.side else 0,
        "windows": max(_windows_bytes(parts[name]) for name in ("expand", "project")),
    }
    ends = list(accumulate(-(-size // LANES) * LANES for size in sizes.values()))
    begins = dict(zip(sizes, (0, *ends[:-1]), strict=True))
    fields: Fields = {
        **parts,
        "rows": rows,
        "summed": block.added,
        "project_first": int(block.total is not None and block.total.inputs[0] == block.project.output),
        **{f"{name}_at": begin for name, begin in begins.items() if name != "ring"},
    }
    return Layer("ts_mve_block", "TsMveBlock", fields, ends[-1], HEADER, lead=_lead(graph, block))


def _parts(graph: Graph, block: Residual) -> Fields | None:
    """The records of the block's layers, with empty ones for absent layers; None if a layer is not supported."""
    if not (is_one_by_one(graph, block.expand) and is_one_by_one(graph, block.project)):
        return None
    layers = {
        "expand": conv2d(graph, block.expand),
        "project": conv2d(graph, block.project),
        "depthwise": depthwise(graph, block.depthwise, by_rows=True),
        "side": depthwise(graph, block.side, by_rows=True) if block.side else Layer("", "", {"channels": 0}),
        "sum": add(graph, block.total) if block.total else Layer("", "", {"size": 0}),
    }
    if block.side is not None and _stride_of_rows(block.side) != _stride_of_rows(block.depthwise):
        return None
    supported = {name: layer for name, layer in layers.items() if layer is not None}
    if len(supported) < len(layers) or {supported["expand"].kernel, supported["project"].kernel} != {"ts_mve_conv2d"}:
        return None
    return {name: layer.fields for name, layer in supported.items()}


def _stride_of_rows(node: Node) -> int:
    assert isinstance(node.op, ops.DepthwiseConv2D)
    return node.op.stride[0]


def _rows_of_strip(block: Residual) -> int:
    return 2 if _stride_of_rows(block.depthwise) == 1 else 1


def _rows_at_once(graph: Graph, block: Residual) -> int:
    """Rows projected together: the smallest number whose pixels are a multiple of the four computed side by side."""
    width = graph.out(block.depthwise).shape[2]
    return next(rows for rows in (1, 2, PIXELS) if rows >= _rows_of_strip(block) and rows * width % PIXELS == 0)


def _windows_bytes(fields: object) -> int:
    assert isinstance(fields, dict)
    return windows_bytes(fields)


def _strip_bytes(fields: object) -> int:
    assert isinstance(fields, dict)
    return 4 * LANES * int(fields["columns"])


def _lead(graph: Graph, block: Residual) -> Lead:
    """A row of the input is free once it has been expanded, and as a summand once the sum replaces it."""
    (_, in_height, in_width, in_channels) = graph.tensors[block.x].shape
    (_, height, width, channels) = graph.out(block.last).shape
    rows = _rows_at_once(graph, block)
    leads = [
        min(at + rows, height) * width * channels
        - min(_first_needed(block, at, rows), in_height) * in_width * in_channels
        for at in range(0, height, rows)
    ]
    return Lead(max(leads), in_place=block.added == ADD_INPUT)


def _first_needed(block: Residual, at: int, rows: int) -> int:
    """The first row of the input that is still needed when output rows from ``at`` on are written."""
    stride = _stride_of_rows(block.depthwise)
    if block.added == ADD_INPUT:
        return at
    if block.side is not None:
        return max(0, (at + rows) * stride - _top_pad(block.side))
    last_strip = at + rows - _rows_of_strip(block)
    return max(0, last_strip * stride - _top_pad(block.depthwise) + 2 + _rows_of_strip(block))


def _top_pad(node: Node) -> int:
    assert isinstance(node.op, ops.DepthwiseConv2D)
    return node.op.pads[0]
