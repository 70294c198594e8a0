"""Write the bundle of a quantised model: graph, model files, golden vectors, metrics and provenance.

Nothing is written before the graph, all files and the budget exist; :mod:`tinyscene.runtime.bundle` then writes all
files or none. A graph with an op that ONNX has no integers for gets no int8 ONNX files, and a front end in integer
arithmetic no int8 ONNX file from samples. Refuses what the writers of the formats refuse.
"""

from __future__ import annotations

import platform
from dataclasses import replace
from pathlib import Path

import numpy as np

from tinyscene.runtime.arrays import F32, I8
from tinyscene.runtime.bundle import WITHOUT_ONNX, Bundle, BundleContent, Golden, write_bundle
from tinyscene.runtime.file_names import AUDIO_FLOAT_ONNX_MODEL, AUDIO_ONNX_MODEL, FLOAT_ONNX_MODEL
from tinyscene.runtime.graph import Graph
from tinyscene.runtime.host import versions
from tinyscene.runtime.manifest import Metrics, Provenance
from tinyscene.runtime.tflite_write import to_tflite

from .formats.onnx_float import float_onnx
from .formats.onnx_log_mel import with_frontend
from .formats.onnx_write import to_onnx
from .quantise.calibration import evenly
from .quantise.quantised_model import QuantisedModel, axes_of, network_input

GOLDEN_CLIPS = 2
TOOLS = ("tinyscene", "torch", "numpy", "onnx", "onnxsim", "onnxruntime", "ai-edge-litert")


def golden_vectors(graph: Graph, real: F32) -> Golden:
    """Two of the ``real`` inputs (n, ...) and one of uniformly random codes, with every activation under both rounding
    rules."""
    chosen = network_input(graph, real[evenly(len(real), GOLDEN_CLIPS)])
    noise = np.random.default_rng(0).integers(-128, 128, (1, *chosen.shape[1:])).astype(np.int8)
    return Golden.of(graph, np.concatenate([chosen, noise]))


def real_inputs(golden: Golden) -> I8:
    """The inputs chosen by :func:`golden_vectors` that were real, without the random codes."""
    return golden.inputs[:-1][:GOLDEN_CLIPS]


def export_bundle(
    path: Path, model: QuantisedModel, golden: F32, provenance: Provenance, *, overwrite: bool = False
) -> Bundle:
    """Write the bundle of a quantised model.

    Args:
        golden: real inputs float32 (n, ...), such as log-mels, from which the golden vectors are chosen.
        provenance: the number of removed channels is added to its metrics.
        overwrite: replace an existing bundle.

    Raises:
        ExportError: the float ONNX file does not reproduce the network. RuntimeFailure: ``path`` exists.
    """
    graph, source = model.graph, model.source
    frontend, shapes = source.frontend, source.input_shapes
    without_onnx = any(isinstance(node.op, WITHOUT_ONNX) for node in graph.nodes)
    onnx, float_model = None if without_onnx else to_onnx(graph), float_onnx(source.model, shapes, graph.outputs)
    extra = {FLOAT_ONNX_MODEL: float_model}
    if frontend is not None and onnx is not None and frontend.arithmetic == "float":
        extra[AUDIO_ONNX_MODEL] = with_frontend(onnx, frontend)
    if frontend is not None:
        extra[AUDIO_FLOAT_ONNX_MODEL] = with_frontend(float_model, frontend.trained())
    content = BundleContent(
        graph=graph,
        frontend=frontend,
        tflite=to_tflite(graph),
        onnx=onnx,
        golden=golden_vectors(graph, golden),
        input_axes={} if frontend is not None else axes_of(shapes),
        extra_files=extra,
    )
    removed = {
        "constant_channels_removed": model.pruned.channels,
        "constant_layers_removed": len(model.pruned.layers),
    }
    metrics = {**provenance.metrics, **removed}
    provenance = replace(provenance, metrics=metrics)
    return write_bundle(path, content, provenance, overwrite=overwrite)


def bundle_provenance(data: str, rebuild: str, metrics: Metrics | None = None) -> Provenance:
    """Provenance of a bundle that is written here, with the versions of the packages in use.

    Args:
        data: description of the clips that ``metrics`` were measured on.
        rebuild: the command that writes the bundle.
    """
    return Provenance(data, tool_versions(), metrics or {}, rebuild)


def tool_versions() -> dict[str, str]:
    """Versions of Python and of the packages that a bundle is written with, by name."""
    return {"python": platform.python_version(), **versions(*TOOLS)}
