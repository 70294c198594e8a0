"""Round weights to int8 for the least error of the layer's output, not of the weights themselves.

Columns are rounded one after the other; the error of each is compensated in the columns that follow, by the covariance
of the layer's inputs (Frantar et al., "GPTQ", 2023, after Hassibi and Stork, "Optimal brain surgeon", 1993). Several
scales per output channel are tried, and rounding to nearest as well: on the calibration clips the result is never worse
than rounding to nearest.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from tinyscene.runtime import ops

from .fake_quant import QuantConv, nearest_scale

_SHARES = (
    1.1,
    1.05,
    1.0,
    0.96,
    0.92,
    0.88,
    0.84,
    0.8,
    0.75,
    0.7,
)  # times the scale of nearest rounding
_DAMPING = 0.01  # of the mean input variance: directions without calibration data keep their weights
_PATCH_VALUES = 2**25
_LEVEL = 1e3  # times the variance: squares of means beyond it need float64
_ROUNDING = 1e-12  # of the squares


def covariance(layer: QuantConv, x: Tensor) -> Tensor:
    """Covariance float64 (groups, K, K) of the patches that ``layer`` reads in x (batch, channels, height, width).

    K is the number of taps of one output; there is one group, or one per channel.
    """
    x = layer.images(x)
    level, spread = x.mean(dim=(0, 2, 3)).square(), x.var(dim=(0, 2, 3), correction=0)
    if x.shape[2:] == (1, 1) or bool((level > _LEVEL * spread).any()):  # float32 leaves nothing of a small variance
        x = x.double()
    groups = layer.conv.groups
    taps = layer.conv.weight[0].numel()
    outputs = x.shape[2] * x.shape[3] // (layer.conv.stride[0] * layer.conv.stride[1])
    if layer.step.transposed is not None:
        outputs = math.prod(layer.step.transposed.size)
    per_clip = groups * taps * outputs
    every = max(1, -(-len(x) * per_clip // _PATCH_VALUES))
    count = 0
    products = torch.zeros(groups, taps, taps, dtype=torch.float64)
    total = torch.zeros(groups, taps, 1, dtype=torch.float64)
    for patches in _patches(layer, x[::every]):
        count += patches.shape[2]
        products += patches @ patches.transpose(1, 2)
        total += patches.sum(dim=2, keepdim=True)
    mean = total / count
    moments = products / count
    rest = _ROUNDING * torch.diag_embed(moments.diagonal(dim1=1, dim2=2))  # more than rounding errors leave
    return moments - mean @ mean.transpose(1, 2) + rest


def _patches(layer: QuantConv, x: Tensor, clips: int = 8) -> Iterator[Tensor]:
    """Patches (groups, K, positions), ``clips`` clips at a time."""
    top, left, bottom, right = layer.step.pads
    size, groups = layer.conv.kernel_size, layer.conv.groups
    for part in torch.split(x, clips):
        if layer.step.transposed is not None:
            columns = _transposed_columns(layer.step.transposed, part, (size[0], size[1]))
        else:
            padded = F.pad(part, (left, right, top, bottom))
            columns = F.unfold(padded, (size[0], size[1]), layer.conv.dilation, stride=layer.conv.stride)
        n, _, positions = columns.shape
        yield columns.view(n, groups, -1, positions).permute(1, 2, 0, 3).reshape(groups, -1, n * positions)


def _transposed_columns(op: ops.TransposeConv2D, x: Tensor, kernel: tuple[int, int]) -> Tensor:
    """What each output of a transposed convolution reads: (n, C * kH * kW, positions), zeros between the inputs."""
    n, channels, height, width = x.shape
    spread = x.new_zeros(n, channels, *((m - 1) * s + 1 for m, s in zip((height, width), op.stride, strict=True)))
    spread[:, :, :: op.stride[0], :: op.stride[1]] = x
    before = [k - 1 - crop for k, crop in zip(kernel, op.crop, strict=True)]
    after = [crop + m - have for crop, m, have in zip(op.crop, op.size, spread.shape[2:], strict=True)]
    columns = F.unfold(F.pad(spread, (before[1], after[1], before[0], after[0])), kernel)
    return columns.view(n, channels, kernel[0] * kernel[1], -1).flip(2).reshape(n, -1, columns.shape[2])


def compensated(weight: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Weight (O, I, kH, kW) on its grid, and the grid's scale (O,), for the least output error.

    ``inputs``: covariance of the layer's inputs (:func:`covariance`).
    """
    groups, taps, _ = inputs.shape
    rows = weight.detach().double().reshape(groups, -1, taps)  # (groups, outputs of the group, K)
    damping = _DAMPING * inputs.diagonal(dim1=1, dim2=2).mean(dim=1).clamp(min=1e-12)
    curvature = inputs + damping[:, None, None] * torch.eye(taps, dtype=torch.float64)
    base = nearest_scale(weight).double().reshape(groups, -1, 1)

    def error(candidate: Tensor) -> Tensor:
        difference = candidate - rows
        return ((difference @ inputs) * difference).sum(dim=2)

    best, scale = (rows / base).round().clamp(-127, 127) * base, base
    least = error(best)
    for share in _SHARES:
        trial_scale = base * share
        trial = _round_columns(rows, trial_scale, curvature)
        trial_error = error(trial)
        better = (trial_error < least)[:, :, None]
        best, scale = torch.where(better, trial, best), torch.where(better, trial_scale, scale)
        least = torch.minimum(trial_error, least)
    return best.reshape(weight.shape).float(), scale.reshape(-1).float()


def _round_columns(rows: Tensor, scale: Tensor, curvature: Tensor) -> Tensor:
    """Round (groups, O, K) column by column, the columns of largest variance first."""
    order = curvature.diagonal(dim1=1, dim2=2).argsort(dim=1, descending=True)  # (groups, K)
    taps = rows.shape[2]
    by_row, by_column = order[:, :, None].expand(-1, -1, taps), order[:, None, :].expand(-1, taps, -1)
    ordered = curvature.gather(1, by_row).gather(2, by_column)
    factor = torch.linalg.cholesky(torch.linalg.inv(ordered), upper=True)
    across = order[:, None, :].expand_as(rows)
    left = rows.gather(2, across)
    done = torch.empty_like(left)
    for k in range(taps):
        column = left[:, :, k : k + 1]
        done[:, :, k : k + 1] = (column / scale).round().clamp(-127, 127) * scale
        error = (column - done[:, :, k : k + 1]) / factor[:, None, k, k : k + 1]
        left[:, :, k:] -= error * factor[:, None, k, k:]
    return torch.empty_like(done).scatter_(2, across, done)
