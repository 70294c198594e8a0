"""Inputs of a network from files: real numbers, or int8 codes, in the network's own shapes with the batch first.

States of a network (:mod:`.states`) are no part of a file; its rows are runs one after the other then.

An .npy file holds the only input, an .npz file one array for each input, by name. Shapes are those that the network has
for its user: images of an ONNX file or of PyTorch have their channels before height and width.

A folder stands for its .npy and .npz files in the order of their names. Refuses other types and shapes, NaN and
infinity, an empty batch, batches that differ, arrays that are not the network's inputs, more inputs than fit the memory
of a small machine, and codes where the network has none yet.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .arith import dequantise, quantise
from .arrays import F32, I8
from .bounded_files import read_bounded
from .errors import RuntimeFailure
from .graph import Quant
from .model import Model
from .npz import LARGEST_ARRAYS_BYTES, ArrayFile, Arrays, unpack_array
from .ops import Shape
from .system_errors import about
from .vectors import joined

ONE, SEVERAL = ".npy", ".npz"
_REALS = ("float16", "float32", "float64")
_STEP = "write it with numpy.save: float32 or int8, the batch first"


@dataclass(frozen=True, eq=False)
class NetworkInputs:
    """Vectors (:mod:`tinyscene.runtime.vectors`) of the given inputs, ``real``: float32 (n, ...), ``codes``: int8
    (n, ...), and the file and row of each in ``names``."""

    real: F32
    codes: I8
    names: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _File:
    """The arrays of one file by the names of the inputs, as stored; they have the inputs' shapes and one batch."""

    path: Path
    arrays: Arrays

    @property
    def batch(self) -> int:
        return len(next(iter(self.arrays.values())))

    def where(self, name: str) -> str:
        return f"{self.path}, input '{name[:80]}'" if len(self.arrays) > 1 else str(self.path)


def read_inputs(path: Path, model: Model) -> NetworkInputs:
    """The inputs in a file, or in the .npy and .npz files of a folder.

    Raises:
        RuntimeFailure: see the module's refusals; a file cannot be read.
    """
    shapes = {name: _own_shape(model, name) for name in model.graph.given}
    parts = [_vectors(file, model) for file in _read(path, shapes)]
    names = tuple(name for part in parts for name in part.names)
    return NetworkInputs(np.concatenate([p.real for p in parts]), np.concatenate([p.codes for p in parts]), names)


def read_reals(path: Path, shapes: Mapping[str, Shape]) -> dict[str, F32]:
    """Real numbers (n, ...) of each input of a network without codes, from a file or a folder as :func:`read_inputs`.

    Args:
        shapes: of each input, without the batch.

    Raises:
        RuntimeFailure: see the module's refusals; a file cannot be read.
    """
    files = list(_read(path, shapes))
    return {name: np.concatenate([_real(file.arrays[name], file.where(name)) for file in files]) for name in shapes}


def _read(path: Path, shapes: Mapping[str, Shape]) -> Iterator[_File]:
    for file in _files(path):
        arrays = _arrays(file, shapes)
        read = _File(file, {name: arrays[name] for name in shapes})
        for name, values in read.arrays.items():
            if values.shape[1:] != shapes[name] or values.ndim == 0 or len(values) == 0:
                what = "not the shape of the network's input"
                expected, got = f"(batch, {', '.join(map(str, shapes[name]))})", values.shape
                raise RuntimeFailure(read.where(name), what, expected=expected, got=got)
        for name, values in read.arrays.items():
            if len(values) != read.batch:
                raise RuntimeFailure(read.where(name), "another batch", expected=read.batch, got=len(values))
        yield read


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


def _own_shape(model: Model, name: str) -> Shape:
    """The shape of an input, without the batch, as its user knows it."""
    shape, axes = model.graph.tensors[name].shape, model.input_axes.get(name)
    if axes is None:
        return shape[1:]
    sizes = (1, *shape[1 + len(shape) - len(axes) :])
    return tuple(sizes[axes.index(axis)] for axis in range(1, len(axes)))


def _vectors(file: _File, model: Model) -> NetworkInputs:
    graph, real, codes = model.graph, {}, {}
    for name, values in file.arrays.items():
        axes, tensor = model.input_axes.get(name), graph.tensors[name]
        turned = values if axes is None else values.transpose(axes)
        turned = np.ascontiguousarray(turned).reshape(len(values), *tensor.shape[1:])
        real[name], codes[name] = _both(turned, file.where(name), tensor.quant)
    names = tuple(f"{file.path.name}[{row}]" for row in range(file.batch))
    return NetworkInputs(joined(graph, graph.given, real), joined(graph, graph.given, codes), names)


def _arrays(path: Path, shapes: Mapping[str, Shape]) -> Arrays:
    """The array of each input by name, as stored."""
    listed = ", ".join(f"'{name[:80]}'" for name in shapes)
    if path.suffix != SEVERAL:
        if len(shapes) > 1:
            expected = f"an {SEVERAL} file with the arrays {listed}"
            step = "write it with numpy.savez: float32 or int8, the batch first"
            raise RuntimeFailure(str(path), "the network has several inputs", expected=expected, next_step=step)
        (name,) = shapes
        return {name: unpack_array(read_bounded(path, LARGEST_ARRAYS_BYTES, _STEP), str(path), _STEP)}
    step = f"write it with numpy.savez: the arrays {listed}, float32 or int8, the batch first"
    file = ArrayFile(read_bounded(path, LARGEST_ARRAYS_BYTES, step), str(path), step)
    if set(file.headers) != set(shapes):
        got = ", ".join(f"'{name[:80]}'" for name in list(file.headers)[:16]) or "no array"
        raise RuntimeFailure(str(path), "not the network's inputs", expected=listed, got=got, next_step=step)
    return file.read(file.headers)


def _both(values: npt.NDArray[Any], where: str, quant: Quant) -> tuple[F32, I8]:
    """Real numbers and codes, of which the array has one kind."""
    if values.dtype.name == "int8":
        return dequantise(values, quant), values
    real = _real(values, where, f"{', '.join(_REALS)} (real numbers) or int8 (codes)")
    return real, quantise(real, quant)


def _real(values: npt.NDArray[Any], where: str, expected: str = f"{', '.join(_REALS)} (real numbers)") -> F32:
    if values.dtype.name not in _REALS:
        raise RuntimeFailure(where, "type of the values", expected=expected, got=values.dtype.name)
    with np.errstate(over="ignore"):  # float64 beyond float32 becomes infinity
        real = values.astype(np.float32)
    if not np.isfinite(real).all():
        raise RuntimeFailure(where, "values that are not finite", expected="finite numbers")
    return real
