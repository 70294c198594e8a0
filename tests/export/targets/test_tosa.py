"""TOSA: every layer equals the rule `double`, except for differences whose cause is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.graphs import Builder, one_op, random_input, small_net
from tinyscene.export.verify.results import TargetResult
from tinyscene.export.verify.verify import verify
from tinyscene.runtime.arith import Rescale, conv_rescale, rescale_double, weight_rescale
from tinyscene.runtime.arrays import I8
from tinyscene.runtime.graph import Graph

pytestmark = pytest.mark.foreign("tosa")


def _verified(graph: Graph, codes: I8 | None = None) -> TargetResult:
    codes = random_input(np.random.default_rng(4), graph, 2) if codes is None else codes
    (result,) = verify(graph, codes, targets=["tosa"]).results
    return result


@pytest.mark.parametrize("grn", [False, True], ids=["plain", "grn"])
def test_every_layer_is_equal(grn: bool) -> None:
    result = _verified(small_net(np.random.default_rng(3), grn=grn))
    assert result.status == "equal", result.note
    assert result.comparison is not None
    assert result.comparison.bytes_compared > 10_000
    assert "converter 2026.2.0, reference model 2026.8.0" in result.note


def _matrix_product_at_near_ties() -> Graph:
    """A matrix product whose sums, its biases, are between the factors of TFLite and of the converter, near a tie."""
    b = Builder(np.random.default_rng(1), "near_ties", (1, 1, 8))
    graph, scale = b.graph(b.fully_connected(b.input, 12)), float(np.float32(1.7e-6))
    (node,) = graph.nodes
    source, weight, bias, out = (graph.tensors[name] for name in (*node.inputs, node.output))
    weight = replace(weight, data=np.zeros_like(weight.data), quant=replace(weight.quant, scale=(scale,)))
    bias_scale = (float(np.float32(source.quant.scale[0]) * np.float32(scale)),)
    both = [rescale(source.quant, weight.quant, out.quant) for rescale in (weight_rescale, conv_rescale)]
    ties = np.round((np.arange(-120, 120) + 0.5) / float(both[0].factor[0])).astype(np.int64)
    sums = (ties[:, None] + np.arange(-60, 61)).ravel()
    ours, converters = (_codes(sums, each) for each in both)
    chosen = sums[ours != converters][:12]
    assert len(chosen) == 12
    bias = replace(bias, data=chosen.astype(np.int32), quant=replace(bias.quant, scale=bias_scale))
    out = replace(out, quant=replace(out.quant, zero_point=0))
    tensors = {tensor.name: tensor for tensor in (weight, bias, out)}
    return replace(graph, tensors={**graph.tensors, **tensors}).check()


def _codes(sums: np.ndarray, rescale: Rescale) -> np.ndarray:
    return rescale_double(sums, rescale.multiplier, rescale.shift)


def test_factors_of_a_matrix_product_are_the_converter_s() -> None:
    """Why dense networks differ: TFLite multiplies two scales in float32, the converter in double."""
    result = _verified(_matrix_product_at_near_ties())
    assert result.status == "named exception", result
    assert result.comparison is not None
    assert (result.comparison.bytes_different, result.comparison.max_lsb) == (2 * 12, 1)
    assert "multiplies the scales of a matrix product in double" in result.comparison.exceptions[0]


@pytest.mark.parametrize(("kind", "seed", "reason"), [("reduce", 0, "each summand"), ("resize", 1, "weights")])
def test_other_known_differences(kind: str, seed: int, reason: str) -> None:
    result = _verified(one_op(np.random.default_rng(seed), kind))
    assert result.status == "named exception", result
    assert result.comparison is not None
    assert reason in result.comparison.exceptions[0]


@pytest.mark.parametrize(
    ("kind", "seed", "reason"),
    [
        ("table", 0, "subtracts the zero point"),
        ("extremum", 0, "another shape"),
        ("softmax", 0, "dialect 'tfl' is unknown"),
        ("resize", 2, "TFLite takes the element before a place, TOSA the nearest"),
    ],
)
def test_what_the_converter_changes_or_has_no_form_of_is_refused(kind: str, seed: int, reason: str) -> None:
    result = _verified(one_op(np.random.default_rng(seed), kind))
    assert result.status == "refused"
    assert reason in result.note
