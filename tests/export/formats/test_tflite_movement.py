"""TFLite operators that move elements, in files made elsewhere: read, and engines give the bytes of our graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tests.export.formats.tflite_models import Edge, Net
from tests.graphs import Builder, random_input
from tinyscene.export.formats.tflite_model import TfliteModel, tflite_model
from tinyscene.export.formats.tflite_write import to_tflite
from tinyscene.runtime import ops
from tinyscene.runtime.engines import LiteRTEngine, TFLMEngine
from tinyscene.runtime.errors import RuntimeFailure
from tinyscene.runtime.interpreter import run


def options(kind: str, **values: Any) -> Any:
    made = getattr(schema, f"{kind}OptionsT")()
    for name, value in values.items():
        setattr(made, name, value)
    return made


def read(net: Net, out: Edge) -> TfliteModel:
    return tflite_model(net.finish(out), "net.tflite")


def require_equal(model: TfliteModel) -> None:
    """LiteRT's default and reference kernels and TFLite Micro on the file, the interpreter on the graph."""
    codes = random_input(np.random.default_rng(0), model.graph, 3)
    expected = run(model.graph, codes)
    engines = [LiteRTEngine(model.graph, model.data), LiteRTEngine(model.graph, model.data, "reference")]
    for engine in (*engines, TFLMEngine(model.graph, model.data)):
        assert np.array_equal(engine.output_codes(codes), expected), engine.name


ORDERS = [((4, 6, 3), (0, 2, 1, 3)), ((4, 6, 3), (0, 3, 1, 2)), ((5, 7), (0, 2, 1)), ((2, 3, 4, 5), (0, 4, 2, 1, 3))]


@pytest.mark.needs_module("tflite_micro")
@pytest.mark.parametrize(("shape", "order"), ORDERS)
def test_transpose(shape: tuple[int, ...], order: tuple[int, ...]) -> None:
    net = Net(np.random.default_rng(0), shape)
    turned = tuple((1, *shape)[axis] for axis in order)
    model = read(net, net.view("TRANSPOSE", net.input, turned, order, options=options("Transpose")))
    assert model.graph.nodes[0].op == ops.Transpose(order)
    require_equal(model)


@pytest.mark.needs_module("tflite_micro")
def test_transpose_that_moves_the_batch() -> None:
    net = Net(np.random.default_rng(0), (1, 4, 3))
    model = read(net, net.view("TRANSPOSE", net.input, (1, 3, 4, 1), [1, 3, 2, 0], options=options("Transpose")))
    require_equal(model)


@pytest.mark.needs_module("tflite_micro")
def test_more_dimensions_than_an_engine_runs_are_refused_for_it_by_name() -> None:
    b = Builder(np.random.default_rng(0), "many_axes", (4, 6, 8))
    split = b.reshape(b.input, (1, 2, 2, 6, 4, 2))
    graph = b.graph(b.moved(ops.Transpose((0, 5, 1, 4, 2, 3)), split))
    data, codes = to_tflite(graph), random_input(np.random.default_rng(0), graph, 2)
    assert np.array_equal(LiteRTEngine(graph, data).output_codes(codes), run(graph, codes))
    refusal = r"engine tflm, operator 1 \(TRANSPOSE\) .*limit of dimensions.*most 5; got 6"
    with pytest.raises(RuntimeFailure, match=refusal):
        TFLMEngine(graph, data)
