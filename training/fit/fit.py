"""``fit``: one network, one recipe, one run folder, by Lightning; and prediction with the result.

The run folder gets CSV and TensorBoard logs and a checkpoint after every epoch, replaced in one step; ``resume`` goes
on from it. ``run.json`` says what the run is and how fast it was. Refuses to resume a run of other settings, data or
seed, and logits that are not finite.
"""

from __future__ import annotations

import hashlib
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch.callbacks import Callback, Checkpoint
from lightning.pytorch.callbacks.progress import RichProgressBar
from lightning.pytorch.loggers import Logger
from torch import Tensor, nn
from torch.utils.data import DataLoader

from tinyscene.runtime.arrays import F32, INT16_FULL_SCALE
from tinyscene.runtime.files import atomic_file
from tinyscene.runtime.spec import FrontendSpec
from tinyscene.runtime.terminal import shows_bars

from ..data.tau22 import Dataset, Rows
from ..distillation.features import FeatureLoss
from ..distillation.soft_targets import SoftTargets
from ..distillation.views import View
from ..errors import TrainingError
from ..recipe import FitSettings
from .batches import EpochShuffle, loaders_of
from .log_mel import TorchLogMel
from .loggers import open_loggers
from .module import Objective, SceneModule
from .processes import is_first, per_node, world_size
from .speed import Speed
from .weight_average import Soup, refresh_batch_norm

CHECKPOINT = "last.ckpt"
RUN = "run.json"


@dataclass(frozen=True)
class FitResult:
    """The weights kept (also left in the model), the epoch they are of, and one record per epoch."""

    state: dict[str, Tensor]
    epoch: int
    history: tuple[dict[str, float], ...]

    @property
    def metrics(self) -> dict[str, float]:
        """The record of the kept epoch."""
        return next(record for record in self.history if record["epoch"] == self.epoch)


def fit(
    model: nn.Module,
    *,
    frontend: FrontendSpec,
    recipe: FitSettings,
    dataset: Dataset,
    run_dir: Path,
    soft_targets: SoftTargets | None = None,
    seed: int,
    resume: bool = False,
    progress: bool = True,
    callbacks: Sequence[Callback] = (),
    objective: Objective | None = None,
    features: FeatureLoss | None = None,
) -> FitResult:
    """Train ``model`` (any module from (batch, 1, n_mels, n_frames) to logits) in place by ``recipe``.

    With ``soft_targets`` it learns by the recipe's distillation loss, else by cross-entropy; ``objective`` replaces
    both, and ``features`` is added. Raises TrainingError.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    checkpoint = run_dir / CHECKPOINT
    _same_run(
        run_dir, _run_record(frontend, recipe, dataset, soft_targets, seed, features), resume and checkpoint.is_file()
    )
    if not resume and is_first():
        checkpoint.unlink(missing_ok=True)
    torch.manual_seed(seed)
    model.to(memory_format=torch.channels_last)  # up to twice as fast on CPUs, and on GPUs with tensor cores
    loaders = loaders_of(dataset, recipe, soft_targets, seed)
    module = SceneModule(model, frontend, recipe, seed, loaders[0].dataset.responses, objective, features)
    module.steps_per_epoch = len(loaders[0])
    keeper = _Keeper(run_dir, recipe, validated=loaders[1] is not None)
    speed = Speed()
    with open_loggers(run_dir, recipe.model_dump(mode="json")) as loggers, warnings.catch_warnings():
        trainer = _trainer(recipe, loggers, progress, loaders[1] is not None, [*callbacks, speed, keeper])
        warnings.filterwarnings("ignore", module="lightning")
        warnings.filterwarnings("ignore", message=".*LeafSpec.*")
        trainer.fit(
            module,
            *loaders,
            ckpt_path=str(checkpoint) if resume and checkpoint.is_file() else None,
            weights_only=True,
        )
    if trainer.interrupted:
        raise KeyboardInterrupt
    if keeper.soup.members:
        model.load_state_dict(keeper.soup.mean(model.state_dict()))
        refresh_batch_norm(model, _log_mels(frontend, loaders[0], module.device))
    elif keeper.state is not None:
        model.load_state_dict(keeper.state)
    model.to(memory_format=torch.contiguous_format).eval()
    state = {name: t.detach().cpu().clone() for name, t in model.state_dict().items()}
    if not all(torch.isfinite(t).all() for t in state.values() if t.is_floating_point()):
        raise TrainingError(
            str(run_dir), "training diverged", got="weights that are not finite", next_step="lower learning_rate"
        )
    speed.keep(run_dir / RUN, said=progress)
    epoch = recipe.epochs - 1 if keeper.epoch is None else keeper.epoch
    return FitResult(state, epoch, tuple(module.history))


def predict_logits(
    model: nn.Module, frontend: FrontendSpec, waveforms: npt.NDArray[Any] | Rows | View, batch_size: int = 64
) -> F32:
    """Logits float32 (n, classes) of clips (n, samples), int16 or float32 in [-1, 1], in evaluation mode.

    Runs on the device of the model's parameters and leaves the model's mode as it was.
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
    """A checkpoint after every epoch, and the weights of the best one or the sum of the last ones if asked for."""

    def __init__(self, run_dir: Path, recipe: FitSettings, *, validated: bool) -> None:
        self.run_dir, self.best = run_dir, recipe.keep == "best" and validated
        self.soup = Soup()
        self.soup_from = recipe.epochs - recipe.soup_epochs if recipe.keep == "soup" else recipe.epochs
        self.accuracy = -1.0
        self.epoch: int | None = None
        self.state: dict[str, Tensor] | None = None

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert isinstance(pl_module, SceneModule)
        accuracy = pl_module.history[-1].get("validation_accuracy")
        if self.best and accuracy is not None and accuracy > self.accuracy:
            self.accuracy, self.epoch = accuracy, trainer.current_epoch
            self.state = {name: t.detach().cpu().clone() for name, t in pl_module.model.state_dict().items()}
        if trainer.current_epoch >= self.soup_from:
            self.soup.add(pl_module.model.state_dict())
        path = self.run_dir / CHECKPOINT
        with atomic_file(path) if trainer.is_global_zero else nullcontext(path) as temporary:
            trainer.save_checkpoint(temporary)  # all processes call it, the first one writes

    def state_dict(self) -> dict[str, Any]:
        soup = {"members": self.soup.members, "sums": self.soup.sums}
        return {"accuracy": self.accuracy, "epoch": self.epoch, "state": self.state, "soup": soup}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.accuracy, self.epoch, self.state = state_dict["accuracy"], state_dict["epoch"], state_dict["state"]
        self.soup.members, self.soup.sums = state_dict["soup"]["members"], dict(state_dict["soup"]["sums"])


