"""Fixtures and markers for all tests: shared data, required tools and packages, a small bundle, the built wheel.

A test whose tool, package or data is missing is skipped with the missing name, and the names are listed at the end. In
continuous integration (CI=true) a missing tool or package is a failure instead, so that no test is left out unnoticed.
The shared data is optional everywhere: it is not part of the project.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    from tinyscene.runtime.bundle import Bundle

REPOSITORY = Path(__file__).resolve().parent.parent
IN_A_CLONE = (  # files and folders that every clone has
    *("LICENSE", "NOTICE", "README.md", "pyproject.toml", "benchmarks", "docker", "docs", "tests"),
    *("tinyscene", "export", "firmware_harness", "runtime", "training"),
)

# OpenMP, MKL and OpenBLAS read these when they are loaded, which is later than this line. With one worker per core,
# more threads per worker would only compete for the cores.
if "PYTEST_XDIST_WORKER" in os.environ:
    for _variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(_variable, "1")

# In a shell's background job Ctrl-C is ignored, and under nohup SIGHUP; child processes inherit that, and tests end
# some of them by signals.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

hypothesis.settings.register_profile(
    "ci",
    deadline=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.register_profile("local", deadline=None, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") == "true" else "local")


def _absent(what: str) -> None:
    """Skip the running test with the name of what is missing; with CI=true, fail it."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} is missing, and CI=true allows no gaps", pytrace=False)
    pytest.skip(f"{what} is missing")


def _require_tools(*names: str) -> None:
    for name in names:
        if shutil.which(name) is None:
            _absent(f"tool {name}")


def _require_modules(*names: str) -> None:
    for name in names:
        if importlib.util.find_spec(name) is None:
            _absent(f"Python package {name}")


def _require_environment(module: str, selected: bool) -> None:
    """A missing environment fails the test only when ``-m`` names these tests, as `.ci/run` does."""
    from tinyscene.export.targets.environments import is_available

    if not is_available(module):
        what = f"{module}'s environment (python -m tinyscene.export.targets.environments {module})"
        _absent(what) if selected else pytest.skip(f"{what} is missing")


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("needs_tool"):
        _require_tools(*marker.args)
    for marker in item.iter_markers("needs_module"):
        _require_modules(*marker.args)
    for marker in item.iter_markers("foreign"):
        _require_environment(marker.args[0], selected="foreign" in item.config.getoption("-m"))


@pytest.fixture(scope="session")
def needs_tool() -> Callable[..., None]:
    """Call with names of executables; skips or fails the test unless all exist. Also ``@pytest.mark.needs_tool``."""
    return _require_tools


@pytest.fixture(scope="session")
def needs_module() -> Callable[..., None]:
    """Call with import names of optional packages; as ``needs_tool``."""
    return _require_modules


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the source tree."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with recordings, golden values and the public checkpoint; without it the test is skipped."""
    path = os.environ.get("TINYSCENE_SHARED")
    folder = Path(path) if path else REPOSITORY.parent / "shared" / "data"
    if not (folder / "golden").is_dir():
        pytest.skip("shared data is missing (TINYSCENE_SHARED names its folder)")
    return folder


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle of the smallest CP-Mobile with random weights, calibrated on noise."""
    import numpy as np
    import torch

    from tinyscene.export.quantise.calibration import network_images
    from tinyscene.export.quantise.methods import quantise_post_training
    from tinyscene.export.write_bundle import bundle_provenance, export_bundle
    from tinyscene.runtime.log_mel import LogMel
    from tinyscene.runtime.spec import preset
    from tinyscene.training.models.build import build_model
    from tinyscene.training.models.checkpoint import LoadedModel
    from tinyscene.training.models.config import named_config

    torch.manual_seed(0)
    config, frontend = named_config("cpm23-8", padding="same"), preset("cpm23")
    source = LoadedModel(build_model(config).eval(), config, frontend, tuple(f"scene_{i}" for i in range(10)))
    rng = np.random.default_rng(0)
    clips = [rng.normal(0.0, 0.1, frontend.clip_samples).astype(np.float32) for _ in range(8)]
    log_mels = np.stack([LogMel(frontend)(clip) for clip in clips])
    model = quantise_post_training(source, "tiny", network_images(log_mels))
    provenance = bundle_provenance("noise", "tinyscene export tiny.pt --ptq noise --out bundle")
    return export_bundle(tmp_path_factory.mktemp("tiny") / "bundle", model, log_mels, provenance)


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree as a fresh clone has it: links stay links, and nothing is built."""
    folder = tmp_path_factory.mktemp("sources") / "clone"
    folder.mkdir()
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in IN_A_CLONE:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, folder / name, symlinks=True, ignore=ignored)
        else:
            shutil.copy(source, folder)
    return folder


@pytest.fixture(scope="session")
def wheel(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that is built from a clone."""
    return build("wheel", clone, tmp_path_factory.mktemp("wheel"))


def build(kind: str, tree: Path, folder: Path) -> Path:
    """Build a ``wheel``, ``sdist`` or ``editable`` of a source tree into a folder, and return its file."""
    code = f"import sys, setuptools.build_meta as backend; print(backend.build_{kind}(sys.argv[1]))"
    words = [sys.executable, "-c", code, str(folder)]
    printed = subprocess.run(words, cwd=tree, check=True, capture_output=True, text=True).stdout
    return folder / printed.splitlines()[-1]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List the reasons of skipped tests with their counts."""
    reasons: Counter[str] = Counter()
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reasons[reason.removeprefix("Skipped: ")] += 1
    if reasons:
        terminalreporter.section("skipped, and why", sep="-")
        for reason, count in sorted(reasons.items()):
            terminalreporter.write_line(f"{count:4d}  {reason}")
