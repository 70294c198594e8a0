"""Resizes, elements by their places and slopes of ONNX files: ONNX Runtime's answer to the file is the judge."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.export.formats.test_onnx_read import differences
from tinyscene.export.errors import ExportError
from tinyscene.export.formats.onnx_read import from_onnx

pytestmark = pytest.mark.needs_module("onnxruntime")
NEAREST = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
SIZES = ((1, 3, 8, 10), (1, 3, 7, 3), (1, 3, 4, 15))


def _file(node: str, inputs: list[str], constants: dict[str, np.ndarray], opset: int = 19, **attributes: Any) -> bytes:
    """A file of one operator between quantisers; ``x`` is float (1, 3, 4, 5)."""
    constants = {"scale": np.float32(0.05), "zero": np.int8(3), **constants}
    codes = ("scale", "zero")
    nodes = [
        helper.make_node("QuantizeLinear", ["x", *codes], ["x_q"]),
        helper.make_node("DequantizeLinear", ["x_q", *codes], ["x_d"]),
        helper.make_node(node, ["x_d", *inputs], ["r"], **attributes),
        helper.make_node("QuantizeLinear", ["r", *codes], ["r_q"]),
        helper.make_node("DequantizeLinear", ["r_q", *codes], ["y"]),
    ]
    ends = [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 3, 4, 5))]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * 4)]
    stored = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "made", ends, outputs, stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    return bytes(model.SerializeToString())


def _largest(data: bytes) -> int:
    return int(np.abs(differences(from_onnx(data), data, "int8", count=2)).max())


@pytest.mark.parametrize("grid", ["asymmetric", "half_pixel", "pytorch_half_pixel", "align_corners"])
def test_the_nearest_elements(grid: str) -> None:
    for size, nearest in itertools.product(SIZES, NEAREST):
        attributes = {"coordinate_transformation_mode": grid, "nearest_mode": nearest}
        data = _file("Resize", ["", "", "sizes"], {"sizes": np.array(size, np.int64)}, **attributes)
        assert _largest(data) == 0, (size, nearest)


@pytest.mark.parametrize("grid", ["asymmetric", "half_pixel", "align_corners"])
def test_weighted_elements(grid: str) -> None:
    constants = {"roi": np.zeros(0, np.float32), "scales": np.array([1, 1, 2, 2], np.float32)}
    for opset in (11, 13, 19):
        attributes = {"mode": "linear", "coordinate_transformation_mode": grid}
        data = _file("Resize", ["roi", "scales"], constants, opset, **attributes)
        assert _largest(data) <= 1, opset


@pytest.mark.parametrize("places", [[0, 0, 2], [3, 1, 0, 2], [1, 1, 1], [2, 1, 0], [0, 1, 3]])
def test_elements_by_their_places(places: list[int]) -> None:
    assert _largest(_file("Gather", ["places"], {"places": np.array(places, np.int64)}, axis=2)) == 0


def test_slopes_of_channels() -> None:
    slopes = np.array([0.1, -0.3, 0.7], np.float32).reshape(3, 1, 1)
    codes = {"slope_q": np.rint(slopes / 0.01).astype(np.int8), "slope_s": np.float32(0.01), "slope_z": np.int8(0)}
    data = _file("Identity", [], codes)
    model = onnx.load_from_string(data)
    nodes = model.graph.node
    nodes[2].CopyFrom(helper.make_node("PRelu", ["x_d", "slope"], ["r"]))
    nodes.insert(0, helper.make_node("DequantizeLinear", ["slope_q", "slope_s", "slope_z"], ["slope"]))
    assert _largest(bytes(model.SerializeToString())) <= 1


@pytest.mark.parametrize(
    ("attributes", "named"),
    [
        ({"mode": "cubic"}, "kind of resize"),
        ({"mode": "linear", "coordinate_transformation_mode": "tf_crop_and_resize"}, "places of a resize"),
        ({"keep_aspect_ratio_policy": "not_larger"}, "kind of resize"),
    ],
)
def test_other_resizes_are_refused(attributes: dict[str, Any], named: str) -> None:
    with pytest.raises(ExportError, match=named):
        from_onnx(_file("Resize", ["", "", "sizes"], {"sizes": np.array([1, 3, 8, 10], np.int64)}, **attributes))
