"""Inputs of a network from files: real numbers, or int8 codes, in the network's own shapes with the batch first.

An .npy file holds the only input, an .npz file one array for each input, by name. Shapes are those of the model's file:
images of an ONNX file have their channels before height and width.

A folder stands for its .npy and .npz files in the order of their names. Refuses other types and shapes, NaN and
infinity, an empty batch, batches that differ, arrays that are not the network's inputs, and more inputs than fit the
memory of a small machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .arith import dequantise, quantise
from .arrays import F32, I8
from .bounded_files import read_bounded
from .errors import RuntimeFailure
from .graph import Graph, Quant
from .model import Model
from .npz import LARGEST_ARRAYS_BYTES, ArrayFile, Arrays, unpack_array
from .system_errors import about
from .vectors import joined

ONE, SEVERAL = ".npy", ".npz"
_REALS = ("float16", "float32", "float64")
_STEP = "write it with numpy.save: float32 or int8, the batch first"


@dataclass(frozen=True, eq=False)
class NetworkInputs:
    """Vectors (:mod:`tinyscene.runtime.vectors`), ``real``: float32 (n, ...), ``codes``: int8 (n, ...), and the file
    and row of each in ``names``."""

    real: F32
    codes: I8
    names: tuple[str, ...]


def read_inputs(path: Path, model: Model) -> NetworkInputs:
    """The inputs in a file, or in the .npy and .npz files of a folder.

    Raises:
        RuntimeFailure: see the module's refusals; a file cannot be read.
    """
    parts = [_read(file, model) for file in _files(path)]
    names = tuple(name for part in parts for name in part.names)
    return NetworkInputs(np.concatenate([p.real for p in parts]), np.concatenate([p.codes for p in parts]), names)


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    with about(str(path)):
        files = sorted(file for file in path.iterdir() if file.suffix in (ONE, SEVERAL))
        n_bytes = sum(file.stat().st_size for file in files)
    if n_bytes > LARGEST_ARRAYS_BYTES:
        expected = f"at most {LARGEST_ARRAYS_BYTES:,} bytes"
        raise RuntimeFailure(str(path), "too many inputs", expected=expected, got=f"{n_bytes:,}")
    if not files:
        raise RuntimeFailure(str(path), f"no {ONE} or {SEVERAL} files", next_step="write them with numpy.save")
    return files


def _read(path: Path, model: Model) -> NetworkInputs:
    graph, real, codes = model.graph, {}, {}
    arrays = _arrays(path, graph)
    batch = len(next(iter(arrays.values()))) if all(array.ndim for array in arrays.values()) else 0
    for name, values in arrays.items():
        own = graph.tensors[name].shape
        axes = model.input_axes.get(name, tuple(range(len(own))))
        shape = tuple(own[axes.index(axis)] for axis in range(1, len(own)))
        if values.shape[1:] != shape or values.ndim == 0 or len(values) == 0:
            what = "not the shape of the network's input"
            expected, got = f"(batch, {', '.join(map(str, shape))})", values.shape
            raise RuntimeFailure(f"{path}{_named(graph, name)}", what, expected=expected, got=got)
        if len(values) != batch:
            raise RuntimeFailure(f"{path}{_named(graph, name)}", "another batch", expected=batch, got=len(values))
        turned = np.ascontiguousarray(values.transpose(axes))
        real[name], codes[name] = _both(turned, f"{path}{_named(graph, name)}", graph.tensors[name].quant)
    names = tuple(f"{path.name}[{row}]" for row in range(batch))
    return NetworkInputs(joined(graph, graph.inputs, real), joined(graph, graph.inputs, codes), names)


def _named(graph: Graph, name: str) -> str:
    return f", input '{name[:80]}'" if len(graph.inputs) > 1 else ""


def _arrays(path: Path, graph: Graph) -> Arrays:
    """The array of each input by name, as stored."""
    listed = ", ".join(f"'{name[:80]}'" for name in graph.inputs)
    if path.suffix != SEVERAL:
        if len(graph.inputs) > 1:
            expected = f"an {SEVERAL} file with the arrays {listed}"
            step = "write it with numpy.savez: float32 or int8, the batch first"
            raise RuntimeFailure(str(path), "the network has several inputs", expected=expected, next_step=step)
        return {graph.input: unpack_array(read_bounded(path, LARGEST_ARRAYS_BYTES, _STEP), str(path), _STEP)}
    step = f"write it with numpy.savez: the arrays {listed}, float32 or int8, the batch first"
    file = ArrayFile(read_bounded(path, LARGEST_ARRAYS_BYTES, step), str(path), step)
    if set(file.headers) != set(graph.inputs):
        got = ", ".join(f"'{name[:80]}'" for name in list(file.headers)[:16]) or "no array"
        raise RuntimeFailure(str(path), "not the network's inputs", expected=listed, got=got, next_step=step)
    return file.read(file.headers)


def _both(values: npt.NDArray[Any], where: str, quant: Quant) -> tuple[F32, I8]:
    """Real numbers and codes, of which the array has one kind."""
    if values.dtype.name == "int8":
        return dequantise(values, quant), values
    if values.dtype.name not in _REALS:
        expected = f"{', '.join(_REALS)} (real numbers) or int8 (codes)"
        raise RuntimeFailure(where, "type of the values", expected=expected, got=values.dtype.name)
    with np.errstate(over="ignore"):  # float64 beyond float32 becomes infinity
        real = values.astype(np.float32)
    if not np.isfinite(real).all():
        raise RuntimeFailure(where, "values that are not finite", expected="finite numbers")
    return real, quantise(real, quant)
