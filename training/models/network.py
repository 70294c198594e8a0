"""A module together with its front end and, for the networks of tinyscene, its configuration."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from tinyscene.runtime.spec import FrontendSpec

from .config import ModelConfig


@dataclass(frozen=True, eq=False)
class Network:
    """``model``: float32 (batch, 1, n_mels, n_frames) of ``frontend`` to logits (batch, classes).

    ``config`` is None for a module that a user's own function returned, and for a fake-quantised one.
    """

    model: nn.Module
    frontend: FrontendSpec
    config: ModelConfig | None = None
