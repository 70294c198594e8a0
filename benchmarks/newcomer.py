"""Time from a clone of this tree to the first label, step by step, in a new folder.

    python benchmarks/newcomer.py --bundle BUNDLE            the base install classifies a recording with a bundle
    python benchmarks/newcomer.py --bundle BUNDLE --train    also .ci/setup, synthetic scenes, training, export, a label

Packages come from the package index that pip is configured for, without pip's cache unless --cache is given, so the
figures depend on the network. Refuses a tree that is not a git clone. Prints a Markdown table of seconds.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

TREE = Path(__file__).resolve().parent.parent
RECIPE = """\
model: cpm23-8
epochs: 5
batch_size: 32
learning_rate: 2.0e-3
"""


class Steps:
    """Runs commands in one folder and records the seconds of each."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder, self.environment = folder, environment
        self.rows: list[tuple[str, str, float]] = []

    def run(self, path: str, title: str, *words: str | Path) -> str:
        print(f"{path}: {title} ...", file=sys.stderr)
        start = time.perf_counter()
        ran = subprocess.run(
            [str(word) for word in words],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if ran.returncode:
            sys.exit(f"{path}: {title}: exit code {ran.returncode}\n{ran.stdout[-2000:]}{ran.stderr[-2000:]}")
        self.rows.append((path, title, time.perf_counter() - start))
        print(f"  {self.rows[-1][2]:.1f} s", file=sys.stderr)
        return ran.stdout


def measure(folder: Path, bundle: Path, *, train: bool, cache: bool) -> Steps:
    """Time the first path, and with ``train`` the second; ``folder`` must be empty."""
    rng = np.random.default_rng(0)
    soundfile.write(folder / "clip.wav", rng.normal(0.0, 0.1, 44_100), 44_100, subtype="PCM_16")
    ours = {"PYTHONPATH", "VIRTUAL_ENV"}
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    steps = Steps(folder, environment if cache else {**environment, "PIP_NO_CACHE_DIR": "1"})
    ready = "an existing bundle"
    steps.run(ready, "git clone", "git", "clone", "--quiet", TREE, "tinyscene")
    steps.run(ready, "virtual environment", sys.executable, "-m", "venv", "env")
    base, versions = folder / "env" / "bin", folder / "tinyscene" / "docker" / "constraints.txt"
    steps.run(ready, "pip install", base / "pip", "install", "--quiet", "--constraint", versions, "./tinyscene")
    label = steps.run(ready, "tinyscene run", base / "tinyscene", "run", bundle, "clip.wav", "--quiet")
    print(f"first label: {label.strip()}", file=sys.stderr)
    if train:
        own = "a newly trained network"
        (folder / "quick.yaml").write_text(RECIPE)
        steps.run(own, ".ci/setup, with PyTorch and all extras", folder / "tinyscene" / ".ci" / "setup")
        tinyscene = folder / "tinyscene" / ".venv" / "bin" / "tinyscene"
        for title, *words in (
            ("data synth", "--out", "scenes", "--locations", "4", "--clips", "1"),
            ("train", "quick.yaml", "--data", "scenes", "--out", "run"),
            ("export", "run/student.pt", "--ptq", "scenes/audio", "--out", "bundle"),
            ("run", "bundle", "clip.wav", "--quiet"),
        ):
            printed = steps.run(own, f"tinyscene {title}", tinyscene, *title.split(), *words)
        print(f"first label: {printed.strip()}", file=sys.stderr)
    return steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True, help="a bundle folder")
    parser.add_argument("--train", action="store_true", help="time the longer path too")
    parser.add_argument("--cache", action="store_true", help="let pip use its cache")
    options = parser.parse_args()
    if not (TREE / ".git").exists():
        sys.exit(f"{TREE}: not a git clone")
    with tempfile.TemporaryDirectory(prefix="tinyscene-newcomer-") as folder:
        steps = measure(Path(folder), options.bundle.resolve(), train=options.train, cache=options.cache)
    print("| path | step | s |\n|---|---|---:|")
    for path, title, seconds in steps.rows:
        print(f"| {path} | {title} | {seconds:.1f} |")
    clone = steps.rows[0][2]
    for path in dict.fromkeys(row[0] for row in steps.rows):
        seconds = sum(s for p, title, s in steps.rows if p == path and title != "git clone")
        print(f"| {path} | **clone to first label** | **{clone + seconds:.1f}** |")


if __name__ == "__main__":
    main()
