"""Helpers of the tests of Helium kernels: the target, the kernels of a graph, and GRN as exported."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from tests.firmware_harness.machines import on
from tinyscene.firmware_harness.build.targets import CORTEX_M55
from tinyscene.firmware_harness.cpu.kernel_sets import kernel_set_named
from tinyscene.firmware_harness.emit.model import emit
from tinyscene.firmware_harness.emit.schedule import Optimise
from tinyscene.runtime import ops
from tinyscene.runtime.graph import Graph, Quant

m55 = pytest.mark.parametrize("target", [on(CORTEX_M55)])
drawn = settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))


def kernels_of(graph: Graph, optimise: Optimise = "layers") -> set[str]:
    return {call.layer.kernel for call in emit(graph, kernel_set_named("mve"), optimise).calls}


def alike(graph: Graph, bias: bool = False) -> Graph:
    """GRN's 1x1 depthwise convolutions with one weight for all channels, as exported, or also with one bias."""
    tensors = dict(graph.tensors)
    for node in graph.nodes:
        if isinstance(node.op, ops.DepthwiseConv2D) and graph.ins(node)[1].shape[1:3] == (1, 1):
            for tensor in graph.ins(node)[1 : 3 if bias else 2]:
                data = np.broadcast_to(tensor.data.ravel()[0], tensor.shape).copy()  # type: ignore[union-attr]
                scale = (tensor.quant.scale[0],) * len(tensor.quant.scale)
                tensors[tensor.name] = replace(tensor, data=data, quant=replace(tensor.quant, scale=scale))
    for node in graph.nodes:  # a bias has the scale of its weight
        if isinstance(node.op, ops.DepthwiseConv2D):
            x, w, b = (tensors[name] for name in node.inputs)
            scale = np.float32(x.quant.scale[0]) * np.asarray(w.quant.scale, np.float32)
            tensors[b.name] = replace(b, quant=Quant.per_channel(scale, 0))
    return replace(graph, tensors=tensors).check()
