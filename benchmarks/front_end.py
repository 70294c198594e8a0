"""The log-mel in integer arithmetic: equal codes on every processor, distance from float, labels, and instructions.

    python benchmarks/front_end.py --shared DIR [--codes N] [--out docs/results-front-end.md] [TARGET...]

DIR is as for benchmarks/verify.py. Each target computes N codes of synthetic signals and recordings, of both preset
kinds: with pre-emphasis and without. Labels are those of the published CP-Mobile in int8, by NumPy, for the same
seconds through both arithmetics.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parent.parent))  # an installed tinyscene comes first

from verify import Segment, quantised_bundle, segments

from tinyscene.export.quantise.calibration import evenly
from tinyscene.export.targets.audio_inputs import runtime_front_end
from tinyscene.firmware_harness.build.targets import TARGETS, Target
from tinyscene.firmware_harness.run.audio import LogMelFirmware
from tinyscene.runtime.arrays import I8, I16
from tinyscene.runtime.audio import read_audio, to_int16
from tinyscene.runtime.bundle import Bundle
from tinyscene.runtime.engines import NumpyEngine
from tinyscene.runtime.graph import Quant
from tinyscene.runtime.markdown import table
from tinyscene.runtime.spec import Arithmetic, FrontendSpec, preset
from tinyscene.training.statistics import bootstrap_interval, mcnemar_p, wilson_interval

RESULTS = Path(__file__).resolve().parent.parent / "docs" / "results-front-end.md"
PRESETS = ("dcase25", "cpm23")
SETS = ("taipei", "esc10")
NOISE_LEVELS_DB = (0, -20, -40, -60, -80)
CLIPS_AT_ONCE = 16
LABELLED = 600  # seconds of each set
PAGE = """# The log-mel in integer arithmetic

Written by `python benchmarks/front_end.py --shared DIR`; do not edit.
[The numeric contract](numeric-contract.md#log-mel) defines the arithmetic.

## The same codes everywhere

Codes of the int8 input computed in C and compared with NumPy's, from synthetic signals (silence, full scale, DC, a
chirp, an impulse, tones, noise at five levels) and seconds of recordings (`taipei`, `esc10`), with pre-emphasis
(`cpm23`) and without (`dcase25`). Instructions are those of one clip, a second of noise.

{targets}

## Distance from float

Codes that differ from those of the float arithmetic in NumPy, with an input scale that spans digital silence to full
scale.

{distance}

## Labels

The published CP-Mobile in int8, the same seconds through both arithmetics. Intervals hold with 95 %; that of the
difference is a bootstrap over recordings, since seconds of one recording are alike.

