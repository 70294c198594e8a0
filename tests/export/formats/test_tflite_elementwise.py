"""Elementwise operators of files made elsewhere: read as the engines compute them, or refused by name."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tests.export.formats.tflite_models import OPS, Net
from tests.graphs import random_input
from tinyscene.export.formats.tflite_read import from_tflite
from tinyscene.runtime.engines import LiteRTEngine, NumpyEngine, TFLMEngine
from tinyscene.runtime.graph import Graph


def require_equal(graph: Graph, data: bytes) -> None:
    """Every engine that runs the file computes the graph's codes."""
    codes = random_input(np.random.default_rng(1), graph, 3)
    for engine in (LiteRTEngine(graph, data), LiteRTEngine(graph, data, "reference"), TFLMEngine(graph, data)):
        expected = NumpyEngine(graph, engine.rounding).output_codes(codes)
        assert np.array_equal(engine.output_codes(codes), expected), engine.name


@pytest.mark.needs_module("tflite_micro")
@pytest.mark.parametrize("kind", ["ADD", "SUB", "MUL"])
def test_constant_operands_of_any_rank(kind: str) -> None:
    shapes = ((), (1,), (4,), (5, 1), (5, 5, 4), (1, 5, 1, 4))
    for seed, (shape, first) in enumerate(itertools.product(shapes, (False, True))):
        rng = np.random.default_rng(seed)
        net = Net(rng, (5, 5, 4))
        constant = net.constant(rng.integers(-128, 128, shape).astype(np.int8), 0.02)
        options = getattr(schema, f"{kind.title()}OptionsT")()
        options.potScaleInt16 = False
        inputs = [constant, net.input.index] if first else [net.input.index, constant]
        data = net.finish(net.apply(getattr(OPS, kind), inputs, net.out((1, 5, 5, 4)), options))
        require_equal(from_tflite(data), data)
