"""The ONNX file: valid, float at its ends, fused by ONNX Runtime to integer kernels, scalars 0-d."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.graphs import random_input, small_net
from tinyscene.export.formats.onnx_write import to_onnx
from tinyscene.runtime import ops
from tinyscene.runtime.arith import dequantise
from tinyscene.runtime.engines import ORT_SESSION_CONFIG
from tinyscene.runtime.interpreter import run
from tinyscene.runtime.onnx_tensors import codes_name


@pytest.mark.parametrize("grn", [False, True])
def test_float_in_float_out_equals_the_graph(grn: bool) -> None:
    import onnxruntime

    graph = small_net(np.random.default_rng(2), grn=grn)
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry(ORT_SESSION_CONFIG["uint8"], "1")
    session = onnxruntime.InferenceSession(to_onnx(graph), options, providers=["CPUExecutionProvider"])
    x = random_input(np.random.default_rng(0), graph, 1)
    real = dequantise(x, graph.tensors[graph.input].quant).transpose(0, 3, 1, 2)
    (got,) = session.run(None, {graph.input: real})
    out = graph.tensors[graph.output].quant
    expected = dequantise(run(graph, x, rounding="single"), out)
    # Sums and products of ONNX Runtime may differ by one code at near-ties: EXCEPTIONS of op_comparison.py
    assert np.abs(got - expected).max() <= 2.01 * out.scale[0]


def test_onnx_runtime_fuses_every_convolution(tmp_path: Path) -> None:
    import onnxruntime

    graph = small_net(np.random.default_rng(2), grn=False)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(to_onnx(graph), options, providers=["CPUExecutionProvider"])
    kinds = Counter(node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node)
    assert kinds["QLinearConv"] == sum("conv" in type(n.op).__name__.lower() for n in graph.nodes)
    assert kinds["Conv"] == kinds["FusedConv"] == 0


def test_activation_scales_stay_scalars_and_codes_are_unsigned() -> None:
    graph = small_net(np.random.default_rng(2), grn=True)
    model = onnx.load_from_string(to_onnx(graph))
    values = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    for tensor in graph.activations():
        assert values[f"{tensor.name}_scale"].shape == ()
        zero_point = values[f"{tensor.name}_zero_point"]
        assert zero_point.dtype == np.uint8
        assert int(zero_point) == tensor.quant.zero_point + 128


def test_every_activation_can_be_shown() -> None:
    graph = small_net(np.random.default_rng(2), grn=True)
    model = onnx.load_from_string(to_onnx(graph, expose_all=True))
    names = [output.name for output in model.graph.output]
    shown = [codes_name(graph, n.output) for n in graph.nodes]
    assert names == [graph.output, *shown]


def test_a_weight_of_two_layers_is_dequantised_for_each() -> None:
    """ONNX refused the file, because both layers wrote one name."""
    graph = small_net(np.random.default_rng(0), grn=False)
    node = next(node for node in graph.nodes if ops.is_conv(node.op))
    tensors = {**graph.tensors, "twin_out": replace(graph.out(node), name="twin_out")}
    nodes = (*graph.nodes, replace(node, name="twin", output="twin_out"))
    shared = replace(graph, tensors=tensors, nodes=nodes).check()
    kinds = Counter(each.op_type for each in onnx.load_from_string(to_onnx(shared)).graph.node)
    assert kinds["Conv"] == sum(ops.is_conv(each.op) for each in nodes)
