"""``python -m tests.fuzz.engines``: mutants of TFLite files through LiteRT, TFLite Micro and ONNX Runtime.

A mutant is first read by tinyscene; what it accepts is given to the engines as ``verify`` gives it to them: the file,
and the graph's own files with every activation as an output, which are compared with the kernels op by op. The engines
run in a forked process; its death, a hang, an exception that is not the package's, and a difference that no exception
covers are findings. Exit code 1 if there is one.

With ``--bundles`` every mutant stands for the ``model.onnx`` of a bundle with the graph of its parent, as `run` and
`bench` give it to ONNX Runtime, the only engine that reads a file of a bundle: refused, run, or a finding.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from tests.graphs import random_input
from tinyscene.export.errors import ExportError
from tinyscene.export.formats.onnx_write import to_onnx
from tinyscene.export.formats.tflite_model import open_tflite
from tinyscene.export.targets.table import Exposed
from tinyscene.export.verify.op_comparison import compare
from tinyscene.runtime.engine_names import EngineName
from tinyscene.runtime.engines import ENGINES, open_engine
from tinyscene.runtime.errors import TinysceneError
from tinyscene.runtime.file_names import ONNX_MODEL
from tinyscene.runtime.graph import Graph

from .__main__ import FOLDER
from .bundles import LARGEST_RUN
from .onnx_files import mutate_onnx
from .process import AnsweringProcess
from .readers import written
from .tflite_files import TFLITE, mutate_tflite, small_graphs

NATIVE: tuple[EngineName, ...] = ("litert", "litert-reference", "tflm", "ort")
_VECTORS = 2


def outcome(name: EngineName, path: Path) -> str:
    """What an engine does with an accepted file: ``equal``, ``refused``, or a sentence that is a finding."""
    row = ENGINES[name]
    try:
        model = open_tflite(path)
        codes = model.golden(_VECTORS).inputs
        row.open(model, 1).output_codes(codes)
        engine = row.open(Exposed(model.graph), 1)
        with np.errstate(all="ignore"):
            comparison = compare(name, engine.rounding, model.graph, codes, engine.outputs(codes))
    except TinysceneError as refusal:
        return f"refused: {refusal.what}"
    except Exception as problem:
        return f"escape: {type(problem).__name__}: {problem}"
    return "equal" if comparison.first_difference is None else f"different: {comparison.first_difference}"


@dataclass(frozen=True)
class _Swapped:
    """A model whose ONNX file is another one, as in a bundle that was changed."""

    graph: Graph
    onnx: bytes

    def file(self, name: str) -> bytes:
        assert name == ONNX_MODEL
        return self.onnx


@cache
def _parents() -> list[_Swapped]:
    """Small graphs with their own ONNX files."""
    models = []
    for graph in small_graphs():
        with suppress(ExportError):  # an LSTM, which ONNX has of real numbers only
            models.append(_Swapped(graph, to_onnx(graph)))
    return models


def outcome_in_bundle(name: EngineName, path: Path, parent: int) -> str:
    """What an engine does with a file in place of the bundle's own: ``ran``, ``refused``, or a finding."""
    model = _parents()[parent]
    codes = random_input(np.random.default_rng(0), model.graph, _VECTORS)
    try:
        open_engine(name, _Swapped(model.graph, path.read_bytes())).output_codes(codes)
    except TinysceneError as refusal:
        return f"refused: {refusal.what}"
    except Exception as problem:
        return f"escape: {type(problem).__name__}: {problem}"
    return "ran"


def mutants(seed: int) -> Iterator[tuple[bytes]]:
    """Endless mutants of our TFLite files, one to three fields changed in each."""
    rng = random.Random(seed)
    pool = [bytes(data) for data in TFLITE.seeds()]
    while True:
        parent = rng.choice(pool)
        mutant = mutate_tflite(parent, rng)
        if mutant != parent and len(mutant) <= TFLITE.max_bytes:
            yield (mutant,)


def mutants_in_bundles(seed: int) -> Iterator[tuple[bytes, int]]:
    """Endless mutants of the ONNX files of small graphs, with the number of their parent."""
    rng = random.Random(seed)
    while True:
        number = rng.randrange(len(_parents()))
        mutant = mutate_onnx(_parents()[number].onnx, rng)
        if mutant != _parents()[number].onnx:
            yield mutant, number


def _runs(path: Path) -> bool:
    """Whether the reader accepts a file of a size that is worth running."""
    try:
        graph = open_tflite(path).graph
    except Exception:  # refused, or an escape of the reader, which the fuzzing of the reader finds
        return False
    sizes = [tensor.n_bytes for tensor in (*graph.activations(), *graph.constants())]
    return sum(sizes) * max(1, max(sizes) // 64) <= LARGEST_RUN


def main() -> int:
    """Run, print a table of outcomes, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.engines", description=__doc__.partition("\n")[0])
    parser.add_argument("--mutants", type=int, default=10_000, metavar="N")
    parser.add_argument("--seconds", type=float, default=86_400.0, metavar="S", help="at most")
    parser.add_argument("--seed", type=int, default=1, metavar="N")
    parser.add_argument("--bundles", action="store_true", help="in place of a bundle's own ONNX file")
    options = parser.parse_args()
    engines: tuple[EngineName, ...] = ("ort",) if options.bundles else NATIVE
    source = mutants_in_bundles(options.seed) if options.bundles else mutants(options.seed)
    start, made, accepted = time.monotonic(), 0, 0
    process = AnsweringProcess(outcome_in_bundle if options.bundles else outcome)
    outcomes: dict[str, Counter[str]] = {name: Counter() for name in engines}
    findings: dict[str, str] = {}
    for _, (data, *parent) in zip(range(options.mutants), source, strict=False):
        if time.monotonic() - start > options.seconds:
            break
        made, path = made + 1, written("mutant", data)
        if not options.bundles and not _runs(path):
            continue
        accepted += 1
        for name in engines:
            answer = str(process.ask(name, path, *parent))
            kind = answer.partition(":")[0]
            outcomes[name][kind] += 1
            if kind not in ("equal", "ran", "refused"):
                _keep(findings, name, answer, data)
    process.close()
    seconds = time.monotonic() - start
    print(f"{made:,} mutants, {accepted:,} accepted, {seconds:.0f} s, 0 dead parents")
    for name, counts in outcomes.items():
        print(f"  {name:<17}" + ", ".join(f"{count:,} {kind}" for kind, count in counts.most_common()))
    for what, where in findings.items():
        print(f"finding: {what}\n    {where}")
    return 1 if findings else 0


def _keep(findings: dict[str, str], name: str, answer: str, data: bytes) -> None:
    """Write the mutant of a finding, once for each engine and kind of answer."""
    words = answer.split()
    op = next((word for word in words if word.startswith("(")), "")
    key = f"{name} {' '.join(words[:2]) if words[0] != 'different:' else 'different'} {op}"
    if key in findings:
        return
    folder = FOLDER / "engines"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{hashlib.sha1(data).hexdigest()[:12]}.model"
    path.write_bytes(data)
    findings[key] = f"{path}: {answer}"[:600]


if __name__ == "__main__":
    sys.exit(main())
