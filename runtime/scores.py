"""Scores of a network's output: one number for each label, which together are 1.

An output whose codes run from 0 to 1, as those of Softmax and Logistic do, is a row of probabilities already and is
divided by its sum; any other is a row of logits, of which the softmax is taken.
"""

from __future__ import annotations

import numpy as np

from .arith import dequantise
from .arrays import F32, I8
from .graph import Graph, Quant

TOLERANCE = 0.01  # of the largest code's real value, so that the scales 1/255 and 1/256 both count


def has_scores(graph: Graph) -> bool:
    """Whether the output is one row of numbers."""
    outputs = [graph.tensors[name] for name in graph.results]
    return len(outputs) == 1 and outputs[0].n_bytes == outputs[0].shape[-1]


def labels_of(graph: Graph) -> tuple[str, ...]:
    """The graph's labels, or the numbers of the elements of its output; none of several outputs."""
    if len(graph.results) > 1:
        return ()
    return graph.labels or tuple(map(str, range(graph.tensors[graph.output].n_bytes)))


def are_probabilities(quant: Quant) -> bool:
    """Whether the codes run from 0 to 1."""
    return quant.zero_point == -128 and abs(255 * quant.scale[0] - 1) < TOLERANCE


def scores_of(graph: Graph, codes: I8) -> F32:
    """Scores float32 (n, labels) of output codes int8 (n, ...)."""
    quant = graph.tensors[graph.output].quant
    real = dequantise(codes, quant).reshape(len(codes), -1)
    if not are_probabilities(quant):
        return softmax(real)
    total = real.sum(axis=-1, keepdims=True)
    scores: F32 = np.where(total > 0, real / np.where(total > 0, total, 1), np.float32(1 / real.shape[1]))
    return scores.astype(np.float32)


def softmax(logits: F32) -> F32:
    """Softmax over the last axis, float32."""
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    scores: F32 = (powers / powers.sum(axis=-1, keepdims=True)).astype(np.float32)
    return scores
