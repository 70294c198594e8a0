"""The base install: the built wheel classifies a recording without PyTorch, a compiler or the source tree."""

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

LOADED_AT_MOST = 25  # top-level modules
NOT_IN_BASE = ("torch", "lightning", "onnx", "onnxruntime", "tensorflow", "scipy")


def _python(executable: str | Path, code: str, **options) -> str:
    ran = subprocess.run([str(executable), "-c", code], capture_output=True, text=True, check=True, **options)
    return ran.stdout


def test_importing_the_library_loads_little(repository):
    """Besides NumPy and the audio libraries: our own modules and a few of Python's; no engine, no command line."""
    code = """
import sys, numpy, soundfile, soxr
before = set(sys.modules)
import tinyscene.runtime.classify
print(*sorted({name.partition(".")[0] for name in set(sys.modules) - before}))
"""
    loaded = set(_python(sys.executable, code, cwd=repository).split())
    assert loaded - set(sys.stdlib_module_names) == {"tinyscene"}
    assert len(loaded) <= LOADED_AT_MOST, sorted(loaded)


def _installed(python: str | Path, wheel: Path, repository: Path, *options: str) -> None:
    words = ["-m", "pip", "install", "--quiet", "--constraint", str(repository / "docker" / "constraints.txt")]
    ran = subprocess.run([str(python), *words, *options, str(wheel)], capture_output=True, text=True, check=False)
    if ran.returncode != 0 and "No matching distribution" in ran.stderr:
        pytest.skip("package index is missing")
    assert ran.returncode == 0, ran.stderr


@pytest.fixture(scope="module")
def base(wheel, repository, tmp_path_factory) -> Path:
    """The bin folder of a new environment with the wheel and the packages that it requires."""
    folder = tmp_path_factory.mktemp("base")
    venv.create(folder / "env", with_pip=True)
    _installed(folder / "env" / "bin" / "python", wheel, repository)
    return folder / "env" / "bin"


