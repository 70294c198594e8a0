"""The forward and backward pass of a network, compiled by ``torch.compile`` for training steps of one batch size.

The module itself does not change: its weights, its hooks and its evaluation mode stay as they are. Refuses, at the
first step, a machine without the compiler that PyTorch needs: a C++ compiler, and Triton for GPUs.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..errors import TrainingError


def compiled(model: nn.Module) -> Callable[[Tensor], Tensor]:
    """A callable equivalent to ``model``, compiled at the first call and once more for each new input shape."""
    forward = torch.compile(model.forward, dynamic=False)  # the last batch of an epoch is smaller, always the same

    def call(x: Tensor) -> Tensor:
        try:
            outputs: Tensor = forward(x)
        except torch._dynamo.exc.TorchDynamoException as error:
            raise TrainingError(
                "compile",
                "the network cannot be compiled on this machine",
                got=str(error).strip().partition("\n")[0],
                next_step="install a C++ compiler, or set 'compile: false' in the recipe",
            ) from error
        return outputs

    return call