def _log_mels(frontend: FrontendSpec, batches: DataLoader[Any], device: torch.device) -> Iterator[Tensor]:
    """The training clips as they are, in one order whenever asked, as inputs of the network."""
    assert isinstance(batches.sampler, EpochShuffle)
    batches.sampler.set_epoch(0)
    log_mel = TorchLogMel(frontend).to(device)
    return (log_mel(batch["waveform"].to(device).float() / INT16_FULL_SCALE) for batch in batches)


def _trainer(
    recipe: FitSettings, loggers: list[Logger], progress: bool, validate: bool, callbacks: Sequence[Callback]
) -> lightning.Trainer:
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    bar = progress and shows_bars()
    bars: list[Callback] = [RichProgressBar(leave=False, console_kwargs={"stderr": True})] if bar else []
    return lightning.Trainer(
        max_epochs=recipe.epochs,
        accelerator="auto",
        devices=per_node(),
        num_nodes=world_size() // per_node(),
        strategy="ddp" if world_size() > 1 else "auto",
        sync_batchnorm=world_size() > 1 and torch.cuda.is_available(),  # PyTorch has it for GPUs only
        use_distributed_sampler=False,  # ours does it
        precision="bf16-mixed" if recipe.precision == "bf16" else "32-true",
        gradient_clip_val=recipe.clip_gradient or None,
        logger=loggers,
        callbacks=[*callbacks, *bars],
        enable_progress_bar=bar,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        check_val_every_n_epoch=recipe.validate_every if validate else None,
        limit_val_batches=None if validate else 0,
        log_every_n_steps=10**9,  # the epoch's means are logged, single steps are not
    )


def _run_record(
    frontend: FrontendSpec,
    recipe: FitSettings,
    dataset: Dataset,
    soft_targets: SoftTargets | None,
    seed: int,
    features: FeatureLoss | None,
) -> dict[str, Any]:
    """What a run is; two runs of equal records give equal weights on one machine."""
    clips = hashlib.sha256("\n".join(r.filename for r in dataset.train.records).encode()).hexdigest()
    return {
        "recipe": recipe.model_dump(mode="json"),
        "frontend": frontend.digest(),
        "seed": seed,
        "clips": clips,
        "labels": list(dataset.labels),
        "features": None if features is None else features.record(),
        "soft_targets": None if soft_targets is None else soft_targets.digest(),
    }


def _same_run(run_dir: Path, record: dict[str, Any], resume: bool) -> None:
    path = run_dir / RUN
    found: dict[str, Any] = {}
    if resume:
        found = json.loads(path.read_text()) if path.is_file() else {}
        other = sorted(key for key in record if found.get(key) != record[key])
        if other:
            raise TrainingError(
                str(run_dir),
                f"cannot resume, the run there differs in {', '.join(other)}",
                next_step="use the same recipe, data and seed, or another folder",
            )
    if is_first():
        path.write_text(json.dumps({**found, **record}, indent=1, sort_keys=True) + "\n")
