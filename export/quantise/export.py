"""A quantised network, its integer graph, and what each of them computes for log-mels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from tinyscene.runtime.arith import dequantise, quantise
from tinyscene.runtime.arrays import F32, I8
from tinyscene.runtime.engines import NumpyEngine
from tinyscene.runtime.graph import OUTPUT_NAME, Graph
from tinyscene.training.models.checkpoint import LoadedModel

from .constant_channels import Pruned, drop_constant_channels
from .fake_quant import QuantNet
from .lower import lower


@dataclass(frozen=True, eq=False)
class Export:
    """A quantised network and everything that describes it. ``pruned`` says what left the lowered graph."""

    source: LoadedModel
    net: QuantNet
    pruned: Pruned

    @property
    def graph(self) -> Graph:
        return self.pruned.graph


def quantised(source: LoadedModel, net: QuantNet, name: str) -> Export:
    """Lower a calibrated or trained network and drop its constant channels."""
    return Export(source, net, drop_constant_channels(lower(net, name=name, labels=source.labels)))


def network_input(graph: Graph, log_mels: F32) -> I8:
    """Codes int8 (n, mel, time, 1) of float32 log-mels (n, mel, time)."""
    return quantise(log_mels[..., None], graph.tensors[graph.input].quant)


def int8_logits(graph: Graph, log_mels: F32) -> F32:
    """Logits float32 (n, classes) of the integer graph under the ``double`` rule."""
    codes = NumpyEngine(graph, "double").output_codes(network_input(graph, log_mels))
    return dequantise(codes, graph.tensors[graph.output].quant)


@torch.no_grad()
def float_logits(model: nn.Module, log_mels: F32) -> F32:
    """Logits float32 (n, classes) of the float network in evaluation mode."""
    parts = [model.eval()(torch.from_numpy(log_mels[at : at + 16])[:, None]) for at in range(0, len(log_mels), 16)]
    logits: F32 = torch.cat(parts).float().numpy()
    return logits


@torch.no_grad()
def float_activations(export: Export, log_mels: F32) -> dict[str, np.ndarray]:
    """What every range sees when nothing is rounded: float32 NHWC (n, ...) by tensor name of the graph.

    Of the quantised network's own weights, which calibration or training may have moved away from the float ones.
    """
    net = export.net
    seen: dict[str, np.ndarray] = {}

    def watch(name: str) -> Callable[..., None]:
        return lambda _, inputs, __: seen.__setitem__(name, _nhwc(inputs[0]))

    names = {r: OUTPUT_NAME if r.name == net.folded.output_name else r.name for r in net.all_ranges()}
    hooks = [r.register_forward_hook(watch(name)) for r, name in names.items()]
    net.eval()
    net.round(False)
    try:
        net(torch.from_numpy(log_mels)[:, None])
    finally:
        net.round(True)
        for hook in hooks:
            hook.remove()
    return {name: x[..., export.pruned.kept[name]] if name in export.pruned.kept else x for name, x in seen.items()}


def _nhwc(x: torch.Tensor) -> np.ndarray:
    array = x.detach().cpu().float().numpy()
    return array.transpose(0, 2, 3, 1) if array.ndim == 4 else array
