"""From a quantised network to a bundle on disk: graph, files, golden vectors, provenance.

Nothing is written before the graph, both files and the budget figures exist; :mod:`runtime.bundle` then writes all or
nothing.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from runtime.arith import I8, dequantise, quantise
from runtime.bundle import Bundle, Golden, write_bundle
from runtime.engines import NumpyEngine
from runtime.graph import Graph
from runtime.host import versions
from training.models.checkpoint import LoadedModel

from .float_onnx import FLOAT_MODEL, float_onnx
from .frontend_onnx import with_frontend
from .lower import lower
from .prune import Pruned, drop_constant_channels
from .quantnet import QuantNet
from .to_onnx import to_onnx
from .to_tflite import to_tflite

F32 = npt.NDArray[np.float32]

GOLDEN_CLIPS = 2
TOOLS = ("tinyscene", "torch", "numpy", "onnx", "onnxsim", "onnxruntime", "ai-edge-litert")


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


def golden_vectors(graph: Graph, log_mels: F32) -> Golden:
    """Two real clips and one input of random codes over the whole range, with every activation under both rules."""
    chosen = log_mels[np.linspace(0, len(log_mels) - 1, min(GOLDEN_CLIPS, len(log_mels))).astype(int)]
    real = network_input(graph, chosen)
    noise = np.random.default_rng(0).integers(-128, 128, (1, *real.shape[1:])).astype(np.int8)
    return Golden.of(graph, np.concatenate([real, noise]))


def real_inputs(golden: Golden) -> I8:
    """Of the inputs that :func:`golden_vectors` chose, those that were audio."""
    return golden.inputs[:GOLDEN_CLIPS]


def export_bundle(
    path: Path,
    export: Export,
    *,
    golden_log_mels: F32,
    metrics: Mapping[str, Any],
    data: str,
    rebuild: str,
    overwrite: bool = False,
) -> Bundle:
    """Write the bundle of an export; see :func:`runtime.bundle.write_bundle` for what is refused."""
    shape, frontend = export.graph.tensors[export.graph.input].shape, export.source.frontend
    networks = {"model.onnx": to_onnx(export.graph), FLOAT_MODEL: float_onnx(export.source.model, (shape[1], shape[2]))}
    from_audio = {f"audio_to_scores{name[5:]}": with_frontend(onnx, frontend) for name, onnx in networks.items()}
    return write_bundle(
        path,
        graph=export.graph,
        frontend=frontend,
        labels=export.source.labels,
        tflite=to_tflite(export.graph),
        onnx=networks["model.onnx"],
        golden=golden_vectors(export.graph, golden_log_mels),
        metrics={**metrics, "constant_channels_removed": export.pruned.removed},
        data=data,
        tools=tool_versions(),
        extra_files={FLOAT_MODEL: networks[FLOAT_MODEL], **from_audio},
        rebuild=rebuild,
        overwrite=overwrite,
    )


def tool_versions() -> dict[str, str]:
    """Versions of what took part, by package name."""
    return {"python": platform.python_version(), **versions(*TOOLS)}


@torch.no_grad()
def float_activations(export: Export, log_mels: F32) -> dict[str, np.ndarray]:
    """What every range sees when nothing is rounded: float32 NHWC (n, ...) by tensor name of the graph.

    Of the quantised network's own weights, which calibration or training may have moved away from the float ones.
    """
    net = export.net
    seen: dict[str, np.ndarray] = {}

    def watch(name: str) -> Callable[..., None]:
        return lambda _, inputs, __: seen.__setitem__(name, _nhwc(inputs[0]))

    names = {r: "scores" if r.name == net.folded.output_name else r.name for r in net.all_ranges()}
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
