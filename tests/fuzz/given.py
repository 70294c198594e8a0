"""Readers of what users give beside a model: network inputs (.npy, .npz, folders of them), and text files of labels.

The content of INPUTS is one file: .npz for a network of two inputs if it begins as a zip file does, .npy for one with a
single input otherwise. It is read alone, and in a folder with another one that is right. Warnings are escapes.
"""

from __future__ import annotations

import io
import random
import shutil
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import cast

import numpy as np

from tests.graphs import Builder
from tinyscene.firmware_harness.emit.model import emit
from tinyscene.runtime.arith import ROUNDINGS
from tinyscene.runtime.arrays import I8
from tinyscene.runtime.graph import Graph
from tinyscene.runtime.interpreter import run
from tinyscene.runtime.model import Model, described, labels_of
from tinyscene.runtime.network_inputs import read_inputs
from tinyscene.runtime.npz import pack_arrays
from tinyscene.runtime.printable import printable

from .mutate import FLOATS, mutate_bytes, mutate_lines, mutate_npy, mutate_zip
from .readers import Reader, scratch, written

ZIP = b"PK"
ROWS_RUN = 2
_TYPES = ("int8", "uint8", "int32", "bool", "float16", "float32", "float64", ">f8", "longdouble", "complex64")
_LABELS = ("bus", "park", "Straße", "tram station")


@dataclass(frozen=True)
class _File:
    """A model that was read from a file: neither labels nor a front end; the first input's channels come first."""

    graph: Graph
    path: Path = Path("model.onnx")
    frontend: None = None

    @property
    def labels(self) -> tuple[str, ...]:
        return labels_of(self.graph)

    @property
    def input_axes(self) -> dict[str, tuple[int, ...]]:
        return {self.graph.inputs[0]: (0, 2, 3, 1)}


@lru_cache(maxsize=2)
def _model(inputs: int) -> Model:
    b = Builder(np.random.default_rng(0), "net", (3, 4, 2))
    names = [b.input, *(b.new_input(f"input_{number}", (3, 4, 2)) for number in range(1, inputs))]
    x = b.add(names[0], names[-1])
    graph = b.graph(b.fully_connected(b.reshape(x, (1, 24)), len(_LABELS)))
    return cast(Model, _File(graph))


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _input_seeds() -> Iterable[bytes]:
    real = np.random.default_rng(0).normal(0.0, 2.0, (2, 2, 3, 4))
    for dtype in ("float32", "float64", ">f4", "float16", "int8"):
        yield _npy(real.astype(dtype))
    yield _npy(np.asfortranarray(real.astype(np.float32)))
    yield pack_arrays({"input": real.astype(np.float32), "input_1": real.reshape(2, 3, 4, 2).astype(np.int8)})


def _mutate_input(data: bytes, rng: random.Random) -> bytes:
    return mutate_zip(data, rng, _mutate_array) if data.startswith(ZIP) else _mutate_array("", data, rng)


def _mutate_array(name: str, data: bytes, rng: random.Random) -> bytes:
    """An .npy file with values, type or batch changed, or its bytes."""
    kind = rng.randrange(6)
    try:
        array = np.load(io.BytesIO(data), allow_pickle=False)
        if kind == 0:
            array = np.concatenate([array, array[: rng.randrange(3)]])[rng.randrange(2) :]
        elif kind == 1:
            array = array.astype(rng.choice(_TYPES))
        elif kind < 4:
            flat = array.reshape(-1)
            flat[rng.randrange(flat.size)] = np.array(rng.choice(FLOATS)).astype(array.dtype)
        else:
            return mutate_npy(name, data, rng)
    except Exception:  # damaged already, or no room for the change
        return mutate_npy(name, data, rng)
    return _npy(array)


def _read_inputs(data: bytes) -> None:
    several = data.startswith(ZIP)
    model, suffix, *_ = (_model(2), ".npz") if several else (_model(1), ".npy")
    folder = scratch() / "inputs"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / f"b{suffix}").write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        alone = read_inputs(folder / f"b{suffix}", model)
        (folder / f"a{suffix}").write_bytes(list(_input_seeds())[-1 if several else 0])
        both = read_inputs(folder, model)
        assert np.array_equal(both.codes[2:], alone.codes)
        assert np.array_equal(both.real[2:], alone.real)
        assert len(alone.names) == len(alone.real) == len(alone.codes)
        codes: I8 = alone.codes[:ROWS_RUN]
        for rounding in ROUNDINGS:
            run(model.graph, codes, rounding=rounding)


def _label_seeds() -> Iterable[bytes]:
    yield "\n".join(_LABELS).encode()
    yield "\r\n".join([*_LABELS, ""]).encode("utf-8-sig")


def _read_labels(data: bytes) -> None:
    model = described(_model(1), labels=written("labels.txt", data))
    assert len(model.labels) == len(_LABELS)
    for label in model.labels:
        assert "\n" not in printable(label)
    emit(replace(model.graph, labels=model.labels))


def _mutate_labels(data: bytes, rng: random.Random) -> bytes:
    return (mutate_lines if rng.random() < 0.7 else mutate_bytes)(data, rng)


INPUTS = Reader(_read_inputs, _input_seeds, _mutate_input, 4096)
LABELS = Reader(_read_labels, _label_seeds, _mutate_labels, 2048)
