"""ONNX Runtime's own arithmetic of sums, differences and averages: every code of random ops, by both types of codes."""

from __future__ import annotations

import numpy as np
import pytest

from tests.graphs import one_op, random_input
from tinyscene.export.formats.onnx_write import to_onnx
from tinyscene.export.verify import ort_arithmetic
from tinyscene.export.verify.diagnose import ObservedOp
from tinyscene.runtime import ops
from tinyscene.runtime.engines import OrtEngine

EXACT = {
    "add": (ops.Add, ort_arithmetic.added),
    "sub": (ops.Sub, lambda observed, _: ort_arithmetic.subtracted(observed)),
    "squared_difference": (
        ops.SquaredDifference,
        lambda observed, _: ort_arithmetic.squared_difference(observed),
    ),
    "pool2d": (ops.Pool2D, ort_arithmetic.averaged),
}


@pytest.mark.needs_module("onnxruntime")
@pytest.mark.parametrize("kind", EXACT)
@pytest.mark.parametrize(("codes", "offset"), [("uint8", 128), ("int8", 0)])
def test_the_arithmetic_predicts_every_code(kind, codes, offset):
    op, compute = EXACT[kind]
    differing = wrong = 0
    for seed in range(60):
        graph = one_op(np.random.default_rng(seed), kind)
        inputs = random_input(np.random.default_rng(seed), graph, 8)
        shown = OrtEngine(graph, to_onnx(graph, expose_all=True, codes=codes), codes=codes).outputs(inputs)
        values = {name: tensor.data for name, tensor in graph.tensors.items()} | shown | {graph.input: inputs}
        node = next(node for node in graph.nodes if isinstance(node.op, op))
        if isinstance(node.op, ops.Pool2D) and node.op.kind == "max":
            continue
        observed = ObservedOp(graph, node, tuple(values[i] for i in node.inputs), "single", shown[node.output])
        differing += not np.array_equal(observed.computed(), observed.output)
        wrong += not np.array_equal(compute(observed, offset), observed.output)
    assert differing > wrong
    assert wrong <= 1  # for some shapes ONNX Runtime sums in another order