@pytest.mark.slow
def test_the_wheel_alone_classifies(base, bundle, tmp_path):
    soundfile.write(tmp_path / "clip.wav", noise(1, 3 * RATE), RATE, subtype="PCM_16")
    environment = {"PATH": str(base), "HOME": str(tmp_path), "LANG": os.environ.get("LANG", "C.UTF-8")}  # no compiler
    not_in_base = _python(
        base / "python",
        f"import importlib.util as u; print([n for n in {NOT_IN_BASE!r} if u.find_spec(n)])",
        cwd=tmp_path,
        env=environment,
    )
    assert not_in_base.strip() == "[]"
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
    record = json.loads(
        subprocess.run(
            [str(base / "tinyscene"), "doctor", "--json"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    )
    works = {one["name"]: one["works"] for one in record["findings"]}
    assert works["litert"]
    assert not works["ort"]
    assert not works["train"]
    assert not works["cortex-m4"]


@pytest.mark.slow
def test_its_size_and_memory_are_those_of_the_readme(base, bundle, tmp_path, repository):
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(_python(base / "python", code, cwd=tmp_path).strip())
    files = [path for path in packages.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    size = sum(
        path.stat().st_size for path in files if path.relative_to(packages).parts[0] not in {"pip", "setuptools"}
    )
    code = f"""
import re, numpy as np
from tinyscene.runtime.classify import SceneClassifier
classifier = SceneClassifier.open({str(bundle.path)!r})
classifier.classify(np.random.default_rng(0).normal(0.0, 0.1, 320_000), 32_000)
print(int(re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())[1]) * 1024)
"""
    begin = time.perf_counter()
    peak = int(_python(base / "python", code, cwd=tmp_path))
    print(f"installed {size / 1e6:.0f} MB, peak RSS {peak / 1e6:.0f} MB, {time.perf_counter() - begin:.2f} s")
    assert size < 160e6
    assert peak < 110e6


@pytest.fixture
def recording(bundle, tmp_path) -> Path:
    """A folder to mount in another system: a bundle and a recording of three seconds."""
    folder = tmp_path / "recording"
    shutil.copytree(bundle.path, folder / "bundle")
    soundfile.write(folder / "clip.wav", noise(1, 3 * RATE), RATE, subtype="PCM_16")
    return folder


def _run_words(engine: str) -> list[str]:
    """`tinyscene run` with the wheel and its requirements at /mnt/site, and the recording at /mnt/recording."""
    words = ["run", "/mnt/recording/bundle", "/mnt/recording/clip.wav", "--engine", engine, "--json"]
    return ["/usr/bin/python3", "-m", "tinyscene", *words]


def _scores(printed: str) -> list[list[float]]:
    (clip,) = json.loads(printed)["clips"]
    return [hop["scores"] for hop in clip["hops"]]


@pytest.mark.slow
def test_the_wheel_alone_classifies_on_an_emulated_raspberry_pi(wheel, recording, repository, tmp_path):
    """Debian's Python 3.11 for arm64 with the published wheels alone; LiteRT and the NumPy kernels agree."""
    from tinyscene.export.errors import ExportError
    from tinyscene.export.targets.raspberry_pi import PROCESSORS, pi_root, pip_options, run_on_pi

    try:
        pi_root()
    except ExportError as problem:
        pytest.skip(str(problem))
    site = tmp_path / "site"
    _installed(sys.executable, wheel, repository, "--target", str(site), "--no-compile", *pip_options())
    mounts = {"site": site, "recording": recording}
    answers = {
        engine: _scores(
            run_on_pi(_run_words(engine), PROCESSORS["pi4"], mounts, python_path="/mnt/site", where="base wheel")
        )
        for engine in ("litert", "numpy-single")
    }
    assert len(answers["litert"]) == 3
    assert answers["litert"] == answers["numpy-single"]


@pytest.mark.slow
@pytest.mark.needs_tool("mmdebstrap", "unshare")
@pytest.mark.skipif(os.geteuid() != 0, reason="changing the root needs root")
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the wheels are chosen for x86-64")
def test_the_wheel_alone_classifies_on_python_3_13(wheel, recording, repository, tmp_path):
    """The Python of Debian 13, unpacked and not installed. No Debian release has 3.12."""
    root, site = tmp_path / "root", tmp_path / "site"
    packages = "--include=python3,libstdc++6,base-files"
    unpacked = subprocess.run(
        ["mmdebstrap", "--quiet", "--variant=extract", packages, "trixie", str(root)], check=False
    )
    if unpacked.returncode != 0:
        pytest.skip("Debian 13 packages are missing")
    tags = [word for tag in ("2014", "_2_17", "_2_27", "_2_28") for word in ("--platform", f"manylinux{tag}_x86_64")]
    abis = [word for abi in ("cp313", "abi3", "none") for word in ("--abi", abi)]
    chosen = ["--only-binary=:all:", "--python-version", "3.13", "--implementation", "cp", *tags, *abis]
    _installed(sys.executable, wheel, repository, "--target", str(site), "--no-compile", *chosen)
    script = f"""
mkdir -p {root}/mnt/site {root}/mnt/recording {root}/proc {root}/sys {root}/dev
mount --bind {site} {root}/mnt/site
mount --bind {recording} {root}/mnt/recording
mount --bind /proc {root}/proc
mount --rbind /sys {root}/sys
mount --rbind /dev {root}/dev
exec chroot {root} "$@"
"""
    around = ["unshare", "--mount", "bash", "-euc", script, "bash"]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": "/mnt/site", "LC_ALL": "C.UTF-8"}

    def output(*words: str) -> str:
        return subprocess.run([*around, *words], env=environment, capture_output=True, text=True, check=True).stdout

    assert output("/usr/bin/python3", "--version").startswith("Python 3.13")
    answers = {engine: _scores(output(*_run_words(engine))) for engine in ("litert", "numpy-single")}
    assert len(answers["litert"]) == 3
    assert answers["litert"] == answers["numpy-single"]