{labels}
"""


@dataclass(frozen=True)
class Case:
    """Waveforms int16 (n, clip_samples) of one kind."""

    name: str
    waveforms: I16


def in_arithmetic(spec: FrontendSpec, arithmetic: Arithmetic) -> FrontendSpec:
    return replace(spec, arithmetic=arithmetic)


def wide_quant(spec: FrontendSpec) -> Quant:
    """Digital silence is the lowest code, ln(power) = 10 the highest."""
    scale = ((10.0 - spec.norm_mean) / spec.norm_std - spec.floor) / 255
    return Quant.per_tensor(scale, round(-128 - spec.floor / scale))


def synthetic(spec: FrontendSpec) -> Iterator[Case]:
    """One case for each signal."""
    n, rng = spec.clip_samples, np.random.default_rng(0)
    t = np.arange(n) / spec.sample_rate_hz
    signals = {
        "silence": np.zeros(n),
        "full scale": np.where(rng.random(n) < 0.5, -1.0, 1.0),
        "DC": np.full(n, -1.0),
        "chirp": np.sin(2 * np.pi * (50 * t + spec.sample_rate_hz / 4 * t**2 / t[-1])),
        "impulse": np.where(np.arange(n) == n // 2, 1.0, 0.0),
        **{f"tone of {hz:,} Hz": np.sin(2 * np.pi * hz * t) for hz in (63, 1000, 9997)},
        **{f"noise, {level} dB": rng.normal(0.0, 0.25 * 10 ** (level / 20), n) for level in NOISE_LEVELS_DB},
    }
    for name, signal in signals.items():
        yield Case(name, to_int16(signal.astype(np.float32))[None])


def chosen_segments(shared: Path, name: str, count: int) -> list[Segment]:
    available = segments(shared / name)
    return [available[i] for i in evenly(len(available), count)]


def waveforms_of(chosen: list[Segment], spec: FrontendSpec) -> I16:
    decoded = {path: read_audio(path, spec.sample_rate_hz) for path in {segment.path for segment in chosen}}
    clips = np.zeros((len(chosen), spec.clip_samples), np.int16)
    for row, segment in enumerate(chosen):
        second = decoded[segment.path][round(segment.start_s * spec.sample_rate_hz) :][: spec.clip_samples]
        clips[row, : len(second)] = to_int16(second)
    return clips


def cases(shared: Path, spec: FrontendSpec, recorded: int) -> list[Case]:
    return [
        *synthetic(spec),
        *(Case(name, waveforms_of(chosen_segments(shared, name, recorded), spec)) for name in SETS),
    ]


def codes_in_c(spec: FrontendSpec, target: Target, waveforms: I16) -> tuple[I8, int | None]:
    """Codes (n, mel, time) of a target, and the instructions of the last clip."""
    firmware = LogMelFirmware(spec, wide_quant(spec), target)
    parts = [waveforms[at : at + CLIPS_AT_ONCE] for at in range(0, len(waveforms), CLIPS_AT_ONCE)]
    codes = [code for part in parts for code in firmware.codes([[clip] for clip in part], timeout_seconds=3600.0)]
    return np.stack(codes), firmware.instructions


def target_row(target: Target, everything: dict[str, list[Case]], expected: dict[str, I8]) -> list[str]:
    """A row of the first table: codes, differences, instructions of both arithmetics with the first preset."""
    compared = different = 0
    figures: list[str] = []
    for name in PRESETS:
        spec = preset(name)
        waveforms = np.concatenate([case.waveforms for case in everything[name]])
        codes, _ = codes_in_c(in_arithmetic(spec, "integer"), target, waveforms)
        compared, different = compared + codes.size, different + int(np.count_nonzero(codes != expected[name]))
        noise = next(case.waveforms for case in everything[name] if case.name == "noise, -20 dB")
        for arithmetic in ("float", "integer"):
            count = codes_in_c(in_arithmetic(spec, arithmetic), target, noise)[1]
            figures.append("" if count is None else f"{count / 1e6:.1f} M")
    return [target.title, f"{compared:,}", f"{different:,}", *figures]


def distance_rows(everything: dict[str, list[Case]], expected: dict[str, I8]) -> Iterator[list[str]]:
    for name in PRESETS:
        spec, at = preset(name), 0
        for case in everything[name]:
            exact = expected[name][at : at + len(case.waveforms)]
            at += len(case.waveforms)
            other = runtime_front_end(spec, wide_quant(spec), case.waveforms)[..., 0]
            off = np.abs(exact.astype(np.int16) - other)
            yield [name, case.name, f"{off.size:,}", f"{np.mean(off > 0):.3%}", str(off.max())]


def label_rows(shared: Path, bundle: Bundle) -> Iterator[list[str]]:
    """One row for each set: agreement of both arithmetics, and their accuracies where the scenes are the model's."""
    spec, engine = bundle.frontend, NumpyEngine(bundle.graph, "single")
    assert spec is not None
    quant = bundle.graph.tensors[bundle.graph.input].quant
    for name in SETS:
        chosen = [s for s in segments(shared / name) if name != "taipei" or s.label in bundle.labels]
        chosen = [chosen[i] for i in evenly(len(chosen), LABELLED)]
        waveforms = waveforms_of(chosen, spec)
        chosen = [s for s, w in zip(chosen, waveforms, strict=True) if w.any()]
        waveforms = waveforms[waveforms.any(axis=1)]
        labels = {
            arithmetic: engine.output_codes(runtime_front_end(in_arithmetic(spec, arithmetic), quant, waveforms))
            .reshape(len(chosen), -1)
            .argmax(axis=1)
            for arithmetic in ("float", "integer")
        }
        same = int(np.count_nonzero(labels["float"] == labels["integer"]))
        low, high = wilson_interval(same, len(chosen))
        row = [name, f"{len(chosen):,}", f"{same / len(chosen):.1%} ({low:.1%} to {high:.1%})"]
        if name == "taipei":
            truth = np.array([bundle.labels.index(s.label) for s in chosen])
            correct = {arithmetic: found == truth for arithmetic, found in labels.items()}
            row += [f"{correct[a].mean():.1%}" for a in ("float", "integer")]
            gain = correct["integer"].astype(float) - correct["float"]
            low, high = bootstrap_interval(gain[None], np.array([s.recording for s in chosen]))
            row += [f"{100 * gain.mean():+.2f} points ({100 * low:+.2f} to {100 * high:+.2f})"]
            row += [f"{mcnemar_p(correct['float'], correct['integer']):.2g}"]
        else:
            row += ["", "", "", ""]
        yield row


def _text(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join(table(head, rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", choices=[[], *TARGETS], metavar="TARGET")
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--codes", type=int, default=2_000_000)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    each = options.codes / len(PRESETS)
    everything = {}
    for name in PRESETS:
        spec = preset(name)
        recorded = round((each / (spec.n_mels * spec.n_frames) - 13) / len(SETS)) + 1
        everything[name] = cases(options.shared, spec, recorded)
    expected = {
        name: runtime_front_end(
            in_arithmetic(preset(name), "integer"),
            wide_quant(preset(name)),
            np.concatenate([case.waveforms for case in found]),
        )[..., 0]
        for name, found in everything.items()
    }
    distances = list(distance_rows(everything, expected))
    with tempfile.TemporaryDirectory() as scratch:
        bundle, _ = quantised_bundle(options.shared, Path(scratch))
        labels = list(label_rows(options.shared, bundle))
    rows = []
    for name in options.targets or TARGETS:
        rows.append(target_row(TARGETS[name], everything, expected))
        print(*rows[-1], sep="; ", flush=True)
    heads = [f"{name}, {arithmetic}" for name in PRESETS for arithmetic in ("float", "integer")]
    page = PAGE.format(
        targets=_text(["target", "codes", "different", *heads], rows),
        distance=_text(["front end", "signal", "codes", "different", "at most"], distances),
        labels=_text(
            ["set", "seconds", "same label", "accuracy, float", "integer", "difference", "McNemar's p"], labels
        ),
    )
    options.out.write_text(page)
    print(page)


if __name__ == "__main__":
    main()
