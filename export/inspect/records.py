"""What ``tinyscene inspect`` reads from a model: one frozen record, which the table, the picture and the JSON show.

Field names are the keys of the JSON document, which ``docs/inspect.md`` lists. A value that the model does not have, or
that no rule counts, is None: nothing is estimated. Names are as in the file:
table and picture escape them (:func:`tinyscene.runtime.terminal.printable`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Literal

from tinyscene.firmware_harness.emit.schedule import Optimise
from tinyscene.runtime.cost import Layer, Rule, count

from ..errors import ExportError

FORMAT: Literal[1] = 1
RULE: Rule = "dcase"

Shape = tuple[int | None, ...] | None  # a size that is not fixed, or a shape that the file does not have, is None


@dataclass(frozen=True)
class TensorRow:
    """An activation. ``scale`` and ``zero_point`` are None where the tensor is not quantised per tensor."""

    name: str
    shape: Shape
    dtype: str
    scale: float | None = None
    zero_point: int | None = None


@dataclass(frozen=True)
class WeightScales:
    """Scales of a quantised weight: how many, the smallest and the largest."""

    count: int
    smallest: float
    largest: float


@dataclass(frozen=True)
class KernelCall:
    """The call that runs a node in firmware: nodes ``first`` to ``last`` run as one.

    ``portable``: the kernel is the C99 one, which every CPU can run.
    """

    kernel: str
    first: int
    last: int
    portable: bool


@dataclass(frozen=True)
class NodeRow:
    """One operation. ``inputs`` are names of activations; constants are left out, their bytes are counted.

    ``window`` and ``stride`` are (height, width) of convolutions and pools; ``detail`` is what else distinguishes the
    operation, such as an activation function. ``parameters``, ``parameter_bytes`` and ``macs`` (per clip) follow the
    ``dcase`` rule; ``macs`` is None where no rule counts them, for the reason in ``not_counted``, and all three are
    where a shape is not fixed.
    """

    number: int  # from 1, in execution order
    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[TensorRow, ...]
    window: tuple[int, int] | None = None
    stride: tuple[int, int] | None = None
    detail: str = ""
    weight_scales: WeightScales | None = None
    parameters: int | None = None
    parameter_bytes: int | None = None
    macs: int | None = None
    not_counted: str = ""
    call: KernelCall | None = None

    @property
    def output(self) -> TensorRow:
        """The first output."""
        return self.outputs[0]


@dataclass(frozen=True)
class Firmware:
    """How the C firmware runs the graph: kernel set, mode, and the arena of that schedule in bytes."""

    cpu: str
    optimise: Optimise
    calls: int
    portable_calls: int
    arena_bytes: int


@dataclass(frozen=True)
class FrontEndRow:
    """The log-mel front end of a model that has one."""

    name: str
    sample_rate_hz: int
    clip_samples: int
    n_mels: int
    n_frames: int
    sha256: str


@dataclass(frozen=True)
class Inspection:
    """A model. Totals are sums over the nodes; those in ``uncounted`` (their numbers) are not in them.

    ``arena_bytes``: activations of the integer graph, run node by node; None for other models. ``notes`` state what a
    reader cannot see in the table, such as why a file does not become an integer graph.
    """

    format: Literal[1]
    model: str
    source: str
    rule: Rule
    inputs: tuple[TensorRow, ...]
    outputs: tuple[TensorRow, ...]
    nodes: tuple[NodeRow, ...]
    parameters: int
    parameter_bytes: int
    macs: int
    uncounted: tuple[int, ...]
    arena_bytes: int | None
    firmware: Firmware | None
    labels: tuple[str, ...]
    front_end: FrontEndRow | None
    notes: tuple[str, ...]

    def to_json(self) -> str:
        """The record as text; keys are the fields' names."""
        return json.dumps(asdict(self), indent=1, allow_nan=False) + "\n"


@dataclass(frozen=True)
class Listing:
    """The nodes of one model as a reader returns them, before totals are taken."""

    source: str
    inputs: tuple[TensorRow, ...]
    outputs: tuple[TensorRow, ...]
    nodes: tuple[NodeRow, ...]
    arena_bytes: int | None = None
    firmware: Firmware | None = None
    labels: tuple[str, ...] = ()
    front_end: FrontEndRow | None = None
    notes: tuple[str, ...] = ()

    def record(self, model: str) -> Inspection:
        """The listing of ``model`` with its totals."""
        uncounted = tuple(node.number for node in self.nodes if node.macs is None)
        return Inspection(
            format=FORMAT,
            model=model,
            source=self.source,
            rule=RULE,
            inputs=self.inputs,
            outputs=self.outputs,
            nodes=self.nodes,
            parameters=sum(node.parameters or 0 for node in self.nodes),
            parameter_bytes=sum(node.parameter_bytes or 0 for node in self.nodes),
            macs=sum(node.macs or 0 for node in self.nodes),
            uncounted=uncounted,
            arena_bytes=self.arena_bytes,
            firmware=self.firmware,
            labels=self.labels,
            front_end=self.front_end,
            notes=self.notes,
        )


@dataclass(frozen=True)
class Costs:
    """Costs of one node by :data:`RULE`, or why its MACs are not counted."""

    parameters: int | None = None
    parameter_bytes: int | None = None
    macs: int | None = None
    not_counted: str = ""


def costs_of(read: Callable[[], Layer], parameters_of: Callable[[], Layer] | None = None) -> Costs:
    """Costs of the layer that ``read`` returns; it raises ExportError where no rule counts the layer.

    ``parameters_of`` returns that layer then with its parameters alone.
    """
    try:
        (row,) = count([read()], RULE, source="").layers
    except ExportError as problem:
        if parameters_of is None or not problem.unsupported:
            return Costs(not_counted=problem.what)
        (row,) = count([parameters_of()], RULE, source="").layers
        return Costs(row.parameters, row.n_bytes, not_counted=problem.what)
    return Costs(row.parameters, row.n_bytes, row.macs)


def finite(value: float) -> float | None:
    """A scale as it can be shown; None for infinities and NaN, which a damaged file may hold."""
    return value if math.isfinite(value) else None


def weight_scales(scales: Iterable[float]) -> WeightScales | None:
    """Count and range of the scales; None where there are none or one is not finite."""
    values = [float(scale) for scale in scales]
    if not values or not all(map(math.isfinite, values)):
        return None
    return WeightScales(len(values), min(values), max(values))


def shape_text(shape: Shape) -> str:
    """``1x64x16x32``; a question mark for a size that is not fixed."""
    if shape is None:
        return "unknown"
    return "x".join("?" if size is None else str(size) for size in shape) or "scalar"
