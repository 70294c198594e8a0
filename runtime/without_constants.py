"""Graphs without layers and channels that are the same for every input: one step for every source of a graph.

First constants replace layers (:mod:`.constant_layers`), then channels leave (:mod:`.constant_channels`). The graph's
outputs do not change under either rounding rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from .arrays import I8, I64
from .constant_channels import drop_constant_channels
from .constant_layers import drop_constant_layers
from .graph import Graph
from .printable import short_name

_MOST_NAMES = 4  # layers in one note


@dataclass(frozen=True, eq=False)
class WithoutConstants:
    """The smaller graph.

    Attributes:
        layers: names of layers that are left out: constant ones, and those that only they read.
        kept: by name of an activation that lost channels, the original numbers of those that are left.
        channels: how many were removed; one that a depthwise convolution passes on counts once.
    """

    graph: Graph
    layers: tuple[str, ...] = ()
    kept: Mapping[str, I64] = field(default_factory=dict)
    channels: int = 0

    def left(self, name: str, codes: I8) -> I8:
        """Codes of an activation of the original graph, (n, ..., channels), without the channels that were removed."""
        channels = self.kept.get(name)
        return codes if channels is None else np.ascontiguousarray(codes[..., channels])

    def notes(self) -> tuple[str, ...]:
        """A sentence about layers and one about channels, where there are any."""
        return (*_layers_note(self.layers), *_channels_note(self.channels))


def without_constants(graph: Graph) -> WithoutConstants:
    """The checked graph without its constant layers and channels; the same graph where it has none."""
    smaller, layers = drop_constant_layers(graph)
    pruned, kept, channels = drop_constant_channels(smaller)
    return WithoutConstants(pruned if channels else smaller, layers, kept, channels)


def _layers_note(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names:
        return ()
    listed = ", ".join(f"'{short_name(name)}'" for name in names[:_MOST_NAMES])
    more, verb = ", ..." if len(names) > _MOST_NAMES else "", "layer is" if len(names) == 1 else "layers are"
    return (
        f"{len(names)} {verb} constant for every input, or read by such a layer only, and left out: {listed}{more}",
    )


def _channels_note(count: int) -> tuple[str, ...]:
    if not count:
        return ()
    subject = "1 channel is" if count == 1 else f"{count} channels are"
    return (f"{subject} constant for every input, and part of the next layer's bias",)
