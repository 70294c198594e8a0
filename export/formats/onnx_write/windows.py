"""ONNX operators: convolutions and pools, which slide a window over height and width."""

from __future__ import annotations

import numpy as np

from tinyscene.runtime import ops
from tinyscene.runtime.graph import Node

from .writer import Emitter, OnnxWriter


def _conv(w: OnnxWriter, node: Node) -> None:
    op, weight = node.op, w.graph.ins(node)[1].data
    assert isinstance(op, ops.Conv2D | ops.DepthwiseConv2D)
    assert weight is not None
    depthwise = isinstance(op, ops.DepthwiseConv2D)
    kernel = weight.transpose(3, 0, 1, 2) if depthwise else weight.transpose(0, 3, 1, 2)
    spread = {} if op.dilation == (1, 1) else {"dilations": op.dilation}
    real = w.emit(
        "Conv",
        [w.real(node, 0), *w.weight(node, np.ascontiguousarray(kernel))],
        f"{node.name}_real",
        kernel_shape=kernel.shape[2:],
        strides=op.stride,
        pads=op.pads,
        group=w.graph.ins(node)[0].shape[3] if isinstance(op, ops.DepthwiseConv2D) else op.groups,
        **spread,
    )
    w.result(node, real)


def _transposed(w: OnnxWriter, node: Node) -> None:
    """What is cropped at the end follows from the size; where the size is larger than all windows, it is padded."""
    op, (x, weight, _) = node.op, w.graph.ins(node)
    assert isinstance(op, ops.TransposeConv2D)
    assert weight.data is not None
    kernel = weight.shape[1:3]
    windows = [(n - 1) * s + k for n, s, k in zip(x.shape[1:3], op.stride, kernel, strict=True)]
    after = [n - crop - size for n, crop, size in zip(windows, op.crop, op.size, strict=True)]
    real = w.emit(
        "ConvTranspose",
        [w.real(node, 0), *w.weight(node, np.ascontiguousarray(weight.data.transpose(3, 0, 1, 2)), axis=1)],
        f"{node.name}_real",
        kernel_shape=kernel,
        strides=op.stride,
        pads=[*op.crop, *(max(n, 0) for n in after)],
        output_padding=[max(-n, 0) for n in after],
    )
    w.result(node, real)


def _pool2d(w: OnnxWriter, node: Node) -> None:
    """A maximum is computed on codes, an average on dequantised values."""
    op = node.op
    assert isinstance(op, ops.Pool2D)
    window = {"kernel_shape": op.kernel, "strides": op.stride, "pads": op.pads}
    if op.kind == "max":
        w.moved(node.output, "MaxPool", [w.codes(node.inputs[0])], w.codes(node.output), **window)
    else:
        w.result(node, w.emit("AveragePool", [w.real(node, 0)], f"{node.name}_real", **window))


ROWS: dict[type[ops.Op], Emitter] = {
    ops.Conv2D: _conv,
    ops.DepthwiseConv2D: _conv,
    ops.TransposeConv2D: _transposed,
    ops.Pool2D: _pool2d,
}
