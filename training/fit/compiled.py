"""A network's forward and backward pass compiled by ``torch.compile``, for training steps of one size of batch.

The module stays as it is: its weights, its hooks, and how it answers outside training. Refuses, at the first step, a
machine without the compiler that PyTorch needs: a C++ compiler, and Triton for GPUs.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..errors import TrainingError


def compiled(model: nn.Module) -> Callable[[Tensor], Tensor]:
    """What ``model`` gives for an input, compiled when it is first called, and for each new shape once more."""
    forward = torch.compile(model.forward, dynamic=False)  # epochs end with one smaller batch, always the same

    def call(x: Tensor) -> Tensor:
        try:
            outputs: Tensor = forward(x)
        except torch._dynamo.exc.TorchDynamoException as error:
            raise TrainingError(
                "compile",
                "the network cannot be compiled here",
                got=str(error).strip().partition("\n")[0],
                next_step="install a C++ compiler, or set 'compile: false' in the recipe",
            ) from error
        return outputs

    return call
