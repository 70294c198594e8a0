"""Readers of text: recipes, tables of a data set in TAU22 layout, baselines, benchmark and evaluation records."""

from __future__ import annotations

import json
from collections.abc import Iterable
from types import SimpleNamespace

from tinyscene.export.check.baseline import BaselineEntry, baseline_text, read_baseline
from tinyscene.export.check.model_figures import Figure
from tinyscene.runtime.bench import FORMAT, KIND, STAGES
from tinyscene.runtime.bench_compare import compare, lines, read_result
from tinyscene.runtime.host import Host
from tinyscene.training.data.tau22 import inspect
from tinyscene.training.evaluation.evaluation import EarlierEvaluation, difference
from tinyscene.training.recipe import RECIPES, load_recipe

from .mutate import mutate_json, mutate_lines
from .readers import Reader, scratch, written

_HOST = Host("cpu", None, "x86_64", 2, 2, 2**30, None, "Linux", "3.11", {"numpy": "2"})
_PLACES = ("lisbon", "prague", "paris", "vienna")


def _recipe_seeds() -> Iterable[bytes]:
    yield b"model: cpm23-8\nepochs: 1\nlearning_rate: 0.001\n"
    for path in sorted(RECIPES.glob("*.yaml")):
        kept = [line.split(" #")[0] for line in path.read_text().splitlines() if line and not line.startswith("#")]
        yield "\n".join(kept).encode()


def _read_recipe(data: bytes) -> None:
    load_recipe(str(written("r.yaml", data)))


def _row(scene: str, number: int) -> str:
    return f"audio/{scene}-{_PLACES[number % 4]}-{number}-{number}-0-a.wav\t{scene}"


def _tau_seeds() -> Iterable[bytes]:
    head = "filename\tscene_label"
    rows = [_row(scene, number) for scene in ("bus", "park") for number in range(3)]
    yield "\n".join([head, *rows, ""]).encode()
    yield "\r\n".join(["\ufeff" + head, *rows]).encode()


def _read_tau(data: bytes) -> None:
    folder = scratch() / "tau"
    (folder / "evaluation_setup").mkdir(parents=True, exist_ok=True)
    (folder / "audio").mkdir(exist_ok=True)
    (folder / "evaluation_setup" / "fold1_train.csv").write_bytes(data)
    (folder / "evaluation_setup" / "fold1_evaluate.csv").write_bytes(data)
    for fault in inspect(folder, progress=False).faults:
        str(fault)


def _baseline_seeds() -> Iterable[bytes]:
    figures = (("size", "dcase", 100), ("macs", "dcase", 5), ("accuracy", "manifest: 3 clips, x", 0.5))
    entries = [BaselineEntry(Figure(name, of), recorded, 0.01) for name, of, recorded in figures]
    yield baseline_text("m", entries).encode()


def _read_baseline(data: bytes) -> None:
    entries = read_baseline(written("b.json", data))
    for entry in entries:
        entry.admits(0.5)
        _ = entry.allowed
    baseline_text("m", entries).encode()


def _bench_seeds() -> Iterable[bytes]:
    blocks = [0.001, 0.002, 0.0015]
    latency = dict.fromkeys(("min_s", "median_s", "p95_s", "p99_s"), 0.001)
    latency |= {"block_medians_s": blocks, "block_minima_s": blocks}
    names = ("rss_before_bytes", "rss_bytes", "peak_rss_bytes", "frequency_hz", "temperature_c", "throttling")
    conditions = dict.fromkeys((*names, "energy_source", "joules_per_clip", "load"))
    record = {"format": FORMAT, "kind": KIND, "bundle": "b", "digest": "0" * 64, "engine": "litert", "threads": 1}
    record |= {"clip_s": 1.0, "clips": 60, "seconds": 0.2, "open_s": 0.1, "throughput_clips_per_s": 900.0}
    record |= {"real_time_factor": 900.0, "latency": dict.fromkeys(STAGES, latency), "host": vars(_HOST)}
    record |= {"conditions": {**conditions, "frequency_hz": [1, 2], "throttling": ["x"], "load": 0.5}, "notes": ["n"]}
    yield json.dumps(record).encode()


def _read_bench(data: bytes) -> None:
    result = read_result(written("b.json", data))
    list(lines(compare(result, result)))


_CLIPS = tuple(f"audio/{name}.wav" for name in "abcd")


def _evaluation_seeds() -> Iterable[bytes]:
    yield json.dumps({"model": "m", "names": _CLIPS, "right": [True, False, True, True], "extra": 1}).encode()


def _read_evaluation(data: bytes) -> None:
    this = SimpleNamespace(names=_CLIPS, right=(True, True, False, True), places=("a", "a", "b", "b"))
    difference(this, EarlierEvaluation.read(written("e.json", data)))  # type: ignore[arg-type]


RECIPE = Reader(_read_recipe, _recipe_seeds, mutate_lines, 2048)
TAU_TABLE = Reader(_read_tau, _tau_seeds, mutate_lines, 4096)
BASELINE = Reader(_read_baseline, _baseline_seeds, mutate_json)
BENCH = Reader(_read_bench, _bench_seeds, mutate_json)
EVALUATION = Reader(_read_evaluation, _evaluation_seeds, mutate_json)
