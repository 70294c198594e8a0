"""Loggers of metrics: selected services get a run per network, and a missing package is refused by name."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import tinyscene
from tests.training.layout import write_layout
from tinyscene import command_line
from tinyscene.runtime.install_hint import install_hint
from tinyscene.training.errors import TrainingError
from tinyscene.training.fit import loggers

# Large packages that nothing else uses: tested where they are installed.
needs_mlflow, needs_wandb = (
    pytest.mark.skipif(importlib.util.find_spec(name) is None, reason=f"{name} is not installed")
    for name in ("mlflow", "wandb")
)
RECIPE = """
model: cpm23-8
epochs: 2
batch_size: 16
learning_rate: 1.0e-3
teachers:
  - {model: cpresnet-33k, padding: torch, frontend: cpresnet, epochs: 1, batch_size: 16, learning_rate: 1.0e-3}
"""


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Command line that trains a teacher and a student in an empty folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(RECIPE)
    return ["train", "mine.yaml", "--data", str(write_layout(tmp_path / "tau", clips=1)), "--out", "run"]


def metric_rows(folder: Path) -> list[dict[str, str]]:
    """The rows of the CSV log of one network."""
    (path,) = folder.glob("csv/*/metrics.csv")
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_throughput_is_logged_and_printed(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main(words) == 0
    printed = capsys.readouterr().err
    for name, epochs in (("student", 2), ("teachers/0-cpresnet-33k", 1)):
        rates = [
            float(row["clips_per_second"]) for row in metric_rows(tmp_path / "run" / name) if row["clips_per_second"]
        ]
        assert len(rates) == epochs
        median = json.loads((tmp_path / "run" / name / "run.json").read_text())["clips_per_second"]
        assert median == pytest.approx(sum(rates) / epochs)
        assert f"note: run/{name}: trained at {median:,.0f} clips/s" in printed
    before = (tmp_path / "run/student/run.json").read_text()
    assert command_line.main([*words, "--resume", "--quiet"]) == 0
    assert (tmp_path / "run/student/run.json").read_text() == before  # nothing was trained, nothing changes
    assert "clips/s" not in capsys.readouterr().err


@pytest.mark.parametrize("command", [["train"], ["train", "compare"], ["teachers", "train"]])
def test_a_missing_service_is_refused_before_any_work(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "wandb" else find(name))
    words = [*command, "p1-dfm", "--data", "nowhere", "--out", str(tmp_path / "run"), "--log"]
    assert command_line.main([*words, "wandb"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"error: --log wandb: its package is not installed; next: {install_hint('wandb')}"
    assert command_line.main([*words, "wanbd"]) == 2
    assert "expected wandb | mlflow; got wanbd" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_services_are_selected_per_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    loggers.log_to("mlflow, wandb,mlflow")
    assert loggers._services == ("mlflow", "wandb")
    with pytest.raises(TrainingError):
        loggers.log_to("paper")
    loggers.log_to("")
    assert loggers._services == ()


@needs_mlflow
def test_mlflow_gets_a_run_for_every_network(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.tracking import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    assert command_line.main([*words, "--log", "mlflow"]) == 0
    client = MlflowClient((tmp_path / "mlruns").as_uri())
    runs = client.search_runs([client.get_experiment_by_name("tinyscene").experiment_id])
    assert {run.info.run_name for run in runs} == {"run/student", "run/teachers/0-cpresnet-33k"}
    for run in runs:
        assert run.info.status == "FINISHED"
        assert run.data.params["batch_size"] == "16"
        rows = metric_rows(tmp_path / run.info.run_name)
        logged = client.get_metric_history(run.info.run_id, "train_loss")
        assert [m.value for m in logged] == pytest.approx([float(r["train_loss"]) for r in rows if r["train_loss"]])


@needs_mlflow
def test_a_service_that_fails_is_named_in_one_line(words: list[str], tmp_path: Path) -> None:
    """In its own process, because MLflow keeps its tracking URI."""
    root = Path(tinyscene.__file__).parent.parent
    environment = {**os.environ, "PYTHONPATH": str(root), "MLFLOW_TRACKING_URI": "gopher://nowhere"}
    command = [sys.executable, "-m", "tinyscene", *words, "--log", "mlflow", "--quiet"]
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert ran.stderr.startswith("error: --log mlflow: the service cannot be used; got ")
    assert ran.stderr.count("\n") == 1


@needs_wandb
def test_wandb_gets_a_run_for_every_network(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert command_line.main([*words, "--log", "wandb", "--quiet"]) == 0
    for name in ("student", "teachers/0-cpresnet-33k"):
        (run,) = (tmp_path / "run" / name / "wandb").glob("offline-run-*")
        (record,) = run.glob("run-*.wandb")
        content = record.read_bytes()
        assert b"train_loss" in content
        assert f"run/{name}".encode() in content
    import wandb

    assert wandb.run is None
