"""Two benchmark records side by side: faster, slower, the same, or not to be told from noise.

Times within a run hang together (a busy neighbour, a warm chip), so single times are not drawn at random: what is
compared are the run's blocks. Two statistics must agree, each a ratio B over A with a 95 % percentile bootstrap over
blocks (Efron 1979; ``RESAMPLES`` draws, seeded): of the medians of the blocks' medians, and of the medians of their
minima. Other load on the machine moves the first from run to run and the second hardly, a real change moves both.
``faster`` and ``slower`` want both intervals wholly beyond ``tolerance`` on that side, ``same`` wants both within it,
and everything else is ``undecided``: also a change that only slow times show.
A change of the machine's clock or heat between two runs still looks like one of the program: make runs alternate.
Refuses files that are no such records.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from .bench import FORMAT, STAGES
from .errors import RuntimeFailure

RESAMPLES = 4000
TOLERANCE = 0.03
Verdict = Literal["faster", "slower", "same", "undecided"]


@dataclass(frozen=True)
class Ratio:
    """B over A, and its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class StageComparison:
    """One stage: seconds are the medians of the blocks' medians."""

    stage: str
    a_s: float
    b_s: float
    median_ratio: Ratio
    minimum_ratio: Ratio
    verdict: Verdict


@dataclass(frozen=True)
class Comparison:
    """``verdict`` is that of the whole clip; ``differences`` says what else was not alike."""

    verdict: Verdict
    tolerance: float
    stages: tuple[StageComparison, ...]
    differences: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def compare(a: dict[str, Any], b: dict[str, Any], tolerance: float = TOLERANCE) -> Comparison:
    """Compare two records as :func:`read_record` gives them."""
    if not 0 <= tolerance < 1:
        raise RuntimeFailure("bench compare, tolerance", "not possible", expected="0 up to below 1", got=tolerance)
    stages = tuple(_stage(name, a["latency"][name], b["latency"][name], tolerance) for name in STAGES)
    return Comparison(stages[STAGES.index("clip")].verdict, tolerance, stages, tuple(_differences(a, b)))


def read_record(path: Path) -> dict[str, Any]:
    """The record that ``tinyscene bench --json`` printed; raises RuntimeFailure for anything else."""
    try:
        record = json.loads(path.read_text())
    except FileNotFoundError as problem:
        raise RuntimeFailure(str(path), "no such file", next_step="check the path") from problem
    except (ValueError, OSError) as problem:
        raise RuntimeFailure(str(path), "not a benchmark record", got=str(problem), next_step=_MAKE) from problem
    known = isinstance(record, dict) and record.get("kind") == "tinyscene bench" and record.get("format") == FORMAT
    if not known:
        raise RuntimeFailure(str(path), "not a benchmark record of this version", next_step=_MAKE)
    return dict(record)


_MAKE = "make one with 'tinyscene bench BUNDLE --out FILE'"


def lines(comparison: Comparison) -> Iterator[str]:
    """The comparison for people."""
    for difference in comparison.differences:
        yield f"differs: {difference}"
    yield f"  {'ms per clip':<12}{'A':>9}{'B':>9}   {'B / A, medians':<26}B / A, minima"
    for stage in comparison.stages:
        yield (
            f"  {stage.stage.replace('_', '-'):<12}{1e3 * stage.a_s:9.3f}{1e3 * stage.b_s:9.3f}   "
            f"{_ratio(stage.median_ratio):<26}{_ratio(stage.minimum_ratio):<26}{stage.verdict}"
        )
    yield f"B is {_SAID[comparison.verdict]} (by {100 * comparison.tolerance:g} % or more counts)"


_SAID: dict[Verdict, str] = {
    "faster": "faster than A",
    "slower": "slower than A",
    "same": "as fast as A",
    "undecided": "not to be told from A: measure longer, or on a quieter machine",
}


def _ratio(ratio: Ratio) -> str:
    return f"{ratio.value:.3f} ({ratio.low:.3f} to {ratio.high:.3f})"


def _stage(name: str, a: dict[str, Any], b: dict[str, Any], tolerance: float) -> StageComparison:
    medians = _bootstrapped(a["block_medians_s"], b["block_medians_s"])
    minima = _bootstrapped(a["block_minima_s"], b["block_minima_s"])
    verdicts = {_verdict(ratio, tolerance) for ratio in (medians, minima)}
    agreed = verdicts.pop() if len(verdicts) == 1 else "undecided"
    a_s, b_s = (float(np.median(side["block_medians_s"])) for side in (a, b))
    return StageComparison(name, a_s, b_s, medians, minima, agreed)


def _bootstrapped(a: list[float], b: list[float]) -> Ratio:
    rng = np.random.default_rng(0)
    drawn = [np.median(rng.choice(np.array(blocks), (RESAMPLES, len(blocks))), axis=1) for blocks in (a, b)]
    low, high = (float(edge) for edge in np.percentile(drawn[1] / drawn[0], [2.5, 97.5]))
    return Ratio(float(np.median(b) / np.median(a)), low, high)


def _verdict(ratio: Ratio, tolerance: float) -> Verdict:
    fastest, slowest = 1 / (1 + tolerance), 1 + tolerance
    if ratio.low > slowest:
        return "slower"
    if ratio.high < fastest:
        return "faster"
    return "same" if ratio.low >= fastest and ratio.high <= slowest else "undecided"


def _differences(a: dict[str, Any], b: dict[str, Any]) -> Iterator[str]:
    for name in ("digest", "engine", "threads"):
        if a[name] != b[name]:
            yield f"{'bundle' if name == 'digest' else name}: {_short(a[name])} and {_short(b[name])}"
    for name, value in a["host"].items():
        if value != b["host"].get(name):
            yield f"{name}: {value} and {b['host'].get(name)}"
    for side, record in (("A", a), ("B", b)):
        if record["conditions"]["throttling"]:
            yield f"{side} was throttled: {', '.join(record['conditions']['throttling'])}"
        load, cores = record["conditions"]["load"], record["host"]["usable_cores"]
        if load is not None and load > cores:
            yield f"{side} ran on a busy machine: load {load:.1f}, cores {cores}"


def _short(value: object) -> str:
    return str(value)[:12]
