"""The training commands from the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.training.layout import write_layout
from tinyscene import command_line
from tinyscene.training.data.tau22 import Tau22
from tinyscene.training.models.checkpoint import load_any

RECIPE = """
model: cpm23-8
epochs: 2
batch_size: 16
learning_rate: 1.0e-3
teachers:
  - {model: cpresnet-33k, padding: torch, frontend: cpresnet, epochs: 1, batch_size: 16, learning_rate: 1.0e-3}
"""


def test_synth_then_a_second_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "scenes"
    arguments = ["data", "synth", "--out", str(out), "--locations", "4", "--clips", "1", "--seed", "3"]
    assert command_line.main(arguments) == 0
    assert len(Tau22.open(out).labels) == 10
    capsys.readouterr()
    assert command_line.main(arguments) == 2
    error = capsys.readouterr().err
    assert "already exists" in error
    assert "Traceback" not in error


def test_train_writes_a_student_and_resumes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, out, recipe = write_layout(tmp_path / "tau"), tmp_path / "run", tmp_path / "mine.yaml"
    recipe.write_text(RECIPE)
    arguments = ["train", str(recipe), "--data", str(data), "--out", str(out)]
    (out / "student").mkdir(parents=True)  # as a faster process of torchrun leaves it
    assert command_line.main(arguments) == 0
    printed = capsys.readouterr().out
    assert "teacher cpresnet-33k" in printed
    assert "device s4" in printed
    student = load_any(out / "student.pt")
    assert student.labels == ("airport", "bus", "park")
    metrics = json.loads((out / "student_metrics.json").read_text())
    assert metrics["accuracy"] == student.metrics["accuracy"]
    assert command_line.main(arguments) == 2
    assert "not empty" in capsys.readouterr().err
    assert command_line.main([*arguments, "--resume"]) == 0
    assert json.loads((out / "student_metrics.json").read_text()) == metrics


def test_teachers_then_their_logits_then_the_student(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, out, recipe = write_layout(tmp_path / "tau"), tmp_path / "run", tmp_path / "mine.yaml"
    recipe.write_text(RECIPE.replace("epochs: 2", "epochs: 1\nviews: 2"))
    words = [str(recipe), "--data", str(data), "--out", str(out)]
    assert command_line.main(["teachers", "logits", *words]) == 2
    assert "no such file" in capsys.readouterr().err
    assert command_line.main(["teachers", "train", *words, "--resume"]) == 0
    assert "teacher ensemble (mean)" in capsys.readouterr().out
    assert not (out / "student.pt").exists()
    for path in out.glob("teachers/*/logits-*.npz"):
        path.unlink()
    assert command_line.main(["teachers", "logits", *words]) == 0
    assert "logits of 60 clips, and of 2 views of the training clips, teacher cpresnet-33k" in capsys.readouterr().out
    written = {path.name for path in out.glob("teachers/*/*.npz")}
    assert written == {f"logits-{part}.npz" for part in ("train", "train-views", "validation", "test")}
    assert command_line.main(["train", *words, "--resume"]) == 0
    assert "student cpm23-8" in capsys.readouterr().out


def test_compare_prints_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, recipe = write_layout(tmp_path / "tau", clips=1), tmp_path / "mine.yaml"
    recipe.write_text(RECIPE.replace("epochs: 2", "epochs: 1"))
    words = ["train", "compare", str(recipe), "--data", str(data), "--out", str(tmp_path / "run"), "--seeds", "1"]
    assert command_line.main(words) == 0
    out, err = capsys.readouterr()
    assert out.startswith("| training | test accuracy")
    assert "| P1 projection: mean, and a stage of cpresnet-33k |" in out
    assert "mean, seed 0:" in err


def test_help_lists_grouped_options_without_importing_torch() -> None:
    commands = ["train", "train compare", "train devices", "teachers train", "teachers logits", "eval", "recipe fit"]
    code = "import sys; from tinyscene import command_line\n"
    code += "for line in sys.argv[1:]: assert command_line.main([*line.split(), '--help']) == 0\n"
    code += "assert not {'torch', 'lightning', 'scipy'} & set(sys.modules)"
    process = subprocess.run([sys.executable, "-c", code, *commands], capture_output=True, text=True, check=True)
    for option in ("--data", "--subset", "--resume", "--seed", "--seeds", "--against", "--max-macs", "--log"):
        assert option in process.stdout


def test_missing_options_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main(["train", "cpm23-8", "--data", "tau"]) == 2
    assert "--out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("recipe", "data", "says"),
    [("nonsense", "tau", "cpm23-8"), ("cpm23-8", "nowhere", "TAU22"), ("none.yaml", "tau", "expected a recipe")],
)
def test_bad_input_ends_in_one_line(
    recipe: str, data: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_layout(tmp_path / "tau", places=1, clips=1)
    out = tmp_path / "run"
    assert command_line.main(["train", recipe, "--data", str(tmp_path / data), "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.strip().count("\n") == 0
    assert not out.exists()
