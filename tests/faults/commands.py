"""The commands that run while system calls fail: small inputs, command lines, and what their results are.

Every command writes into one folder that is empty before it, and reads inputs from another one that nothing changes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from tests.training.layout import write_layout
from tinyscene import command_line
from tinyscene.runtime.spec import preset
from tinyscene.training.models.build import build_model
from tinyscene.training.models.checkpoint import save_model
from tinyscene.training.models.config import named_config

SCENES = ("airport", "bus", "park")
RECIPE = """model: cpm23-8
epochs: 2
batch_size: 16
learning_rate: 1.0e-3
teachers:
  - {model: cpm23-8, epochs: 1, batch_size: 16, learning_rate: 1.0e-3}
"""


@dataclass(frozen=True)
class Command:
    """A command line, and how to judge what it leaves.

    Attributes:
        words: with INPUTS for the folder of inputs; the working folder is the one to write to.
        again: words of the second run, where they differ.
        results: paths that must be equal after the second run; a folder stands for everything in it.
        varies: pattern of names that differ from run to run, or whose contents do; those in ``results`` must exist.
    """

    words: str
    results: tuple[str, ...]
    again: str = ""
    varies: str = "$^"


COMMANDS: dict[str, Command] = {
    "check --out": Command(
        "check INPUTS/bundle --out check.json --junit check.xml --markdown check.md",
        ("check.json", "check.xml", "check.md"),
    ),
    "import": Command("import INPUTS/student.pt --out imported.pt", ("imported.pt",)),
    "export --ptq": Command("export INPUTS/student.pt --ptq INPUTS/data/audio --clips 8 --out bundle", ("bundle",)),
    "firmware export": Command("firmware export INPUTS/bundle --as makefile --out product", ("product",)),
    "firmware": Command("firmware INPUTS/bundle --target host --out firmware", ("firmware",)),
    "firmware --target wasm": Command("firmware INPUTS/bundle --target wasm --run --out firmware", ("firmware",)),
    "firmware export --as wasm": Command("firmware export INPUTS/bundle --as wasm --out product", ("product",)),
    "page": Command("page INPUTS/bundle --out page.html", ("page.html",)),
    "data synth": Command("data synth --locations 4 --clips 1 --out synth", ("synth",)),
    "eval --out": Command(
        "eval INPUTS/bundle --data INPUTS/data --out eval.json --report eval.html", ("eval.json", "eval.html")
    ),
    "bench --out": Command(
        "bench INPUTS/bundle --seconds 0.2 --out bench.json", ("bench.json",), varies=r"bench\.json"
    ),
    "train": Command(
        "train INPUTS/recipe.yaml --data INPUTS/data --out run",
        ("run/student.pt", "run/student_metrics.json", "run/teachers", "run/cache"),
        again="train INPUTS/recipe.yaml --data INPUTS/data --out run --resume",
        varies=r"tensorboard|/csv/|run\.json|last\.ckpt",
    ),
}


def write_inputs(folder: Path, recipe: str = RECIPE) -> None:
    """A data set of one tone per scene, a checkpoint with random weights, and a recipe."""
    folder.mkdir()
    write_layout(folder / "data", places=2, clips=1)
    (folder / "recipe.yaml").write_text(recipe)
    torch.manual_seed(0)
    config = named_config("cpm23-8", n_classes=len(SCENES), padding="same")
    save_model(folder / "student.pt", build_model(config).eval(), config, preset("cpm23"), SCENES, {})


def action(words: str, inputs: Path) -> Callable[[], int]:
    """What the child process does."""
    return lambda: command_line.main(words.replace("INPUTS", str(inputs)).split())


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below ``folder`` by its relative path; folders end in a slash."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        found.update({name: path.read_bytes()} if path.is_file() else {f"{name}/": b""})
    return found


def different(command: Command, got: Mapping[str, bytes], expected: Mapping[str, bytes]) -> list[str]:
    """Names of result files that are missing or not equal."""
    names = [name for name in expected if _is_result(command, name)]
    return [name for name in names if name not in got or not _equal(command, name, got[name], expected[name])]


def partial(command: Command, got: Mapping[str, bytes], expected: Mapping[str, bytes]) -> list[str]:
    """Names of result files that exist under their final name, but are not whole."""
    names = [name for name in got if name in expected and _is_result(command, name)]
    return [name for name in names if not _equal(command, name, got[name], expected[name])]


def leftovers(command: Command, got: Mapping[str, bytes], expected: Mapping[str, bytes]) -> list[str]:
    """Names that a run without failures does not leave."""
    return [name for name in got if name not in expected and not re.search(command.varies, name)]


def _is_result(command: Command, name: str) -> bool:
    if name in command.results:
        return True
    return any(name.startswith(f"{result}/") for result in command.results) and not re.search(command.varies, name)


def _equal(command: Command, name: str, one: bytes, other: bytes) -> bool:
    if re.search(command.varies, name):
        return not name.endswith(".json") or bool(json.loads(one))
    return one == other
