"""Builds the images and runs each on something small: a bundle that is trained, exported and heard here and now.

    python docker/build.py [IMAGE...] [--engine docker|podman|buildah] [--built] [--log FILE.md]

Without --engine the first that works is taken. This machine's package settings reach the builds, and no image keeps
them: podman and buildah mount pip's configuration, docker passes the index variables of the environment. Ends in 1 when
a build or a command inside fails.
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

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from engines import ENGINES, Docker, Mounts, call, foreign

from tinyscene.export.errors import ExportError

ROOT = Path(__file__).resolve().parent.parent
WITHOUT_TORCH = 'import importlib.util as u; assert u.find_spec("torch") is None'
WITH_CUDA = 'import torch; assert torch.version.cuda; print("torch", torch.__version__, "CUDA", torch.version.cuda)'
UNPRIVILEGED = ("python", "-c", "import os; assert os.getuid() == 1000")
PYTEST = ("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/src/pyproject.toml", "--rootdir", "/src")
TESTS = ("runtime/test_arith.py", "runtime/test_kernels.py", "export/test_to_tflite.py", "firmware/test_build.py")
RUN = ("tinyscene", "run", "bundle", "clip.wav", "--quiet")
# What each image must do, in a folder that holds the bundle, a recording, a recipe and the scenes they were made from.
SMOKE = {
    "firmware": (
        ("python", "-c", WITHOUT_TORCH),
        ("tinyscene", "firmware", "bundle", "--target", "cortex-m4", "--run", "--out", "cortex-m4"),
        ("tinyscene", "firmware", "bundle", "--target", "riscv32", "--run", "--out", "riscv32"),
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
LAST_LINES = 12  # of a command's output, on the page


PAGE = """# The images, built and tried

Written by `python docker/build.py --log docs/results-containers.md`. Built by {engine} without caches, and each command
below ran inside with success, as the image's user, on a folder with a small network that had just been trained on
synthetic scenes. Sizes are unpacked. {emulated}

{table}

{said}"""
EMULATED = "The image for arm64 was built and run under\nQEMU's user emulation, hence its times."


def materials(folder: Path) -> None:
    """Scenes, a recipe of two steps, the bundle it leads to, and a recording; anyone may write there."""
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
    """pip's configuration here as /etc/pip.conf, and the folders it points to, for the builds to mount."""
    listed = call([sys.executable, "-m", "pip", "config", "list"], "pip").splitlines()
    pairs = (line.partition("=") for line in listed)
    found = {key.rpartition(".")[2]: ast.literal_eval(value) for key, _, value in sorted(pairs, reverse=True)}
    mounts: dict[Path, str] = {}
    lines = ["[global]"]
    for name, value in found.items():
        words = []
        for word in value.split():
            path = Path(word.removeprefix("file://"))
            if path.is_absolute() and path.exists():  # with what lies beside it: an index links there
                inside = mounts.setdefault(path.parent, f"/run/pip/{len(mounts)}")
                word = word.replace(str(path.parent), inside, 1)
            words.append(word)
        lines.append(f"{name} = {' '.join(words)}")
    configuration = folder / "pip.conf"
    configuration.write_text("\n".join([*lines, ""]))
    configuration.chmod(0o644)
    return {**mounts, configuration: "/etc/pip.conf"}


def built_and_tried(
    image: str, engine: Docker, settings: Mounts, folder: Path, *, building: bool = True
) -> tuple[str, str]:
    """A row of the table, and what the commands inside said."""
    begin = time.monotonic()
    if building:
        print(f"tinyscene-{image}: building", flush=True)
        engine.build(image, ROOT, settings)
    built, said = time.monotonic(), []
    for words in (UNPRIVILEGED, ("tinyscene", "doctor"), *SMOKE[image]):
        lines = engine.run(image, list(words), {folder: "/data"}).rstrip().splitlines()
        last = lines if "doctor" in words else lines[-LAST_LINES:]
        said.append("\n".join([f"$ {shlex.join(words)}", *(["..."] if last != lines else []), *last, ""]))
        print(said[-1], flush=True)
    minutes = [f"{seconds / 60:.1f} min" for seconds in (built - begin, time.monotonic() - built)]
    minutes[0] = minutes[0] if building else "before"
    row = f"| tinyscene-{image} | {engine.size(image)} | {' | '.join(minutes)} |"
    return row, f"## tinyscene-{image}\n\n```text\n{''.join(said)}```\n"


def usable(name: str | None) -> Docker:
    """The engine of that name, or the first that works here."""
    engine = next((one for one in ENGINES.values() if name in (None, one.name) and one.works()), None)
    if engine is None:
        raise ExportError(
            name or "images", "no engine works here", expected=", ".join(ENGINES), next_step="apt-get install buildah"
        )
    return engine


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", nargs="*", metavar="IMAGE", default=list(SMOKE), help=f"of {', '.join(SMOKE)}")
    parser.add_argument("--engine", choices=ENGINES)
    parser.add_argument("--built", action="store_true", help="try images that are there, without building them")
    parser.add_argument("--log", type=Path, metavar="FILE.md", help="write a page about it")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tinyscene-images-") as name:
        folder = Path(name) / "data"
        folder.mkdir()
        Path(name).chmod(0o755)
        try:
            engine = usable(options.engine)
            materials(folder)
            settings = pip_settings(Path(name))
            results = [
                built_and_tried(image, engine, settings, folder, building=not options.built) for image in options.images
            ]
        except ExportError as problem:
            print(f"error: {problem}", file=sys.stderr)
            return 1
    rows, said = zip(*results, strict=True)
    table = "\n".join(["| image | size | built in | tried in |", "|---|---|---|---|", *rows])
    print(table)
    if options.log:
        emulated = EMULATED if any(foreign(image) for image in options.images) else ""
        options.log.write_text(PAGE.format(engine=engine.name, emulated=emulated, table=table, said="\n".join(said)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
