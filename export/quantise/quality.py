"""Quantisation error per activation: the int8 network against the same network without rounding, on the same inputs.

A low SQNR inside a GRN may be harmless: squares of small values are lost next to large ones, and values that a ReLU
sets to zero share one code before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from tinyscene.runtime.arith import dequantise
from tinyscene.runtime.arrays import F32, F64, I8
from tinyscene.runtime.graph import Graph
from tinyscene.runtime.interpreter import run
from tinyscene.runtime.scores import has_scores

from .quantised_model import network_input
from .simulate import simulate

BINS = 32


@dataclass(frozen=True)
class LayerQuality:
    """Quantisation error of one activation relative to the float network.

    ``saturated_share`` counts both ends of the range, ``top_share`` the highest code alone: before a ReLU the lower end
    may be clipped on purpose. ``histogram``: share of the codes from -128 to 127 in each of ``BINS`` equal intervals.
    """

    name: str
    op: str
    sqnr_db: float
    saturated_share: float
    top_share: float = 0.0
    histogram: tuple[float, ...] = ()


def layer_quality(graph: Graph, codes: I8, reference: Mapping[str, F32]) -> tuple[LayerQuality, ...]:
    """Quality of each activation that ``reference`` (float, NHWC, by name) contains.

    Args:
        codes: network inputs int8 (n, ...).
    """
    trace: dict[str, I8] = {}
    run(graph, codes, trace=trace)
    rows = []
    names = graph.writers()
    for tensor in graph.activations():
        if tensor.name not in reference:
            continue
        exact, quantised = reference[tensor.name].astype(np.float64), trace[tensor.name]
        real = dequantise(quantised, tensor.quant).reshape(exact.shape)
        sqnr = sqnr_db(exact, real)
        top = quantised == 127
        either = top | (quantised == -128) & (tensor.quant.zero_point > -128)
        shares = float(either.mean()), float(top.mean())
        rows.append(LayerQuality(tensor.name, names[tensor.name], sqnr, *shares, _histogram(quantised)))
    return tuple(rows)


def _histogram(codes: I8) -> tuple[float, ...]:
    parts = (codes.astype(np.int64).ravel() + 128) * BINS // 256
    return tuple((np.bincount(parts, minlength=BINS) / codes.size).tolist())


def sqnr_db(exact: F32 | F64, quantised: F32 | F64) -> float:
    """Signal to quantisation noise ratio."""
    return _sqnr_db(exact, float(np.square(exact - quantised).sum()))


def _sqnr_db(exact: F32 | F64, error: float) -> float:
    """``error``: sum of squared differences from ``exact``."""
    return float(10 * np.log10(max(float(np.square(exact).sum()), 1e-30) / max(error, 1e-30)))


@dataclass(frozen=True)
class LayerCost:
    """Effect of the rounding of one activation on the outputs, measured by restoring that activation to float.

    ``error_share``: share of the squared error of the outputs that disappears; negative where errors cancel.
    ``agreement_gain``: share of the inputs for which the prediction becomes that of the float network; None for a
    network without predictions.
    """

    quality: LayerQuality
    error_share: float
    agreement_gain: float | None


@dataclass(frozen=True)
class Ranking:
    """The activations of a graph, those with the largest effect on the outputs first.

    ``agreement``: share of the inputs with the prediction of the float network; None where there are several outputs,
    or one that is not one row.
    """

    clips: int
    scores_sqnr_db: float
    agreement: float | None
    rows: tuple[LayerCost, ...]

    def advice(self) -> tuple[str, ...]:
        """What can be done about the largest errors, one sentence each."""
        return tuple(_advice(self))


def rank_layers(graph: Graph, inputs: F32, progress: Callable[[int, int], None] | None = None) -> Ranking:
    """Restore each activation to float alone, and measure the error of the outputs.

    Args:
        inputs: float32 (n, ...) of typical audio or other data; 32 are enough to rank the activations.
        progress: called with the number of activations done and their total.
    """
    names = [t.name for t in graph.activations()]
    reference = simulate(graph, inputs, names, shown=names)
    rows = layer_quality(graph, network_input(graph, inputs), reference)
    exact = _rows(graph, reference)
    predicts = has_scores(graph)

    def error_and_agreement(restored: tuple[str, ...]) -> tuple[float, float]:
        outputs = _rows(graph, simulate(graph, inputs, restored, shown=graph.outputs))
        agree = float(np.mean(outputs.argmax(axis=1) == exact.argmax(axis=1)))
        return float(np.square(outputs - exact).sum()), agree

    error, agreement = error_and_agreement(())
    costs = []
    for done, row in enumerate(rows, start=1):
        left, agree = error_and_agreement((row.name,))
        gain = agree - agreement if predicts else None
        costs.append(LayerCost(row, 1.0 - left / max(error, 1e-30), gain))
        if progress is not None:
            progress(done, len(rows))
    costs.sort(key=lambda cost: -cost.error_share)
    return Ranking(len(inputs), _sqnr_db(exact, error), agreement if predicts else None, tuple(costs))


def _rows(graph: Graph, activations: Mapping[str, F32]) -> F32:
    """All outputs, side by side."""
    return np.concatenate([activations[name].reshape(len(activations[name]), -1) for name in graph.outputs], axis=1)


ADVISED = 3  # activations, at most
HIGH_SATURATION = 0.01
HIGH_ERROR_SHARE = 0.1


def _advice(ranking: Ranking) -> Iterator[str]:
    """One sentence per activation, the largest error first."""
    for cost in ranking.rows[:ADVISED]:
        if cost.error_share < HIGH_ERROR_SHARE:
            break
        where = f"'{cost.quality.name}' ({cost.quality.op}) causes {cost.error_share:.0%} of the outputs' error"
        if cost.quality.op == "input":
            yield f"{where}: 8 bits limit the input; only quantisation-aware training (--qat) can reduce it"
        elif cost.quality.top_share > HIGH_SATURATION:
            yield f"{where}, and {cost.quality.top_share:.1%} of its values are clipped: calibrate on louder clips"
        else:
            yield f"{where}: its channels differ in range, or few codes are used; --qat can reduce it"
    if ranking.rows and ranking.rows[0].error_share < HIGH_ERROR_SHARE:
        yield "many activations contribute about equally: changing one range does not help, --qat can"
