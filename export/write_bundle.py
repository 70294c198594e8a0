"""Write the bundle of a quantised model: graph, model files, golden vectors, metrics and provenance.

Nothing is written before the graph, all files and the budget exist; :mod:`tinyscene.runtime.bundle` then writes all
files or none. Refuses what the writers of the formats refuse.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinyscene.runtime.arrays import F32, I8
from tinyscene.runtime.bundle import Bundle, Golden, write_bundle
from tinyscene.runtime.graph import Graph
from tinyscene.runtime.host import versions

from .formats.onnx_float import FLOAT_MODEL, float_onnx
from .formats.onnx_log_mel import with_frontend
from .formats.onnx_write import to_onnx
from .formats.tflite_write import to_tflite
from .quantise.quantised_model import QuantisedModel, network_input

AUDIO_MODEL = "audio_to_scores.onnx"  # int8, with the front end as its first nodes
AUDIO_FLOAT_MODEL = "audio_to_scores_float.onnx"
GOLDEN_CLIPS = 2
TOOLS = ("tinyscene", "torch", "numpy", "onnx", "onnxsim", "onnxruntime", "ai-edge-litert")


@dataclass(frozen=True, eq=False)
class BundleRecord:
    """What a bundle's manifest records about its origin.

    Attributes:
        data: description of the clips that ``metrics`` were measured on.
        rebuild: the command that writes this bundle.
        metrics: plain JSON values.
    """

    data: str
    rebuild: str
    metrics: Mapping[str, object]


def golden_vectors(graph: Graph, log_mels: F32) -> Golden:
    """Two clips of ``log_mels`` (n, mel, time) and one input of uniformly random codes, with every activation under
    both rounding rules."""
    chosen = log_mels[np.linspace(0, len(log_mels) - 1, min(GOLDEN_CLIPS, len(log_mels))).astype(int)]
    real = network_input(graph, chosen)
    noise = np.random.default_rng(0).integers(-128, 128, (1, *real.shape[1:])).astype(np.int8)
    return Golden.of(graph, np.concatenate([real, noise]))


def real_inputs(golden: Golden) -> I8:
    """The inputs chosen by :func:`golden_vectors` that were audio, without the random codes."""
    return golden.inputs[:GOLDEN_CLIPS]


def export_bundle(
    path: Path, model: QuantisedModel, golden_log_mels: F32, record: BundleRecord, *, overwrite: bool = False
) -> Bundle:
    """Write the bundle of a quantised model.

    Args:
        golden_log_mels: float32 (n, mel, time), from which the golden vectors are chosen.
        overwrite: replace an existing bundle.

    Raises:
        ExportError: the float ONNX file does not reproduce the network. RuntimeFailure: ``path`` exists.
    """
    graph, frontend = model.graph, model.source.frontend
    shape = graph.tensors[graph.input].shape
    int8_model, float_model = to_onnx(graph), float_onnx(model.source.model, (shape[1], shape[2]))
    return write_bundle(
        path,
        graph=graph,
        frontend=frontend,
        labels=model.source.labels,
        tflite=to_tflite(graph),
        onnx=int8_model,
        golden=golden_vectors(graph, golden_log_mels),
        metrics={**record.metrics, "constant_channels_removed": model.pruned.removed},
        data=record.data,
        tools=tool_versions(),
        extra_files={
            FLOAT_MODEL: float_model,
            AUDIO_MODEL: with_frontend(int8_model, frontend),
            AUDIO_FLOAT_MODEL: with_frontend(float_model, frontend),
        },
        rebuild=record.rebuild,
        overwrite=overwrite,
    )


def tool_versions() -> dict[str, str]:
    """Versions of Python and of the packages that a bundle is written with, by name."""
    return {"python": platform.python_version(), **versions(*TOOLS)}
