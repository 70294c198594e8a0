"""The record on a terminal: one line per node, then totals, ends, labels, front end and notes.

The table fits the terminal, and 100 columns where output is piped: names are cut from the left, and columns that do not
fit are left out and named below. ``--wide`` shows every column at its full width. The general table of
:mod:`tinyscene.runtime.terminal` breaks no word, so that long names would leave no room for the other columns.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from rich.cells import cell_len

from tinyscene.firmware_harness.emit.kernel_set import PORTABLE
from tinyscene.runtime.printable import printable, short_name
from tinyscene.runtime.terminal import PIPED_WIDTH, end_of, say
from tinyscene.runtime.terminal import console as new_console

from .records import Inspection, NodeRow, TensorRow, shape_text

LEAST_NAME = 14  # characters of a node's name that must be visible before columns are left out
LONGEST_END = 40  # characters of the name of an input or output
MOST_REASONS = 5  # why nodes are not counted
LEFT_OUT_FIRST = ("zero", "scale", "kernel")


@dataclass(frozen=True)
class Column:
    """One column: heading and one text per node; ``width`` in terminal cells."""

    heading: str
    cells: tuple[str, ...]
    numeric: bool = False

    @cached_property
    def width(self) -> int:
        return max(map(cell_len, (self.heading, *self.cells)))


def print_inspection(model: Inspection, *, wide: bool = False) -> None:
    """Print the table and what belongs to it to standard output."""
    console = new_console()
    width = console.width if console.is_terminal else PIPED_WIDTH
    columns, left_out = (_columns(model, wide=True), []) if wide else fitted(_columns(model, wide=False), width)
    say(console, f"{model.model}: {model.source}")
    if model.nodes:
        say(console, _line(columns, [column.heading for column in columns]), style="bold")
        say(console, "\N{BOX DRAWINGS LIGHT HORIZONTAL}" * sum(column.width + 1 for column in columns))
        for cells in zip(*(column.cells for column in columns), strict=True):
            say(console, _line(columns, cells))
        say(console, "")
    lines = summary(model, wide=wide)
    if left_out:
        lines.append(("not shown", f"{', '.join(left_out)} (--wide shows every column)"))
    for label, text in lines:
        indented = textwrap.wrap(text, max(width - 12, 30), break_long_words=False) or [""]
        for at, line in enumerate(indented):
            say(console, f"{'' if at else label:<11} {line}")


def _line(columns: list[Column], cells: Sequence[str]) -> str:
    """Cells below each other, a space between columns; characters of two cells count as two."""
    padded = []
    for column, cell in zip(columns, cells, strict=True):
        space = " " * (column.width - cell_len(cell))
        padded.append(space + cell if column.numeric else cell + space)
    return " ".join(padded).rstrip()


def fitted(columns: list[Column], width: int) -> tuple[list[Column], list[str]]:
    """The columns that fit into ``width`` characters, the names cut to what is left, and the headings left out."""
    left_out: list[str] = []
    for word in ("", *LEFT_OUT_FIRST):
        dropped = [column for column in columns if word and column.heading.partition(" ")[0] == word]
        left_out += [column.heading for column in dropped]
        columns = [column for column in columns if column not in dropped]
        room = width - sum(column.width + 1 for column in columns if column.heading != "node")
        if room - 1 >= LEAST_NAME:
            break
    room = max(room - 1, LEAST_NAME)
    return [_cut(column, room) if column.heading == "node" else column for column in columns], left_out


def _cut(column: Column, room: int) -> Column:
    """Names by their ends, which differ where their beginnings are alike."""
    return Column(column.heading, tuple(end_of(name, room) for name in column.cells), column.numeric)


def _columns(model: Inspection, *, wide: bool) -> list[Column]:
    """Those that have a value for some node."""
    nodes = model.nodes
    writers = {output.name: str(node.number) for node in nodes for output in node.outputs}

    def column(heading: str, text: Callable[[NodeRow], str], *, numeric: bool = False) -> Column:
        return Column(heading, tuple(printable(text(node)) for node in nodes), numeric)

    scale = column("scale", lambda node: "" if node.output.scale is None else f"{node.output.scale:.4g}", numeric=True)
    zero = column("zero", lambda node: _count(node.output.zero_point), numeric=True)
    cpu = model.firmware.cpu if model.firmware else ""
    kernel = column(f"kernel ({cpu})", lambda node: _kernel(node, mark=cpu != PORTABLE.name))
    columns = [
        column("#", lambda node: str(node.number), numeric=True),
        column("node", lambda node: node.name if wide else short_name(node.name)),
        column("op", lambda node: node.op),
        column("output", lambda node: shape_text(node.output.shape)),
        *([column("type", lambda node: node.output.dtype)] if wide else []),
        *([scale, zero] if any(node.output.scale is not None for node in nodes) else []),
        column("MACs", lambda node: "?" if node.macs is None else _count(node.macs), numeric=True),
        column(
            "bytes", lambda node: "?" if node.parameter_bytes is None else _count(node.parameter_bytes), numeric=True
        ),
        *([kernel] if model.firmware else []),
    ]
    if wide:
        columns += [
            column("window", lambda node: _pair(node.window)),
            column("stride", lambda node: _pair(node.stride)),
            column("detail", lambda node: node.detail),
            column("reads", lambda node: ", ".join(writers.get(name, "input") for name in node.inputs)),
            column("parameters", lambda node: _count(node.parameters), numeric=True),
            column("weight scales", _weight_scales),
        ]
    return columns


def _count(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _pair(value: tuple[int, int] | None) -> str:
    return "" if value is None else f"{value[0]}x{value[1]}"


def _weight_scales(node: NodeRow) -> str:
    scales = node.weight_scales
    if scales is None:
        return ""
    return f"{scales.count}: {scales.smallest:.3g}" + (f" to {scales.largest:.3g}" if scales.count > 1 else "")


def _kernel(node: NodeRow, *, mark: bool) -> str:
    """The kernel on the first node of its call, a line down the others; ``mark``: a star for a portable one."""
    call = node.call
    if call is None:
        return ""
    if node.number == call.first:
        return call.kernel + ("*" if mark and call.portable else "")
    return " \N{BOX DRAWINGS LIGHT UP AND RIGHT}" if node.number == call.last else " \N{BOX DRAWINGS LIGHT VERTICAL}"


def summary(model: Inspection, *, wide: bool = False) -> list[tuple[str, str]]:
    """What follows the table: labels and texts; ``wide``: whole names of inputs and outputs."""
    nodes = f"{len(model.nodes)} node{'s' if len(model.nodes) != 1 else ''}"
    count = f"{nodes}, {model.parameters:,} parameters in {model.parameter_bytes:,} B, "
    count += f"{model.macs:,} MACs (rule {model.rule})"
    if model.uncounted:
        count += f" without {len(model.uncounted)} that {'are' if len(model.uncounted) > 1 else 'is'} not counted"
    lines = [("total", count)]
    if model.arena_bytes is not None:
        lines.append(("arena", f"{model.arena_bytes:,} B node by node"))
    if model.firmware is not None:
        f = model.firmware
        text = f"{f.calls} call{'s' if f.calls != 1 else ''} with {f.cpu} kernels (--optimise {f.optimise}), "
        text += f"arena {f.arena_bytes:,} B"
        if f.portable_calls and f.cpu != PORTABLE.name:
            slower = sum(node.macs or 0 for node in model.nodes if node.call is not None and node.call.portable)
            share = slower / max(1, model.macs)
            text += f"; {f.portable_calls} fall back to portable kernels (*), {share:.1%} of the MACs"
        lines.append(("firmware", text))
    lines += [("input", _tensor_text(tensor, wide)) for tensor in model.inputs]
    lines += [("output", _tensor_text(tensor, wide)) for tensor in model.outputs]
    if model.labels:
        lines.append(("labels", printable(", ".join(model.labels))))
    if model.front_end is not None:
        e = model.front_end
        text = f"{e.name}: {e.clip_samples:,} samples at {e.sample_rate_hz:,} Hz to {e.n_mels} mel bands x "
        lines.append(("front end", printable(f"{text}{e.n_frames} frames")))
    uncounted = [node for node in model.nodes if node.not_counted]
    reasons = [f"node {node.number} is not counted: {node.not_counted}" for node in uncounted[:MOST_REASONS]]
    if len(uncounted) > MOST_REASONS:
        reasons.append(f"{len(uncounted) - MOST_REASONS} more nodes are not counted (--json has every reason)")
    return [*lines, *(("note", printable(note)) for note in (*model.notes, *reasons))]


def _tensor_text(tensor: TensorRow, wide: bool) -> str:
    name = printable(tensor.name) if wide else end_of(short_name(tensor.name), LONGEST_END)
    codes = "" if tensor.scale is None else f", scale {tensor.scale:.6g}, zero point {tensor.zero_point}"
    return printable(f"{name} {shape_text(tensor.shape)} {tensor.dtype}{codes}")
