"""Log-softmax of float32 kernels: the codes of LiteRT's default kernels are computed, those of every engine bounded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.differential.nets import ExtremeBuilder
from tests.graphs import LOG_PROBABILITY, random_input
from tinyscene.export.targets.table import TARGETS, Exposed, TargetRow
from tinyscene.export.verify.diagnose import ObservedOp
from tinyscene.export.verify.exceptions import EXCEPTIONS
from tinyscene.runtime import ops
from tinyscene.runtime.graph import Graph, Node, Quant, Tensor

F = np.float32


def observe(name: str, graph: Graph, codes: np.ndarray) -> ObservedOp:
    target = TARGETS[name]
    assert isinstance(target, TargetRow)
    engine = target.open(Exposed(graph))
    output = engine.outputs(codes)[graph.outputs[0]]
    return ObservedOp(graph, graph.nodes[0], (codes,), engine.rounding, output)


def float32_codes(observed: ObservedOp) -> np.ndarray:
    """What LiteRT's default kernel computes: a table of exponentials, summed from first to last."""
    x, scale, step = observed.arrays[0].astype(np.int64), F(observed.quant(0).scale[0]), F(LOG_PROBABILITY.scale[0])
    largest = x.max(axis=-1, keepdims=True)
    table = np.exp(-scale * np.arange(256, dtype=F))
    total = np.cumsum(table[largest - x], axis=-1, dtype=F)[..., -1:]
    result = scale / step * x.astype(F) - (scale * largest.astype(F) + np.log(total)) / step
    return observed.saturated(np.rint(result) + LOG_PROBABILITY.zero_point)


@pytest.mark.needs_module("ai_edge_litert", "onnxruntime")
@pytest.mark.parametrize("name", ["litert", "ort", "ort-int8", "pytorch"])
def test_every_code_is_a_rounding_of_a_float32_value(name):
    known, differing, exact = EXCEPTIONS[name, ops.LogSoftmax], 0, 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        far = Quant.per_tensor(rng.uniform(0.0625, 0.066), 0) if seed % 2 else None  # where the fixed point ends early
        b = ExtremeBuilder(rng, "log_softmax", tuple(rng.integers(1, 9, 3).tolist()), far)
        graph = b.graph(b.log_softmax(b.input))
        observed = observe(name, graph, random_input(rng, graph, 4))
        differing += not np.array_equal(observed.computed(), observed.output)
        assert known.covers(observed, observed.computed())
        moved = observed.output ^ np.int8(2)
        assert not known.covers(replace(observed, output=moved), observed.computed())
        exact += np.array_equal(float32_codes(observed), observed.output)
    assert differing > 0
    assert name != "litert" or exact >= 11  # of 12: the last bit of an exponential is the C library's


@pytest.mark.needs_module("ai_edge_litert", "tflite_micro")
def test_the_fixed_point_ends_at_a_distance_of_248_codes():
    """With an input scale of 1/16, TFLite Micro gives -128 from a distance of 249 on, where float32 gives -122."""
    x = Tensor("x", (1, 1, 1, 8), "int8", Quant.per_tensor(0.0625, 127))
    y = Tensor("y", x.shape, "int8", LOG_PROBABILITY)
    node = Node("log_softmax", ops.LogSoftmax(), ("x",), "y")
    graph = Graph("far", {"x": x, "y": y}, (node,), ("x",), ("y",)).check()
    codes = np.array([127, -121, -122, 0, 0, 0, 0, 0], np.int8).reshape(1, 1, 1, 8)
    default, micro = observe("litert", graph, codes), observe("tflm", graph, codes)
    assert micro.output.ravel()[:3].tolist() == [127, -121, -128]
    assert np.array_equal(micro.output, micro.computed())
    assert default.output.ravel()[:3].tolist() == [127, -121, -122]
    known = EXCEPTIONS["litert", ops.LogSoftmax]
    assert known.covers(default, micro.output)
    assert not known.covers(replace(default, output=micro.output), micro.output)
