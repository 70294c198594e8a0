"""Names and layouts of tensors in the ONNX files that are written from a graph.

The file takes and returns float32 in NCHW, so the graph's names belong to the float tensors there; the int8 or uint8
codes of inputs and outputs have the same names with ``CODES_SUFFIX``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from .arith import dequantise, quantise
from .arrays import F32, I8
from .graph import Graph
from .ops import Shape

CODES_SUFFIX = "_codes"
IN_NCHW = (0, 2, 3, 1)  # the place of each NHWC axis
OnnxCodes = Literal["uint8", "int8"]  # type of the activations; uint8 codes are the graph's plus 128


def codes_name(graph: Graph, name: str) -> str:
    """Name of the tensor of codes in the ONNX file for the graph's tensor ``name``."""
    return f"{name}{CODES_SUFFIX}" if name in (*graph.inputs, *graph.outputs) else name


def to_onnx_inputs(graph: Graph, codes: Mapping[str, I8]) -> dict[str, F32]:
    """Inputs of the ONNX file, float32 (batch, C, H, W) by name, for int8 codes (batch, H, W, C) by name; exact."""
    reals = {name: dequantise(array, graph.tensors[name].quant) for name, array in codes.items()}
    return {name: np.ascontiguousarray(np.moveaxis(x, 3, 1) if x.ndim == 4 else x) for name, x in reals.items()}


def from_onnx_outputs(graph: Graph, arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, I8]:
    """Codes by the graph's names and in its layout for outputs of the ONNX file: codes, or float32 scores."""
    duplicates = {codes_name(graph, name) for name in graph.outputs}
    return {name: _codes(graph, name, array) for name, array in arrays.items() if name not in duplicates}


def nchw(shape: Shape) -> Shape:
    """An NHWC shape as ONNX and Core ML have it; shapes of other ranks stay as they are."""
    return (shape[0], shape[3], shape[1], shape[2]) if len(shape) == 4 else shape


def nchw_axis(axis: int, rank: int) -> int:
    """The place of an NHWC axis in ONNX and Core ML; axes of other ranks stay where they are."""
    return IN_NCHW[axis] if rank == 4 else axis


def _codes(graph: Graph, name: str, array: npt.NDArray[Any]) -> I8:
    values = np.moveaxis(array, 1, 3) if array.ndim == 4 else array
    if values.dtype == np.uint8:
        return np.ascontiguousarray((values.astype(np.int16) - 128).astype(np.int8))
    if values.dtype == np.int8:
        return np.ascontiguousarray(values)
    return quantise(values, graph.tensors[name].quant)
