"""Checkpoints of tinyscene and published ones: read exactly, or refused in one line."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from tinyscene.runtime.errors import TinysceneError
from tinyscene.runtime.spec import preset
from tinyscene.training.fit.fit import predict_logits
from tinyscene.training.models.build import build_model
from tinyscene.training.models.checkpoint import load_any, load_model, save_model
from tinyscene.training.models.config import MODELS, named_config

SIZES = [name for name, config in MODELS.items() if config.arch == "cp_mobile"]


def test_real_checkpoint_reproduces_its_logits(shared_data: Path) -> None:
    loaded = load_any(shared_data / "cpm23" / "cpm23.ckpt")
    assert loaded.config == MODELS["cpm23-32l"]
    assert loaded.frontend == preset("cpm23")
    assert len(loaded.labels) == 10
    assert loaded.labels[0] == "airport"
    with np.load(shared_data / "golden" / "cpm23_real_weights.npz") as golden:
        with torch.no_grad():
            logits = loaded.model(torch.from_numpy(golden["log_mel"].astype(np.float32))[:, None]).numpy()
        np.testing.assert_allclose(logits, golden["logits"], atol=1e-4)
        from_audio = predict_logits(loaded.model, loaded.frontend, golden["audio_32k"].astype(np.float32))
        np.testing.assert_allclose(from_audio, golden["logits"], atol=1e-3)
        x = torch.from_numpy(golden["log_mel"].astype(np.float32))[:1, None]
        seen: dict[str, torch.Tensor] = {}
        for name, module in loaded.model.named_modules():
            if f"act_{name}" in golden:
                module.register_forward_hook(lambda m, i, o, name=name: seen.__setitem__(name, o))
        with torch.no_grad():
            loaded.model(x)
        assert len(seen) == 8
        for name, output in seen.items():
            np.testing.assert_allclose(output.numpy(), golden[f"act_{name}"], atol=1e-4)


@pytest.mark.parametrize("name", SIZES)
def test_sizes_are_inferred_from_shapes(name: str, tmp_path: Path) -> None:
    state = build_model(MODELS[name]).state_dict()
    public = {f"model.{key}": tensor for key, tensor in state.items()}
    torch.save({"state_dict": public, "epoch": 3}, tmp_path / "public.ckpt")
    loaded = load_any(tmp_path / "public.ckpt")
    read = loaded.model.state_dict()
    assert loaded.config == MODELS[name]
    assert list(read) == list(state)
    assert all(torch.equal(read[key], state[key]) for key in state)


def test_an_unpublished_size_is_inferred_too(tmp_path: Path) -> None:
    config = MODELS["cpm23-16"].model_copy(
        update={"base_channels": 40, "channels_multiplier": 1.3, "expansion_rate": 2.7, "n_classes": 4}
    )
    model = build_model(config).eval()
    torch.save(model.state_dict(), tmp_path / "plain.pt")
    loaded = load_any(tmp_path / "plain.pt")
    x = torch.randn(1, 1, 256, 64)
    with torch.no_grad():
        torch.testing.assert_close(loaded.model(x), model(x))
    assert loaded.labels == ("class_0", "class_1", "class_2", "class_3")


def test_own_checkpoint_round_trip(tmp_path: Path) -> None:
    config = named_config("dcase25", n_classes=3, padding="same")
    model = build_model(config).eval()
    metrics = {"accuracy": 0.5, "per_device": {"a": 1.0}}
    path = tmp_path / "new" / "student.pt"
    save_model(path, model, config, preset("dcase25"), ("x", "y", "z"), metrics)
    assert [p.name for p in path.parent.iterdir()] == ["student.pt"]
    for load in (load_model, load_any):
        loaded = load(path)
        assert (loaded.config, loaded.frontend, loaded.labels) == (config, preset("dcase25"), ("x", "y", "z"))
        assert loaded.metrics == metrics
        assert not loaded.model.training
        for name, tensor in model.state_dict().items():
            assert torch.equal(loaded.model.state_dict()[name], tensor)


class Harmful:
    """Would run code on an unsafe load."""

    def __reduce__(self) -> tuple[object, ...]:
        return (print, ("executed",))


def _write_bad(kind: str, path: Path) -> None:
    good = build_model(MODELS["cpm23-8"]).state_dict()
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "garbage":
        path.write_bytes(bytes(range(256)) * 40)
    elif kind == "truncated":
        torch.save({"state_dict": good}, path)
        path.write_bytes(path.read_bytes()[:-3000])
    elif kind == "code":
        torch.save({"state_dict": good, "extra": Harmful()}, path)
    elif kind == "other net":
        torch.save({"state_dict": build_model(MODELS["ds-cnn-64"]).state_dict()}, path)
    elif kind == "missing tensor":
        torch.save({key: t for key, t in good.items() if key != "feed_forward.1.bias"}, path)
    elif kind == "shape":
        torch.save({**good, "stages.s1.b1.block.0.0.weight": torch.zeros(17, 8, 1, 1)}, path)
    elif kind == "nan":
        torch.save({**good, "feed_forward.1.bias": torch.full((10,), float("nan"))}, path)
    elif kind == "no state":
        torch.save({"hello": 1}, path)
    elif kind == "future":
        torch.save({"format": "tinyscene checkpoint 9"}, path)


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("missing", "no such file"),
        ("empty", "not a readable checkpoint"),
        ("garbage", "not a readable checkpoint"),
        ("truncated", "not a readable checkpoint"),
        ("code", "Python objects"),
        ("other net", "contains no network that tinyscene knows"),
        ("missing tensor", "feed_forward.1.bias"),
        ("shape", "17"),
        ("nan", "not finite"),
        ("no state", "no state dict"),
        ("future", "unknown checkpoint format"),
    ],
)
def test_refusals(kind: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "net.ckpt"
    _write_bad(kind, path)
    with pytest.raises(TinysceneError, match=re.escape(says)) as refusal:
        load_any(path)
    assert "\n" not in str(refusal.value)
    assert str(path) in str(refusal.value)
    assert "executed" not in capsys.readouterr().out


def test_metrics_that_are_not_numbers_are_stored_as_nothing(tmp_path: Path) -> None:
    """JSON has no NaN: a device without clips has no accuracy."""
    config = named_config("cpm23-8", n_classes=2)
    metrics = {"accuracy": float("nan"), "per_device": {"a": 0.5, "b": float("inf")}}
    save_model(tmp_path / "m.pt", build_model(config), config, preset("cpm23"), ("x", "y"), metrics)
    assert load_model(tmp_path / "m.pt").metrics == {"accuracy": None, "per_device": {"a": 0.5, "b": None}}
