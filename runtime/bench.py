"""Benchmark of a model: latency of each stage, throughput, memory, temperature and energy, as one JSON record.

After a warm-up, noise of one clip's length is classified repeatedly; a network without a front end runs on random
codes, and the network is its only stage. The run is divided into blocks, whose medians and
minima :mod:`tinyscene.runtime.bench_compare` compares; sensors are read between blocks. Refuses too short runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt

from .classify import SceneClassifier
from .engines import Engine, open_engine
from .errors import RuntimeFailure
from .host import EnergyMeter, Host, Reading, Sensors
from .model import Model, with_frontend
from .records import Length, Range
from .vectors import row_shape

FORMAT = 2
KIND = "tinyscene bench"
BLOCKS = 20
MIN_SECONDS = 0.2
WARM_UP_S = 0.5
STAGES = ("log_mel", "network", "clip")  # the last one is from samples to scores
NETWORK_STAGES = ("network",)
Seconds = Annotated[float, Range(1e-9, 1e6)]
_F64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Latency:
    """Seconds per clip. The blocks' medians and minima are in temporal order."""

    min_s: Seconds
    median_s: Seconds
    p95_s: Seconds
    p99_s: Seconds
    block_medians_s: Annotated[tuple[Seconds, ...], Length(1, 1000)]
    block_minima_s: Annotated[tuple[Seconds, ...], Length(1, 1000)]


@dataclass(frozen=True)
class Conditions:
    """Sensor readings of the run; None where there is no sensor."""

    rss_before_bytes: int | None  # before the model is opened
    rss_bytes: int | None
    peak_rss_bytes: int | None
    frequency_hz: tuple[int, int] | None  # lowest and highest
    temperature_c: tuple[float, float] | None
    throttling: tuple[str, ...] | None
    energy_source: str | None
    joules_per_clip: float | None  # of everything that the meter covers, idle power included
    load: float | None  # load average over the last minute before the benchmark


