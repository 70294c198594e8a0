"""Make the report's record from a graph and from what was measured of it; what follows from the graph is added here.

Refuses nothing that the types allow: without labelled clips, firmware or estimates the record says that there are none.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tinyscene.runtime import ops
from tinyscene.runtime.cost import RULES, Cost, graph_cost, verdicts
from tinyscene.runtime.graph import Graph
from tinyscene.runtime.plan import plan
from tinyscene.runtime.spec import Budget, FrontendSpec
from tinyscene.training.statistics import wilson_interval

from ..labelled.codes import LabelledCodes
from ..targets.ethos_u import Estimates
from ..verify.verify import Verification
from .firmware_cost import FirmwareCost
from .records import AccuracyRow, CostTotal, Document, FrontEnd, LayerRow, Memory, Quality, Resident
from .sections import INT8, headline, verdict_lines

if TYPE_CHECKING:
    from tinyscene.training.evaluation.metrics import Metrics

    from ..quantise.quality import LayerQuality


@dataclass(frozen=True, eq=False)
class Measured:
    """What was measured of one graph; costs and memory are worked out from ``graph``.

    ``budget`` None sets no limits. The rows "float" and "int8" of ``accuracy`` are the ones compared at the top.
    ``quality`` is matched to layers by tensor name; ``quality_data`` says on what it was measured, or why not.
    ``provenance`` is shown as it is, in its order.
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
    """The record; the same data give the same record."""
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
        front_end=FrontEnd(spec.name, spec.digest(), spec.to_json()) if spec else None,
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
    """The input and every node, with what it costs and what its activation lost to 8 bits."""
    by_tensor = {q.name: Quality(q.sqnr_db, q.saturated_share, q.histogram) for q in quality}
    source = graph.tensors[graph.input]
    rows = [LayerRow(0, source.name, "input", source.shape[1:], 0, 0, 0, by_tensor.get(source.name))]
    for step, (node, layer) in enumerate(zip(graph.nodes, cost.layers, strict=True), start=1):
        op, shape = ops.OPS[type(node.op)].name, graph.out(node).shape[1:]
        here = by_tensor.get(node.output)
        rows.append(LayerRow(step, node.name, op, shape, layer.parameters, layer.n_bytes, layer.macs, here))
    return tuple(rows)


def memory(graph: Graph) -> Memory:
    """The arena as planned for running layer by layer."""
    planned = plan(graph)
    op_of = {graph.input: "input", **{n.output: ops.OPS[type(n.op)].name for n in graph.nodes}}
    residents = tuple(
        Resident(t.name, op_of[t.name], t.n_bytes, planned.offsets[t.name], t.first, t.last) for t in planned.lifetimes
    )
    return Memory(planned.arena_bytes, planned.floor_bytes, residents, tuple(planned.live_bytes()))


def row_of_metrics(name: str, metrics: Metrics) -> AccuracyRow:
    """A model whose scores of every clip are known."""
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
    """The integer graph by the rule ``double`` and the float network, on labelled clips; nothing without labels."""
    if labelled.labels is None:
        return ()
    scores = labelled.oracle(graph, "double")
    answers = scores.reshape(len(scores), -1).argmax(axis=1)
    return (
        _row_of_answers(INT8, answers, labelled, len(labels)),
        _row_of_answers("float", labelled.float_labels, labelled, len(labels)),
    )


def _row_of_answers(name: str, answers: npt.NDArray[np.int64], labelled: LabelledCodes, count: int) -> AccuracyRow:
    right = answers == labelled.labels
    confusion = np.zeros((count, count), np.int64)
    np.add.at(confusion, (labelled.labels, answers), 1)
    return AccuracyRow(
        name=name,
        clips=len(right),
        accuracy=float(right.mean()),
        interval=wilson_interval(int(right.sum()), len(right)),
        per_device={str(d): float(right[labelled.devices == d].mean()) for d in np.unique(labelled.devices)},
        confusion=tuple(tuple(int(n) for n in row) for row in confusion),
    )
