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
    LOWEST_CODE,
    folded,
    integer,
    low_code,
    padded_bytes,
    planes,
    planes_bytes,
    pointwise,
    strip_bytes,
    strips,
    summed,
    tiles_bytes,
    weight_bytes,
)
from .dsp_rows import HEADER, ROWS, columns_of, gathered_lead, planes_lead, row_lead, with_leaner
from .patterns import ADD_INPUT, ADD_SIDE, Residual, is_one_by_one, longest_residual

NO_SIDE: Fields = dict.fromkeys(("channels", "rows", "pairs", "fill", "relu", "zero_point", "constants"), 0)
NARROWEST = 16  # pixels of an output row; single layers have longer rows
NO_SUM: Fields = {"larger": 0}


def inverted_residual(graph: Graph, at: int) -> Fused | None:
    """The largest block that begins at node ``at``; None for one that is slower than its layers."""
    fused = narrow_inverted_residual(graph, at)
    window = fused.layer.fields["window"] if fused is not None else None
    return fused if isinstance(window, dict) and integer(window, "out_width") >= NARROWEST else None


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
    side: Fields
    total: Fields  # the fields larger and, unless nothing is added, sum


def _layer(graph: Graph, block: Residual) -> Layer | None:
    records = _records(graph, block)
    if records is None:
        return None
    width = integer(records.window, "out_width")
    variants = sorted(product((1, 0), repeat=2), key=lambda kept: _rewidened_bytes(records, kept))
    lead = _lead(records, block.added)
    fastest, *leaner = [_assembled(records, block.added, lead, kept, width) for kept in variants]
    in_parts = _assembled(records, block.added, lead, variants[-1], _half(width))
    return with_leaner(fastest, *leaner, in_parts)


def _half(width: int) -> int:
    """Half of the pixels of a row, an even number."""
    return -(-width // 4) * 2


def _rewidened_bytes(records: _Records, kept: tuple[int, ...]) -> int:
    """Bytes of weights that are widened again for every row, because their widened form is not kept."""
    rows = integer(records.window, "in_height"), integer(records.window, "out_height")
    sizes = weight_bytes(records.expand, True), weight_bytes(records.project, True)
    return sum(n * size for n, size, whole in zip(rows, sizes, kept, strict=True) if not whole)


def _lead(records: _Records, added: int) -> Lead:
    """A summand that is the input is read when its sum is written, at the same address or one row before; the windows
    of a side branch are read before each row."""
    window = records.window
    in_channels, channels = records.in_channels, integer(records.project, "channels")
    if added == ADD_INPUT:
        rows_apart = row_lead(window, in_channels, channels, list(range(integer(window, "out_height"))))
        return replace(rows_apart, in_place=True)
    if added == ADD_SIDE:
        return gathered_lead(window, in_channels, channels)
    return planes_lead(window, in_channels, channels)


def _assembled(records: _Records, added: int, lead: Lead, kept: tuple[int, ...], part: int) -> Layer:
    """The call; ``kept``: whether the scratch memory has room for all widened weights of expand and of project.

    The row of the side branch is behind the tiles of ``part`` pixels, where the input's tiles no longer exist.
    """
    window, expand, project, side = records.window, records.expand, records.project, records.side
    in_width, out_width = integer(window, "in_width"), integer(window, "out_width")
    in_tiles, out_tiles = (
        tiles_bytes(n, integer(record, "groups")) for n, record in ((in_width, expand), (part, project))
    )
    weights = [weight_bytes(record, bool(whole)) for record, whole in zip((expand, project), kept, strict=True)]
    if not any(kept):
        weights = [max(weights), 0]  # both use the same memory, one after the other
    sizes = {
        "planes": planes_bytes(records.planes),
        "tiles": max(in_tiles, out_tiles + out_width * integer(side, "channels")),
        "expand": weights[0],
        "project": weights[1],
        "side_planes": strip_bytes(2 * integer(side, "pairs"), ROWS),
        "padded": padded_bytes(project, part),
    }
    ends = accumulate(size + -size % 16 for size in sizes.values())
    begins = dict(zip(sizes, (0, *ends), strict=False))
    scratch_bytes = max(begins[name] + size for name, size in sizes.items())
    if not any(kept):
        begins["project"] = begins["expand"]
    begins["side_row"] = begins["tiles"] + out_tiles
    fields: Fields = {
        "window": window,
        "in_channels": records.in_channels,
        "low": records.low,
        "added": added,
        "part": part,
        **{f"{name}_at": at for name, at in begins.items() if name != "planes"},
        "expand": expand | {"kept": kept[0]},
        "project": project | {"kept": kept[1]},
        "planes": records.planes,
        "side": side,
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
        planes=planes(middle, columns_of(window), integer(record, "groups")),
        side=side,
        total=total,
    )


def _side(graph: Graph, block: Residual) -> Fields | None:
    """The side branch's depthwise convolution; None if it is not supported, such as with another window."""
    if block.side is None:
        return NO_SIDE
    window = _window(graph, block.side)
    constants = folded(graph, block.side, _by_channel(graph, block.side))
    if window is None or window != _window(graph, block.depthwise) or constants is None or constants.relu:
        return None
    x = graph.ins(block.side)[0]
    return strips(constants, columns_of(window), x.quant.zero_point, 1)


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
