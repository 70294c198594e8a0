"""Write docker/locks/: for each extra, every package with its version and the SHA-256 of each of its files.

    python docker/lock.py [LOCK...]

The versions are those of constraints.txt; uv, installed into a temporary environment, resolves the rest for all
platforms and for Python 3.11 and newer. No lock names a package index. ``requirements.py`` prints a lock for an
installation, and tests/project/test_images.py compares the locks with pyproject.toml and constraints.txt.
Refuses an unknown lock, and versions that no resolution fits.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER, CONSTRAINTS = ROOT / "docker" / "locks", ROOT / "docker" / "constraints.txt"
UV = "uv==0.13.9"
SETUP = ("train", "export", "firmware", "flash", "npu", "wasm", "dev")  # what .ci/setup installs

# By name of the lock: extras of pyproject.toml (None: not even the base install), and further requirements.
LOCKS: dict[str, tuple[tuple[str, ...] | None, tuple[str, ...]]] = {
    "build": (None, ("setuptools",)),  # what builds tinyscene itself, editable or as a wheel
    "base": ((), ()),
    "pi": ((), ("onnxruntime",)),
    **{
        extra: ((extra,), ())
        for extra in ("train", "export", "firmware", "flash", "npu", "mic", "wasm", "wandb", "mlflow", "fuzz")
    },
    "tensorflow": (("tensorflow",), ()),
    "all": (SETUP, ("setuptools",)),
}
OTHER_VERSIONS = ("mlflow", "tensorflow")  # they exclude some of constraints.txt: environments of their own
HEAD = "# Written by `python docker/lock.py {name}`; {content}. Install with --no-deps --require-hashes.\n"


def compile_lock(uv: Path, name: str) -> str:
    """The text of one lock; raises CalledProcessError, whose output uv has printed, if no resolution fits."""
    extras, further = LOCKS[name]
    words = [str(uv), "pip", "compile", "--quiet", "--universal", "--python-version", "3.11", "--generate-hashes"]
    words += ["--no-annotate", "--no-header", "--no-emit-index-url"]
    words += [word for extra in extras or () for word in ("--extra", extra)]
    sources = [] if extras is None else ["pyproject.toml"]
    with tempfile.TemporaryDirectory() as folder:
        more = Path(folder) / "further.in"
        more.write_text("\n".join(further))
        constraints = Path(folder) / "constraints.txt"
        constraints.write_text("".join(_constraints(name)))
        words += ["--constraint", str(constraints)]
        run = subprocess.run([*words, *sources, str(more)], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    parts = [] if extras is None else [f"the base install{' with ' if extras else ''}{', '.join(extras)}"]
    return HEAD.format(name=name, content=" and ".join((*parts, *further))) + run.stdout


def _constraints(name: str) -> list[str]:
    """The lines of constraints.txt that hold for a lock."""
    lines = CONSTRAINTS.read_text().splitlines(keepends=True)
    return [line for line in lines if line.startswith("torch==") or name not in OTHER_VERSIONS]


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in LOCKS]
    if unknown:
        print(f"error: lock '{unknown[0]}': unknown; expected {', '.join(LOCKS)}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        subprocess.run([f"{folder}/bin/pip", "install", "--quiet", UV], check=True)
        FOLDER.mkdir(exist_ok=True)
        for name in names or LOCKS:
            (FOLDER / f"{name}.txt").write_text(compile_lock(Path(folder, "bin", "uv"), name))
            print(f"docker/locks/{name}.txt")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
