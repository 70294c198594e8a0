"""From a quantised network to a bundle on disk: graph, files, golden vectors, provenance.

Nothing is written before the graph, both files and the budget figures exist; :mod:`tinyscene.runtime.bundle` then
writes all or nothing.
"""

from __future__ import annotations

import platform
from pathlib import Path

import numpy as np

from tinyscene.runtime.arrays import F32, I8
from tinyscene.runtime.bundle import Bundle, BundleContent, Golden, write_bundle
from tinyscene.runtime.file_names import AUDIO_FLOAT_ONNX_MODEL, AUDIO_ONNX_MODEL, FLOAT_ONNX_MODEL
from tinyscene.runtime.graph import Graph
from tinyscene.runtime.host import versions
from tinyscene.runtime.manifest import Metrics, Provenance

from .formats.onnx_float import float_onnx
from .formats.onnx_log_mel import with_frontend
from .formats.onnx_write import to_onnx
from .formats.tflite_write import to_tflite
from .quantise.export import Export, network_input

GOLDEN_CLIPS = 2
TOOLS = ("tinyscene", "torch", "numpy", "onnx", "onnxsim", "onnxruntime", "ai-edge-litert")


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
    metrics: Metrics,
    data: str,
    rebuild: str,
    overwrite: bool = False,
) -> Bundle:
    """Write the bundle of an export; see :func:`tinyscene.runtime.bundle.write_bundle` for what is refused."""
    shape, frontend = export.graph.tensors[export.graph.input].shape, export.source.frontend
    onnx, as_float = to_onnx(export.graph), float_onnx(export.source.model, (shape[1], shape[2]))
    content = BundleContent(
        graph=export.graph,
        frontend=frontend,
        tflite=to_tflite(export.graph),
        onnx=onnx,
        golden=golden_vectors(export.graph, golden_log_mels),
        extra_files={
            FLOAT_ONNX_MODEL: as_float,
            AUDIO_ONNX_MODEL: with_frontend(onnx, frontend),
            AUDIO_FLOAT_ONNX_MODEL: with_frontend(as_float, frontend),
        },
    )
    removed = {"constant_channels_removed": export.pruned.removed}
    provenance = Provenance(data, tool_versions(), {**metrics, **removed}, rebuild)
    return write_bundle(path, content, provenance, overwrite=overwrite)


def tool_versions() -> dict[str, str]:
    """Versions of what took part, by package name."""
    return {"python": platform.python_version(), **versions(*TOOLS)}
