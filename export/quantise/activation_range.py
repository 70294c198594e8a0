"""The range of an activation, and rounding to its 256 codes, in calibration and training.

Refuses to round before the range is set.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from tinyscene.runtime.graph import Quant

from ..errors import ExportError

LEVELS = 255  # steps between the lowest and the highest code
SMALLEST_SCALE = 1e-8  # dead channels of trained networks reach 1e-40, and products of such values are 0 in float32


class Range(nn.Module):
    """The range of one activation, and rounding to its 256 codes. One code represents 0 exactly.

    ``low`` and ``high`` are set by calibration; training scales them by ``stretch``, the logarithms of two factors, so
    that one learning rate suits ranges of any size. ``fixed``: the only scale and zero point that the op's output can
    have. ``ceiling``: no code represents a larger value, so that saturation limits the activation. ``smallest_scale``:
    of those that the op's output can have.
    """

    low: Tensor
    high: Tensor

    def __init__(
        self,
        name: str,
        *,
        fixed: tuple[float, int] | None = None,
        ceiling: float | None = None,
        smallest_scale: float = SMALLEST_SCALE,
    ) -> None:
        super().__init__()
        self.name, self.fixed = name, fixed is not None
        self.ceiling = math.inf if ceiling is None else ceiling
        self.smallest_scale = smallest_scale
        self.rounding = True
        self.register_buffer("low", torch.tensor(float("nan")))
        self.register_buffer("high", torch.tensor(float("nan")))
        self.stretch = nn.Parameter(torch.zeros(2), requires_grad=fixed is None)
        if fixed is not None:
            scale, zero_point = fixed
            self.set((-128 - zero_point) * scale, (127 - zero_point) * scale)

    def set(self, low: float, high: float) -> None:
        """Set the range to [low, high], extended to contain 0; that of zeros alone gets a size that any op takes."""
        high = 1.0 if low == high == 0.0 else high
        self.low.fill_(min(low, 0.0))
        self.high.fill_(max(high, 0.0))
        with torch.no_grad():
            self.stretch.zero_()

    def forward(self, x: Tensor) -> Tensor:
        if not self.rounding:
            return x
        self.require_set()
        scale, zero_point = self.affine()
        if self.stretch.requires_grad and torch.is_grad_enabled():
            # The gradient of the scale sums over the whole tensor: dividing it by the root of the number of values
            # gives updates of the size of those of weights (Esser et al., "Learned step size quantization", 2020).
            gradient_factor = (x.numel() * 127) ** -0.5
            return torch._fake_quantize_learnable_per_tensor_affine(
                x, scale.reshape(1), zero_point.reshape(1), -128, 127, gradient_factor
            )
        return torch.fake_quantize_per_tensor_affine(x, scale, zero_point.to(torch.int32), -128, 127)

    def affine(self) -> tuple[Tensor, Tensor]:
        """Scale and zero point, both float32 0-d tensors with gradients; the zero point is integral."""
        low, high = self.low * self.stretch[0].exp(), self.high * self.stretch[1].exp()
        if self.ceiling < math.inf:
            high = high.clamp(max=self.ceiling)
        scale = ((high - low) / LEVELS).clamp(min=self.smallest_scale)
        exact = -128.0 - low / scale
        return scale, exact + (exact.round().clamp(-128, 127) - exact).detach()

    def require_set(self) -> None:
        """Raise ExportError if the range is not set."""
        if torch.isnan(self.low):
            raise ExportError(f"activation '{self.name}'", "has no range", next_step="calibrate the network first")

    def quant(self) -> Quant:
        """The range as scale and zero point of the graph; raises ExportError if it is not set."""
        self.require_set()
        with torch.no_grad():
            scale, zero_point = self.affine()
        return Quant.per_tensor(float(scale), int(zero_point))


def limited_relu(x: Tensor, ceiling: float | None) -> Tensor:
    """ReLU, with an upper limit if there is one."""
    return torch.relu(x) if ceiling is None else x.clamp(0.0, ceiling)
