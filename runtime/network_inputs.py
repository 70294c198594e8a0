"""Inputs of a network from .npy files: real numbers, or int8 codes, in the network's own shape with the batch first.

The shape is that of the model's file: images of an ONNX file have their channels before height and width.

A folder stands for its .npy files in the order of their names. Refuses other types and shapes, NaN and infinity, an
empty batch, and more inputs than fit the memory of a small machine.
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
from .model import Model
from .npz import LARGEST_ARRAYS_BYTES, unpack_array
from .system_errors import about

SUFFIX = ".npy"
_REALS = ("float16", "float32", "float64")


@dataclass(frozen=True, eq=False)
class NetworkInputs:
    """``real``: float32 (n, ...), ``codes``: int8 (n, ...), ``names``: file and row of each input."""

    real: F32
    codes: I8
    names: tuple[str, ...]


def read_inputs(path: Path, model: Model) -> NetworkInputs:
    """The inputs in a file, or in the .npy files of a folder.

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
        files = sorted(file for file in path.iterdir() if file.suffix == SUFFIX)
        n_bytes = sum(file.stat().st_size for file in files)
    if n_bytes > LARGEST_ARRAYS_BYTES:
        expected = f"at most {LARGEST_ARRAYS_BYTES:,} bytes"
        raise RuntimeFailure(str(path), "too many inputs", expected=expected, got=f"{n_bytes:,}")
    if not files:
        raise RuntimeFailure(str(path), f"no {SUFFIX} files", next_step="write them with numpy.save")
    return files


def _read(path: Path, model: Model) -> NetworkInputs:
    step = "write it with numpy.save: float32 or int8, the batch first"
    values = unpack_array(read_bounded(path, LARGEST_ARRAYS_BYTES, step), str(path), step)
    own = model.graph.tensors[model.graph.input].shape
    axes = model.input_axes or tuple(range(len(own)))
    shape = tuple(own[axes.index(axis)] for axis in range(1, len(own)))
    if values.shape[1:] != shape or values.ndim == 0 or len(values) == 0:
        expected = f"(batch, {', '.join(map(str, shape))})"
        raise RuntimeFailure(str(path), "not the shape of the network's input", expected=expected, got=values.shape)
    names = tuple(f"{path.name}[{row}]" for row in range(len(values)))
    real, codes = _both(np.ascontiguousarray(values.transpose(axes)), path, model)
    return NetworkInputs(real, codes, names)


def _both(values: npt.NDArray[Any], path: Path, model: Model) -> tuple[F32, I8]:
    """Real numbers and codes, of which the array has one kind."""
    quant = model.graph.tensors[model.graph.input].quant
    if values.dtype.name == "int8":
        return dequantise(values, quant), values
    if values.dtype.name not in _REALS:
        expected = f"{', '.join(_REALS)} (real numbers) or int8 (codes)"
        raise RuntimeFailure(str(path), "type of the values", expected=expected, got=values.dtype.name)
    real = values.astype(np.float32)
    if not np.isfinite(real).all():
        raise RuntimeFailure(str(path), "values that are not finite", expected="finite numbers")
    return real, quantise(real, quant)
