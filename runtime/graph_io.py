"""The integer graph as plain data: a JSON record of tensors and nodes, and the constants as named arrays.

Scales are written as the shortest decimals that parse to the same float32, so a graph read back is identical. The
records of :mod:`tinyscene.runtime.graph` and :mod:`tinyscene.runtime.ops` are the schema, and the arrays must be those
that the record declares. Refuses everything else, and graphs that fail :meth:`Graph.check`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import numpy.typing as npt

from . import ops
from .bounded_files import read_bounded
from .errors import RuntimeFailure
from .file_names import GRAPH_ARRAYS, GRAPH_RECORD
from .graph import MOST_INPUTS, MOST_NODES, MOST_TENSORS, Graph, GraphNames, Name, Node, Tensor, TensorRecord
from .json_files import LARGEST_JSON_BYTES, parse_json
from .npz import LARGEST_ARRAYS_BYTES, ArrayFile, ArrayHeader, Arrays, pack_arrays
from .records import Length, Text, read_record

_OPS_BY_NAME = {row.name: kind for kind, row in ops.OPS.items()}


@dataclass(frozen=True)
class _NodeRecord:
    """A node without the attributes of its op, which stand beside these fields."""

    name: Name
    op: Annotated[str, Text("|".join(_OPS_BY_NAME), " or ".join(_OPS_BY_NAME))]
    inputs: Annotated[tuple[Name, ...], Length(1, MOST_INPUTS)]
    output: Name


@dataclass(frozen=True)
class _GraphRecord(GraphNames):
    tensors: Annotated[tuple[TensorRecord, ...], Length(1, MOST_TENSORS)]
    nodes: Annotated[tuple[object, ...], Length(1, MOST_NODES)]  # each is read by its op


def graph_record(graph: Graph) -> dict[str, Any]:
    """The graph without its constants' data, as plain JSON values."""
    return {
        "name": graph.name,
        "inputs": list(graph.inputs),
        "outputs": list(graph.outputs),
        "labels": list(graph.labels),
        "states": [asdict(state) for state in graph.states],
        "tensors": [_tensor_record(t) for t in graph.tensors.values()],
        "nodes": [
            {
                "name": n.name,
                "op": ops.OPS[type(n.op)].name,
                **asdict(n.op),
                "inputs": list(n.inputs),
                "output": n.output,
            }
            for n in graph.nodes
        ],
    }


def _tensor_record(tensor: Tensor) -> dict[str, Any]:
    quant = {"scale": list(tensor.quant.scale), "zero_point": tensor.quant.zero_point, "axis": tensor.quant.axis}
    record = {"name": tensor.name, "shape": list(tensor.shape), "dtype": tensor.dtype, "quant": quant}
    return {**record, "constant": tensor.data is not None}


def graph_arrays(graph: Graph) -> Arrays:
    """The constants' data by tensor name."""
    return {t.name: t.data for t in graph.tensors.values() if t.data is not None}


def graph_from_files(record: bytes, arrays: bytes, folder: Path, next_step: str = "") -> Graph:
    """The checked graph in the contents of ``graph.json`` and ``graph.npz``.

    Args:
        folder: where both files are, for messages.
        next_step: what the user can do about a refusal.

    Raises:
        RuntimeFailure: a file has another form, the arrays are not those of the record, or the graph fails its check.
    """
    where = str(folder / GRAPH_RECORD)
    stored = read_record(_GraphRecord, parse_json(record, where, "readable JSON", next_step), where, next_step)
    declared = {t.name: ArrayHeader(t.dtype, t.shape) for t in stored.tensors if t.constant}
    data = ArrayFile(arrays, str(folder / GRAPH_ARRAYS), next_step).read(declared)
    return _graph(stored, data, where, next_step)


def _graph(stored: _GraphRecord, arrays: Mapping[str, npt.NDArray[Any]], where: str, next_step: str) -> Graph:
    tensors = {}
    for tensor in stored.tensors:
        if tensor.name in tensors or (tensor.constant and tensor.name not in arrays):
            what = "is declared twice" if tensor.name in tensors else "has no array"
            raise RuntimeFailure(where, f"tensor '{tensor.name}' {what}", next_step=next_step)
        data = arrays[tensor.name] if tensor.constant else None
        tensors[tensor.name] = Tensor(tensor.name, tensor.shape, tensor.dtype, tensor.quant, data)
    nodes = tuple(_node(entry, f"{where}, nodes[{i}]", next_step) for i, entry in enumerate(stored.nodes))
    return Graph(stored.name, tensors, nodes, stored.inputs, stored.outputs, stored.labels, stored.states).check()


def _node(entry: object, where: str, next_step: str) -> Node:
    """The op's name selects the record of its attributes."""
    entries = entry if isinstance(entry, dict) else {}
    own = {field.name for field in fields(_NodeRecord)}
    node = read_record(_NodeRecord, {key: value for key, value in entries.items() if key in own}, where, next_step)
    attributes = {key: value for key, value in entries.items() if key not in own}
    op: ops.Op = read_record(_OPS_BY_NAME[node.op], attributes, f"{where} ({node.op})", next_step)
    return Node(node.name, op, node.inputs, node.output)


def write_graph(folder: Path, graph: Graph) -> None:
    """Write ``graph.json`` and ``graph.npz``, to pass a graph to another process."""
    (folder / GRAPH_RECORD).write_text(json.dumps(graph_record(graph)))
    (folder / GRAPH_ARRAYS).write_bytes(pack_arrays(graph_arrays(graph)))


def read_graph(folder: Path) -> Graph:
    """Read and check the graph that :func:`write_graph` wrote."""
    record = read_bounded(folder / GRAPH_RECORD, LARGEST_JSON_BYTES)
    return graph_from_files(record, read_bounded(folder / GRAPH_ARRAYS, LARGEST_ARRAYS_BYTES), folder)
