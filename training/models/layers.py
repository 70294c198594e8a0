"""Layers of the networks beyond those of torch.nn, with explicit padding."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Padding = Literal["torch", "same"]
Pads = tuple[int, int, int, int]  # top, left, bottom, right


def pads_along(size: int, kernel: int, stride: int, padding: Padding) -> tuple[int, int]:
    """Zeros before and after one axis of ``size`` elements.

    ``torch`` puts (kernel - 1) // 2 on both sides; ``same`` is TFLite's SAME, which puts an odd zero after.
    """
    if padding == "torch":
        return (kernel - 1) // 2, (kernel - 1) // 2
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


class ConvPadded(nn.Conv2d):
    """Convolution over float (batch, channels, height, width) with ``torch`` or ``same`` padding, or a number of zeros
    on every side (CP-ResNet's stem has a 5x5 kernel but pads by one).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = False,
        padding: Padding | int = "torch",
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride=stride, groups=groups, bias=bias)
        self.placement: Padding | int = padding

    def pads(self, height: int, width: int) -> Pads:
        """Zeros (top, left, bottom, right) around an input of that size."""
        if isinstance(self.placement, int):
            return self.placement, self.placement, self.placement, self.placement
        top, bottom = pads_along(height, self.kernel_size[0], self.stride[0], self.placement)
        left, right = pads_along(width, self.kernel_size[1], self.stride[1], self.placement)
        return top, left, bottom, right

    def forward(self, x: Tensor) -> Tensor:
        top, left, bottom, right = self.pads(x.shape[2], x.shape[3])
        if (top, left) != (bottom, right):
            x, top, left = F.pad(x, (left, right, top, bottom)), 0, 0
        return F.conv2d(x, self.weight, self.bias, self.stride, (top, left), self.dilation, self.groups)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, placement={self.placement}"  # type: ignore[no-untyped-call]  # PyTorch


class AvgPool3x3(nn.Module):
    """3x3 mean that always divides by 9, padding included, with the two paddings of :class:`ConvPadded`."""

    def __init__(self, stride: int | tuple[int, int], padding: Padding = "torch") -> None:
        super().__init__()
        self.kernel_size = (3, 3)
        self.stride = (stride, stride) if isinstance(stride, int) else tuple(stride)
        self.placement: Padding = padding

    def pads(self, height: int, width: int) -> Pads:
        """Zeros (top, left, bottom, right) around an input of that size."""
        top, bottom = pads_along(height, 3, self.stride[0], self.placement)
        left, right = pads_along(width, 3, self.stride[1], self.placement)
        return top, left, bottom, right

    def forward(self, x: Tensor) -> Tensor:
        top, left, bottom, right = self.pads(x.shape[2], x.shape[3])
        return F.avg_pool2d(F.pad(x, (left, right, top, bottom)), 3, self.stride)

    def extra_repr(self) -> str:
        return f"stride={self.stride}, placement={self.placement}"


class GRN(nn.Module):
    """Global response normalisation with one gamma and one beta for all channels (2023 CP-Mobile).

    g_c is the Euclidean norm of channel c over (freq, time), n_c = g_c / (mean over channels of g + 1e-6);
    the result is gamma * x * n_c + beta + x. Both parameters start at 0, so that the initial layer is the identity.
    """

    def __init__(self) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1))
        self.beta = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        norm: Tensor = torch.linalg.vector_norm(x, dim=(2, 3), keepdim=True)  # (batch, channels, 1, 1)
        ratio = norm / (norm.mean(dim=1, keepdim=True) + 1e-6)
        y: Tensor = x * (1.0 + self.gamma * ratio) + self.beta
        return y
