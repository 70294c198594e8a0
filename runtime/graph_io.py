"""The integer graph as plain data: a JSON record of tensors and nodes, and the constants as named arrays.

Scales are written as the shortest decimals that parse to the same float32, so a graph read back is identical.
Refuses records with unknown ops, missing or unknown fields, and graphs that fail :meth:`Graph.check`.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from . import ops
from .errors import RuntimeFailure
from .file_names import GRAPH_ARRAYS, GRAPH_RECORD
from .graph import Graph, Node, Quant, Tensor

Arrays = dict[str, npt.NDArray[Any]]

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest timestamp of the zip format
_OPS_BY_NAME = {row.name: kind for kind, row in ops.OPS.items()}


def graph_record(graph: Graph) -> dict[str, Any]:
    """The graph without its constants' data, as plain JSON values."""
    return {
        "name": graph.name,
        "input": graph.input,
        "output": graph.output,
        "labels": list(graph.labels),
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


def graph_arrays(graph: Graph) -> Arrays:
    """The constants' data by tensor name."""
    return {t.name: t.data for t in graph.tensors.values() if t.data is not None}


def graph_from_record(record: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]], where: str) -> Graph:
    """The checked graph of a record and its constants.

    Args:
        where: the file, for the message when something is wrong.

    Raises:
        RuntimeFailure: the record has another form, or the graph fails its check.
    """
    try:
        tensors = [_tensor(r, arrays) for r in record["tensors"]]
        graph = Graph(
            name=record["name"],
            tensors={t.name: t for t in tensors},
            nodes=tuple(_node(r) for r in record["nodes"]),
            input=record["input"],
            output=record["output"],
            labels=tuple(record["labels"]),
        )
    except (KeyError, TypeError, ValueError) as problem:
        raise RuntimeFailure(
            where,
            "not a graph of this version",
            got=f"{type(problem).__name__}: {problem}",
            next_step="export it again",
        ) from problem
    return graph.check()


def _tensor_record(tensor: Tensor) -> dict[str, Any]:
    quant = {"scale": list(tensor.quant.scale), "zero_point": tensor.quant.zero_point, "axis": tensor.quant.axis}
    constant = tensor.data is not None
    return {
        "name": tensor.name,
        "shape": list(tensor.shape),
        "dtype": tensor.dtype,
        "quant": quant,
        "constant": constant,
    }


def _tensor(record: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> Tensor:
    quant = record["quant"]
    data = arrays[record["name"]] if record["constant"] else None
    return Tensor(
        record["name"],
        tuple(int(n) for n in record["shape"]),
        record["dtype"],
        Quant(tuple(float(s) for s in quant["scale"]), int(quant["zero_point"]), quant["axis"]),
        data,
    )


def _node(record: Mapping[str, Any]) -> Node:
    kind = _OPS_BY_NAME[record["op"]]
    names = {f.name for f in fields(kind)}
    parameters = set(record) - {"name", "op", "inputs", "output"}
    if parameters != names:
        raise ValueError(f"op {record['op']} has fields {sorted(parameters)}, expected {sorted(names)}")
    values = {name: tuple(record[name]) if isinstance(record[name], list) else record[name] for name in names}
    op: ops.Op = kind(**values)
    return Node(record["name"], op, tuple(record["inputs"]), record["output"])


def pack_arrays(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Arrays as an .npz file whose bytes depend only on names and values."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy", date_time=_EPOCH)
            info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(info, member.getvalue())
    return buffer.getvalue()


def unpack_arrays(data: bytes, where: str) -> Arrays:
    """The arrays of an .npz file, without unpickling; raises RuntimeFailure for any other content."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (ValueError, OSError, KeyError, EOFError, zipfile.BadZipFile, TypeError) as problem:
        raise RuntimeFailure(
            where, "not a file of plain arrays", got=str(problem).splitlines()[0], next_step="export it again"
        ) from problem


def write_graph(folder: Path, graph: Graph) -> None:
    """Write ``graph.json`` and ``graph.npz``, to pass a graph to another process."""
    (folder / GRAPH_RECORD).write_text(json.dumps(graph_record(graph)))
    (folder / GRAPH_ARRAYS).write_bytes(pack_arrays(graph_arrays(graph)))


def read_graph(folder: Path) -> Graph:
    """Read and check the graph that :func:`write_graph` wrote."""
    arrays = unpack_arrays((folder / GRAPH_ARRAYS).read_bytes(), GRAPH_ARRAYS)
    return graph_from_record(json.loads((folder / GRAPH_RECORD).read_text()), arrays, GRAPH_RECORD)
