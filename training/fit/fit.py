"""``fit`` trains one network with Lightning; ``predict_logits`` evaluates the result.

The run folder receives CSV and TensorBoard logs and a checkpoint after every epoch, which replaces the previous one
atomically; a resumed run continues from it. ``run.json`` records what the run is and its throughput. Refuses to resume
a run of other settings, data or seed, and logits that are not finite.
"""

from __future__ import annotations

import hashlib
import logging
import signal
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, Checkpoint, RichProgressBar
from lightning.pytorch.loggers import Logger
from torch import Tensor, nn
from torch.utils.data import DataLoader

from tinyscene.runtime.arrays import F32, I16, INT16_FULL_SCALE
from tinyscene.runtime.spec import FrontendSpec
from tinyscene.runtime.system_errors import about
from tinyscene.runtime.terminal import shows_bars

from ..data.tau22 import Rows
from ..distillation.features import FeatureLoss, FeatureLossIdentity
from ..distillation.soft_targets import SoftTargets
from ..errors import TrainingError
from ..models.network import Network
from ..recipe import FitSettings
from ..run import Run
from ..transforms.log_mel import TorchLogMel
from ..transforms.views import View
from .batches import Batch, EpochShuffle, Loaders, loaders_of
from .last_checkpoint import CHECKPOINT, RUN, LastCheckpoint, read_run, write_run
from .loggers import open_loggers
from .module import Objective, SceneModule
from .processes import is_first, per_node, world_size
from .throughput import Throughput
from .weight_average import WeightAverage, refresh_batch_norm


@dataclass(frozen=True)
class FitResult:
    """The weights kept (also left in the model), the epoch they are from, and one record per epoch."""

    state: dict[str, Tensor]
    epoch: int
    history: tuple[dict[str, float], ...]

    @property
    def metrics(self) -> dict[str, float]:
        """The record of the kept epoch."""
        return next(record for record in self.history if record["epoch"] == self.epoch)


@dataclass(frozen=True)
class RunIdentity:
    """Everything that determines the weights: runs of equal identity give equal weights on one machine.

    ``frontend``, ``clips`` and ``soft_targets`` are SHA-256 digests.
    """

    recipe: dict[str, object]  # the fields of FitSettings as JSON
    frontend: str
    seed: int
    clips: str
    labels: list[str]
    features: FeatureLossIdentity | None
    soft_targets: str | None

    @classmethod
    def of(
        cls,
        frontend: FrontendSpec,
        settings: FitSettings,
        run: Run,
        soft_targets: SoftTargets | None,
        features: FeatureLoss | None,
    ) -> RunIdentity:
        names = "\n".join(r.filename for r in run.dataset.train.records)
        return cls(
            recipe=settings.model_dump(mode="json"),
            frontend=frontend.digest(),
            seed=run.seed,
            clips=hashlib.sha256(names.encode()).hexdigest(),
            labels=list(run.dataset.labels),
            features=None if features is None else features.identity(),
            soft_targets=None if soft_targets is None else soft_targets.digest(),
        )


def fit(
    network: Network,
    settings: FitSettings,
    run: Run,
    *,
    soft_targets: SoftTargets | None = None,
    callbacks: Sequence[Callback] = (),
    objective: Objective | None = None,
    features: FeatureLoss | None = None,
) -> FitResult:
    """Train ``network.model`` in place.

    Args:
        network: any module from (batch, 1, n_mels, n_frames) to logits, and its front end.
        soft_targets: teacher logits; the loss is then the distillation loss of ``settings``, otherwise cross-entropy.
        objective: replaces both losses.
        features: a feature-distillation term that is added to the loss.

    Raises:
        TrainingError: the folder holds another run, a clip has no soft targets, or training diverged.
    """
    checkpoint = _prepare_folder(RunIdentity.of(network.frontend, settings, run, soft_targets, features), run)
    torch.manual_seed(run.seed)
    model = network.model
    _set_memory_format(model, torch.channels_last)  # up to twice as fast on CPUs, and on GPUs with tensor cores
    loaders = loaders_of(run.dataset, settings, soft_targets, run.seed)
    module = SceneModule(network, settings, run.seed, loaders.impulse_responses, objective, features)
    module.steps_per_epoch = len(loaders.train)
    keeper = _Keeper(run.folder, settings, validated=loaders.validation is not None)
    throughput = Throughput()
    with about(run.folder):
        _run_epochs(module, loaders, run, [*callbacks, throughput, keeper], checkpoint)
    keeper.restore(model, lambda: _log_mels(network.frontend, loaders.train, module.device))
    _set_memory_format(model, torch.contiguous_format)
    model.eval()
    state = {name: t.detach().cpu().clone() for name, t in model.state_dict().items()}
    if not all(torch.isfinite(t).all() for t in state.values() if t.is_floating_point()):
        raise TrainingError(
            str(run.folder), "training diverged", got="weights that are not finite", next_step="lower learning_rate"
        )
    throughput.write(run.folder / RUN, shown=run.progress)
    epoch = settings.epochs - 1 if keeper.epoch is None else keeper.epoch
    return FitResult(state, epoch, tuple(module.history))


