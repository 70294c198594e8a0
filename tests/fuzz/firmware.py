"""``python -m tests.fuzz.firmware``: libFuzzer with the address and undefined-behaviour sanitizers on the emitted C.

Applications of a network of less than 50,000 MACs behind a short front end: separate clips with the portable kernels
and fixed-point rounding, overlapping clips with the C twins of the DSP kernels and float rounding; each with a log-mel
in float and in integer arithmetic, whose FFT begins with eight points or, of separate clips, with four.
Needs clang with its run-time library (Debian: clang, libclang-rt-14-dev). Exit code 1 at the first finding.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tests.graphs import Builder
from tinyscene.firmware_harness.cpu.kernel_sets import kernel_set_named
from tinyscene.firmware_harness.emit.log_mel import emit_frontend
from tinyscene.firmware_harness.emit.model import ROUNDING_MACRO, emit
from tinyscene.runtime.cost import graph_cost
from tinyscene.runtime.graph import Graph
from tinyscene.runtime.spec import FrontendSpec, preset

FOLDER = Path(__file__).resolve().parents[2] / "build" / "fuzz" / "firmware"
HARNESS = Path(__file__).with_name("c") / "scene_fuzz.c"
LARGEST_MACS = 50_000
FRONT_END = replace(
    preset("dcase25"), name="short", sample_rate_hz=16_000, n_fft=256, win_length=256, hop_length=128, n_mels=16,
    f_max_hz=8000.0, clip_samples=1024,
)  # fmt: skip
INTEGER = replace(FRONT_END, arithmetic="integer")
# Comparisons of samples and codes with each other guide to nothing, and take three quarters of the time.
_SANITIZERS = (
    "-fsanitize=fuzzer,address,undefined", "-fno-sanitize-coverage=trace-cmp", "-fno-sanitize-recover=all",
)  # fmt: skip
_FLAGS = ("-std=c99", "-g", "-O1", "-ffp-contract=off", *_SANITIZERS)
_RATE = re.compile(r"stat::average_exec_per_sec:\s*(\d+)")
_COVERAGE = re.compile(r"cov: (\d+)")


@dataclass(frozen=True)
class Variant:
    """How the application is built: front end, kernel set, samples between results, and further flags."""

    front_end: FrontendSpec
    cpu: str
    hop_samples: int
    flags: tuple[str, ...] = ()


_OVERLAP = ("dsp", 2 * FRONT_END.hop_length, (f"-D{ROUNDING_MACRO}",))
VARIANTS = {
    "clips": Variant(FRONT_END, "c99", FRONT_END.clip_samples),
    "overlap": Variant(FRONT_END, *_OVERLAP),
    "integer-clips": Variant(replace(INTEGER, n_fft=512), "c99", INTEGER.clip_samples),
    "integer-overlap": Variant(replace(INTEGER, pre_emphasis=0.97), *_OVERLAP),
}


def network(front_end: FrontendSpec) -> Graph:
    """Convolution, depthwise convolution, pool, mean and matrix product, for the front end's shape."""
    b = Builder(np.random.default_rng(0), "fuzzed", (front_end.n_mels, front_end.n_frames, 1))
    x = b.conv(b.input, (3, 3), channels=8, stride=(2, 2), pads=(1, 1, 1, 1), relu=True)
    x = b.conv(b.conv(x, (3, 3), pads=(1, 1, 1, 1), relu=True), (1, 1), channels=8)
    x = b.mean(b.pool(x, "max", (2, 2)), keep_dims=False)
    return b.graph(b.fully_connected(x, 4))


def built(name: str, compiler: str = "clang") -> Path:
    """The fuzzer's executable of a variant; raises CalledProcessError if it does not compile."""
    variant, folder = VARIANTS[name], FOLDER / name
    graph = network(variant.front_end)
    assert graph_cost(graph, "dcase").macs <= LARGEST_MACS
    shutil.rmtree(folder / "src", ignore_errors=True)
    emit(graph, kernel_set_named(variant.cpu), "speed").write(folder / "src")
    front_end = emit_frontend(variant.front_end, graph.tensors[graph.input].quant, hop_samples=variant.hop_samples)
    front_end.write(folder / "src")
    sources = sorted(str(path) for path in (folder / "src").glob("*.c"))
    command = [compiler, *_FLAGS, *variant.flags, f"-I{folder / 'src'}", str(HARNESS), *sources, "-lm"]
    subprocess.run([*command, "-o", str(folder / "fuzzer")], check=True)
    return folder / "fuzzer"


def fuzz(name: str, runs: int, seed: int) -> bool:
    """Run a variant from its corpus, print a line, and return whether it is clean."""
    program, corpus = built(name), FOLDER / name / "corpus"
    corpus.mkdir(exist_ok=True)
    options = [f"-runs={runs}", f"-seed={seed}", "-max_len=256", "-print_final_stats=1", "-len_control=0"]
    command = [str(program), *options, f"-artifact_prefix={FOLDER / name}/", str(corpus)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    rate, coverage = _RATE.findall(done.stderr), _COVERAGE.findall(done.stderr)
    figures = f"{runs:,} runs, {int(rate[-1]) if rate else 0:,} per s, {coverage[-1] if coverage else 0} branches"
    if done.returncode == 0:
        print(f"{name:<15} {figures}, clean")
        return True
    causes = ("ERROR", "runtime error", "is false")
    wrong = [line for line in done.stderr.splitlines() if any(cause in line for cause in causes)]
    print(f"{name:<15} {figures}, FINDING: {(wrong or done.stderr.splitlines()[-1:])[0]}")
    print("\n".join(line for line in done.stderr.splitlines() if line.startswith(("    #", "artifact_prefix"))))
    return False


def main() -> int:
    """Fuzz the variants, each with an equal share of the runs."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.firmware", description=__doc__.partition("\n")[0])
    parser.add_argument("--variant", action="append", choices=VARIANTS, help="one variant; may be repeated (all)")
    parser.add_argument("--runs", type=int, default=1_000_000, metavar="N", help="of all variants together (1000000)")
    parser.add_argument("--seed", type=int, default=1, metavar="N")
    options = parser.parse_args()
    names = options.variant or list(VARIANTS)
    clean = [fuzz(name, options.runs // len(names), options.seed) for name in names]
    return 0 if all(clean) else 1


if __name__ == "__main__":
    sys.exit(main())
