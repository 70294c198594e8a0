"""Where the figures of every epoch go: CSV files and TensorBoard's in the run folder; Weights & Biases and MLflow too,
if asked for.

That is a property of the process, as a log level is: after :func:`log_to`, which is what ``--log`` does, each network
that is trained is a run there, named as its folder, in a project or experiment ``tinyscene``. Where they keep it is
theirs to know: ``WANDB_MODE``, ``MLFLOW_TRACKING_URI``. Refuses unknown names, and packages that are not installed.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinyscene.runtime.install_hint import install_hint
from tinyscene.runtime.terminal import is_quiet

from ..errors import TrainingError

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger

SERVICES = ("wandb", "mlflow")  # each is a package and an extra of that name
PROJECT = "tinyscene"
_chosen: tuple[str, ...] = ()


def log_to(names: str) -> str:
    """Log to these services, with commas between them, from now on; the callback of every ``--log``.

    Raises TrainingError for one that is unknown or not installed, before any work is done.
    """
    global _chosen
    chosen = tuple(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    for name in chosen:
        if name not in SERVICES:
            raise TrainingError("--log", "unknown", expected=" | ".join(SERVICES), got=name)
        if importlib.util.find_spec(name) is None:
            step = install_hint(name)
            raise TrainingError(f"--log {name}", "its package is not installed", next_step=step, missing=True)
    _chosen = chosen
    return names


@contextmanager
def open_loggers(run_dir: Path, settings: Mapping[str, Any]) -> Iterator[list[Logger]]:
    """The loggers of one network; ``settings`` are shown beside its figures in the services that do so."""
    from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

    services = [_open(name, run_dir, settings) for name in _chosen]
    try:
        yield [CSVLogger(run_dir, name="csv"), TensorBoardLogger(run_dir, name="tensorboard"), *services]
    finally:
        if "wandb" in _chosen:
            import wandb

            wandb.finish()  # or the next network would go on with this run


def _open(name: str, run_dir: Path, settings: Mapping[str, Any]) -> Logger:
    try:
        logger = _mlflow(run_dir) if name == "mlflow" else _wandb(run_dir)
        logger.log_hyperparams(dict(settings))  # which begins the run
    except Exception as error:  # each service raises its own kinds
        raise TrainingError(
            f"--log {name}", "cannot be logged to", got=error, next_step="set it up, or leave --log out"
        ) from error
    return logger


def _mlflow(run_dir: Path) -> Logger:
    import mlflow
    from lightning.pytorch.loggers import MLFlowLogger

    return MLFlowLogger(PROJECT, run_name=str(run_dir), tracking_uri=mlflow.get_tracking_uri())


def _wandb(run_dir: Path) -> Logger:
    import wandb
    from lightning.pytorch.loggers import WandbLogger

    quiet = wandb.Settings(silent=is_quiet())
    return WandbLogger(name=str(run_dir), save_dir=run_dir, project=PROJECT, settings=quiet)
