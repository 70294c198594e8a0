"""safetensors files: read exactly, or refused before anything is allocated."""

from __future__ import annotations

import json
import re
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training.models.wrappers import safetensors, under, weights
from tinyscene.runtime.errors import TinysceneError
from tinyscene.training.errors import TrainingError
from tinyscene.training.models.checkpoint_file import read_container

STATE = {
    "a.weight": torch.randn(3, 4),
    "half": torch.randn(5).half(),
    "brain": torch.randn(2, 3).bfloat16(),
    "count": torch.tensor(7),
    "mask": torch.tensor([True, False, True]),
    "double": torch.randn(2).double(),
    "none": torch.zeros(0, 3),
}


def test_every_type_round_trips(tmp_path: Path) -> None:
    path = tmp_path / "m.bin"  # known by its content
    path.write_bytes(safetensors(STATE, {"format": "pt"}))
    read = dict(read_container(path))
    assert read.pop("__metadata__") == {"format": "pt"}
    assert list(read) == list(STATE)
    for name, tensor in STATE.items():
        assert read[name].dtype == tensor.dtype
        assert torch.equal(read[name], tensor)


def file_of(header: object, data: bytes = bytes(8)) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def one(dtype: object = "F32", shape: object = (2,), offsets: object = (0, 8), **more: object) -> bytes:
    return file_of({"x": {"dtype": dtype, "shape": shape, "data_offsets": offsets, **more}})


MALFORMED = {
    "length beyond the file": struct.pack("<Q", 2**63) + b"{}" + bytes(8),
    "not JSON": file_of(b"{not json}"),
    "no object": file_of(b"{}]"),
    "nested": file_of(b'{"x":' + b"[" * 50_000 + b"]" * 50_000 + b"}"),
    "key twice": file_of(b'{"x":{},"x":{}}'),
    "not text": file_of(b'{"\xff":{}}'),
    "metadata of numbers": file_of({"__metadata__": {"a": 1}}),
    "no type": file_of({"x": {"shape": [2], "data_offsets": [0, 8]}}),
    "unknown type": one(dtype="F8_E4M3"),
    "unknown field": one(strides=(0,)),
    "shape of text": one(shape="2"),
    "negative axis": one(shape=(-2,)),
    "axis that is no integer": one(shape=(2.0,)),
    "axis of 2^62": one(shape=(2**62, 0), offsets=(0, 0)),
    "product of 2^80": one(shape=(2**40, 2**40, 0), offsets=(0, 0)),
    "nine axes": one(shape=(1, 1, 1, 1, 1, 1, 1, 1, 2)),
    "more than its bytes": one(shape=(3,)),
    "fewer than its bytes": one(shape=(1,)),
    "beyond the end": one(shape=(4,), offsets=(0, 16)),
    "backwards": one(offsets=(8, 0)),
    "negative offset": one(offsets=(-8, 0)),
    "one offset": one(offsets=(8,)),
    "gap before": one(shape=(1,), offsets=(4, 8)),
    "rest behind": file_of({"x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}),
    "overlap": file_of({n: {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} for n in "xy"}),
    "data without tensors": file_of({}),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_files_are_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(MALFORMED[name])
    with pytest.raises(TrainingError, match=re.escape(str(path))) as refusal:
        read_container(path)
    assert "\n" not in str(refusal.value)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a file whose first bytes cannot be read")
def test_a_file_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(TinysceneError, match="/proc/self/mem"):
        read_container(Path("/proc/self/mem"))


def test_mutants_are_refused_in_words_or_read(tmp_path: Path) -> None:
    rng, path, messages = np.random.default_rng(0), tmp_path / "m.safetensors", []
    original = safetensors(dict(list(under("model.", weights()).items())[:8]))
    (length,) = struct.unpack("<Q", original[:8])
    for _ in range(150):
        mutant = bytearray(original[: rng.integers(9, len(original)) if rng.random() < 0.2 else len(original)])
        for _ in range(int(rng.integers(1, 4))):
            mutant[rng.integers(0, min(8 + length, len(mutant)))] = int(rng.integers(256))
        path.write_bytes(mutant)
        try:
            read_container(path)
        except TrainingError as problem:
            messages.append(str(problem))
    assert len(messages) > 50
    assert not any("\n" in message for message in messages)