def predict_logits(
    model: nn.Module, frontend: FrontendSpec, waveforms: F32 | I16 | Rows | View, batch_size: int = 64
) -> F32:
    """Logits float32 (n, classes) of clips (n, samples), int16 or float32 in [-1, 1], in evaluation mode.

    Runs on the device of the model's parameters and restores the model's mode. Raises TrainingError for logits that
    are not finite.
    """
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    log_mel = TorchLogMel(frontend).to(device)
    was_training = model.training
    model.eval()
    parts = []
    with torch.no_grad():
        for start in range(0, len(waveforms), batch_size):
            part = np.array(waveforms[start : start + batch_size])
            samples = torch.from_numpy(part).to(device).float() / (INT16_FULL_SCALE if part.dtype == np.int16 else 1.0)
            parts.append(model(log_mel(samples)).float().cpu().numpy())
    model.train(was_training)
    logits: F32 = np.concatenate(parts)
    if not np.isfinite(logits).all():
        raise TrainingError("prediction", "logits are not finite", next_step="check the audio and the weights")
    return logits


class _Keeper(Checkpoint):
    """Writes a checkpoint after every epoch, and keeps the best weights or the sum of the last ones, as the recipe
    selects."""

    def __init__(self, folder: Path, settings: FitSettings, *, validated: bool) -> None:
        self.folder, self.best = folder, settings.keep == "best" and validated
        self.average = WeightAverage()
        self.average_from = (
            settings.epochs - settings.soup_epochs if settings.keep == "soup" else settings.epochs
        )  # epoch
        self.accuracy = -1.0
        self.epoch: int | None = None
        self.state: dict[str, Tensor] | None = None

    def restore(self, model: nn.Module, inputs: Callable[[], Iterator[Tensor]]) -> None:
        """Load the kept weights into ``model``; ``inputs`` are the training clips as inputs of the network."""
        if self.average.members:
            model.load_state_dict(self.average.mean(model.state_dict()))
            refresh_batch_norm(model, inputs())
        elif self.state is not None:
            model.load_state_dict(self.state)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert isinstance(pl_module, SceneModule)
        accuracy = pl_module.history[-1].get("validation_accuracy")
        if self.best and accuracy is not None and accuracy > self.accuracy:
            self.accuracy, self.epoch = accuracy, trainer.current_epoch
            self.state = {name: t.detach().cpu().clone() for name, t in pl_module.model.state_dict().items()}
        if trainer.current_epoch >= self.average_from:
            self.average.add(pl_module.model.state_dict())
        path = self.folder / CHECKPOINT
        trainer.save_checkpoint(path)  # all processes call it, the first one writes

    def state_dict(self) -> dict[str, Any]:
        average = {"members": self.average.members, "sums": self.average.sums}
        return {"accuracy": self.accuracy, "epoch": self.epoch, "state": self.state, "soup": average}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.accuracy, self.epoch, self.state = state_dict["accuracy"], state_dict["epoch"], state_dict["state"]
        self.average.members, self.average.sums = state_dict["soup"]["members"], dict(state_dict["soup"]["sums"])


def _set_memory_format(model: nn.Module, memory_format: torch.memory_format) -> None:
    model.to(memory_format=memory_format)  # type: ignore[call-overload]  # missing in PyTorch's stubs


