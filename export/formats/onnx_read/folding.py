"""Fold ONNX nodes whose inputs are all constant: shape arithmetic, and weights that are rearranged.

onnx's reference evaluator computes them, for operators whose result is at most as large as their inputs, or whose size
is known before. Refuses results beyond :data:`LARGEST_ELEMENTS`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

LARGEST_ELEMENTS = 2**24
FOLDED = frozenset(
    [
        "Abs",
        "Add",
        "Cast",
        "Ceil",
        "Clip",
        "Concat",
        "Constant",
        "ConstantOfShape",
        "Div",
        "Equal",
        "Expand",
        "Floor",
        "Gather",
        "Identity",
        "Max",
        "Min",
        "Mod",
        "Mul",
        "Neg",
        "Pow",
        "Range",
        "Reciprocal",
        "ReduceProd",
        "Reshape",
        "Round",
        "Slice",
        "Sqrt",
        "Squeeze",
        "Sub",
        "Tile",
        "Transpose",
        "Unsqueeze",
        "Where",
    ]
)
Array = npt.NDArray[Any]


def folded(node: onnx.NodeProto, inputs: list[Array | None], opset: int) -> Array | None:
    """The output of a node with constant inputs (None: an optional one that is missing); None if it is not folded."""
    if node.op_type not in FOLDED or len(node.output) != 1 or _elements(node, inputs) > LARGEST_ELEMENTS:
        return None
    names = [f"input_{at}" if array is not None else "" for at, array in enumerate(inputs)]
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    del copy.input[:], copy.output[:]
    copy.input.extend(names)
    copy.output.append("output")
    given = {name: array for name, array in zip(names, inputs, strict=True) if array is not None}
    values = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in given.items()
    ]
    graph = helper.make_graph([copy], "folded", values, [onnx.ValueInfoProto(name="output")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    try:
        (output,) = ReferenceEvaluator(model).run(None, given)
    except Exception:  # whatever operator and input: it is then no constant, and its reader refuses it by name
        return None
    return np.asarray(output)


def _elements(node: onnx.NodeProto, inputs: list[Array | None]) -> int:
    """An upper bound of the output's elements."""
    given = [array for array in inputs if array is not None]
    total = sum(array.size for array in given)
    if node.op_type == "Constant":
        (attribute,) = node.attribute or (onnx.AttributeProto(),)
        return numpy_helper.to_array(attribute.t).size if attribute.HasField("t") else 1
    if node.op_type in ("ConstantOfShape", "Expand", "Tile", "Range"):
        sizes = given[-1].astype(np.float64) if given else np.ones(1)
        if node.op_type == "Range":
            start, limit, delta = (float(array) for array in given)
            return math.ceil(abs((limit - start) / delta)) + 1 if delta else LARGEST_ELEMENTS + 1
        bound = float(np.abs(sizes).prod()) * (total if node.op_type != "ConstantOfShape" else 1)
        return int(min(bound, 2.0**62))
    shapes = [array.shape for array in given]  # the others broadcast at most
    try:
        return max(total, math.prod(np.broadcast_shapes(*shapes)))
    except ValueError:
        return total
