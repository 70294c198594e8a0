"""Interpreters of .tflite files that cannot live in our process, as engines: tflite-runtime and TensorFlow.

tflite-runtime is what many a Raspberry Pi still runs; its last release wants Python 3.11 and numpy 1, so it gets an
environment of its own, made on demand in the user's cache. TensorFlow is two gigabytes: it is taken from the extra
`tensorflow`, or from the cache once ``python -m tinyscene.export.targets.other_tflite tensorflow`` has put it there.
Refuses to pretend: what cannot be had is an ExportError with the command that brings it.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Literal

import numpy as np

from tinyscene.runtime.arith import Rounding
from tinyscene.runtime.arrays import I8
from tinyscene.runtime.cache import ENVIRONMENT_COMPLETE, environment_folder
from tinyscene.runtime.graph import Graph

from ..errors import ExportError
from .subprocesses import WORKERS, last_line, run_program

WORKER = WORKERS / "other_tflite.py"
PACKAGES = {  # of the environments in the cache
    "tflite_runtime": ("tflite-runtime==2.14.0", "numpy<2"),
    "tensorflow": ("tensorflow==2.21.0",),
}
TIMEOUT_SECONDS = 900
Kernels = Literal["default", "reference"]


class ForeignTflite:
    """A .tflite file in another process (see :class:`tinyscene.runtime.engines.Engine`); every output of the file is
    shown.

    Args:
        module: ``tflite_runtime`` or ``tensorflow``.
        kernels: ``reference`` are the plain ones. ``default`` are XNNPACK's in TensorFlow (rule ``single``);
            tflite-runtime 2.14 leaves int8 to its older optimised kernels, most of which follow ``double``.

    Raises:
        ExportError: the package cannot be had.
    """

    def __init__(self, graph: Graph, model: bytes, module: str, kernels: Kernels) -> None:
        self.graph, self._model, self._module, self._kernels = graph, model, module, kernels
        xnnpack = kernels == "default" and module == "tensorflow"
        self.rounding: Rounding = "single" if xnnpack else "double"
        self.name = module.replace("_", "-") + ("-reference" if kernels == "reference" else "")
        self.notes: tuple[str, ...] = ()
        self._python = PYTHONS[module]()

    def outputs(self, codes: I8) -> dict[str, I8]:
        """Every output of the file by name, int8 (batch, ...)."""
        with tempfile.TemporaryDirectory(prefix="tinyscene-tflite-") as name:
            folder = Path(name)
            (folder / "model.tflite").write_bytes(self._model)
            np.save(folder / "inputs.npy", codes)
            words = (self._module, self._kernels, "model.tflite", "inputs.npy", "outputs.npz")
            command = [str(self._python), str(WORKER), *words]
            done = run_program(
                command, self.name, folder=folder, environment=quiet_environment(), timeout_seconds=TIMEOUT_SECONDS
            )
            self.notes = (f"version {last_line(done.stdout)}",)
            with np.load(folder / "outputs.npz") as found:
                return {key: found[key] for key in found}

    def output_codes(self, codes: I8) -> I8:
        """The graph's output alone, int8 (batch, ...)."""
        return self.outputs(codes)[self.graph.output]


def quiet_environment() -> dict[str, str]:
    """Our environment, in which TensorFlow leaves log and accelerators alone."""
    return {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0", "CUDA_VISIBLE_DEVICES": ""}


def is_there(module: str) -> bool:
    """Whether the package can be used without making an environment first."""
    own = module == "tensorflow" and importlib.util.find_spec(module) is not None
    return own or (_home(module) / ENVIRONMENT_COMPLETE).exists()


def tensorflow_python() -> Path:
    """This Python, if it has TensorFlow, or that of the cache.

    Raises:
        ExportError: neither has it.
    """
    if importlib.util.find_spec("tensorflow") is not None:
        return Path(sys.executable)
    if not is_there("tensorflow"):
        raise ExportError(
            "TensorFlow",
            "is not installed",
            next_step="python -m tinyscene.export.targets.other_tflite tensorflow (2 GB in the cache)",
            missing=True,
        )
    return _home("tensorflow") / "bin" / "python"


def tflite_runtime_python() -> Path:
    """A Python 3.11 with tflite-runtime, in the cache; made when it is not there yet.

    Raises:
        ExportError: there is no Python 3.11, or the packages cannot be installed.
    """
    base = sys.executable if sys.version_info[:2] == (3, 11) else shutil.which("python3.11")
    if base is None:
        raise ExportError(
            "tflite-runtime", "has no release for this Python", next_step="install python3.11", missing=True
        )
    return environment("tflite_runtime", base)


PYTHONS = {"tflite_runtime": tflite_runtime_python, "tensorflow": tensorflow_python}


def environment(module: str, base: str = sys.executable) -> Path:
    """The Python of the cached environment for ``module``; it is made, with Python ``base``, when it is not there.

    Raises:
        ExportError: it cannot be made; the commands to do it by hand are in the message.
    """
    home, packages = _home(module), PACKAGES[module]
    python = home / "bin" / "python"
    if (home / ENVIRONMENT_COMPLETE).exists():
        return python
    home.parent.mkdir(parents=True, exist_ok=True)
    by_hand = f"{base} -m venv {home} && {python} -m pip install {' '.join(packages)}"
    for command in (
        [base, "-m", "venv", "--clear", str(home)],
        [str(python), "-m", "pip", "install", "--quiet", *packages],
    ):
        run_program(command, module, "its environment cannot be made", next_step=by_hand, missing=True)
    (home / ENVIRONMENT_COMPLETE).touch()
    return python


def _home(module: str) -> Path:
    return environment_folder(PACKAGES[module][0])


if __name__ == "__main__":
    print(environment(sys.argv[1]))