def _log_mels(frontend: FrontendSpec, batches: DataLoader[Batch], device: torch.device) -> Iterator[Tensor]:
    """The unaugmented training clips, always in the same order, as inputs of the network."""
    assert isinstance(batches.sampler, EpochShuffle)
    batches.sampler.set_epoch(0)
    log_mel = TorchLogMel(frontend).to(device)
    return (log_mel(batch["waveform"].to(device).float() / INT16_FULL_SCALE) for batch in batches)


class _CallersSignals(Callback):
    """Gives the caller its handler of SIGTERM back. Lightning's own would end the training as if it were complete, and
    with several processes it waits for the others, which may have ended already."""

    def __init__(self) -> None:
        self.handler = signal.getsignal(signal.SIGTERM)

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self.handler)


def _run_epochs(
    module: SceneModule, loaders: Loaders, run: Run, callbacks: Sequence[Callback], checkpoint: LastCheckpoint
) -> None:
    settings = module.settings
    with open_loggers(run.folder, settings.model_dump(mode="json")) as loggers, warnings.catch_warnings():
        trainer = _trainer(settings, loggers, run.progress, loaders, [*callbacks, _CallersSignals()], checkpoint)
        warnings.filterwarnings("ignore", module="lightning")
        warnings.filterwarnings("ignore", message=".*LeafSpec.*")
        try:
            trainer.fit(
                module,
                loaders.train,
                loaders.validation,
                ckpt_path=None if checkpoint.state is None else str(checkpoint.path),
                weights_only=True,
            )
        except SystemExit as ended:
            if isinstance(ended.__context__, KeyboardInterrupt):  # Lightning's answer to Ctrl-C since 2.6
                raise KeyboardInterrupt from None
            raise
    if trainer.interrupted:  # and before
        raise KeyboardInterrupt


def _trainer(
    settings: FitSettings,
    loggers: list[Logger],
    progress: bool,
    loaders: Loaders,
    callbacks: Sequence[Callback],
    checkpoint: LastCheckpoint,
) -> lightning.Trainer:
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    bar = progress and shows_bars()
    bars: list[Callback] = [RichProgressBar(leave=False, console_kwargs={"stderr": True})] if bar else []
    validate = loaders.validation is not None
    return lightning.Trainer(
        max_epochs=settings.epochs,
        accelerator="auto",
        devices=per_node(),
        num_nodes=world_size() // per_node(),
        strategy="ddp" if world_size() > 1 else "auto",
        sync_batchnorm=world_size() > 1 and torch.cuda.is_available(),  # PyTorch has it for GPUs only
        use_distributed_sampler=False,  # EpochShuffle distributes the rows
        precision="bf16-mixed" if settings.precision == "bf16" else "32-true",
        gradient_clip_val=settings.clip_gradient or None,
        logger=loggers,
        callbacks=[*callbacks, *bars],
        plugins=[checkpoint],
        enable_progress_bar=bar,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        check_val_every_n_epoch=settings.validate_every if validate else None,
        limit_val_batches=None if validate else 0,
        log_every_n_steps=10**9,  # the means of an epoch are logged, single steps are not
    )


def _prepare_folder(identity: RunIdentity, run: Run) -> LastCheckpoint:
    """Create the folder and write ``run.json``; returns the checkpoint, with a state if the run is resumed from it.

    Raises:
        TinysceneError: the run to resume has another identity, or its files are not whole.
    """
    with about(run.folder):
        run.folder.mkdir(parents=True, exist_ok=True)
    path, record = run.folder / RUN, asdict(identity)
    checkpoint, previous = LastCheckpoint(run.folder / CHECKPOINT, record), {}
    if run.resume and checkpoint.path.exists():
        previous = read_run(path)
        differing = sorted(key for key in record if previous.get(key) != record[key])
        if differing:
            raise TrainingError(
                str(run.folder),
                f"cannot resume, the previous run differs in {', '.join(differing)}",
                next_step="use the same recipe, data and seed, or another folder",
            )
        checkpoint.read()
    if is_first():
        write_run(path, {**previous, **record})
        if not run.resume:
            checkpoint.path.unlink(missing_ok=True)
    return checkpoint
