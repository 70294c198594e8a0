"""Build the container images and test each with a small bundle, which is trained and exported first.

    python docker/build.py [IMAGE...] [--engine docker|podman|buildah] [--built] [--log FILE.md]

Without --engine the first available engine is used. Builds use this machine's package settings, and no image keeps
them: podman and buildah mount pip's configuration, docker passes the index variables of the environment. The exit code
is 1 when a build or a command in an image fails.
"""

from __future__ import annotations

import argparse
import ast
import shlex
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent))  # an installed tinyscene comes first

from engines import ENGINES, Docker, Mounts, call, foreign

from tinyscene.export.errors import ExportError

ROOT = Path(__file__).resolve().parent.parent
WITHOUT_TORCH = 'import importlib.util as u; assert u.find_spec("torch") is None'
WITH_CUDA = 'import torch; assert torch.version.cuda; print("torch", torch.__version__, "CUDA", torch.version.cuda)'
UNPRIVILEGED = ("python", "-c", "import os; assert os.getuid() == 1000")
PYTEST = ("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/src/pyproject.toml", "--rootdir", "/src")
TESTS = (
    "runtime/test_arith.py",
    "runtime/test_kernels.py",
    "runtime/test_tflite_write.py",
    "firmware_harness/build/test_image.py",
)
RUN = ("tinyscene", "run", "bundle", "clip.wav", "--quiet")
# Commands that must succeed in each image, in a folder with the bundle, a recording, a recipe and synthetic scenes.
SMOKE = {
    "firmware": (
        ("python", "-c", WITHOUT_TORCH),
        ("tinyscene", "firmware", "bundle", "--target", "cortex-m4", "--run", "--out", "cortex-m4"),
        ("tinyscene", "firmware", "bundle", "--target", "riscv32", "--run", "--out", "riscv32"),
        ("tinyscene", "firmware", "bundle", "--target", "xtensa", "--run", "--out", "xtensa"),
    ),
    "pi": (
        ("python", "-c", WITHOUT_TORCH),
        *((*RUN, "--engine", engine) for engine in ("litert", "litert-reference", "ort", "numpy-single")),
    ),
    "dev": (
        RUN,
        ("tinyscene", "verify", "bundle", "--targets", "numpy-double,ort,litert,tflm,c-host,c-cortex-m4", "--quiet"),
        (*PYTEST, *(f"/src/tests/{name}" for name in TESTS)),
    ),
    "train": (
        ("python", "-c", WITH_CUDA),
        ("tinyscene", "train", "two-steps.yaml", "--data", "scenes", "--out", "again"),
        ("tinyscene", "export", "again/student.pt", "--ptq", "scenes/audio", "--clips", "20", "--out", "again/bundle"),
    ),
}
RECIPE = "model: cpm23-8\nepochs: 1\nbatch_size: 80\nlearning_rate: 2.0e-3\nteachers: []\n"  # two steps
LAST_LINES = 12  # lines of a command's output on the page


PAGE = """# Container images, built and tested

Written by `python docker/build.py --log docs/results-containers.md`. The images were built by {engine} without caches.
Each command below succeeded in the image, as the image's user, on a folder with a small network trained on synthetic
scenes. Sizes are unpacked. {emulated}

{table}

{output}"""
EMULATED = "The image for arm64 was built and run under QEMU's user emulation, hence its times."


def write_materials(folder: Path) -> None:
    """Write synthetic scenes, a recipe of two steps, its bundle, and a recording; every user may write there."""
    (folder / "two-steps.yaml").write_text(RECIPE)
    for words in (
        ("data", "synth", "--out", "scenes", "--locations", "4", "--clips", "1"),
        ("train", "two-steps.yaml", "--data", "scenes", "--out", "run"),
        ("export", "run/student.pt", "--ptq", "scenes/audio", "--clips", "20", "--out", "bundle"),
    ):
        call([sys.executable, "-m", "tinyscene", *words], " ".join(words[:2]), folder=folder)
    shutil.copy(min((folder / "scenes" / "audio").glob("*-a.wav")), folder / "clip.wav")
    folder.chmod(0o777)


