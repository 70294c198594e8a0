"""Training with two processes equals training with one, and mixed precision keeps the log-mel in float32."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.processes import processes_with
from tests.training.layout import write_layout
from tinyscene.runtime.spec import preset
from tinyscene.training.fit.batches import EpochShuffle
from tinyscene.training.fit.module import SceneModule
from tinyscene.training.models.build import build_model
from tinyscene.training.models.config import named_config
from tinyscene.training.models.network import Network
from tinyscene.training.recipe import FitSettings
from tinyscene.training.transforms.log_mel import TorchLogMel

SCRIPT = Path(__file__).with_name("train_along.py")


def run(processes: int, data: Path, out: Path, repository: Path) -> dict[str, Any]:
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    if processes == 1:
        launcher = []
    process = subprocess.run(
        [sys.executable, *launcher, SCRIPT, data, out],
        env={**os.environ, "PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1"},
        cwd=out.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr[-3000:]
    result: dict[str, Any] = json.loads(next(x for x in process.stdout.splitlines() if x.startswith("{")))
    return result


def test_two_processes_equal_one(tmp_path: Path, repository: Path) -> None:
    data = write_layout(tmp_path / "tau", places=5, clips=2)
    one, two = (run(n, data, tmp_path / f"of-{n}", repository) for n in (1, 2))
    assert [r["epoch"] for r in two["history"]] == [0, 1, 2]
    for alone, shared in zip(one["history"], two["history"], strict=True):
        assert shared["train_loss"] == pytest.approx(alone["train_loss"], rel=1e-4)
        assert shared["train_accuracy"] == pytest.approx(alone["train_accuracy"])
    assert two["weights"] == pytest.approx(one["weights"], abs=1e-4)
    assert not list(tmp_path.glob("*/*/*.part"))


def test_shares_add_up_to_the_batches_of_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = list(EpochShuffle(23, seed=3))
    shares = []
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        shuffle = EpochShuffle(23, seed=3)
        shares.append(list(shuffle))
        assert len(shares[-1]) == len(shuffle) == 11
    for batch in range(5):
        together = shares[0][2 * batch : 2 * batch + 2] + shares[1][2 * batch : 2 * batch + 2]
        assert sorted(together) == sorted(whole[4 * batch : 4 * batch + 4])


def test_log_mel_stays_float32_in_mixed_precision() -> None:
    frontend = preset("cpm23")
    model = build_model(named_config("cpm23-8", n_classes=3))
    module = SceneModule(Network(model, frontend), FitSettings(epochs=1, learning_rate=1e-3), 0)
    module.on_train_epoch_start = lambda: None  # type: ignore[method-assign]
    module._sums = dict.fromkeys(("train_loss", "feature_loss", "train_right", "train_clips"), 0.0)
    inputs: list[torch.Tensor] = []
    model.register_forward_pre_hook(lambda _, args: inputs.append(args[0]))
    waveform = torch.randint(-3000, 3000, (4, frontend.clip_samples), dtype=torch.int16)
    batch = {"waveform": waveform, "target": torch.tensor([0, 1, 2, 0])}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = module.training_step(batch, 0)
    assert inputs[0].dtype == torch.float32
    torch.testing.assert_close(inputs[0], TorchLogMel(frontend)(waveform.float() / 32768))
    assert loss.dtype == torch.float32


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_all_processes_end_with_torchrun(number: signal.Signals, tmp_path: Path, repository: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("model: cpm23-8\nepochs: 500\nbatch_size: 8\nlearning_rate: 1.0e-3\n")
    data, out = write_layout(tmp_path / "tau"), tmp_path / "run"
    launcher = subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "tinyscene",
         "train", str(recipe), "--data", str(data), "--out", str(out)],
        env={**os.environ, "PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1", "TEST_RUN": str(tmp_path)},
        cwd=tmp_path, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        _wait_until(lambda: any(out.rglob("last.ckpt")), 300)
        assert len(processes_with(f"TEST_RUN={tmp_path}")) == 3
        launcher.send_signal(number)
        launcher.wait(timeout=60)
        _wait_until(lambda: not processes_with(f"TEST_RUN={tmp_path}"), 30)
    finally:
        for line in processes_with(f"TEST_RUN={tmp_path}"):
            os.kill(int(line.partition(":")[0]), signal.SIGKILL)
    assert not list(out.rglob("*.part"))


def _wait_until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)
