"""What a name of an ONNX graph stands for while the graph is read.

ONNX writes a quantised network as float operators between QuantizeLinear and DequantizeLinear. A tensor of codes and
the real tensor that DequantizeLinear makes of it are one value here, :class:`Codes`; the result of a float operator has
no codes before a QuantizeLinear gives it scale and zero point, and is :class:`Pending` until then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from tinyscene.runtime.graph import Quant
from tinyscene.runtime.onnx_tensors import OnnxCodes
from tinyscene.runtime.ops import Shape

Order = tuple[int, ...]  # axis of the graph's tensor for each axis of the ONNX tensor
NHWC: Order = (0, 3, 1, 2)  # of an ONNX tensor with axes NCHW whose graph tensor has axes NHWC


@dataclass(frozen=True)
class Codes:
    """An activation: the graph's tensor of this name, with its axes in another order."""

    name: str
    order: Order


@dataclass(frozen=True, eq=False)
class Constant:
    """A constant that is not quantised: a shape, an axis, or real numbers."""

    values: npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class QuantConstant:
    """A quantised constant: codes less their zero point, and a scale for all of it or for each slice along ``axis``."""

    codes: npt.NDArray[np.int64]
    scale: npt.NDArray[np.float32]
    axis: int | None

    @property
    def real(self) -> npt.NDArray[np.float32]:
        """The real numbers, float32, as DequantizeLinear computes them."""
        shape = [1] * self.codes.ndim
        if self.axis is not None:
            shape[self.axis] = -1
        values: npt.NDArray[np.float32] = self.codes.astype(np.float32) * self.scale.reshape(shape)
        return values

    def moved(self, order: Order) -> QuantConstant:
        """With its axes in another order; ``order``: for each new axis the old one."""
        axis = None if self.axis is None else order.index(self.axis)
        return QuantConstant(self.codes.transpose(order), self.scale, axis)


Bias = npt.NDArray[np.float32]
Function = Callable[[npt.NDArray[Any]], npt.NDArray[Any]]  # of real numbers


@dataclass(frozen=True, eq=False)
class Pending:
    """The result of a float operator that is not quantised yet.

    Attributes:
        node: the ONNX node, and its number in the file.
        emit: appends the node for ``relu`` and output ``quant``; returns the graph's tensor.
        shape: of the graph's tensor.
        order: of its axes.
        fuses_relu: whether the op can end with a ReLU.
        relu: whether a ReLU follows; ``ceiling``: whether it ends at 6; ``clamped``: whether limits are in ``then``.
        channels_at: axis of the channels and number of axes in the file, of an op with weights, which takes a factor
            and a bias for each channel; None of others.
        factor: of the result, real values (channels,); ``bias`` is added behind it, before the ReLU.
        of: the codes that a result depends on, and its value for each of the 256, from code -128 on.
        natural: scale and zero point of a result that the file leaves in float, where the op has only one.
        then: what moves its elements before it is quantised, which is the same as afterwards.
    """

    node: tuple[onnx.NodeProto, int]
    emit: Callable[[Pending, bool, Quant], str]
    shape: Shape
    order: Order
    fuses_relu: bool = False
    relu: bool = False
    ceiling: bool = False
    clamped: bool = False
    channels_at: tuple[int, int] | None = None
    factor: Bias | None = None
    bias: Bias | None = None
    of: tuple[Codes, npt.NDArray[Any]] | None = None
    natural: Quant | None = None
    then: tuple[Callable[[Codes], Codes], ...] = field(default=())

    def followed_by(self, move: Callable[[Codes], Codes]) -> Pending:
        return replace(self, then=(*self.then, move), channels_at=None, of=None)

    def per_channel(self, real: npt.NDArray[Any]) -> Bias | None:
        """A constant as one number for each channel; None where it is not, or the op takes none behind a ReLU."""
        if self.channels_at is None or self.relu or self.ceiling or self.clamped:
            return None
        (axis, rank), channels = self.channels_at, self.shape[-1]
        shape = (1,) * (rank - real.ndim) + real.shape
        if len(shape) != rank or shape[axis] not in (1, channels) or real.size != shape[axis]:
            return None
        return np.broadcast_to(real.astype(np.float32).ravel(), channels)

    def plus(self, bias: Bias) -> Pending:
        return replace(self, bias=bias if self.bias is None else self.bias + bias)

    def times(self, factor: Bias) -> Pending:
        before = self.factor if self.factor is not None else np.ones_like(factor)
        return replace(self, factor=before * factor, bias=None if self.bias is None else self.bias * factor)


@dataclass(frozen=True)
class Indices:
    """Codes as integers, which index a table; those of ``uint8`` codes are 128 above the graph's."""

    codes: Codes
    dtype: str


Value = Codes | Constant | QuantConstant | Pending | Indices


@dataclass(frozen=True)
class Place:
    """An activation in the file: the tensor's name there, and the graph's axis for each of the file's."""

    name: str
    order: Order


@dataclass(frozen=True)
class Places:
    """By the graph's names: inputs and outputs in the order of both, and activations whose codes the file has.

    ``codes``: ``int8`` if any activation has them.
    """

    inputs: Mapping[str, Place]
    outputs: Mapping[str, Place]
    activations: Mapping[str, Place]
    codes: OnnxCodes