@dataclass(frozen=True)
class BenchResult:
    """One run. ``real_time_factor`` is computing time divided by the duration of the audio.

    Both are None for a network without a front end, whose clips are random codes.
    """

    model: str
    digest: str
    engine: str
    threads: int
    clip_s: float | None
    clips: int
    seconds: float
    open_s: float
    throughput_clips_per_s: float
    real_time_factor: float | None
    latency: Mapping[str, Latency]  # by STAGES or NETWORK_STAGES
    conditions: Conditions
    host: Host
    notes: tuple[str, ...]

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the stages; the last one is the whole."""
        return NETWORK_STAGES if self.clip_s is None else STAGES

    def to_json(self) -> dict[str, object]:
        return {"format": FORMAT, "kind": KIND, **asdict(self)}


def bench(
    model: Model,
    engine: str = "litert",
    threads: int = 1,
    seconds: float = 5.0,
    progress: Callable[[], None] = lambda: None,
    sensors: Sensors | None = None,
) -> BenchResult:
    """Measure for about ``seconds`` after the warm-up; ``progress`` is called after each of ``BLOCKS`` blocks.

    Raises:
        RuntimeFailure: the engine cannot be opened, or ``seconds`` is less than ``MIN_SECONDS``.
    """
    if not seconds >= MIN_SECONDS:
        raise RuntimeFailure("bench, seconds", "too short to measure", expected=f"{MIN_SECONDS} or more", got=seconds)
    machine = sensors or Sensors()
    before, load = machine.read(), machine.load()
    begin = time.perf_counter()
    opened = open_engine(engine, model, threads)
    one = _of_codes(model, opened) if model.frontend is None else _of_samples(model, opened)
    open_s = time.perf_counter() - begin
    _block(one, WARM_UP_S)
    meter = machine.energy_meter()
    blocks, readings, joules = [], [machine.read()], _spent(meter)
    for _ in range(BLOCKS):
        blocks.append(_block(one, seconds / BLOCKS))
        joules += _spent(meter)
        readings.append(machine.read())
        progress()
    times, spec = np.concatenate(blocks), model.frontend
    clip_s = None if spec is None else spec.clip_samples / spec.sample_rate_hz
    energy = None if meter is None else (meter.source, joules / len(times))
    stages = NETWORK_STAGES if spec is None else STAGES
    latency = {stage: _latency([block[:, at] for block in blocks]) for at, stage in enumerate(stages)}
    return BenchResult(
        model=model.path.name,
        digest=model.digest,
        engine=engine,
        threads=threads,
        clip_s=clip_s,
        clips=len(times),
        seconds=float(times[:, -1].sum()),
        open_s=open_s,
        throughput_clips_per_s=float(len(times) / times[:, -1].sum()),
        real_time_factor=None if clip_s is None else latency[stages[-1]].median_s / clip_s,
        latency=latency,
        conditions=_conditions(before, load, readings, machine.peak_rss_bytes(), energy),
        host=machine.host(),
        notes=opened.notes,
    )


def _of_samples(model: Model, engine: Engine) -> Callable[[], tuple[float, ...]]:
    """Classifies noise once; returns the seconds of each of :data:`STAGES`."""
    classifier = SceneClassifier(with_frontend(model), engine)
    samples = np.random.default_rng(0).normal(0.0, 0.1, classifier.frontend.clip_samples).astype(np.float32)

    def one() -> tuple[float, ...]:
        start = time.perf_counter()
        log_mel = classifier.log_mel(samples)
        middle = time.perf_counter()
        classifier.scores(log_mel)
        end = time.perf_counter()
        return middle - start, end - middle, end - start

    return one


def _of_codes(model: Model, engine: Engine) -> Callable[[], tuple[float, ...]]:
    """Runs the network once on random codes; returns the seconds of each of :data:`NETWORK_STAGES`."""
    shape = row_shape(model.graph, model.graph.inputs)
    codes = np.random.default_rng(0).integers(-128, 128, (1, *shape), np.int8)

    def one() -> tuple[float, ...]:
        start = time.perf_counter()
        engine.output_codes(codes)
        return (time.perf_counter() - start,)

    return one


def lines(result: BenchResult) -> Iterator[str]:
    """The result as text."""
    yield f"{result.model} with {result.engine}, {_count(result.threads, 'thread')}, on {result.host.cpu}"
    yield f"  {'ms per clip':<12}{'min':>9}{'median':>9}{'p95':>9}{'p99':>9}"
    for stage in result.stages:
        values = result.latency[stage]
        numbers = (values.min_s, values.median_s, values.p95_s, values.p99_s)
        yield f"  {stage.replace('_', '-'):<12}" + "".join(f"{1e3 * number:9.3f}" for number in numbers)
    factor = result.real_time_factor
    speed = "; random codes" if factor is None else f"; {1 / factor:,.0f} times real time"
    yield f"  throughput  {result.throughput_clips_per_s:,.1f} clips/s{speed}"
    conditions = result.conditions
    if conditions.load is not None and conditions.load > result.host.usable_cores:
        yield f"  busy        load {conditions.load:.1f} on {_count(result.host.usable_cores, 'core')}: use the minima"
    if conditions.rss_bytes is not None and conditions.rss_before_bytes is not None:
        grown = (conditions.rss_bytes - conditions.rss_before_bytes) / 1e6
        yield f"  memory      {conditions.rss_bytes / 1e6:.1f} MB resident, {grown:.1f} MB of it for the model"
    if conditions.frequency_hz is not None:
        yield f"  clock       {conditions.frequency_hz[0] / 1e6:,.0f} to {conditions.frequency_hz[1] / 1e6:,.0f} MHz"
    if conditions.temperature_c is not None:
        yield f"  temperature {conditions.temperature_c[0]:.1f} to {conditions.temperature_c[1]:.1f} °C"
    if conditions.throttling is not None:
        yield f"  throttling  {', '.join(conditions.throttling) or 'none'}"
    if conditions.joules_per_clip is not None:
        energy_mj = 1e3 * conditions.joules_per_clip
        yield f"  energy      {energy_mj:.2f} mJ per clip, idle power included ({conditions.energy_source})"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def _block(one: Callable[[], tuple[float, ...]], seconds: float) -> _F64:
    """Times (clips, stages) of as many clips as fit into ``seconds``, at least one."""
    times = [one()]
    until = time.perf_counter() + seconds - times[0][-1]
    while time.perf_counter() < until:
        times.append(one())
    return np.array(times)


def _latency(blocks: list[_F64]) -> Latency:
    times = np.concatenate(blocks)
    median, p95, p99 = (float(np.percentile(times, share)) for share in (50, 95, 99))
    medians, minima = (tuple(float(pick(block)) for block in blocks) for pick in (np.median, np.min))
    return Latency(float(times.min()), median, p95, p99, medians, minima)


def _spent(meter: EnergyMeter | None) -> float:
    return 0.0 if meter is None else meter.joules()


def _conditions(
    before: Reading, load: float | None, readings: list[Reading], peak: int | None, energy: tuple[str, float] | None
) -> Conditions:
    """``before``, ``load``: before the model is opened; ``energy``: the meter's source and joules per clip."""
    frequencies = [reading.frequency_hz for reading in readings if reading.frequency_hz is not None]
    temperatures = [reading.temperature_c for reading in readings if reading.temperature_c is not None]
    flags = [reading.throttling for reading in readings if reading.throttling is not None]
    return Conditions(
        rss_before_bytes=before.rss_bytes,
        rss_bytes=readings[-1].rss_bytes,
        peak_rss_bytes=peak,
        frequency_hz=(min(frequencies), max(frequencies)) if frequencies else None,
        temperature_c=(min(temperatures), max(temperatures)) if temperatures else None,
        throttling=tuple(dict.fromkeys(flag for reading in flags for flag in reading)) if flags else None,
        energy_source=None if energy is None else energy[0],
        joules_per_clip=None if energy is None else energy[1],
        load=load,
    )
