"""Build the report's record from a graph and its measurements; cost and memory are computed here from the graph.

Refuses nothing that the types allow: without labelled clips, firmware or estimates those members are empty.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tinyscene.runtime.arrays import I64
from tinyscene.runtime.cost import RULES, Cost, graph_cost, verdicts
from tinyscene.runtime.graph import Graph
from tinyscene.runtime.plan import plan
from tinyscene.runtime.spec import Budget, FrontendSpec
from tinyscene.training.statistics import wilson_interval

from ..labelled.codes import LabelledCodes
from ..targets.ethos_u import Estimates
from ..verify.results import Verification
from .firmware_cost import FirmwareCost
from .records import AccuracyRow, CostTotal, Document, FrontEnd, LayerRow, Memory, Quality, Resident
from .sections import INT8, headline, verdict_lines

if TYPE_CHECKING:
    from tinyscene.training.evaluation.metrics import Metrics

    from ..quantise.quality import LayerQuality

Strings = npt.NDArray[np.str_]


@dataclass(frozen=True, eq=False)
class Measured:
    """The measurements of one graph.

    ``budget`` None sets no limits. The rows "float" and "int8" of ``accuracy`` are compared at the top. ``quality`` is
    matched to layers by tensor name; ``quality_data`` names the data it was measured on, or the reason why it was not.
    ``provenance`` is shown unchanged, in its order.
    """

    title: str
    graph: Graph
    verification: Verification
    labels: tuple[str, ...] = ()
    frontend: FrontendSpec | None = None
    budget: Budget | None = None
    estimates: Estimates = field(default_factory=Estimates)
    firmware: FirmwareCost = field(default_factory=FirmwareCost)
    accuracy: tuple[AccuracyRow, ...] = ()
    quality: tuple[LayerQuality, ...] = ()
    quality_data: str = ""
    provenance: dict[str, str] = field(default_factory=dict)


def document(measured: Measured) -> Document:
    """The record; the same measurements give the same record."""
    m, spec = measured, measured.frontend
    cost = graph_cost(m.graph, "dcase")
    limits = verdicts(cost, m.budget) if m.budget else ()
    lines = verdict_lines(m.verification, m.estimates, m.firmware, limits, m.accuracy)
    return Document(
        format=1,
        title=m.title,
        graph=m.graph.name,
        headline=headline(lines),
        lines=lines,
        labels=m.labels,
        front_end=FrontEnd(spec.name, spec.digest(), spec) if spec else None,
        verification=m.verification,
        estimates=m.estimates,
        accuracy=m.accuracy,
        firmware=m.firmware,
        cost=CostTotal(cost.source, cost.rule, RULES[cost.rule], cost.parameters, cost.n_bytes, cost.macs, limits),
        layers=layer_rows(m.graph, cost, m.quality),
        quality_data=m.quality_data,
        memory=memory(m.graph),
        provenance=m.provenance,
    )


def layer_rows(graph: Graph, cost: Cost, quality: tuple[LayerQuality, ...]) -> tuple[LayerRow, ...]:
    """The inputs and every node, with its cost and the quantisation error of its activation."""
    by_tensor = {q.name: Quality(q.sqnr_db, q.saturated_share, q.histogram) for q in quality}
    sources, op_of = [graph.tensors[name] for name in graph.inputs], graph.writers()
    rows = [LayerRow(0, t.name, op_of[t.name], t.shape[1:], 0, 0, 0, by_tensor.get(t.name)) for t in sources]
    for step, (node, layer) in enumerate(zip(graph.nodes, cost.layers, strict=True), start=1):
        op, shape = op_of[node.output], graph.out(node).shape[1:]
        quality_row = by_tensor.get(node.output)
        rows.append(LayerRow(step, node.name, op, shape, layer.parameters, layer.n_bytes, layer.macs, quality_row))
    return tuple(rows)


def memory(graph: Graph) -> Memory:
    """The arena as planned for layer-by-layer execution."""
    planned = plan(graph)
    op_of = graph.writers()
    residents = tuple(
        Resident(t.name, op_of[t.name], t.n_bytes, planned.offsets[t.name], t.first, t.last) for t in planned.lifetimes
    )
    return Memory(planned.arena_bytes, planned.floor_bytes, residents, tuple(planned.live_bytes()))


def row_of_metrics(name: str, metrics: Metrics) -> AccuracyRow:
    """The row of a model whose scores for every clip are known."""
    return AccuracyRow(
        name=name,
        clips=metrics.clips,
        accuracy=metrics.accuracy,
        interval=wilson_interval(round(metrics.accuracy * metrics.clips), metrics.clips),
        per_device=metrics.per_device,
        confusion=metrics.confusion,
        log_loss=metrics.log_loss,
    )


def rows_of_labelled(graph: Graph, labels: tuple[str, ...], labelled: LabelledCodes) -> tuple[AccuracyRow, ...]:
    """Rows of the integer graph (rule ``double``) and of the float network on labelled clips; none without labels."""
    if labelled.labels is None:
        return ()
    scores = labelled.oracle(graph, "double")
    predictions = scores.reshape(len(scores), -1).argmax(axis=1)
    return (
        _row_of_predictions(INT8, predictions, labelled.labels, labelled.devices, len(labels)),
        _row_of_predictions("float", labelled.float_labels, labelled.labels, labelled.devices, len(labels)),
    )


def _row_of_predictions(name: str, predictions: I64, expected: I64, clip_devices: Strings, count: int) -> AccuracyRow:
    """``predictions`` and ``expected`` label indices (clips,) below ``count``; ``clip_devices`` names (clips,)."""
    correct = predictions == expected
    confusion = np.zeros((count, count), np.int64)
    np.add.at(confusion, (expected, predictions), 1)
    return AccuracyRow(
        name=name,
        clips=len(correct),
        accuracy=float(correct.mean()),
        interval=wilson_interval(int(correct.sum()), len(correct)),
        per_device={str(d): float(correct[clip_devices == d].mean()) for d in np.unique(clip_devices)},
        confusion=tuple(tuple(int(n) for n in row) for row in confusion),
    )
