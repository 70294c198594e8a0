"""Checkpoints: mutated as members of their zip file, as the values that their pickle holds, and as the header of a
safetensors file.
"""

from __future__ import annotations

import io
import json
import random
import struct
from collections.abc import Iterable
from typing import Any

import torch

from tests.training.models.own_networks import SHAPE, TINY, Own
from tests.training.models.wrappers import resampling_kernel, safetensors, torchaudio_bank
from tinyscene.runtime.spec import preset
from tinyscene.training.models.build import build_model
from tinyscene.training.models.checkpoint import load_any, save_model
from tinyscene.training.models.checkpoint_file import read_container
from tinyscene.training.models.config import named_config
from tinyscene.training.models.exported import program_network
from tinyscene.training.models.safetensors_file import is_safetensors

from .mutate import FLOATS, mutate_bytes, mutate_json, mutate_zip
from .readers import Reader, scratch, written


def _checkpoint_seeds() -> Iterable[bytes]:
    config, frontend = named_config("cpm23-8", n_classes=2), preset("cpm23")
    model = build_model(config).eval()
    path = scratch() / "seed.pt"
    save_model(path, model, config, frontend, ("a", "b"), {"accuracy": 0.5})
    yield path.read_bytes()
    own = program_network(Own(), SHAPE)
    save_model(path, own, own.program, TINY, ("a", "b", "c"), {})
    yield path.read_bytes()
    small = torch.load(path, weights_only=True)
    small["state"] = dict(list(small["state"].items())[:2])
    public = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    for content in (small, {"state_dict": public}, {"state_dict": dict(list(public.items())[:3])}, {"a": [1, None]}):
        yield _saved(content)
    yield _saved({"state_dict": {**public, **_tables()}, "hyper_parameters": {"n_mels": 8, "config": {"hop": 64}}})
    two = {"model": {f"net.{name}": t.half() for name, t in model.state_dict().items()}, "ema": model.state_dict()}
    yield _saved({**two, "optimizer": {"state": {0: {"step": torch.tensor(1)}}, "param_groups": [1]}})


def _tables() -> dict[str, torch.Tensor]:
    """What a small front end leaves in a checkpoint."""
    return {
        "mel.0.kernel": resampling_kernel(16_000, 8_000),
        "mel.1.spectrogram.window": torch.hann_window(128),
        "mel.1.mel_scale.fb": torchaudio_bank(8_000, 128, 8, 0, 4_000),
        "mel.preemphasis": torch.tensor([-0.97, 1.0]),
    }


def _saved(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def _mutate_checkpoint(data: bytes, rng: random.Random) -> bytes:
    """The content saved again with one value changed, or a member of the zip file changed as bytes."""
    kind = rng.random()
    if kind < 0.5:
        return mutate_zip(data, rng, lambda _, content, rng: mutate_bytes(content, rng))
    try:
        content = torch.load(io.BytesIO(data), weights_only=True)
        _change_content(content, rng)
        return _saved(content)
    except Exception:  # damaged already
        return mutate_bytes(data, rng)


def _change_content(content: dict[str, Any], rng: random.Random) -> None:
    if isinstance(content.get("record"), str) and rng.random() < 0.6:
        content["record"] = mutate_json(content["record"].encode(), rng).decode(errors="replace")
        return
    state = next((content[key] for key in ("state", "state_dict") if isinstance(content.get(key), dict)), content)
    name = rng.choice(list(state))
    kind, old = rng.randrange(7), state[name]
    if kind == 0:
        del state[name]
    elif kind == 1:
        state[rng.choice(("x", "model.x", 5, None, json.dumps(name)))] = old
    elif not isinstance(old, torch.Tensor):
        state[name] = rng.choice((None, 3, "x", [1], {"a": 1}, *FLOATS, torch.zeros(2)))
    elif kind == 2:
        state[name] = old.expand(rng.choice((0, 2, 2**20, 2**40)), *old.shape)
    elif kind == 3:
        state[name] = old.to(rng.choice((torch.float64, torch.int8, torch.bool, torch.complex64, torch.bfloat16)))
    elif kind == 4:
        state[name] = rng.choice((old.reshape(-1), old.unsqueeze(0), old[:0] if old.ndim else old, old.to_sparse()))
    elif kind == 5:
        state[name] = torch.full_like(old, rng.choice((0, 1, 2))) / 0
    else:
        state[name] = rng.choice((None, 3, "x", [old], torch.nn.Parameter(old.float()), torch.zeros(1, device="meta")))


def _read(data: bytes) -> None:
    loaded = load_any(written("m.pt", data))
    with torch.no_grad():
        loaded.model(*(torch.zeros(1, *shape) for shape in loaded.input_shapes.values()))


def _safetensors_seeds() -> Iterable[bytes]:
    yield safetensors(_tables(), {"format": "pt"})
    kinds = (torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.bool)
    yield safetensors({f"a.{kind}": torch.ones(2, 3).to(kind) for kind in kinds} | {"empty": torch.zeros(0, 4)})
    yield safetensors({})


def _read_safetensors(data: bytes) -> None:
    path = written("m.safetensors", data)
    for tensor in read_container(path).values() if is_safetensors(path) else ():
        str(tensor)


def _mutate_safetensors(data: bytes, rng: random.Random) -> bytes:
    """The header as JSON, with its length kept right, or any of the bytes."""
    length = int.from_bytes(data[:8], "little")
    if rng.random() < 0.3 or not 0 < length <= len(data) - 8:
        return mutate_bytes(data, rng)
    header = mutate_json(data[8 : 8 + length], rng)
    return struct.pack("<Q", len(header)) + header + data[8 + length :]


CHECKPOINT = Reader(_read, _checkpoint_seeds, _mutate_checkpoint, 262_144)
SAFETENSORS = Reader(_read_safetensors, _safetensors_seeds, _mutate_safetensors)
