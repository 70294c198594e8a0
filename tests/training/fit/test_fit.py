"""Training runs end to end on small data: learning, exact resuming, distillation, refusals."""

from __future__ import annotations

import csv
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch import nn

from tests.training.layout import write_layout
from tinyscene.runtime.spec import preset
from tinyscene.training.data.tau22 import Dataset, Tau22
from tinyscene.training.distillation.soft_targets import SoftTargets
from tinyscene.training.errors import TrainingError
from tinyscene.training.evaluation.metrics import evaluate
from tinyscene.training.fit.fit import FitResult, fit, predict_logits
from tinyscene.training.models.build import build_model
from tinyscene.training.models.config import named_config
from tinyscene.training.models.network import Network
from tinyscene.training.recipe import Augment, Schedule, TrainSettings
from tinyscene.training.run import Run
from tinyscene.training.transforms.log_mel import TorchLogMel

SETTINGS = TrainSettings(
    model="cpm23-8",
    epochs=3,
    batch_size=16,
    learning_rate=5e-3,
    schedule=Schedule(kind="cosine", warmup_epochs=0.5),
    augment=Augment(roll_samples=2000, device_ir_p=0.3, mixstyle_p=0.3, freq_mask_bins=8, f_max_jitter_hz=500),
)


# An eighth of the computation of cpm23, for tests with many epochs.
SMALL = replace(preset("cpm23"), name="small", n_fft=1024, win_length=800, hop_length=1000, n_mels=96)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("data")
    return Tau22.open(write_layout(folder / "tau")).load(32_000, folder / "cache", progress=False)


def train(dataset: Dataset, run_dir: Path, **options: Any) -> tuple[nn.Module, FitResult]:
    torch.manual_seed(4)
    model = build_model(named_config("cpm23-8", n_classes=3, padding="same"))
    network = Network(model, options.pop("frontend", preset("cpm23")))
    run = Run(dataset, run_dir, options.pop("seed", 4), options.pop("resume", False), progress=False)
    return model, fit(network, options.pop("recipe", SETTINGS), run, **options)


class KillAt(Callback):
    """Interrupts the run in the middle of an epoch."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        if trainer.current_epoch == self.epoch:
            raise RuntimeError("killed")


class SignalAt(Callback):
    """Sends this process a signal after the first step."""

    def __init__(self, number: signal.Signals) -> None:
        self.number = number
        self.handler: object = None  # of SIGTERM during the training

    def on_train_batch_end(self, *_: Any) -> None:
        self.handler = signal.getsignal(signal.SIGTERM)
        signal.raise_signal(self.number)


class Ended(BaseException):
    """What the handler of a program that embeds the library raises."""


@pytest.mark.parametrize(
    ("number", "expected"), [(signal.SIGTERM, Ended), (signal.SIGINT, KeyboardInterrupt)], ids=["SIGTERM", "SIGINT"]
)
def test_signals_reach_the_handlers_of_the_program(
    number: signal.Signals, expected: type[BaseException], dataset: Dataset, tmp_path: Path
) -> None:
    """Lightning's own end the training as if it were complete, wait for other processes, or exit with code 1."""

    def handler(*_: object) -> None:
        raise Ended

    before, sender = signal.signal(signal.SIGTERM, handler), SignalAt(number)
    try:
        with pytest.raises(expected):
            train(dataset, tmp_path / "run", frontend=SMALL, callbacks=[sender])
        assert sender.handler is handler
        assert signal.getsignal(signal.SIGTERM) is handler
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_resumed_run_equals_an_uninterrupted_one(dataset: Dataset, tmp_path: Path) -> None:
    _, whole = train(dataset, tmp_path / "whole")
    with pytest.raises(RuntimeError, match="killed"):
        train(dataset, tmp_path / "killed", callbacks=[KillAt(2)])
    _, resumed = train(dataset, tmp_path / "killed", resume=True)
    assert [record["epoch"] for record in resumed.history] == [0, 1, 2]
    assert resumed.history == whole.history
    for name, tensor in whole.state.items():
        assert torch.equal(resumed.state[name], tensor)
    _, finished = train(dataset, tmp_path / "killed", resume=True)  # already complete
    assert all(torch.equal(finished.state[name], tensor) for name, tensor in whole.state.items())
    with pytest.raises(TrainingError, match="differs in seed"):
        train(dataset, tmp_path / "killed", resume=True, seed=5)


def test_logs(dataset: Dataset, tmp_path: Path) -> None:
    recipe = SETTINGS.model_copy(update={"epochs": 2})
    _, result = train(dataset, tmp_path, recipe=recipe)
    [log] = tmp_path.glob("csv/version_0/metrics.csv")
    with open(log, newline="") as file:
        rows = list(csv.DictReader(file))
    losses = [float(row["train_loss"]) for row in rows if row.get("train_loss")]
    assert losses == pytest.approx([record["train_loss"] for record in result.history], rel=1e-4)
    assert list(tmp_path.glob("tensorboard/version_0/events.*"))
    assert result.metrics == result.history[-1]


