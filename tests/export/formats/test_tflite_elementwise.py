"""Elementwise operators of files made elsewhere: read as the engines compute them, or refused by name."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tests.export.formats.tflite_models import OPS, TYPES, Net
from tests.graphs import random_input
from tinyscene.export.errors import ExportError
from tinyscene.export.formats.tflite_file import Int8File
from tinyscene.export.formats.tflite_read import from_tflite
from tinyscene.export.formats.tflite_rebuild import rebuilt
from tinyscene.runtime import ops
from tinyscene.runtime.engines import Engine, LiteRTEngine, NumpyEngine, TFLMEngine
from tinyscene.runtime.errors import RuntimeFailure
from tinyscene.runtime.graph import Graph


def engines(graph: Graph, data: bytes) -> Iterator[Engine]:
    """LiteRT, and those of the others that have the operator."""
    yield LiteRTEngine(graph, data)
    for opened in (lambda: LiteRTEngine(graph, data, "reference"), lambda: TFLMEngine(graph, data)):
        try:
            yield opened()
        except RuntimeFailure as limit:
            if not limit.unsupported:
                raise


def require_equal(graph: Graph, data: bytes) -> None:
    """Every engine that runs the file computes the graph's codes."""
    codes = random_input(np.random.default_rng(1), graph, 3)
    for engine in engines(graph, data):
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


@pytest.mark.needs_module("tflite_micro")
@pytest.mark.parametrize("kind", ["MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE"])
@pytest.mark.parametrize("shape", [(), (4,), (5, 1), (1, 5, 5, 4)])
def test_pairs_without_a_fused_activation(kind: str, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(len(shape))
    net = Net(rng, (5, 5, 4))
    constant = net.constant(rng.integers(-128, 128, shape).astype(np.int8), net.input.scale)
    squared = kind == "SQUARED_DIFFERENCE"
    net.tensors[constant].quantization.zeroPoint[:] = net.input.zero_point
    out = net.edge("out", (1, 5, 5, 4), 0.2, -128) if squared else net.out((1, 5, 5, 4), like=net.input)
    options = schema.SquaredDifferenceOptionsT() if squared else schema.MaximumMinimumOptionsT()
    data = net.finish(net.apply(getattr(OPS, kind), [net.input.index, constant], out, options))
    graph = from_tflite(data)
    assert len(graph.nodes) == 1
    require_equal(graph, rebuilt(Int8File(data, "file")))


def test_extremes_of_codes_of_other_scales_are_refused_by_name() -> None:
    net = Net(np.random.default_rng(0), (5, 5, 4))
    constant = net.constant(np.zeros(4, np.int8), 0.5)
    out = net.out((1, 5, 5, 4), like=net.input)
    data = net.finish(net.apply(OPS.MAXIMUM, [net.input.index, constant], out, schema.MaximumMinimumOptionsT()))
    with pytest.raises(ExportError, match=r"\(MAXIMUM\): not supported: output scale and zero point"):
        from_tflite(data)


@pytest.mark.needs_module("tflite_micro")
@pytest.mark.parametrize("shape", [(7,), (5, 5, 4), (2, 3, 5, 4)])
def test_l2_normalisation(shape: tuple[int, ...]) -> None:
    net = Net(np.random.default_rng(0), shape)
    options = schema.L2NormOptionsT()
    options.fusedActivationFunction = 0
    out = net.edge("out", (1, *shape), 1 / 128, 0)
    data = net.finish(net.apply(OPS.L2_NORMALIZATION, [net.input.index], out, options))
    graph = from_tflite(data)
    assert [node.op for node in graph.nodes] == [ops.L2Norm()]
    assert ("tflm" in [engine.name for engine in engines(graph, data)]) == (len(shape) <= 3)
    require_equal(graph, rebuilt(Int8File(data, "file")))


FUNCTIONS: dict[str, tuple[str, Any]] = {
    "HARD_SWISH": ("hard_swish", schema.HardSwishOptionsT),
    "LEAKY_RELU": ("leaky_relu", schema.LeakyReluOptionsT),
    "GELU": ("gelu", schema.GeluOptionsT),
    "EXP": ("exp", schema.ExpOptionsT),
    "ABS": ("abs", schema.AbsOptionsT),
    "ELU": ("elu", None),
    "RELU_0_TO_1": ("relu_0_to_1", None),
}


@pytest.mark.needs_module("tflite_micro")
@pytest.mark.parametrize("kind", FUNCTIONS)
def test_functions_of_one_element(kind: str) -> None:
    function, options_type = FUNCTIONS[kind]
    net = Net(np.random.default_rng(0), (5, 5, 4))
    options = options_type() if options_type else None
    if kind == "LEAKY_RELU":
        options.alpha = 0.3
    data = net.finish(net.apply(getattr(OPS, kind), [net.input.index], net.out((1, 5, 5, 4)), options))
    graph = from_tflite(data)
    alpha = float(np.float32(0.3)) if kind == "LEAKY_RELU" else 0.0
    assert [node.op for node in graph.nodes] == [ops.Lookup(function, alpha)]  # type: ignore[arg-type]
    require_equal(graph, rebuilt(Int8File(data, "file")))


@pytest.mark.needs_module("tflite_micro")
@pytest.mark.parametrize("shape", [(1,), (4,), (5, 5, 4), (1, 5, 1, 4)])
def test_factors_of_a_prelu_for_any_axes(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(len(shape))
    net = Net(rng, (5, 5, 4))
    alpha = net.constant(rng.integers(-128, 128, shape).astype(np.int8), 0.01)
    data = net.finish(net.apply(OPS.PRELU, [net.input.index, alpha], net.out((1, 5, 5, 4))))
    require_equal(from_tflite(data), rebuilt(Int8File(data, "file")))


def test_a_gather_that_is_no_table_is_refused() -> None:
    net = Net(np.random.default_rng(0), (5, 5, 4))
    table, index = net.constant(np.zeros(256, np.int8), 0.1), net.tensor("index", (1, 5, 5, 4), TYPES.INT32)
    net.operator(OPS.CAST, [net.input.index], index, schema.CastOptionsT())
    data = net.finish(net.apply(OPS.GATHER, [table, index], net.out((1, 5, 5, 4)), schema.GatherOptionsT()))
    with pytest.raises(ExportError, match=r"\(GATHER\): .* expected a constant of 256 codes"):
        from_tflite(data)
