"""A module together with its front end and, for networks of a checkpoint, its configuration."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from tinyscene.runtime.spec import FrontendSpec

from .config import ModelConfig
from .program import Program


@dataclass(frozen=True, eq=False)
class Network:
    """``model``: float32 (batch, 1, n_mels, n_frames) of ``frontend`` to logits (batch, classes).

    ``config``: sizes of a network of ours, or the program of another one that was read from a checkpoint; None for a
    module that a user's own function returned, and for a fake-quantised one.
    """

    model: nn.Module
    frontend: FrontendSpec
    config: ModelConfig | Program | None = None
