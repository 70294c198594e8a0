"""The published CP-Mobile on every target, with real audio: the whole matrix, written as a Markdown page.

The checkpoint is quantised after training on every other recording of one city, without labels. The targets run on the
other recordings of that city and on environmental sounds. Neither is part of the project.

    python benchmarks/verify.py --shared DIR [--clips N] [--out docs/results-verify.md] [--reports DIR] [TARGET...]

DIR has cpm23/cpm23.ckpt, and in taipei/ and esc10/ recordings with their list, segments.csv.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parent.parent))  # an installed tinyscene comes first

from tinyscene.export.commands.verify import Subject, documented
from tinyscene.export.labelled.codes import LabelledCodes
from tinyscene.export.labelled.inputs import labelled_from_clips
from tinyscene.export.quantise.calibration import evenly
from tinyscene.export.quantise.methods import post_training_from_files
from tinyscene.export.quantise.quantised_model import vectors_of
from tinyscene.export.report.page import render
from tinyscene.export.report.summary import as_markdown
from tinyscene.export.targets.ethos_u import NPUS, estimate_all
from tinyscene.export.targets.table import targets_of
from tinyscene.export.verify.results import Verification
from tinyscene.export.verify.verify import verify
from tinyscene.export.write_bundle import bundle_provenance, export_bundle
from tinyscene.runtime.arrays import I8
from tinyscene.runtime.audio import read_audio, to_int16
from tinyscene.runtime.bundle import Bundle
from tinyscene.runtime.file_names import TFLITE_MODEL
from tinyscene.runtime.temporaries import temporary_folder
from tinyscene.training.data.split_files import Record
from tinyscene.training.data.tau22 import Clips
from tinyscene.training.models.checkpoint import load_any

RESULTS = Path(__file__).resolve().parent.parent / "docs" / "results-verify.md"
CALIBRATION_CLIPS = 200
REAL_VECTORS = 6
SLOWEST = 5  # whose times are printed
TITLE = """# The published CP-Mobile on every target

Written by `python benchmarks/verify.py --shared DIR`; do not edit. The network is the checkpoint of the 2023 winner
(32 channels, 2.3, 3.0, with GRN), quantised after training on {calibration} seconds of {recordings} recordings of one
city, without labels. `taipei` are the other recordings of that city with a scene of the model; the model was trained
on cities of another continent. `esc10` are environmental sounds (ESC-10) without any of its scenes: only the agreement
is measured. On every target and for each set, the activations of {vectors} inputs are compared byte by byte: {real}
clips, silence, the lowest and the highest code everywhere, and random codes. Scores of all clips are compared too;
emulated and sanitised targets run on a sample, and of the clips whose scores differ, the first four are compared byte
by byte as well.

Targets with an unexplained difference: **{differences}**, of {compared} bytes compared in {minutes} minutes on {cores}
cores.
"""


@dataclass(frozen=True)
class Segment:
    """One second of a recording."""

    path: Path
    label: str
    recording: str
    start_s: float


def segments(folder: Path) -> list[Segment]:
    with (folder / "segments.csv").open(newline="") as file:
        rows = csv.DictReader(file)
        return [Segment(folder / r["path"], r["label"], r["recording_id"], float(r["start"])) for r in rows]


def quantised_bundle(shared: Path, scratch: Path) -> tuple[Bundle, set[str]]:
    """The checkpoint as a bundle, and the names of the recordings it was calibrated on."""
    names = sorted({segment.recording for segment in segments(shared / "taipei")})[::2]
    links = scratch / "calibration"
    links.mkdir()
    for path in {s.path for s in segments(shared / "taipei") if s.recording in names}:
        (links / path.name).symlink_to(path.resolve())
    loaded = load_any(shared / "cpm23" / "cpm23.ckpt")
    model, inputs = post_training_from_files(loaded, "cpm23", links, CALIBRATION_CLIPS)
    vectors = vectors_of(inputs.values())
    data = f"{len(vectors)} seconds of every other recording of taipei"
    provenance = bundle_provenance(data, "python benchmarks/verify.py --shared DIR")
    return export_bundle(scratch / "cpm23", model, vectors, provenance), set(names)


def labelled_inputs(bundle: Bundle, chosen: list[Segment], at_most: int | None, name: str) -> LabelledCodes:
    """Evenly spread seconds as network inputs; without labels where a label is not one of the model's."""
    chosen = [chosen[i] for i in evenly(len(chosen), at_most)]
    rate_hz, samples = bundle.frontend.sample_rate_hz, bundle.frontend.clip_samples
    decoded = {path: read_audio(path, rate_hz) for path in {segment.path for segment in chosen}}
    waveforms = np.zeros((len(chosen), samples), np.int16)
    for waveform, segment in zip(waveforms, chosen, strict=True):
        second = decoded[segment.path][round(segment.start_s * rate_hz) :][:samples]
        waveform[: len(second)] = to_int16(second)
    known = all(segment.label in bundle.labels for segment in chosen)
    targets = np.array([bundle.labels.index(s.label) if known else 0 for s in chosen])
    records = tuple(Record(s.path.name, s.label, name, s.recording, "0", "0", "a") for s in chosen)
    labelled = labelled_from_clips(bundle, Clips(records, waveforms, targets), f"{len(chosen)} seconds of {name}")
    return labelled if known else replace(labelled, labels=None)


