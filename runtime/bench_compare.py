"""Compare two benchmark records, allowing for noise: faster, slower, the same, or undecided.

Times within a run are correlated (other load, a warm chip), so the blocks of a run are compared and not single times.
Two statistics must agree, each a ratio B / A with a 95 % percentile bootstrap interval over blocks (Efron 1979;
``RESAMPLES`` resamples, fixed seed): of the medians of the blocks' medians, and of the medians of their minima. Other
load on the machine changes the first from run to run and the second hardly; a change of the program changes both.
``faster`` and ``slower`` require both intervals entirely beyond ``tolerance``, ``same`` requires both within it;
everything else is ``undecided``, also a change of slow times only.
A change of clock frequency or temperature between two runs is not separated from one of the program: alternate runs.
Written here and not with scipy.stats, which the base install does not have. Refuses files that are not such records.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal

import numpy as np

from .bench import FORMAT, KIND, BenchResult, Latency
from .errors import RuntimeFailure
from .host import Host
from .json_files import read_json
from .records import read_record

RESAMPLES = 4000
TOLERANCE = 0.03
Verdict = Literal["faster", "slower", "same", "undecided"]


@dataclass(frozen=True)
class Ratio:
    """B / A with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class StageComparison:
    """One stage; seconds are medians of the blocks' medians."""

    stage: str
    a_s: float
    b_s: float
    median_ratio: Ratio
    minimum_ratio: Ratio
    verdict: Verdict


@dataclass(frozen=True)
class Comparison:
    """``verdict`` is that of the last stage, the whole clip; ``differences`` lists different settings and hosts."""

    verdict: Verdict
    tolerance: float
    stages: tuple[StageComparison, ...]
    differences: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        return asdict(self)


def compare(a: BenchResult, b: BenchResult, tolerance: float = TOLERANCE) -> Comparison:
    """Compare two results; raises RuntimeFailure for a tolerance outside [0, 1), and for results of other stages."""
    if not 0 <= tolerance < 1:
        raise RuntimeFailure("bench compare, tolerance", "invalid value", expected="0 up to below 1", got=tolerance)
    if a.stages != b.stages:
        expected, got = (" ".join(result.stages) for result in (a, b))
        what = "one is of audio, the other of a network alone"
        raise RuntimeFailure("bench compare", what, expected=expected, got=got, next_step="compare models of one kind")
    stages = tuple(_stage(name, a.latency[name], b.latency[name], tolerance) for name in a.stages)
    return Comparison(stages[-1].verdict, tolerance, stages, tuple(_differences(a, b)))


def read_result(path: Path) -> BenchResult:
    """The result in a file written by ``tinyscene bench --out``; raises RuntimeFailure for other content."""
    record = read_json(path, "a benchmark record", _MAKE)
    entries = record if isinstance(record, dict) else {}
    kind, version = entries.pop("kind", None), entries.pop("format", None)
    if (kind, version) != (KIND, FORMAT) or isinstance(version, bool):
        raise RuntimeFailure(str(path), "not a benchmark record of this version", next_step=_MAKE)
    result = read_record(BenchResult, entries, str(path), _MAKE)
    missing = [stage for stage in result.stages if stage not in result.latency]
    if missing:
        raise RuntimeFailure(f"{path}, latency", "missing stage", expected=missing[0], next_step=_MAKE)
    return result


_MAKE = "create one with 'tinyscene bench MODEL --out FILE'"


def lines(comparison: Comparison) -> Iterator[str]:
    """The comparison as text."""
    for difference in comparison.differences:
        yield f"differs: {difference}"
    yield f"  {'ms per clip':<12}{'A':>9}{'B':>9}   {'B / A, medians':<26}B / A, minima"
    for stage in comparison.stages:
        yield (
            f"  {stage.stage.replace('_', '-'):<12}{1e3 * stage.a_s:9.3f}{1e3 * stage.b_s:9.3f}   "
            f"{_ratio(stage.median_ratio):<26}{_ratio(stage.minimum_ratio):<26}{stage.verdict}"
        )
    yield f"B is {_VERDICTS[comparison.verdict]} (tolerance {100 * comparison.tolerance:g} %)"


_VERDICTS: dict[Verdict, str] = {
    "faster": "faster than A",
    "slower": "slower than A",
    "same": "as fast as A",
    "undecided": "neither faster nor slower within the noise: measure longer, or on a less busy machine",
}


def _ratio(ratio: Ratio) -> str:
    return f"{ratio.value:.3f} ({ratio.low:.3f} to {ratio.high:.3f})"


def _stage(name: str, a: Latency, b: Latency, tolerance: float) -> StageComparison:
    medians = _bootstrapped(a.block_medians_s, b.block_medians_s)
    minima = _bootstrapped(a.block_minima_s, b.block_minima_s)
    verdicts = {_verdict(ratio, tolerance) for ratio in (medians, minima)}
    agreed = verdicts.pop() if len(verdicts) == 1 else "undecided"
    a_s, b_s = (float(np.median(side.block_medians_s)) for side in (a, b))
    return StageComparison(name, a_s, b_s, medians, minima, agreed)


def _bootstrapped(a: Sequence[float], b: Sequence[float]) -> Ratio:
    rng = np.random.default_rng(0)
    resampled = [np.median(rng.choice(np.array(blocks), (RESAMPLES, len(blocks))), axis=1) for blocks in (a, b)]
    low, high = (float(edge) for edge in np.percentile(resampled[1] / resampled[0], [2.5, 97.5]))
    return Ratio(float(np.median(b) / np.median(a)), low, high)


def _verdict(ratio: Ratio, tolerance: float) -> Verdict:
    fastest, slowest = 1 / (1 + tolerance), 1 + tolerance
    if ratio.low > slowest:
        return "slower"
    if ratio.high < fastest:
        return "faster"
    return "same" if ratio.low >= fastest and ratio.high <= slowest else "undecided"


def _differences(a: BenchResult, b: BenchResult) -> Iterator[str]:
    settings = (
        ("model", a.digest[:12], b.digest[:12]),
        ("engine", a.engine, b.engine),
        ("threads", a.threads, b.threads),
    )
    hosts = ((field.name, getattr(a.host, field.name), getattr(b.host, field.name)) for field in fields(Host))
    for name, of_a, of_b in (*settings, *hosts):
        if of_a != of_b:
            yield f"{name}: {of_a} and {of_b}"
    for side, result in (("A", a), ("B", b)):
        if result.conditions.throttling:
            yield f"{side} was throttled: {', '.join(result.conditions.throttling)}"
        load, cores = result.conditions.load, result.host.usable_cores
        if load is not None and load > cores:
            yield f"{side} ran on a busy machine: load {load:.1f}, cores {cores}"
