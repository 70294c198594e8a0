"""A quantised network with its integer graph, and the outputs of both and of the float network for the same inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from tinyscene.runtime.arrays import F32, I8
from tinyscene.runtime.engines import NumpyEngine
from tinyscene.runtime.graph import OUTPUT_NAME, Graph
from tinyscene.runtime.vectors import dequantised, quantised, row_shape
from tinyscene.runtime.without_constants import WithoutConstants
from tinyscene.training.models.checkpoint import LoadedModel

from .aten.values import channels_last, stored_shape
from .calibration import network_images
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


def vectors_of(tensors: Iterable[Tensor]) -> F32:
    """Tensors (n, ...) of PyTorch's axes as vectors (:mod:`tinyscene.runtime.vectors`) of the graph's."""
    stored = []
    for x in tensors:
        order = channels_last(x.ndim)
        stored.append(x.permute(order).reshape(len(x), *stored_shape(tuple(x.shape), order)[1:]))
    vectors: F32 = (stored[0] if len(stored) == 1 else torch.cat([x.flatten(1) for x in stored], 1)).float().numpy()
    return vectors


def axes_of(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """PyTorch's axes of inputs of these shapes, without the batch, in the graph's order, where that is another."""
    orders = {name: channels_last(len(shape) + 1) for name, shape in shapes.items()}
    return {name: order for name, order in orders.items() if order != tuple(range(len(order)))}


def network_input(graph: Graph, real: F32) -> I8:
    """Codes int8 (n, ...) of real inputs, such as float32 log-mels (n, mel, time)."""
    rows = real.reshape(len(real), *row_shape(graph, graph.inputs))
    return quantised(graph, graph.inputs, rows)


def int8_outputs(graph: Graph, real: F32) -> F32:
    """Output vectors float32 (n, ...) of the integer graph under the ``double`` rule, such as logits (n, classes)."""
    codes = NumpyEngine(graph, "double").output_codes(network_input(graph, real))
    return dequantised(graph, graph.outputs, codes)


@torch.no_grad()
def float_outputs(model: nn.Module, inputs: Mapping[str, Tensor]) -> F32:
    """Output vectors float32 (n, ...) of the float network in evaluation mode, such as logits (n, classes)."""
    model.eval()
    batches = zip(*(torch.split(x, BATCH) for x in inputs.values()), strict=True)
    parts = []
    for batch in batches:
        outputs = model(*batch)
        parts.append(vectors_of((outputs,) if isinstance(outputs, Tensor) else outputs))
    return np.concatenate(parts)


@torch.no_grad()
def float_activations(model: QuantisedModel, log_mels: F32) -> dict[str, F32]:
    """The input of every range without rounding: float32 NHWC (n, ...) by tensor name of the graph.

    Computed with the quantised network's own weights, which calibration or training may have changed.
    """
    net, kept = model.net, model.pruned.kept
    activations: dict[str, F32] = {}

    def record(name: str) -> Callable[[nn.Module, tuple[torch.Tensor, ...], torch.Tensor], None]:
        return lambda _, inputs, __: activations.__setitem__(name, _nhwc(inputs[0]))

    names = {r: OUTPUT_NAME if (r.name,) == net.folded.output_names else r.name for r in net.all_ranges()}
    hooks = [r.register_forward_hook(record(name)) for r, name in names.items()]
    net.eval()
    net.round(False)
    try:
        net.activations(*network_images(log_mels).values())
    finally:
        net.round(True)
        for hook in hooks:
            hook.remove()
    return {name: x[..., kept[name]] if name in kept else x for name, x in activations.items()}


def _nhwc(x: torch.Tensor) -> F32:
    array: F32 = x.detach().cpu().float().numpy()
    return array.transpose(0, 2, 3, 1) if array.ndim == 4 else array
