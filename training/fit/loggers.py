"""Loggers of the metrics of every epoch: CSV files and TensorBoard in the run folder, and optionally Weights & Biases
and MLflow.

The services are a property of the process, as a log level is: after :func:`log_to`, the callback of ``--log``, each
trained network becomes a run of the project or experiment ``tinyscene``, named after its folder. The services are
configured by their own variables (``WANDB_MODE``, ``MLFLOW_TRACKING_URI``). Refuses unknown services, and packages that
are not installed.
"""

from __future__ import annotations

import importlib
import importlib.util
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tinyscene.runtime.install_hint import install_hint
from tinyscene.runtime.printable import printable
from tinyscene.runtime.terminal import is_quiet

from ..errors import TrainingError

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger

SERVICES = ("wandb", "mlflow")  # each is a package and an extra of that name
PROJECT = "tinyscene"
_services: tuple[str, ...] = ()


def log_to(names: str) -> str:
    """Log to these services, separated by commas, from now on; the callback of every ``--log``.

    Raises TrainingError for a service that is unknown or not installed, before any work is done.
    """
    global _services
    services = tuple(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    for name in services:
        if name not in SERVICES:
            raise TrainingError("--log", "unknown service", expected=" | ".join(SERVICES), got=name)
        if importlib.util.find_spec(name) is None:
            step = install_hint(name)
            raise TrainingError(f"--log {name}", "its package is not installed", next_step=step, missing=True)
    _services = services
    return names


@contextmanager
def open_loggers(run_dir: Path, settings: Mapping[str, object]) -> Iterator[list[Logger]]:
    """The loggers of one network; the services show ``settings`` beside its metrics."""
    from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

    services = [_open(name, run_dir, settings) for name in _services]
    try:
        with _silent_writers():
            yield [CSVLogger(run_dir, name="csv"), TensorBoardLogger(run_dir, name="tensorboard"), *services]
    finally:
        if "wandb" in _services:
            importlib.import_module("wandb").finish()  # otherwise the next network would continue this run


@contextmanager
def _silent_writers() -> Iterator[None]:
    """No traceback from TensorBoard's writing thread: the training thread raises its error of the disk again."""
    former = threading.excepthook

    def hook(arguments: threading.ExceptHookArgs) -> None:
        if not isinstance(arguments.exc_value, OSError):
            former(arguments)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = former


def _open(name: str, run_dir: Path, settings: Mapping[str, object]) -> Logger:
    try:
        logger = _mlflow(run_dir) if name == "mlflow" else _wandb(run_dir)
        logger.log_hyperparams(dict(settings))  # which starts the run
    except Exception as error:  # each service raises exceptions of its own
        raise TrainingError(
            f"--log {name}", "the service cannot be used", got=error, next_step="configure it, or omit --log"
        ) from error
    return logger


def _mlflow(run_dir: Path) -> Logger:
    from lightning.pytorch.loggers import MLFlowLogger

    uri: str = importlib.import_module("mlflow").get_tracking_uri()
    return MLFlowLogger(PROJECT, run_name=printable(str(run_dir)), tracking_uri=uri)


def _wandb(run_dir: Path) -> Logger:
    from lightning.pytorch.loggers import WandbLogger

    quiet = importlib.import_module("wandb").Settings(silent=is_quiet())
    return WandbLogger(name=printable(str(run_dir)), save_dir=run_dir, project=PROJECT, settings=quiet)
