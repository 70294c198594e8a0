"""Inverted residuals of the DSP kernel set as one call: expand, depthwise, project, and the sum with the shortcut.

Only three rows of the expanded tensor exist at a time. Blocks whose inner ReLUs' zero point is not -128 are not
supported; their layers run one by one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import accumulate, product

from tinyscene.runtime import ops
from tinyscene.runtime.arrays import I64
from tinyscene.runtime.graph import Graph, Node
from tinyscene.runtime.plan import Lead

from ..emit.kernel_set import Fused
from ..emit.records import Fields, Layer, codes_of, is_plain, window_fields
from .dsp_constants import (
    GROUP,
    LOWEST_CODE,
    folded,
    integer,
    low_code,
    padded_bytes,
    planes,
    planes_bytes,
    pointwise,
    summed,
    tiles_bytes,
    weight_bytes,
)
from .dsp_rows import HEADER, columns_of, planes_lead, row_lead, with_leaner
from .patterns import ADD_INPUT, Residual, is_one_by_one, longest_residual

NO_PLANES: Fields = dict.fromkeys(("channels", "groups", "plane_bytes", "fill", "relu", "zero_point", "constants"), 0)
NARROWEST = 6  # pixels of a row; single layers have longer rows
OVERREAD_BYTES = 12  # behind planes, of a pair of outputs of which only one is used
NO_SUM: Fields = {"larger": 0}


def inverted_residual(graph: Graph, at: int) -> Fused | None:
    """The largest block that begins at node ``at``; None for one that is slower than its layers."""
    fused = narrow_inverted_residual(graph, at)
    window = fused.layer.fields["window"] if fused is not None else None
    return fused if isinstance(window, dict) and integer(window, "in_width") >= NARROWEST else None


def narrow_inverted_residual(graph: Graph, at: int) -> Fused | None:
    """The largest block that begins at node ``at``, of any width."""
    return longest_residual(graph, at, _layer)


@dataclass(frozen=True, eq=False)
class _Records:
    """The parts of a block's record."""

    window: Fields
    in_channels: int
    low: int
    expand: Fields
    project: Fields
    planes: Fields
    side_planes: Fields
    total: Fields  # the fields larger and, unless nothing is added, sum


def _layer(graph: Graph, block: Residual) -> Layer | None:
    records = _records(graph, block)
    if records is None:
        return None
    variants = sorted(product((1, 0), repeat=2), key=lambda kept: _rewidened_bytes(records, kept))
    lead = _lead(records, block.added)
    fastest, *leaner = [_assembled(records, block.added, lead, kept) for kept in variants]
    return with_leaner(fastest, *leaner)


def _rewidened_bytes(records: _Records, kept: tuple[int, ...]) -> int:
    """Bytes of weights that are widened again for every row, because their widened form is not kept."""
    rows = integer(records.window, "in_height"), integer(records.window, "out_height")
    sizes = weight_bytes(records.expand, True), weight_bytes(records.project, True)
    return sum(n * size for n, size, whole in zip(rows, sizes, kept, strict=True) if not whole)


def _lead(records: _Records, added: int) -> Lead:
    """A summand is read when its sum is written, at the same address or one row before."""
    window = records.window
    in_channels, channels = records.in_channels, integer(records.project, "channels")
    if added == ADD_INPUT:
        rows_apart = row_lead(window, in_channels, channels, list(range(integer(window, "out_height"))))
        return replace(rows_apart, in_place=True)
    return planes_lead(window, in_channels, channels)


