"""Weights to int8 so that the layer's output error, not the weights' own, is small.

Columns are rounded one after the other; the error of each is passed on to those not yet rounded, by the covariance of
the layer's inputs (Frantar et al., "GPTQ", 2023, after Hassibi and Stork, "Optimal brain surgeon", 1993). Before that
the float weights are fitted to the inputs as the rounded layers before deliver them. Several scales per output channel
are tried, and rounding to nearest too: the result is never worse than that on the clips it saw.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from .quantnet import QuantConv, nearest_scale

_SHARES = (1.1, 1.05, 1.0, 0.96, 0.92, 0.88, 0.84, 0.8, 0.75, 0.7)  # of the scale that just holds the largest weight
_DAMPING = 0.01  # of the mean input variance: what calibration clips say nothing about stays as it is
_PATCH_VALUES = 2**25


@dataclass(frozen=True)
class Moments:
    """Covariances of input patches, float64 (groups, K, K), K taps per output; one group, or one per channel."""

    rounded: Tensor
    cross: Tensor  # of the exact patches (rows) with the rounded ones (columns)


def moments(layer: QuantConv, exact: Tensor, rounded: Tensor) -> Moments:
    """Moments of what ``layer`` meets in its exact and its rounded input (batch, channels, height, width)."""
    groups = layer.conv.groups
    taps = layer.conv.weight[0].numel()
    per_clip = groups * taps * exact.shape[2] * exact.shape[3]
    every = max(1, -(-len(exact) * per_clip // _PATCH_VALUES))
    count = 0
    sums = [torch.zeros(groups, taps, taps, dtype=torch.float64) for _ in range(2)]
    means = [torch.zeros(groups, taps, dtype=torch.float64) for _ in range(2)]
    for a, b in zip(_patches(layer, exact[::every]), _patches(layer, rounded[::every]), strict=True):
        count += a.shape[2]
        sums[0] += b @ b.transpose(1, 2)
        sums[1] += a @ b.transpose(1, 2)
        means[0] += a.sum(dim=2)
        means[1] += b.sum(dim=2)
    mean_a, mean_b = (m[:, :, None] / count for m in means)
    return Moments(sums[0] / count - mean_b @ mean_b.transpose(1, 2), sums[1] / count - mean_a @ mean_b.transpose(1, 2))


def _patches(layer: QuantConv, x: Tensor, clips: int = 8) -> Iterator[Tensor]:
    """Patches (groups, K, positions), some clips at a time."""
    top, left, bottom, right = layer.step.pads
    size, groups = layer.conv.kernel_size, layer.conv.groups
    for part in x.split(clips):
        columns = F.unfold(F.pad(part, (left, right, top, bottom)), (size[0], size[1]), stride=layer.conv.stride)
        n, _, positions = columns.shape
        yield columns.view(n, groups, -1, positions).permute(1, 2, 0, 3).reshape(groups, -1, n * positions)


def compensated(weight: Tensor, seen: Moments) -> tuple[Tensor, Tensor]:
    """Weight (O, I, kH, kW) on its grid, and the grid's scale (O,), for least output error on the patches seen."""
    groups, taps, _ = seen.rounded.shape
    rows = weight.detach().double().reshape(groups, -1, taps)  # (groups, outputs of the group, K)
    damping = _DAMPING * seen.rounded.diagonal(dim1=1, dim2=2).mean(dim=1).clamp(min=1e-12)
    identity = damping[:, None, None] * torch.eye(taps, dtype=torch.float64)
    curvature = seen.rounded + identity
    fitted = torch.linalg.solve(curvature, rows @ (seen.cross + identity), left=False)
    base = nearest_scale(weight).double().reshape(groups, -1, 1)

    def error(candidate: Tensor) -> Tensor:
        # E |q x' - w x|^2 less what no q changes: q C q' - 2 w X q'
        return ((candidate @ seen.rounded - 2 * rows @ seen.cross) * candidate).sum(dim=2)

    best, scale = (rows / base).round().clamp(-127, 127) * base, base
    least = error(best)
    for share in _SHARES:
        trial_scale = base * share
        trial = _round_columns(fitted, trial_scale, curvature)
        got = error(trial)
        better = (got < least)[:, :, None]
        best, scale = torch.where(better, trial, best), torch.where(better, trial_scale, scale)
        least = torch.minimum(got, least)
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
