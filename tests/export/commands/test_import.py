"""``tinyscene import`` of the user's own code, and what follows: export, check, inspect, and a recipe."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import soundfile
import torch

from tests.training.models.own_networks import SHAPE, TINY, FramesFirst, own
from tinyscene import command_line
from tinyscene.runtime.bundle import read_bundle
from tinyscene.training.errors import TrainingError
from tinyscene.training.models.brought import Brought, load_function
from tinyscene.training.models.checkpoint import load_any
from tinyscene.training.models.functions import module_of
from tinyscene.training.models.torch_file import write_torch

HERE = "tests.training.models.own_networks"
LABELS = ("bus", "park", "tram")


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "labels.txt"
    path.write_text("\n".join(LABELS))
    return path


@pytest.fixture
def frontend(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.json"
    path.write_text(json.dumps(TINY.to_json()))
    return path


def _run(*words: object) -> int:
    return command_line.main([str(word) for word in words])


def test_a_function_becomes_a_checkpoint_and_a_bundle(tmp_path, labels, frontend, capsys) -> None:
    network, bundle = tmp_path / "own.pt", tmp_path / "bundle"
    words = ["--input", "x".join(map(str, SHAPE)), "--frontend", frontend, "--labels", labels, "--out", network]
    assert _run("import", f"{HERE}:own", *words) == 0
    printed = capsys.readouterr()
    assert "3 labels" in printed.out
    assert printed.err == ""
    loaded, x = load_any(network), torch.randn(3, *SHAPE)
    with torch.no_grad():
        torch.testing.assert_close(loaded.model(x), own(3).eval()(x))
    assert (loaded.labels, loaded.frontend) == (LABELS, TINY)
    for seed in range(6):
        soundfile.write(tmp_path / f"{seed}.wav", 0.1 * torch.randn(40_000).numpy(), 32_000)
    assert _run("export", network, "--ptq", tmp_path, "--out", bundle, "--quiet") == 0
    assert read_bundle(bundle).labels == LABELS
    assert _run("verify", bundle, "--targets", "litert,litert-reference,ort,tflm,c-host") == 0
    capsys.readouterr()
    for command in ("check", "inspect"):
        assert _run(command, network) == 0
    assert "conv2d" in capsys.readouterr().out


def test_weights_are_loaded_strictly_by_name(tmp_path, frontend, capsys) -> None:
    state = {name: tensor + 0.1 for name, tensor in own(3).state_dict().items() if tensor.is_floating_point()}
    state["stem.1.num_batches_tracked"] = torch.tensor(5)
    write_torch(tmp_path / "w.pt", state)
    brought = f"{HERE}:Own", Brought((SHAPE,), TINY), tmp_path / "w.pt"
    loaded, notes = load_function(*brought)
    torch.testing.assert_close(loaded.model.state_dict()["head.weight"], state["head.weight"])
    assert loaded.labels == ("class_0", "class_1", "class_2")
    assert "named" not in notes[0]
    write_torch(tmp_path / "w.pt", {**state, "other": torch.ones(1)})
    with pytest.raises(TrainingError, match="unexpected tensor 'other'"):
        load_function(*brought)
    write_torch(tmp_path / "w.pt", {name: tensor for name, tensor in state.items() if name != "head.bias"})
    with pytest.raises(TrainingError, match=r"tensor 'head.bias' is missing"):
        load_function(*brought)


def test_a_front_end_is_not_assumed_where_none_is_wanted(tmp_path, capsys) -> None:
    words = ["import", f"{HERE}:own", "--input", "x".join(map(str, SHAPE)), "--out", tmp_path / "m.pt"]
    (tmp_path / "labels.txt").write_text("a\nb\nc\n")
    assert _run(*words, "--frontend", "none", "--labels", tmp_path / "labels.txt") == 0
    loaded = load_any(tmp_path / "m.pt")
    assert (loaded.frontend, loaded.labels, loaded.input_shapes) == (None, ("a", "b", "c"), {"x": SHAPE})
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("wrapped", [False, True])
def test_weights_are_found_in_any_wrapper(tmp_path, wrapped: bool) -> None:
    """Under another prefix, in half precision, without counters, beside other tensors and a moving average."""
    state = {name: tensor for name, tensor in own(3).state_dict().items() if tensor.is_floating_point()}
    content = {f"module.net.{name}": tensor.half() for name, tensor in state.items()}
    content |= {f"ema.net.{name}": tensor + 1 for name, tensor in state.items()} | {"criterion.weight": torch.ones(3)}
    write_torch(tmp_path / "w.pt", {"epoch": 3, "state_dict": content} if wrapped else content)
    loaded, _ = load_function(f"{HERE}:Own", Brought((SHAPE,), TINY), tmp_path / "w.pt")
    torch.testing.assert_close(loaded.model.state_dict()["head.weight"], state["head.weight"].half().float())
    loaded, _ = load_function(f"{HERE}:Own", Brought((SHAPE,), TINY), tmp_path / "w.pt", "ema.net")
    torch.testing.assert_close(loaded.model.state_dict()["head.weight"], state["head.weight"] + 1)


@pytest.mark.parametrize("shape", [(TINY.n_frames, TINY.n_mels), (1, TINY.n_frames, TINY.n_mels)])
@torch.no_grad()
def test_frames_may_come_first(shape) -> None:
    if len(shape) == 3:
        with pytest.raises(TrainingError, match="cannot export it"):  # it takes sequences
            load_function(f"{HERE}:FramesFirst", Brought((shape,), TINY))
        return
    loaded, _ = load_function(f"{HERE}:FramesFirst", Brought((shape,), TINY))
    x, model = torch.randn(3, *SHAPE), module_of(f"{HERE}:FramesFirst").eval()
    assert isinstance(model, FramesFirst)
    own_model = loaded.model
    own_model.load_state_dict({f"network.{name}": tensor for name, tensor in model.state_dict().items()})
    torch.testing.assert_close(own_model(x), model(x[:, 0].transpose(1, 2)))


def test_a_file_of_the_user_is_imported_by_its_path(tmp_path, monkeypatch) -> None:
    (tmp_path / "mine.py").write_text("from torch import nn\nclass Nets:\n    made = nn.Linear(2, 3)\n")
    assert isinstance(module_of(f"{tmp_path}/mine.py:Nets.made"), torch.nn.Linear)
    monkeypatch.chdir(tmp_path)
    assert isinstance(module_of("mine:Nets.made"), torch.nn.Linear)


def test_a_file_has_imports_of_its_own_folder_and_any_name(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "blocks_beside.py").write_text("from torch import nn\nBlock = nn.Linear\n")
    (tmp_path / "torch.py").write_text("from blocks_beside import Block\ndef net():\n    return Block(2, 3)\n")
    assert isinstance(module_of(f"{tmp_path}/torch.py:net"), torch.nn.Linear)
    assert sys.modules["torch"] is torch


@pytest.mark.parametrize(
    ("code", "name", "words"),
    [
        ("", "mine_a:net", "has no 'net'"),
        ("net = 3", "mine_b:net", "is no network; expected a torch.nn.Module; got int"),
        ("raise OSError('no file')", "mine_c:net", "its module cannot be imported; got OSError: no file"),
        ("def net(): raise ValueError('odd')", "mine_d:net", "the function failed; got ValueError: odd"),
        (
            "import sys\nsys.exit('usage: mine')",
            "mine_i:net",
            "its module cannot be imported; got SystemExit: usage: mine",
        ),
        (None, "mine_j.py:net", "mine_j.py: no such file; expected a Python file; next: check the path"),
        ("def net(a, b): pass", "mine_e:net", "needs arguments"),
        ("def net(n): pass", "mine_f:net", "or give --labels"),
        ("import no_such_package", "mine_g:net", "cannot be found"),
        (None, "mine_h:net", "cannot be found"),
        (None, ":net", "names no function"),
        (None, "mine_h:", "names no function"),
    ],
)
def test_a_function_that_is_none_is_one_line(tmp_path, monkeypatch, capsys, code, name, words) -> None:
    monkeypatch.chdir(tmp_path)
    if code is not None:
        (tmp_path / f"{name.partition(':')[0]}.py").write_text(code)
    assert _run("import", name, "--out", tmp_path / "out.pt") == 2
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert words in printed


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "its input is not known"),
        (["--input", "3x32x32", "--frontend", "cpm23"], "is not a log-mel"),
        (["--input", "1x0x3"], "not a shape"),
        (["--input", "axb"], "not a shape"),
        (["--frontend", "nope"], "unknown preset"),
        (["--weights", "missing.pt"], "missing.pt"),
    ],
)
def test_options_that_do_not_fit_are_one_line(tmp_path, capsys, options, words) -> None:
    assert _run("import", f"{HERE}:Own", *options, "--out", tmp_path / "out.pt") == 2
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert words in printed


def test_options_of_functions_are_refused_for_checkpoints(tmp_path, capsys) -> None:
    assert _run("import", tmp_path / "m.ckpt", "--input", "1x2x3") == 2
    assert "--input: does not apply to a checkpoint" in capsys.readouterr().err


@pytest.mark.slow
def test_a_network_of_the_user_goes_through_every_stage_of_a_recipe(tmp_path, capsys) -> None:
    """Distilled, quantised, written as a bundle and counted by one command."""
    (tmp_path / "mine.yaml").write_text(
        f"""
model: {HERE}:own_student
epochs: 1
batch_size: 16
learning_rate: 1.0e-3
features: {{student_stage: stem, teacher_stage: stages.s3}}
teachers:
  - {{model: cpm23-8, epochs: 1, batch_size: 16, learning_rate: 1.0e-3}}
"""
    )
    assert _run("recipe", "dry-run", tmp_path / "mine.yaml", "--subset", "5", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert all(limit["passed"] for limit in found["limits"])
