"""A quantised network with its integer graph, and the outputs of both and of the float network for log-mels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from tinyscene.runtime.arith import dequantise
from tinyscene.runtime.arrays import F32, I8
from tinyscene.runtime.engines import NumpyEngine
from tinyscene.runtime.graph import OUTPUT_NAME, Graph
from tinyscene.runtime.vectors import quantised, row_shape
from tinyscene.runtime.without_constants import WithoutConstants
from tinyscene.training.models.checkpoint import LoadedModel

from .fake_quant import QuantNet
from .steps import Work

BATCH = 16


@dataclass(frozen=True, eq=False)
class QuantisedModel:
    """A quantised network: the float ``source``, the fake-quantised ``net``, and the integer graph.

    ``pruned`` has the graph and the layers and channels that were removed from it.
    """

    source: LoadedModel
    net: QuantNet
    pruned: WithoutConstants

    @classmethod
    def of(cls, source: LoadedModel, work: Work) -> QuantisedModel:
        """The result of all steps of a method."""
        assert work.pruned is not None, "the step 'remove constants' has not run"
        return cls(source, work.folded, work.pruned)

    @property
    def graph(self) -> Graph:
        return self.pruned.graph


def network_input(graph: Graph, real: F32) -> I8:
    """Codes int8 (n, ...) of real inputs, such as float32 log-mels (n, mel, time)."""
    rows = real.reshape(len(real), *row_shape(graph, graph.inputs))
    return quantised(graph, graph.inputs, rows)


def int8_logits(graph: Graph, log_mels: F32) -> F32:
    """Logits float32 (n, classes) of the integer graph under the ``double`` rule."""
    codes = NumpyEngine(graph, "double").output_codes(network_input(graph, log_mels))
    return dequantise(codes, graph.tensors[graph.output].quant)


@torch.no_grad()
def float_logits(model: nn.Module, log_mels: F32) -> F32:
    """Logits float32 (n, classes) of the float network in evaluation mode."""
    model.eval()
    parts = [model(torch.from_numpy(log_mels[at : at + BATCH])[:, None]) for at in range(0, len(log_mels), BATCH)]
    logits: F32 = torch.cat(parts).float().numpy()
    return logits


@torch.no_grad()
def float_activations(model: QuantisedModel, log_mels: F32) -> dict[str, F32]:
    """The input of every range without rounding: float32 NHWC (n, ...) by tensor name of the graph.

    Computed with the quantised network's own weights, which calibration or training may have changed.
    """
    net, kept = model.net, model.pruned.kept
    activations: dict[str, F32] = {}

    def record(name: str) -> Callable[[nn.Module, tuple[torch.Tensor, ...], torch.Tensor], None]:
        return lambda _, inputs, __: activations.__setitem__(name, _nhwc(inputs[0]))

    names = {r: OUTPUT_NAME if r.name == net.folded.output_name else r.name for r in net.all_ranges()}
    hooks = [r.register_forward_hook(record(name)) for r, name in names.items()]
    net.eval()
    net.round(False)
    try:
        net(torch.from_numpy(log_mels)[:, None])
    finally:
        net.round(True)
        for hook in hooks:
            hook.remove()
    return {name: x[..., kept[name]] if name in kept else x for name, x in activations.items()}


def _nhwc(x: torch.Tensor) -> F32:
    array: F32 = x.detach().cpu().float().numpy()
    return array.transpose(0, 2, 3, 1) if array.ndim == 4 else array