def test_it_learns(dataset: Dataset, tmp_path: Path) -> None:
    model, result = train(
        dataset,
        tmp_path,
        recipe=SETTINGS.model_copy(update={"epochs": 25, "batch_size": 8, "augment": Augment(), "validate_every": 25}),
        frontend=SMALL,
    )
    logits = predict_logits(model, SMALL, dataset.test.waveforms)
    assert evaluate(logits, dataset.test.records, dataset.labels).accuracy >= 0.8
    assert result.history[-1]["train_loss"] < 0.5 * result.history[0]["train_loss"]


def test_best_epoch_by_validation(dataset: Dataset, tmp_path: Path) -> None:
    model, result = train(dataset, tmp_path, recipe=SETTINGS.model_copy(update={"keep": "best"}))
    best = max(record["validation_accuracy"] for record in result.history)
    assert result.metrics["validation_accuracy"] == best
    logits = predict_logits(model, preset("cpm23"), dataset.validation.waveforms)
    assert evaluate(logits, dataset.validation.records, dataset.labels).accuracy == pytest.approx(best)


def test_soft_targets_outweigh_labels(dataset: Dataset, tmp_path: Path) -> None:
    """The student reproduces teacher logits that swap two classes."""
    swapped = np.array([1, 0, 2])[dataset.train.targets]
    logits = (8 * np.eye(3)[swapped]).astype(np.float32)
    order = np.random.default_rng(0).permutation(len(logits))
    targets = SoftTargets(tuple(dataset.train.records[i].filename for i in order), logits[order])
    recipe = SETTINGS.model_copy(update={"epochs": 25, "batch_size": 8, "augment": Augment(), "validate_every": 25})
    model, _ = train(dataset, tmp_path, recipe=recipe, soft_targets=targets, frontend=SMALL)
    guess = predict_logits(model, SMALL, dataset.test.waveforms).argmax(axis=1)
    assert (np.array([1, 0, 2])[dataset.test.targets] == guess).mean() >= 0.8
    with pytest.raises(TrainingError, match="no teacher logits"):
        train(dataset, tmp_path / "short", soft_targets=SoftTargets(targets.names[1:], targets.logits[1:]))


def test_any_network_can_be_trained(dataset: Dataset, tmp_path: Path) -> None:
    model = nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.LazyLinear(3))
    model(torch.zeros(1, 1, 256, 64))
    before = [p.detach().clone() for p in model.parameters()]
    seen: list[int] = []

    class Note(Callback):
        def on_train_epoch_end(self, trainer: Any, *_: Any) -> None:
            seen.append(trainer.current_epoch)

    fit(Network(model, preset("cpm23")), SETTINGS, Run(dataset, tmp_path, 0, progress=False), callbacks=[Note()])
    assert seen == [0, 1, 2]
    assert any(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_divergence_is_reported(dataset: Dataset, tmp_path: Path) -> None:
    class Spoil(Callback):
        def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
            next(module.model.parameters()).data.fill_(float("nan"))

    with pytest.raises(TrainingError, match="diverged"):
        train(dataset, tmp_path, callbacks=[Spoil()], recipe=SETTINGS.model_copy(update={"epochs": 1}), frontend=SMALL)


def test_prediction_does_not_depend_on_batches(dataset: Dataset) -> None:
    model = build_model(named_config("cpm23-8", n_classes=3))
    model.train()
    clips = dataset.test.waveforms
    whole = predict_logits(model, preset("cpm23"), clips)
    assert model.training
    np.testing.assert_allclose(predict_logits(model, preset("cpm23"), clips, batch_size=5), whole, atol=1e-5)
    floats = np.asarray(clips, np.float32) / 32768
    np.testing.assert_allclose(predict_logits(model, preset("cpm23"), floats), whole, atol=1e-6)


@pytest.mark.parametrize("epochs", [2, 4])
def test_weight_average_of_the_last_epochs(dataset: Dataset, tmp_path: Path, epochs: int) -> None:
    states: list[dict[str, torch.Tensor]] = []

    class Note(Callback):
        def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
            states.append({name: t.clone() for name, t in module.model.state_dict().items()})

    recipe = SETTINGS.model_copy(
        update={"epochs": epochs, "keep": "soup", "soup_epochs": 3, "batch_size": 18, "augment": Augment()}
    )
    model, result = train(dataset, tmp_path, recipe=recipe, callbacks=[Note()], frontend=SMALL)
    last = states[-3:]
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter, sum(state[name] for state in last) / len(last))
    # BatchNorm statistics are recomputed with the mean weights, not averaged.
    norm = model.in_c[0][1]
    log_mel = TorchLogMel(SMALL)(torch.from_numpy(np.array(dataset.train.waveforms)).float() / 32768)
    with torch.no_grad():
        activations = model.in_c[0][0](log_mel)
    torch.testing.assert_close(norm.running_mean, activations.mean(dim=(0, 2, 3)), atol=1e-4, rtol=1e-3)
    _, resumed = train(dataset, tmp_path, recipe=recipe, resume=True, frontend=SMALL)
    assert all(torch.allclose(resumed.state[name], tensor) for name, tensor in result.state.items())