def _assembled(records: _Records, added: int, lead: Lead, kept: tuple[int, ...]) -> Layer:
    """The call; ``kept``: whether the scratch memory has room for all widened weights of expand and of project."""
    window, expand, project, side = records.window, records.expand, records.project, records.side_planes
    in_width, out_width = integer(window, "in_width"), integer(window, "out_width")
    tiles = [(in_width, expand), (out_width, project), (out_width, side)]
    weights = [weight_bytes(record, bool(whole)) for record, whole in zip((expand, project), kept, strict=True)]
    if not any(kept):
        weights = [max(weights), 0]  # both use the same memory, one after the other
    sizes = {
        "planes": planes_bytes(records.planes),
        "tiles": max(tiles_bytes(width, integer(record, "groups")) for width, record in tiles),
        "expand": weights[0],
        "project": weights[1],
        "side_planes": planes_bytes(side),
        "padded": padded_bytes(project, out_width),
        "side_row": max(out_width * integer(side, "channels"), OVERREAD_BYTES) if integer(side, "channels") else 0,
    }
    ends = accumulate(size + -size % 16 for size in sizes.values())
    begins = dict(zip(sizes, (0, *ends), strict=False))
    scratch_bytes = max(begins[name] + size for name, size in sizes.items())
    if not any(kept):
        begins["project"] = begins["expand"]
    fields: Fields = {
        "window": window,
        "in_channels": records.in_channels,
        "low": records.low,
        "added": added,
        **{f"{name}_at": at for name, at in begins.items() if name != "planes"},
        "expand": expand | {"kept": kept[0]},
        "project": project | {"kept": kept[1]},
        "planes": records.planes,
        "side_planes": side,
        **records.total,
    }
    return Layer("ts_dsp_block", "TsDspBlock", fields, scratch_bytes, HEADER, lead=lead)


def _records(graph: Graph, block: Residual) -> _Records | None:
    """The parts of the record; None if the kernel does not support one of the layers."""
    if not (is_one_by_one(graph, block.expand) and is_one_by_one(graph, block.project)):
        return None
    window, side, total = _window(graph, block.depthwise), _side(graph, block), _total(graph, block)
    expand = folded(graph, block.expand, _by_channel(graph, block.expand), counted=True)
    middle = folded(graph, block.depthwise, _by_channel(graph, block.depthwise), counted=True, in_zero=0)
    project = folded(graph, block.project, _by_channel(graph, block.project), in_zero=0)
    if window is None or side is None or total is None or expand is None or middle is None or project is None:
        return None
    record = pointwise(project, 1)
    return _Records(
        window=window,
        in_channels=expand.weight.shape[1],
        low=low_code(graph, block.last),
        expand=pointwise(expand, 1),
        project=record,
        planes=planes(middle, columns_of(window), 0, integer(record, "groups")),
        side_planes=side,
        total=total,
    )


def _side(graph: Graph, block: Residual) -> Fields | None:
    """The side branch's depthwise convolution; None if it is not supported, such as with another window."""
    if block.side is None:
        return NO_PLANES
    window = _window(graph, block.side)
    constants = folded(graph, block.side, _by_channel(graph, block.side))
    if window is None or window != _window(graph, block.depthwise) or constants is None or constants.relu:
        return None
    x = graph.ins(block.side)[0]
    return planes(constants, columns_of(window), x.quant.zero_point, -(-x.shape[3] // GROUP))


def _total(graph: Graph, block: Residual) -> Fields | None:
    """The sum at the end."""
    if block.total is None:
        return NO_SUM
    product = graph.out(block.project)
    if low_code(graph, block.project) != LOWEST_CODE:
        return None
    other = graph.tensors[block.x] if block.side is None else graph.out(block.side)
    record = summed(product.quant, other.quant, graph.out(block.total).quant)
    return None if record is None else {"larger": record[0], "sum": record[1]}


def _window(graph: Graph, node: Node) -> Fields | None:
    """Window of a depthwise convolution; None if the kernel over planes does not support it."""
    assert isinstance(node.op, ops.DepthwiseConv2D)
    kernel = graph.ins(node)[1].shape[1:3]
    fits = kernel == (3, 3) and node.op.stride[1] <= 2 and is_plain(graph, node)
    return window_fields(graph, node, node.op, kernel) if fits else None


def _by_channel(graph: Graph, node: Node) -> I64:
    """Weights (output channels, taps)."""
    weight = codes_of(graph.ins(node)[1])
    depthwise = isinstance(node.op, ops.DepthwiseConv2D)
    return weight.reshape(-1, weight.shape[3]).T if depthwise else weight.reshape(len(weight), -1)
