"""What a small machine gets: the built wheel alone classifies a recording, without PyTorch, a compiler or the tree."""

from __future__ import annotations

import json
import os
import platform
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
    code = "from time import process_time as t; begin = t(); import tinyscene.runtime.classify; print(t() - begin)"
    seconds = min(float(_python(sys.executable, code, cwd=repository)) for _ in range(10))
    print(f"import tinyscene.runtime.classify: {1e3 * seconds:.0f} ms")
    assert seconds < IMPORT_S


@pytest.fixture(scope="module")
def wheel(repository, tmp_path_factory) -> Path:
    """The wheel of this tree."""
    folder = tmp_path_factory.mktemp("wheel")
    tree = folder / "tree"
    tree.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "tinyscene/command_line.py"):
        shutil.copy(repository / name, tree)
    for package in ("export", "firmware_harness", "runtime", "training"):
        shutil.copytree(repository / package, tree / package, ignore=shutil.ignore_patterns("__pycache__"))
    build = "import sys, setuptools.build_meta as backend; backend.build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, str(folder)], cwd=tree, check=True, capture_output=True)
    (built,) = folder.glob("tinyscene-*.whl")
    return built


def _installed(python: str | Path, wheel: Path, repository: Path, *options: str) -> None:
    words = ["-m", "pip", "install", "--quiet", "--constraint", str(repository / "docker" / "constraints.txt")]
    ran = subprocess.run([str(python), *words, *options, str(wheel)], capture_output=True, text=True, check=False)
    if ran.returncode != 0 and "No matching distribution" in ran.stderr:
        pytest.skip("package index is missing")
    assert ran.returncode == 0, ran.stderr


@pytest.fixture(scope="module")
def base(wheel, repository, tmp_path_factory) -> Path:
    """A new environment's bin folder, with the wheel in it."""
    folder = tmp_path_factory.mktemp("base")
    venv.create(folder / "env", with_pip=True)
    _installed(folder / "env" / "bin" / "python", wheel, repository)
    return folder / "env" / "bin"


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
from tinyscene.runtime.classify import SceneClassifier
classifier = SceneClassifier.open({str(bundle.path)!r})
classifier.classify(np.random.default_rng(0).normal(0.0, 0.1, 320_000), 32_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""
    begin = time.perf_counter()
    peak = int(_python(base / "python", code, cwd=tmp_path))
    print(f"installed {size / 1e6:.0f} MB, peak RSS {peak / 1e6:.0f} MB, {time.perf_counter() - begin:.2f} s")
    assert size < 160e6
    assert peak < 110e6


@pytest.fixture
def heard(bundle, tmp_path) -> Path:
    """A folder to show to another system: a bundle and a recording of three seconds."""
    folder = tmp_path / "heard"
    shutil.copytree(bundle.path, folder / "bundle")
    soundfile.write(folder / "clip.wav", noise(1, 3 * RATE), RATE, subtype="PCM_16")
    return folder


def _run_words(engine: str) -> list[str]:
    """`tinyscene run` with the wheel and what it asks for at /mnt/site, and the recording at /mnt/heard."""
    words = ["run", "/mnt/heard/bundle", "/mnt/heard/clip.wav", "--engine", engine, "--json"]
    return ["/usr/bin/python3", "-m", "tinyscene", *words]


def _scores(printed: str) -> list[list[float]]:
    (clip,) = json.loads(printed)["clips"]
    return [hop["scores"] for hop in clip["hops"]]


@pytest.mark.slow
def test_the_wheel_alone_classifies_on_an_emulated_raspberry_pi(wheel, heard, repository, tmp_path):
    """Debian's Python 3.11 for arm64 with the published wheels, nothing else; LiteRT beside the kernels of NumPy."""
    from tinyscene.export.errors import ExportError
    from tinyscene.export.targets.raspberry_pi import PROCESSORS, pi_root, pip_options, run_on_pi

    try:
        pi_root()
    except ExportError as problem:
        pytest.skip(str(problem))
    site = tmp_path / "site"
    _installed(sys.executable, wheel, repository, "--target", str(site), "--no-compile", *pip_options())
    shown = {"site": site, "heard": heard}
    answers = {
        engine: _scores(
            run_on_pi(_run_words(engine), PROCESSORS["pi4"], shown, python_path="/mnt/site", where="base wheel")
        )
        for engine in ("litert", "numpy-single")
    }
    assert len(answers["litert"]) == 3
    assert answers["litert"] == answers["numpy-single"]


@pytest.mark.slow
@pytest.mark.needs_tool("mmdebstrap", "unshare")
@pytest.mark.skipif(os.geteuid() != 0, reason="changing the root needs root")
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the wheels are chosen for x86-64")
def test_the_wheel_alone_classifies_on_python_3_13(wheel, heard, repository, tmp_path):
    """Debian 13's Python, unpacked and not installed. No Debian has 3.12."""
    root, site = tmp_path / "root", tmp_path / "site"
    packages = "--include=python3,libstdc++6,base-files"
    made = subprocess.run(["mmdebstrap", "--quiet", "--variant=extract", packages, "trixie", str(root)], check=False)
    if made.returncode != 0:
        pytest.skip("Debian 13 packages are missing")
    tags = [word for tag in ("2014", "_2_17", "_2_27", "_2_28") for word in ("--platform", f"manylinux{tag}_x86_64")]
    abis = [word for abi in ("cp313", "abi3", "none") for word in ("--abi", abi)]
    chosen = ["--only-binary=:all:", "--python-version", "3.13", "--implementation", "cp", *tags, *abis]
    _installed(sys.executable, wheel, repository, "--target", str(site), "--no-compile", *chosen)
    script = f"""
mkdir -p {root}/mnt/site {root}/mnt/heard {root}/proc {root}/sys {root}/dev
mount --bind {site} {root}/mnt/site
mount --bind {heard} {root}/mnt/heard
mount --bind /proc {root}/proc
mount --rbind /sys {root}/sys
mount --rbind /dev {root}/dev
exec chroot {root} "$@"
"""
    around = ["unshare", "--mount", "bash", "-euc", script, "bash"]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": "/mnt/site", "LC_ALL": "C.UTF-8"}

    def said(*words: str) -> str:
        return subprocess.run([*around, *words], env=environment, capture_output=True, text=True, check=True).stdout

    assert said("/usr/bin/python3", "--version").startswith("Python 3.13")
    answers = {engine: _scores(said(*_run_words(engine))) for engine in ("litert", "numpy-single")}
    assert len(answers["litert"]) == 3
    assert answers["litert"] == answers["numpy-single"]
