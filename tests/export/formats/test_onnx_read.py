"""ONNX files made elsewhere: ONNX Runtime's answer to the file itself is the judge."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.export.formats.onnx_networks import NETWORKS, float_onnx, quantised_onnx, run_onnx
from tests.graphs import random_input, small_net
from tinyscene.export.errors import ExportError
from tinyscene.export.formats.onnx_read import from_onnx
from tinyscene.export.formats.onnx_write import to_onnx
from tinyscene.runtime.arith import dequantise, quantise
from tinyscene.runtime.engines import NumpyEngine
from tinyscene.runtime.graph import Graph
from tinyscene.runtime.onnx_tensors import OnnxCodes

pytestmark = pytest.mark.needs_module("onnxruntime")
FORMS = {
    "uint8": {},
    "int8": {"activations": "QInt8"},
    "per tensor": {"per_channel": False},
    "symmetric": {"activations": "QInt8", "ActivationSymmetric": True},
    "operators of codes": {"form": "QOperator"},
}
# An average of codes is rounded half to even by ONNX Runtime, half away from zero by TFLite; codes of softmax that are
# not 1/256 apart are a table behind those that are. Further operators follow in these networks.
LARGEST_DIFFERENCE = {"resized": 1, "pools": 2, "softmax": 1, "attention": 2}
IN_EACH_RUN = {*itertools.product(NETWORKS, ["uint8"]), *itertools.product(["residual", "rows"], FORMS)}


def codes_of(form: str) -> OnnxCodes:
    return "int8" if FORMS[form].get("activations") == "QInt8" else "uint8"


def differences(graph: Graph, data: bytes, codes: OnnxCodes, count: int = 8) -> np.ndarray:
    """Codes of the graph's output less those of ONNX Runtime on the file."""
    inputs = random_input(np.random.default_rng(0), graph, count)
    real = dequantise(inputs, graph.tensors[graph.input].quant)
    real = np.ascontiguousarray(np.moveaxis(real, 3, 1) if real.ndim == 4 else real)
    shown = np.concatenate([run_onnx(data, each[None], codes) for each in real])
    shown = np.moveaxis(shown, 1, 3) if shown.ndim == 4 else shown
    expected = quantise(shown, graph.tensors[graph.output].quant)
    return NumpyEngine(graph, "single").output_codes(inputs).astype(int) - expected


@pytest.mark.parametrize(
    ("name", "form"),
    [
        pytest.param(*pair, marks=() if pair in IN_EACH_RUN else pytest.mark.slow)
        for pair in itertools.product(NETWORKS, FORMS)
        if pair != ("transposed", "operators of codes")  # which leave a transposed convolution in float
    ],
)
def test_a_quantised_network_answers_as_onnx_runtime_does(name, form):
    data = quantised_onnx(float_onnx(*NETWORKS[name]), **FORMS[form])
    graph = from_onnx(data)
    assert graph.input == "x"
    off = np.abs(differences(graph, data, codes_of(form)))
    assert off.max() <= LARGEST_DIFFERENCE.get(name, 0)


def test_files_of_our_own_are_read():
    graph = small_net(np.random.default_rng(0), grn=True)
    for codes in ("uint8", "int8"):
        read = from_onnx(to_onnx(graph, codes=codes))
        inputs = random_input(np.random.default_rng(1), graph, 4)
        expected = NumpyEngine(graph, "single").output_codes(inputs)
        assert np.array_equal(NumpyEngine(read, "single").output_codes(inputs), expected)


def _model(nodes, *, shape=(1, 4), constants=None, domain=""):
    """A file of these nodes from float ``x`` to ``y``."""
    initializers = [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, size)
        for name, size in (("x", shape), ("y", [None] * len(shape)))
    ]
    graph = helper.make_graph(nodes, "made", ends[:1], ends[1:], initializers)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


SCALE = {"scale": np.float32(0.1), "zero": np.int8(3)}


def _quantised(name):
    return [
        helper.make_node("QuantizeLinear", [name, "scale", "zero"], [f"{name}_q"]),
        helper.make_node("DequantizeLinear", [f"{name}_q", "scale", "zero"], [f"{name}_d"]),
    ]


def test_a_float_network_is_called_one():
    with pytest.raises(ExportError, match=r"a float network; expected .* codes.*quantize_static"):
        from_onnx(_model([helper.make_node("Relu", ["x"], ["y"])]))


def test_an_operator_without_a_reader_is_named_before_anything_else():
    nodes = [helper.make_node("Softmax", ["x"], ["s"]), helper.make_node("Det", ["s"], ["y"], name="last")]
    with pytest.raises(ExportError, match=r"operator 1 \(Det 'last'\): limit: Det is not supported"):
        from_onnx(_model(nodes, shape=(1, 2, 2)))


def test_an_activation_that_is_not_quantised_is_named():
    nodes = [*_quantised("x"), helper.make_node("Softmax", ["x_d"], ["t"]), helper.make_node("Exp", ["t"], ["e"])]
    nodes += [helper.make_node("QuantizeLinear", ["e", "scale", "zero"], ["e_q"])]
    nodes += [helper.make_node("DequantizeLinear", ["e_q", "scale", "zero"], ["y"])]
    with pytest.raises(ExportError, match=r"operator 3 \(Exp 'e'\): its input 't' is not quantised"):
        from_onnx(_model(nodes, constants=SCALE))


def test_a_size_that_varies_is_refused_and_a_batch_that_varies_is_one():
    nodes = [*_quantised("x"), helper.make_node("Identity", ["x_d"], ["y"])]
    with pytest.raises(ExportError, match=r"input 'x': its sizes are not fixed; expected only the batch may vary"):
        from_onnx(_model(nodes, shape=("batch", "time"), constants=SCALE))
    nodes[-1] = helper.make_node("Relu", ["x_d"], ["r"])
    nodes += [helper.make_node("QuantizeLinear", ["r", "scale", "zero"], ["r_q"])]
    nodes += [helper.make_node("DequantizeLinear", ["r_q", "scale", "zero"], ["y"])]
    assert from_onnx(_model(nodes, shape=("batch", 4), constants=SCALE)).tensors["x"].shape == (1, 4)


@pytest.mark.parametrize("dtype", [np.int16, np.uint16])
def test_other_codes_are_a_limit(dtype):
    nodes = [*_quantised("x"), helper.make_node("Identity", ["x_d"], ["y"])]
    data = _model(nodes, constants={"scale": np.float32(0.1), "zero": dtype(0)})
    model = onnx.load_from_string(data)
    model.opset_import[0].version = 21
    model.ir_version = 10
    with pytest.raises(ExportError, match=f"limit: type of the codes; expected int8 or uint8; got {np.dtype(dtype)}"):
        from_onnx(model.SerializeToString())


def test_a_constant_of_shape_that_would_fill_the_memory_is_not_folded():
    big = helper.make_node("ConstantOfShape", ["size"], ["big"])
    nodes = [*_quantised("x"), big, helper.make_node("Add", ["x_d", "big"], ["y"])]
    with pytest.raises(ExportError, match="limit: ConstantOfShape"):
        from_onnx(_model(nodes, constants={**SCALE, "size": np.array([1 << 20, 1 << 20], np.int64)}))
