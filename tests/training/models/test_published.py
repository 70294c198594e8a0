"""Published checkpoints: a whole network is found in any wrapper, with its own logits, or refused truthfully."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.models.wrappers import State, baseline_tables, safetensors, torchaudio_bank, under, weights
from tinyscene import command_line
from tinyscene.runtime.errors import TinysceneError
from tinyscene.runtime.spec import FrontendSpec, preset
from tinyscene.training.errors import TrainingError
from tinyscene.training.models.build import build_model
from tinyscene.training.models.checkpoint import LoadedModel, load_any
from tinyscene.training.models.config import MODELS, ModelConfig, named_config

NET, OTHER = weights(), weights(seed=1)
PREFIXES = (
    "",
    "_orig_mod.",
    "model._orig_mod.",
    "module.",
    "_forward_module.model.",
    "net.",
    "multi_device_model.base_model.",
    "ema_model.",
    "in_c.0.",  # ends like a name of the network itself
    "a.b-c.9._x.model.module.backbone.student.wrapped.encoder.",
)


def loaded(tmp_path: Path, content: object, **options: str) -> LoadedModel:
    torch.save(content, tmp_path / "net.ckpt")
    return load_any(tmp_path / "net.ckpt", **options)


def has_weights(model: LoadedModel, state: State) -> bool:
    read = model.model.state_dict()
    return read.keys() == state.keys() and all(torch.equal(read[name], t) for name, t in state.items())


@pytest.mark.parametrize("prefix", PREFIXES)
def test_any_prefix(prefix: str, tmp_path: Path) -> None:
    assert has_weights(loaded(tmp_path, under(prefix, NET)), NET)


CONTAINERS = {
    "model": {"model": NET},
    "model_state_dict": {"model_state_dict": under("module.", NET), "optimizer_state_dict": {"state": {}}},
    "state_dict": {"state_dict": under("model.", NET), "epoch": 149},
    "ema": {"ema": NET, "step": 3},
    "nested": {"checkpoint": {"weights": {"student": under("_orig_mod.", NET)}}},
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_containers(name: str, tmp_path: Path) -> None:
    assert has_weights(loaded(tmp_path, CONTAINERS[name]), NET)


def test_dictionaries_that_hold_themselves_are_refused(tmp_path: Path) -> None:
    content: dict[str, object] = {}
    content.update(dict.fromkeys(map(str, range(40)), content))
    with pytest.raises(TrainingError, match="over 200,000 entries"):
        loaded(tmp_path, content)


def test_companions_are_ignored_and_named(tmp_path: Path) -> None:
    beside = {
        "proj_layer.weight": torch.randn(3, 4),
        "criterion.weight": torch.ones(10),
        "n_averaged": torch.tensor(3),
        "model.auxiliary.bias": torch.ones(2),
        "kd.temperature": torch.tensor(2.0),
    }
    read = loaded(tmp_path, {"state_dict": {**under("model.", NET), **beside}, "optimizer_states": [{"state": {}}]})
    assert has_weights(read, NET)
    (note,) = (note for note in read.notes if note.startswith("ignored"))
    assert "'state_dict.proj_layer.weight', 'state_dict.criterion.weight', 'state_dict.n_averaged' and 3 more" in note


def test_counters_can_be_missing(tmp_path: Path) -> None:
    read = loaded(tmp_path, {name: t for name, t in NET.items() if "num_batches" not in name})
    assert torch.equal(read.model(torch.ones(1, 1, 64, 16)), built("cpm23-8", NET)(torch.ones(1, 1, 64, 16)))


def test_counters_of_a_network_converted_as_a_whole(tmp_path: Path) -> None:
    assert loaded(tmp_path, {name: t.double() for name, t in NET.items()}).config == MODELS["cpm23-8"]


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_other_types_become_float32(kind: torch.dtype, tmp_path: Path) -> None:
    state = {name: t.to(kind) if t.is_floating_point() else t for name, t in NET.items()}
    as_float = {name: t.float() if t.is_floating_point() else t for name, t in state.items()}
    assert has_weights(loaded(tmp_path, under("model.", state)), as_float)
    (tmp_path / "net.safetensors").write_bytes(safetensors(under("model.", state), {"format": "pt"}))
    assert has_weights(load_any(tmp_path / "net.safetensors"), as_float)


def test_weights_beyond_the_type_are_refused(tmp_path: Path) -> None:
    state = {**NET, "in_c.0.0.weight": torch.full((2, 1, 3, 3), 1e9).half()}
    with pytest.raises(TrainingError, match=r"'in_c\.0\.0\.weight' is not finite"):
        loaded(tmp_path, state)


def built(name: str, state: State) -> torch.nn.Module:
    model = build_model(MODELS[name]).eval()
    model.load_state_dict(state)
    return model


TWO = {
    "average": ({"model": NET, "ema": OTHER}, "'ema.' (CP-Mobile)"),
    "averaged module": ({**under("model.", NET), **under("model_ema.module.", OTHER)}, "'model_ema.module.'"),
    "teacher": ({**under("model.", NET), **under("teacher_model.", weights("cpresnet-33k"))}, "(CP-ResNet)"),
    "devices": (
        {**under("m.base_model.", NET), **under("m.device_models.a.", OTHER), **under("m.device_models.b.", OTHER)},
        "'m.device_models.a.' (CP-Mobile), 'm.device_models.b.' (CP-Mobile)",
    ),
}


@pytest.mark.parametrize("name", TWO)
def test_copies_are_ignored_and_can_be_chosen(name: str, tmp_path: Path) -> None:
    content, said = TWO[name]
    read = loaded(tmp_path, content)
    assert has_weights(read, NET)
    assert said in read.notes[0]
    assert "--prefix" in read.notes[0]
    if name == "devices":
        assert has_weights(load_any(tmp_path / "net.ckpt", prefix="device_models.b"), OTHER)


def test_several_networks_are_refused_by_name_unless_they_are_equal(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=re.escape("got 'a.' (CP-Mobile), 'b.' (CP-Mobile); next: choose one with")):
        loaded(tmp_path, {"a": NET, "b": OTHER})
    assert has_weights(load_any(tmp_path / "net.ckpt", prefix="b."), OTHER)
    with pytest.raises(TrainingError, match="no network under this prefix"):
        load_any(tmp_path / "net.ckpt", prefix="c.")
    assert has_weights(loaded(tmp_path, {"a": NET, "b": NET}), NET)


MODIFIED = {
    "one more layer": ({**NET, "stages.s1.b1.se.fc.weight": torch.ones(2, 2)}, "further tensor 'stages.s1.b1.se.fc.w"),
    "one block missing": (
        under("model.", {name: t for name, t in NET.items() if ".b5." not in name}),
        "tensor 'model.stages.s2.b5.",
    ),
    "one tensor missing": ({n: t for n, t in NET.items() if n != "in_c.0.0.weight"}, "'in_c.0.0.weight' is missing"),
    "two channels": ({**NET, "in_c.0.0.weight": torch.zeros(2, 2, 3, 3)}, "another shape"),
    "empty tensor": ({**NET, "feed_forward.0.weight": torch.zeros(10, 0, 1, 1)}, "another shape"),
    "another network": ({"features.0.weight": torch.zeros(3)}, "contains no network that tinyscene knows"),
}


@pytest.mark.parametrize("name", MODIFIED)
def test_modified_networks_are_refused(name: str, tmp_path: Path) -> None:
    content, message = MODIFIED[name]
    with pytest.raises(TrainingError, match=re.escape(message)) as refusal:
        loaded(tmp_path, content)
    assert "\n" not in str(refusal.value)


NAMES = st.text("abxyz_0-", min_size=1, max_size=6)


@settings(deadline=None, max_examples=20)
@given(
    words=st.lists(NAMES, max_size=5),
    companions=st.dictionaries(NAMES, st.integers(1, 3), max_size=5),
    safe=st.booleans(),
)
def test_random_prefixes_and_companions(words, companions, safe, tmp_path_factory) -> None:
    path = tmp_path_factory.getbasetemp() / "random.ckpt"
    prefix = "".join(f"{word}." for word in words)
    state = {**{name: torch.zeros(axes) for name, axes in companions.items()}, **under(prefix, NET)}
    if safe:
        path.write_bytes(safetensors(state))
    else:
        torch.save(state, path)
    read = load_any(path)
    assert has_weights(read, NET)
    assert all(any(name in note for note in read.notes) for name in list(companions)[:3])


RESNETS: dict[str, ModelConfig] = {
    "128k": named_config("cpresnet-128k"),
    "33k, four classes": named_config("cpresnet-33k", n_classes=4),
    "small field": MODELS["cpresnet-33k"].model_copy(update={"rho": 2}),
    "large field, two blocks": MODELS["cpresnet-33k"].model_copy(update={"rho": 11, "blocks_per_stage": (2, 2, 2)}),
    "groups and cuts": MODELS["cpresnet-33k"].model_copy(
        update={"groups_s1": 2, "groups_s2": 4, "groups_s3": 2, "cut_channels_s2": 8, "cut_channels_s3": 4}
    ),
    "one width": MODELS["cpresnet-33k"].model_copy(update={"channels_multiplier": 1.0, "cut_channels_s3": 0}),
    "three blocks": MODELS["cpresnet-33k"].model_copy(update={"blocks_per_stage": (3, 1, 1)}),
}


@pytest.mark.parametrize("name", RESNETS)
def test_cp_resnet_round_trip(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = build_model(RESNETS[name]).eval()
    for parameter in model.parameters():  # the second convolution of a block starts at 0
        torch.nn.init.normal_(parameter, std=0.2)
    read = loaded(tmp_path, {"state_dict": under("model.", model.state_dict())})
    x = torch.randn(2, 1, 64, 24)
    with torch.no_grad():
        assert torch.equal(read.model(x), model(x))
    assert read.frontend == preset("cpresnet")
    assert any("max pools" in note for note in read.notes)


def test_kernels_of_no_receptive_field_are_refused(tmp_path: Path) -> None:
    state = weights("cpresnet-33k")
    state["stage3.block1.conv2.weight"] = torch.zeros(46, 46, 5, 5)
    with pytest.raises(TrainingError, match="no receptive field of CP-ResNet gives these kernels"):
        loaded(tmp_path, state)
    state["stage3.block1.conv2.weight"] = torch.zeros(46, 46, 1, 3)
    with pytest.raises(TrainingError, match="another shape"):
        loaded(tmp_path, state)
    state = weights("cpresnet-33k") | {"stage2.block1.conv1.weight": torch.zeros(32, 3, 3, 3)}
    with pytest.raises(TrainingError, match="groups that do not divide"):
        loaded(tmp_path, state)


def test_import_prints_notes_once_and_lists_them(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path, out = tmp_path / "base.ckpt", tmp_path / "base.pt"
    torch.save({"state_dict": {**under("model.", weights("dcase25")), **baseline_tables()}}, path)
    assert command_line.main(["import", str(path)]) == 0
    printed = capfd.readouterr()
    assert "front end dcase25" in printed.out
    assert [line for line in printed.err.splitlines() if not line.startswith(f"note: {path}: ")] == []
    assert command_line.main(["import", str(path), "--overwrite", "--json", "--quiet"]) == 0
    printed = capfd.readouterr()
    assert any("dcase25" in note for note in json.loads(printed.out)["notes"])
    assert printed.err == ""
    assert command_line.main(["check", str(path), "--max-macs", "40M", "--max-size", "1MB"]) == 0
    assert len(capfd.readouterr().err.splitlines()) == len(load_any(path).notes)
    assert load_any(out).notes == ()


def test_labels_are_those_of_the_file_or_given(tmp_path: Path) -> None:
    names = [f"scene {i}" for i in range(10)]
    assert loaded(tmp_path, {"state_dict": NET, "hyper_parameters": {"label_ids": names}}).labels == tuple(names)
    assert loaded(tmp_path, {"state_dict": NET, "classes": names[:9], "class_order": ["a"] * 10}).labels[0] == "airport"
    (tmp_path / "labels.txt").write_text("\n".join(reversed(names)))
    read = load_any(tmp_path / "net.ckpt", labels=tmp_path / "labels.txt")
    assert read.labels == tuple(reversed(names))
    assert any("labels.txt" in note for note in read.notes)
    (tmp_path / "labels.txt").write_text("one\ntwo\n")
    with pytest.raises(TinysceneError, match="labels do not fit the network"):
        load_any(tmp_path / "net.ckpt", labels=tmp_path / "labels.txt")


def test_import_with_another_front_end(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "net.ckpt"
    torch.save({**under("model.", weights("dcase25")), "mel.fb": torchaudio_bank(44_100, 4096, 256, 0, 22_050)}, path)
    (tmp_path / "f.json").write_text(json.dumps({**preset("dcase25").to_json(), "hop_length": 640, "name": "mine"}))
    words = ["import", str(path), "--overwrite", "--frontend", str(tmp_path / "f.json")]
    assert command_line.main(words) == 0
    assert "the file shows sample_rate_hz 44100, f_max_hz 22050" in capfd.readouterr().err
    spec = load_any(tmp_path / "net.pt").frontend
    assert spec == FrontendSpec.from_json(json.loads((tmp_path / "f.json").read_text()))
    assert command_line.main(["import", str(tmp_path / "net.pt"), "--frontend", "cpm23"]) == 2
    assert "has one network, its front end and its labels" in capfd.readouterr().err
