"""The mean of the weights of a run's last epochs, with BatchNorm statistics recomputed from the training clips.

Source: Izmailov et al., "Averaging weights leads to wider optima and better generalization" (2018).
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class WeightAverage:
    """A running sum of state dicts, in float64 so that their order does not matter."""

    def __init__(self) -> None:
        self.members = 0
        self.sums: dict[str, Tensor] = {}

    def add(self, state: dict[str, Tensor]) -> None:
        self.members += 1
        for name, tensor in state.items():
            if tensor.is_floating_point():
                self.sums[name] = self.sums.get(name, 0) + tensor.detach().cpu().double()
            else:
                self.sums[name] = tensor.detach().cpu().clone()

    def mean(self, like: dict[str, Tensor]) -> dict[str, Tensor]:
        """The mean, in the dtypes of ``like``; integer counters are those of the last member."""
        return {
            name: (self.sums[name] / self.members if tensor.is_floating_point() else self.sums[name]).to(tensor.dtype)
            for name, tensor in like.items()
        }


@torch.no_grad()
def refresh_batch_norm(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Replace running means and variances by those over ``batches``, inputs of the model; its mode is restored."""
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    was_training = model.training
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over all batches
    model.train()
    for batch in batches:
        model(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.train(was_training)
