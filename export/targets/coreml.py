"""Core ML, Apple's runtime: the graph is built in its ops, converted for iOS 17, and read back. Nothing is run.

Core ML itself exists on Apple's systems only. This proves that every op of the network has a counterpart that
coremltools accepts, that each activation in the package is quantised to int8, and that each weight is stored as the
graph's own codes. It does not prove that a phone computes the same bytes: Core ML rounds as its processor does.
"""

from __future__ import annotations

import importlib.util
from dataclasses import replace

from tinyscene.runtime import ops
from tinyscene.runtime.arrays import I8
from tinyscene.runtime.engines import ModelFiles
from tinyscene.runtime.graph import Graph
from tinyscene.runtime.install_hint import install_hint

from ..errors import ExportError
from .conversion import Conversion
from .subprocesses import Failure
from .worker import JobInput, LocalPython, Worker
from .workers.records import CoremlRecord

WORKER = Worker(
    "coreml", LocalPython(), CoremlRecord, Failure("coreml", "does not convert the network"), timeout_seconds=600
)


def converted_for_coreml(files: ModelFiles, inputs: I8) -> Conversion:
    """Convert the graph with coremltools and count the weights that differ; ``inputs`` are not used.

    Raises:
        ExportError: coremltools is not installed, or refuses the network.
    """
    if importlib.util.find_spec("coremltools") is None:
        raise ExportError("coremltools", "is not installed", next_step=install_hint("npu"), missing=True)
    graph = _without_unread(files.graph)  # as coremltools leaves them out
    record = WORKER.run(JobInput(graph=graph)).record
    note = (
        f"coremltools {record.version} wrote the {len(graph.nodes)} ops as {record.operations} for iOS 17, "
        f"{record.package_bytes:,} B; not run: Core ML exists on Apple's systems only"
    )
    fault = ""
    if record.weights_different:
        fault = f"{record.weights_different:,} of {record.weights:,} weight codes differ"
    computed = 1 + sum(not isinstance(node.op, ops.Movement) for node in graph.nodes)  # coremltools joins the others
    if record.quantised < computed:
        fault = f"{record.quantised} of {computed} activations are quantised"
    return Conversion(note, False, record.weights, record.weights_different, fault=fault)


def _without_unread(graph: Graph) -> Graph:
    """The graph without nodes that no output depends on."""
    read, nodes = set(graph.outputs), []
    for node in reversed(graph.nodes):
        if node.output in read:
            nodes.append(node)
            read |= set(node.inputs)
    tensors = {name: tensor for name, tensor in graph.tensors.items() if name in read | set(graph.inputs)}
    return replace(graph, tensors=tensors, nodes=tuple(reversed(nodes)))
