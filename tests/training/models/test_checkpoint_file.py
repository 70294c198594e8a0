"""Checkpoints from anywhere: nothing runs, nothing is allocated by declaration, and each refusal is one line."""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tinyscene.runtime.spec import preset
from tinyscene.training.errors import TrainingError
from tinyscene.training.models.build import build_model
from tinyscene.training.models.checkpoint import load_any, save_model
from tinyscene.training.models.config import MODELS

STATE = build_model(MODELS["cpm23-8"]).state_dict()
FIRST = "in_c.0.0.weight"


def saved(path: Path, content: object) -> None:
    torch.save(content, path)


def changed(name: str, tensor: torch.Tensor) -> Callable[[Path], None]:
    return lambda path: saved(path, {**STATE, name: tensor})


def recompressed(path: Path) -> None:
    """A zip bomb in small: storages deflated."""
    saved(path, STATE)
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)


def with_packed_size(path: Path) -> None:
    """An entry that declares 1 GiB in the file for its few bytes; zipfile would ask for as much at once."""
    saved(path, STATE)
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02") + 20  # the central directory's compressed size
    data[at : at + 4] = (2**30).to_bytes(4, "little")
    path.write_bytes(data)


def with_pickle(data: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        saved(path, STATE)
        with zipfile.ZipFile(path) as archive:
            entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in entries.items():
                archive.writestr(name, data if name.endswith("data.pkl") else content)

    return write


def nested_key() -> bytes:
    """A dictionary whose key is a tuple of 2^60 parts in 200 bytes; its hash would take years."""
    parts = [b"\x80\x02}", b"K\x01", b"q\x00"]
    for level in range(60):
        parts += [bytes([ord("h"), level]), b"\x86", bytes([ord("q"), level + 1])]  # BINGET, TUPLE2, BINPUT
    return b"".join([*parts, b"K\x01s."])


def own(**changes: object) -> Callable[[Path], None]:
    """Our own format with another configuration in its record."""

    def write(path: Path) -> None:
        config = MODELS["cpm23-8"]
        save_model(path, build_model(config), config, preset("cpm23"), tuple("abcdefghij"), {})
        content = torch.load(path, weights_only=True)
        record = content["record"]
        for name, value in changes.items():
            record = re.sub(rf'"{name}": [^,}}]+', f'"{name}": {value}', record)
        saved(path, {**content, "record": record})

    return write


REFUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "10^12 elements of one": (changed(FIRST, torch.zeros(1).expand(10**6, 10**6, 1, 1)), "has more elements than data"),
    "compressed": (recompressed, "compressed entries, which torch.save does not write"),
    "packed size of 2^30": (with_packed_size, "compressed entries, which torch.save does not write"),
    "bytearray of 2^40": (with_pickle(b"\x80\x02cbuiltins\nbytearray\n\x8a\x06\0\0\0\0\0\x01\x85R."), "Python objects"),
    "tensor of a size": (with_pickle(b"\x80\x02ctorch\nTensor\nJ\xff\xff\xff\x7f\x85R."), "Python objects"),
    "key of 2^60 parts": (with_pickle(nested_key()), "a tuple of over 1,000,000 parts"),
    "code": (with_pickle(pickle.dumps(print, protocol=2)), "Python objects, which are never loaded"),
    "before 1.6": (
        lambda path: torch.save(STATE, path, _use_new_zipfile_serialization=False),
        "not a readable checkpoint",
    ),
    "sparse": (changed(FIRST, torch.zeros(2, 1, 3, 3).to_sparse()), "Python objects, which are never loaded"),
    "on no device": (changed(FIRST, torch.zeros(2, 1, 3, 3, device="meta")), "Python objects|not a dense tensor"),
    "scalar instead of a weight": (changed("in_c.1.0.weight", torch.tensor(3.0)), "has another shape; expected 4"),
    "integers": (changed(FIRST, torch.zeros(2, 1, 3, 3, dtype=torch.int64)), "has another type"),
    "negative variance": (changed("in_c.0.1.running_var", -STATE["in_c.0.1.running_var"]), "has a negative variance"),
    "infinite": (changed(FIRST, torch.full((2, 1, 3, 3), float("inf"))), "is not finite"),
    "beyond float32": (changed(FIRST, torch.full((2, 1, 3, 3), 1e200, dtype=torch.float64)), "is not finite"),
    "key that is a number": (lambda path: saved(path, {1: torch.zeros(1)}), "a key that is no text"),
    "one class": (
        lambda path: saved(path, {**STATE, "feed_forward.0.weight": STATE["feed_forward.0.weight"][:1].clone()}),
        "n_classes out of range",
    ),
    "channels of 10^9": (own(base_channels=10**9), "damaged checkpoint record; got 1 validation error"),
    "channels of 4096": (own(base_channels=4096), "has another shape"),
    "rate without end": (own(expansion_rate="Infinity"), "damaged checkpoint record"),
    "record without end": (
        lambda path: saved(path, {"format": "tinyscene checkpoint 1", "record": "[" * 200_000, "state": STATE}),
        "damaged checkpoint record",
    ),
    "format that is no text": (lambda path: saved(path, {"format": [1]}), "unknown checkpoint format; .*got list"),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_what_is_refused(fault, tmp_path: Path):
    write, message = REFUSED[fault]
    path = tmp_path / "net.ckpt"
    write(path)
    with pytest.raises(TrainingError, match=message) as refusal:
        load_any(path)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert "train it again" not in str(refusal.value)


def mutants(folder: Path, seed: int, count: int) -> tuple[int, int]:
    """Numbers of refused and read files with some bytes of the pickle or of the container replaced."""
    rng, messages, path = np.random.default_rng(seed), [], folder / "net.ckpt"
    saved(path, STATE)
    original = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        entry = next(entry for entry in archive.infolist() if entry.filename.endswith("data.pkl"))
        start = original.index(archive.read(entry))
    for number in range(count):
        mutant = bytearray(original)
        low, high = (start, start + entry.file_size) if number % 2 else (len(mutant) - 8000, len(mutant))
        for _ in range(int(rng.integers(1, 4))):
            mutant[rng.integers(low, high)] = int(rng.integers(256))
        path.write_bytes(mutant)
        try:
            load_any(path)
        except TrainingError as problem:
            messages.append(str(problem))
    assert all(len(message.splitlines()) == 1 for message in messages)
    return len(messages), count - len(messages)


def test_mutants_are_refused_in_words_or_read(tmp_path: Path):
    refused, _ = mutants(tmp_path, 0, 40)
    assert refused > 10


@pytest.mark.slow
def test_many_mutants_are_refused_in_words_or_read(tmp_path: Path):
    assert sum(mutants(tmp_path, 1, 3000)) == 3000