def vectors(labelled: LabelledCodes) -> I8:
    """Inputs on which every activation is compared: real clips, silence, the lowest and the highest code, noise."""
    real = labelled.codes[evenly(len(labelled.codes), REAL_VECTORS)]
    constant = [np.full_like(real[:1], code) for code in (labelled.codes.min(), -128, 127)]
    noise = np.random.default_rng(0).integers(-128, 128, real[:1].shape).astype(np.int8)
    return np.concatenate([real, *constant, noise])


def sets(
    shared: Path, bundle: Bundle, calibrated: set[str], at_most: int | None
) -> Iterator[tuple[str, LabelledCodes]]:
    others = [s for s in segments(shared / "taipei") if s.recording not in calibrated and s.label in bundle.labels]
    yield "taipei", labelled_inputs(bundle, others, at_most, "taipei")
    yield "esc10", labelled_inputs(bundle, segments(shared / "esc10"), at_most, "esc10")


def unexplained(verification: Verification) -> int:
    """Number of targets with a difference that no named exception covers, or that failed."""
    equal = [result for result in verification.results if result.status == "equal"]
    assert not any(result.predictions and result.predictions.scores_different for result in equal)
    return len(verification.failed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET", default=[*targets_of(None), *NPUS])
    parser.add_argument("--shared", type=Path, required=True, metavar="DIR")
    parser.add_argument("--clips", type=int, default=100, metavar="N", help="at most N seconds of each set")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--reports", type=Path, metavar="DIR", help="also write NAME.html and NAME.json to DIR")
    a = parser.parse_args()
    started, parts, wrong, compared = time.perf_counter(), [], 0, 0
    with temporary_folder("benchmark") as scratch:
        bundle, calibrated = quantised_bundle(a.shared, scratch)
        executed = tuple(name for name in a.targets if name not in NPUS)
        estimates = estimate_all(bundle.file(TFLITE_MODEL), [name for name in a.targets if name in NPUS])
        for name, labelled in sets(a.shared, bundle, calibrated, a.clips):
            inputs = vectors(labelled)
            result = verify(
                bundle.graph,
                inputs,
                targets=executed,
                labelled=labelled,
                shipped=bundle,
                on_target=partial(print, name),
            )
            for row in sorted(result.results, key=lambda row: row.seconds, reverse=True)[:SLOWEST]:
                print(f"{name}, {row.target}: {row.seconds:.0f} s")
            subject = Subject(name, bundle, inputs, labelled=labelled)
            document = documented(subject, result, estimates, tuple(a.targets), bundle.manifest.rebuild)
            wrong, compared = wrong + unexplained(result), compared + result.bytes_compared
            parts.append(as_markdown(document))
            if a.reports:
                (a.reports / f"{name}.html").write_bytes(render(document))
                (a.reports / f"{name}.json").write_text(document.to_json())
    title = TITLE.format(
        calibration=CALIBRATION_CLIPS,
        recordings=len(calibrated),
        vectors=len(inputs),
        real=REAL_VECTORS,
        differences=wrong,
        compared=f"{compared:,}",
        minutes=round((time.perf_counter() - started) / 60),
        cores=os.cpu_count(),
    )
    a.out.write_text("\n".join([title, *parts]))
    if wrong:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
