"""Clips a second here: of training a network, of asking it, and of reading data alone.

A few steps as :func:`training.fit.fit` takes them: view, log-mel, augmentation, forward, backward, optimiser; the first
is left out.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from runtime.spec import FrontendSpec

from .data import Dataset
from .distill import SoftTargets
from .features import FeatureLoss
from .fit import loaders_of, predict_logits
from .module import Batch, SceneModule
from .recipe import FitSettings

ENOUGH_SECONDS = 3.0  # of steps that are timed; one is taken in any case


def training_rate(
    model: nn.Module,
    frontend: FrontendSpec,
    settings: FitSettings,
    dataset: Dataset,
    *,
    steps: int = 3,
    soft_targets: SoftTargets | None = None,
    features: FeatureLoss | None = None,
) -> float:
    """Of training ``model``, which is changed, in batches of ``settings``, on the GPU if there is one."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    source = _batches(dataset, settings, soft_targets)
    responses = loaders_of(dataset, settings, soft_targets, 0)[0].dataset.responses
    module = SceneModule(model, frontend, settings, 0, responses, features=features).to(device)
    module.model.to(memory_format=torch.channels_last)  # as fit does
    module.train()
    module.on_train_epoch_start()
    optimizer = module.configure_optimizers()["optimizer"]
    clips, begin = 0, 0.0
    for step in range(steps + 1):
        batch = {name: values.to(device) for name, values in next(source).items()}
        with torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bf16"):
            loss = module.training_step(batch, step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        _finish(device)
        if step == 0:
            begin = time.perf_counter()
            continue
        clips += len(batch["target"])
        if time.perf_counter() - begin > ENOUGH_SECONDS:
            break
    return clips / (time.perf_counter() - begin)


def answering_rate(model: nn.Module, frontend: FrontendSpec, dataset: Dataset, clips: int) -> float:
    """Of asking ``model`` about ``clips`` training clips at a time, where it is."""
    heard = dataset.train.waveforms[:clips]
    predict_logits(model, frontend, heard[:1])
    begin = time.perf_counter()
    predict_logits(model, frontend, heard)
    return len(heard) / (time.perf_counter() - begin)


def reading_rate(dataset: Dataset, settings: FitSettings, steps: int) -> float:
    """Of the data pipeline alone."""
    source = _batches(dataset, settings, None)
    next(source)
    begin = time.perf_counter()
    clips = sum(len(next(source)["target"]) for _ in range(steps))
    return clips / (time.perf_counter() - begin)


def _batches(dataset: Dataset, settings: FitSettings, soft_targets: SoftTargets | None) -> Iterator[Batch]:
    """Without an end; whole ones as long as the data have one."""
    while True:
        batches: list[Any] = loaders_of(dataset, settings, soft_targets, 0)[0]
        yield from batches


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()
