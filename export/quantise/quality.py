"""What 8 bits cost, activation by activation, against the same network without rounding, on the same clips.

A low figure inside a GRN need not hurt: small squares vanish beside large ones, and what a ReLU cuts a moment later is
not kept apart before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from tinyscene.runtime import ops
from tinyscene.runtime.arith import dequantise
from tinyscene.runtime.arrays import F32, I8
from tinyscene.runtime.graph import Graph
from tinyscene.runtime.interpreter import run

from .export import network_input
from .simulate import simulate

BINS = 32


@dataclass(frozen=True)
class LayerQuality:
    """How much an activation lost to its 8 bits, against the float network.

    ``saturated_share`` counts both ends, ``top_share`` the highest code alone: the lower end may be cut on purpose,
    where a ReLU follows. ``histogram`` has the share of the codes from -128 to 127 in each of ``BINS`` equal parts.
    """

    name: str
    op: str
    sqnr_db: float
    saturated_share: float
    top_share: float = 0.0
    histogram: tuple[float, ...] = ()


def layer_quality(graph: Graph, codes: I8, reference: Mapping[str, np.ndarray]) -> tuple[LayerQuality, ...]:
    """What became of each activation that ``reference`` (float, NHWC) has too."""
    trace: dict[str, I8] = {}
    run(graph, codes, trace=trace)
    rows = []
    names = {graph.input: "input", **{n.output: ops.OPS[type(n.op)].name for n in graph.nodes}}
    for tensor in graph.activations():
        if tensor.name not in reference:
            continue
        wanted = reference[tensor.name].astype(np.float64)
        got = dequantise(trace[tensor.name], tensor.quant).reshape(wanted.shape)
        sqnr_db = _sqnr_db(wanted, float(np.square(wanted - got).sum()))
        found = trace[tensor.name]
        top = found == 127
        edge = top | (found == -128) & (tensor.quant.zero_point > -128)
        cut = float(edge.mean()), float(top.mean())
        rows.append(LayerQuality(tensor.name, names[tensor.name], sqnr_db, *cut, _histogram(found)))
    return tuple(rows)


def _histogram(codes: I8) -> tuple[float, ...]:
    parts = (codes.astype(np.int64).ravel() + 128) * BINS // 256
    return tuple((np.bincount(parts, minlength=BINS) / codes.size).tolist())


def _sqnr_db(wanted: np.ndarray, error: float) -> float:
    """``error``: the sum of squares of what is not as wanted."""
    return float(10 * np.log10(max(float(np.square(wanted).sum()), 1e-30) / max(error, 1e-30)))


@dataclass(frozen=True)
class LayerCost:
    """What rounding one activation costs the answer: found by restoring it to float, alone.

    ``error_share``: of the squared error of the scores, what goes away; it may be negative where errors cancel.
    ``agreement_gain``: of the clips, how many more answer as float does.
    """

    quality: LayerQuality
    error_share: float
    agreement_gain: float


@dataclass(frozen=True)
class Ranking:
    """A graph's 8 bits judged whole: the costliest activations first, and what one would do about them."""

    clips: int
    scores_sqnr_db: float
    agreement: float
    rows: tuple[LayerCost, ...]

    def advice(self) -> tuple[str, ...]:
        return tuple(_advice(self))


def rank_layers(graph: Graph, log_mels: F32, progress: Callable[[int, int], None] | None = None) -> Ranking:
    """Restore each activation to float alone, and see what the scores gain.

    Args:
        log_mels: float32 (n, mel, time), of the kind the model will hear; 32 clips tell the order.
    """
    names = [t.name for t in graph.activations()]
    reference = simulate(graph, log_mels, names, shown=names)
    rows = layer_quality(graph, network_input(graph, log_mels), reference)
    wanted = reference[graph.output]

    def judged(restored: tuple[str, ...]) -> tuple[float, float]:
        scores = simulate(graph, log_mels, restored, shown=(graph.output,))[graph.output]
        agree = float(np.mean(scores.argmax(axis=1) == wanted.argmax(axis=1)))
        return float(np.square(scores - wanted).sum()), agree

    error, agreement = judged(())
    costs = []
    for done, row in enumerate(rows, start=1):
        left, agree = judged((row.name,))
        costs.append(LayerCost(row, 1.0 - left / max(error, 1e-30), agree - agreement))
        if progress is not None:
            progress(done, len(rows))
    costs.sort(key=lambda cost: -cost.error_share)
    return Ranking(len(log_mels), _sqnr_db(wanted, error), agreement, tuple(costs))


ADVISED = 3  # activations, at most
SATURATION_WORTH_A_LOOK = 0.01
SHARE_WORTH_A_LOOK = 0.1


def _advice(ranking: Ranking) -> Iterator[str]:
    """In words, the most useful first."""
    for cost in ranking.rows[:ADVISED]:
        if cost.error_share < SHARE_WORTH_A_LOOK:
            break
        where = f"'{cost.quality.name}' ({cost.quality.op}) makes {cost.error_share:.0%} of the scores' error"
        if cost.quality.op == "input":
            yield f"{where}: the input's 8 bits are the limit; only training with them in place (--qat) helps"
        elif cost.quality.top_share > SATURATION_WORTH_A_LOOK:
            yield f"{where}, and {cost.quality.top_share:.1%} of it is cut off: calibrate on louder clips"
        else:
            yield f"{where}: its channels differ in reach, or few codes are used; --qat can shift it"
    if ranking.rows and ranking.rows[0].error_share < SHARE_WORTH_A_LOOK:
        yield "the error comes from many activations alike: no single range is to blame, --qat is the way on"
