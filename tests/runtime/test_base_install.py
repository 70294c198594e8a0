"""What a small machine gets: the built wheel alone classifies a recording, without PyTorch, a compiler or the tree."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import venv
from pathlib import Path

import pytest
import soundfile

from tests.runtime.listening import RATE, noise

IMPORT_S = 0.150
NOT_IN_BASE = ("torch", "lightning", "onnx", "onnxruntime", "tensorflow", "scipy")


def _python(executable: str | Path, code: str, **options) -> str:
    ran = subprocess.run([str(executable), "-c", code], capture_output=True, text=True, check=True, **options)
    return ran.stdout


def test_importing_the_library_is_quick(repository):
    """CPU time, the best of several: a busy machine should not decide."""
    code = "import time; begin = time.process_time(); import runtime.classify; print(time.process_time() - begin)"
    seconds = min(float(_python(sys.executable, code, cwd=repository)) for _ in range(10))
    print(f"import runtime.classify: {1e3 * seconds:.0f} ms")
    assert seconds < IMPORT_S


@pytest.fixture(scope="module")
def base(repository, tmp_path_factory) -> Path:
    """A new environment's bin folder, with the wheel of this tree in it."""
    folder = tmp_path_factory.mktemp("base")
    tree = folder / "tree"
    tree.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "tinyscene.py"):
        shutil.copy(repository / name, tree)
    for package in ("export", "firmware_harness", "runtime", "training"):
        shutil.copytree(repository / package, tree / package, ignore=shutil.ignore_patterns("__pycache__"))
    build = "import sys, setuptools.build_meta as backend; backend.build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, str(folder)], cwd=tree, check=True, capture_output=True)
    (wheel,) = folder.glob("tinyscene-*.whl")
    venv.create(folder / "env", with_pip=True)
    binaries = folder / "env" / "bin"
    words = ["-m", "pip", "install", "--quiet", "--constraint", str(repository / "docker" / "constraints.txt")]
    ran = subprocess.run([str(binaries / "python"), *words, str(wheel)], capture_output=True, text=True, check=False)
    if ran.returncode != 0 and "No matching distribution" in ran.stderr:
        pytest.skip("package index is missing")
    assert ran.returncode == 0, ran.stderr
    shutil.rmtree(tree)
    return binaries


@pytest.mark.slow
def test_the_wheel_alone_classifies(base, bundle, tmp_path):
    soundfile.write(tmp_path / "clip.wav", noise(1, 3 * RATE), RATE, subtype="PCM_16")
    environment = {"PATH": str(base), "HOME": str(tmp_path), "LANG": os.environ.get("LANG", "C.UTF-8")}  # no compiler
    found = _python(
        base / "python",
        f"import importlib.util as u; print([n for n in {NOT_IN_BASE!r} if u.find_spec(n)])",
        cwd=tmp_path,
        env=environment,
    )
    assert found.strip() == "[]"
    answers = {}
    for engine in ("litert", "numpy-single"):
        ran = subprocess.run(
            [str(base / "tinyscene"), "run", str(bundle.path), "clip.wav", "--engine", engine, "--json"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        (clip,) = json.loads(ran.stdout)["clips"]
        answers[engine] = [hop["scores"] for hop in clip["hops"]]
    assert len(answers["litert"]) == 3
    assert answers["litert"] == answers["numpy-single"]
    said = json.loads(
        subprocess.run(
            [str(base / "tinyscene"), "doctor", "--json"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    )
    works = {one["name"]: one["works"] for one in said["findings"]}
    assert works["litert"]
    assert not works["ort"]
    assert not works["train"]
    assert not works["cortex-m4"]


@pytest.mark.slow
def test_its_size_and_memory_are_as_the_readme_says(base, bundle, tmp_path, repository):
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(_python(base / "python", code, cwd=tmp_path).strip())
    files = [path for path in packages.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    size = sum(
        path.stat().st_size for path in files if path.relative_to(packages).parts[0] not in {"pip", "setuptools"}
    )
    code = f"""
import json, resource, numpy as np
from runtime.classify import SceneClassifier
classifier = SceneClassifier.open({str(bundle.path)!r})
classifier.classify(np.random.default_rng(0).normal(0.0, 0.1, 320_000), 32_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""
    begin = time.perf_counter()
    peak = int(_python(base / "python", code, cwd=tmp_path))
    print(f"installed {size / 1e6:.0f} MB, peak RSS {peak / 1e6:.0f} MB, {time.perf_counter() - begin:.2f} s")
    assert size < 160e6
    assert peak < 110e6