def pip_settings(folder: Path) -> Mounts:
    """Return what builds mount: pip's configuration as /etc/pip.conf, and the folders that it refers to."""
    listed = call([sys.executable, "-m", "pip", "config", "list"], "pip").splitlines()
    pairs = (line.partition("=") for line in listed)
    settings = {key.rpartition(".")[2]: ast.literal_eval(value) for key, _, value in sorted(pairs, reverse=True)}
    mounts: dict[Path, str] = {}
    lines = ["[global]"]
    for name, value in settings.items():
        words = []
        for word in value.split():
            path = Path(word.removeprefix("file://"))
            if path.is_absolute() and path.exists():  # with its folder, to whose other files an index refers
                inside = mounts.setdefault(path.parent, f"/run/pip/{len(mounts)}")
                word = word.replace(str(path.parent), inside, 1)
            words.append(word)
        lines.append(f"{name} = {' '.join(words)}")
    configuration = folder / "pip.conf"
    configuration.write_text("\n".join([*lines, ""]))
    configuration.chmod(0o644)
    return {**mounts, configuration: "/etc/pip.conf"}


def build_and_test(
    image: str, engine: Docker, settings: Mounts, folder: Path, *, building: bool = True
) -> tuple[str, str]:
    """Return a row of the table, and the output of the commands in the image."""
    begin = time.monotonic()
    if building:
        print(f"tinyscene-{image}: building", flush=True)
        engine.build(image, ROOT, settings)
    built, outputs = time.monotonic(), []
    for words in (UNPRIVILEGED, ("tinyscene", "doctor"), *SMOKE[image]):
        lines = engine.run(image, list(words), {folder: "/data"}).rstrip().splitlines()
        last = lines if "doctor" in words else lines[-LAST_LINES:]
        outputs.append("\n".join([f"$ {shlex.join(words)}", *(["..."] if last != lines else []), *last, ""]))
        print(outputs[-1], flush=True)
    minutes = [f"{seconds / 60:.1f} min" for seconds in (built - begin, time.monotonic() - built)]
    minutes[0] = minutes[0] if building else "before"
    row = f"| tinyscene-{image} | {engine.size(image)} | {' | '.join(minutes)} |"
    return row, f"## tinyscene-{image}\n\n```text\n{''.join(outputs)}```\n"


def available_engine(name: str | None) -> Docker:
    """Return the engine of that name, or the first one available."""
    engine = next((one for one in ENGINES.values() if name in (None, one.name) and one.works()), None)
    if engine is None:
        problem, next_step = "no container engine is available", "apt-get install buildah"
        raise ExportError(name or "images", problem, expected=", ".join(ENGINES), next_step=next_step)
    return engine


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", nargs="*", metavar="IMAGE", default=list(SMOKE), help=f"any of {', '.join(SMOKE)}")
    parser.add_argument("--engine", choices=ENGINES, help="default: the first one available")
    parser.add_argument("--built", action="store_true", help="test existing images without building them")
    parser.add_argument("--log", type=Path, metavar="FILE.md", help="write the results as a page")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tinyscene-images-") as name:
        folder = Path(name) / "data"
        folder.mkdir()
        Path(name).chmod(0o755)
        try:
            engine = available_engine(options.engine)
            write_materials(folder)
            settings = pip_settings(Path(name))
            results = [
                build_and_test(image, engine, settings, folder, building=not options.built) for image in options.images
            ]
        except ExportError as problem:
            print(f"error: {problem}", file=sys.stderr)
            return 1
    rows, outputs = zip(*results, strict=True)
    table = "\n".join(["| image | size | built in | tested in |", "|---|---|---|---|", *rows])
    print(table)
    if options.log:
        emulated = EMULATED if any(foreign(image) for image in options.images) else ""
        page = PAGE.format(engine=engine.name, emulated=emulated, table=table, output="\n".join(outputs))
        options.log.write_text(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
