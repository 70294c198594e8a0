"""Compare quantisation methods on the published CP-Mobile: SQNR, agreement with float, and the error of each GRN.

Calibrates on every other recording of `taipei` and of `esc10`, without labels, and evaluates on all others. Each figure
is that of the exported integer graph under the `double` rule, not of fake quantisation.

    python benchmarks/int8.py --shared DIR [--epochs N] [--out docs/results-int8.md]

DIR is as for benchmarks/verify.py. With --epochs 0 the row of quantisation-aware training is left out.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from verify import segments

sys.path.append(str(Path(__file__).resolve().parent.parent))  # an installed tinyscene comes first

from tinyscene.export.quantise.calibration import network_images
from tinyscene.export.quantise.fake_quant import QuantGRN
from tinyscene.export.quantise.float_steps import GrnStep
from tinyscene.export.quantise.layer_calibration import LayerCalibration
from tinyscene.export.quantise.methods import quantise_aware, quantise_post_training
from tinyscene.export.quantise.qat import QatTraining
from tinyscene.export.quantise.quantised_model import QuantisedModel, float_outputs, int8_outputs, network_input
from tinyscene.export.quantise.steps import (
    EQUALISE,
    FOLD,
    INPUT_RANGE,
    LOWER,
    POST_TRAINING,
    REMOVE_CONSTANTS,
    Step,
    calibrate_with,
)
from tinyscene.runtime.arith import dequantise
from tinyscene.runtime.arrays import INT16_FULL_SCALE
from tinyscene.runtime.audio import read_audio
from tinyscene.runtime.graph import Graph
from tinyscene.runtime.integer_log_mel import open_log_mel
from tinyscene.runtime.interpreter import run
from tinyscene.runtime.markdown import table
from tinyscene.runtime.temporaries import temporary_folder
from tinyscene.training.data.split_files import Record
from tinyscene.training.data.tau22 import Clips, Dataset
from tinyscene.training.distillation.soft_targets import SoftTargets
from tinyscene.training.models.checkpoint import LoadedModel, load_any
from tinyscene.training.recipe import QAT
from tinyscene.training.run import Run
from tinyscene.training.statistics import wilson_interval

RESULTS = Path(__file__).resolve().parent.parent / "docs" / "results-int8.md"
SETS = ("taipei", "esc10")
CALIBRATION_SECONDS = 150  # of each set
SILENT_DB = -60.0  # ESC-10 pads its clips with digital silence, for which scores are a tie
GRN_CLIPS = 64


def _steps(options: LayerCalibration, *, equalised: bool = False) -> tuple[Step, ...]:
    before = (FOLD, EQUALISE) if equalised else (FOLD,)
    return (*before, INPUT_RANGE, calibrate_with(options), LOWER, REMOVE_CONSTANTS)


METHODS = {
    "nearest weights, ranges from extremes": _steps(LayerCalibration("extremes", "nearest", corrected_bias=False)),
    "nearest weights, ranges from percentiles": _steps(LayerCalibration("percentile", "nearest", corrected_bias=False)),
    "nearest weights, ranges of least error": _steps(LayerCalibration("least error", "nearest", corrected_bias=False)),
    "+ corrected biases": _steps(LayerCalibration("least error", "nearest")),
    "+ equalised channels": _steps(LayerCalibration("least error", "nearest"), equalised=True),
    "+ compensated weights: `export --ptq`": POST_TRAINING,
}
PAGE = """# The published CP-Mobile in int8, method by method

Written by `python benchmarks/int8.py --shared DIR`; do not edit. The network is the checkpoint of the 2023 winner
(32 channels, 2.3, 3.0, with GRN). Calibrated on {calibration} seconds of every other recording of `taipei` (scenes of
one city) and `esc10` (environmental sounds), without labels; evaluated on {evaluated} seconds of the others, without
digital silence. SQNR is that of the scores; agreement is the share of clips with the float network's prediction, with
its 95 % interval.

{methods}

## GRN

Each GRN alone, as quantised by `export --ptq`: SQNR of its int8 output relative to its float function of the same int8
input, on {grn_clips} seconds that calibration did not use; and the SQNR after a single rounding of the output.

{grns}
"""


@dataclass(frozen=True)
class Audio:
    """Seconds of one set: int16 waveforms (n, samples) at the network's rate, and their log-mels (n, mel, time)."""

    waveforms: np.ndarray
    log_mels: np.ndarray


def audio(folder: Path, model: LoadedModel, remainder: int) -> Audio:
    """All audible seconds of every other recording, from the first (``remainder`` 0) or the second (1) on."""
    rate_hz, log_mel = model.frontend.sample_rate_hz, open_log_mel(model.frontend)
    recordings = [list(group) for _, group in groupby(segments(folder), key=lambda s: s.path)]
    waveforms = []
    for recording in sorted(recordings, key=lambda group: group[0].path)[remainder::2]:
        samples = read_audio(recording[0].path, rate_hz)
        for segment in recording:
            second = samples[round(segment.start_s * rate_hz) :][: model.frontend.clip_samples]
            if len(second) == model.frontend.clip_samples and 10 * np.log10(np.mean(second**2) + 1e-30) > SILENT_DB:
                waveforms.append(
                    np.clip(np.rint(INT16_FULL_SCALE * second), -INT16_FULL_SCALE, INT16_FULL_SCALE - 1).astype(
                        np.int16
                    )
                )
    return Audio(np.stack(waveforms), np.stack([log_mel(w / np.float32(INT16_FULL_SCALE)) for w in waveforms]))


def trained(model: LoadedModel, calibration: list[Audio], log_mels: np.ndarray, epochs: int) -> QuantisedModel:
    """Quantisation-aware training on the calibration recordings; the float network's predictions are the labels."""
    waveforms = np.concatenate([a.waveforms for a in calibration])
    logits = float_outputs(model.model, network_images(np.concatenate([a.log_mels for a in calibration])))
    names = tuple(f"{i}.wav" for i in range(len(waveforms)))
    records = tuple(Record(name, "", "here", name, "0", "0", "a") for name in names)
    clips = Clips(records, waveforms, logits.argmax(axis=1))
    last = clips.take(np.arange(len(clips))[-64:])
    with temporary_folder("benchmark") as scratch:
        settings = QAT.model_copy(update={"epochs": epochs, "validate_every": epochs, "learning_rate": 1e-5})
        dataset = Dataset(model.labels, model.frontend.sample_rate_hz, clips, last, last)
        run = Run(dataset, scratch, seed=0)
        training = QatTraining(model.frontend, settings, run, SoftTargets(names, logits))
        return quantise_aware(model, "cpm23", network_images(log_mels), training)


def sqnr_db(exact: np.ndarray, quantised: np.ndarray) -> float:
    return float(10 * np.log10(np.square(exact).sum() / max(np.square(exact - quantised).sum(), 1e-30)))


def sqnr_and_agreement(graph: Graph, model: LoadedModel, evaluation: dict[str, Audio]) -> list[str]:
    """SQNR and agreement on each set, as cells."""
    cells = []
    for clips in evaluation.values():
        exact = float_outputs(model.model, network_images(clips.log_mels))
        quantised = int8_outputs(graph, clips.log_mels)
        same = int(np.sum(exact.argmax(axis=1) == quantised.argmax(axis=1)))
        low, high = wilson_interval(same, len(exact))
        cells += [f"{sqnr_db(exact, quantised):.1f} dB", f"{same / len(exact):.1%} ({low:.1%} to {high:.1%})"]
    return cells


@torch.no_grad()
def grn_rows(model: QuantisedModel, log_mels: np.ndarray) -> list[list[str]]:
    net, graph = model.net, model.graph
    trace: dict[str, np.ndarray] = {}
    run(graph, network_input(graph, log_mels), trace=trace)

    def real(name: str) -> torch.Tensor:
        return torch.from_numpy(dequantise(trace[name], graph.tensors[name].quant)).permute(0, 3, 1, 2)

    net.round(False)
    rows = []
    for step in net.folded.steps:
        if isinstance(step, GrnStep):
            layer = net.layer_of(step)
            assert isinstance(layer, QuantGRN)
            x, exact = real(step.inputs[0]), layer(real(step.inputs[0]))
            output = net.range_of(step.name)
            output.rounding = True
            figures = (
                sqnr_db(exact.numpy(), real(step.name).numpy()),
                sqnr_db(exact.numpy(), output(exact).numpy()),
            )
            rows.append([step.name, str(x.shape[1]), *(f"{figure:.1f} dB" for figure in figures)])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True, metavar="DIR")
    parser.add_argument("--epochs", type=int, default=4, metavar="N", help="epochs of quantisation-aware training")
    parser.add_argument("--out", type=Path, default=RESULTS)
    a = parser.parse_args()
    model = load_any(a.shared / "cpm23" / "cpm23.ckpt")
    calibration = [audio(a.shared / name, model, 0) for name in SETS]
    evaluation = {name: audio(a.shared / name, model, 1) for name in SETS}
    rows, started = [], time.perf_counter()
    spread = [np.linspace(0, len(one.log_mels) - 1, CALIBRATION_SECONDS).astype(int) for one in calibration]
    log_mels = np.concatenate([one.log_mels[chosen] for one, chosen in zip(calibration, spread, strict=True)])
    for name, steps in METHODS.items():
        quantised = quantise_post_training(model, "cpm23", network_images(log_mels), steps)
        rows.append([name, *sqnr_and_agreement(quantised.graph, model, evaluation)])
        print(*rows[-1], f"{time.perf_counter() - started:.0f} s", sep=" | ", flush=True)
    others = np.concatenate([one.log_mels for one in evaluation.values()])
    grns = grn_rows(quantised, others[np.linspace(0, len(others) - 1, GRN_CLIPS).astype(int)])
    if a.epochs:
        graph = trained(model, calibration, log_mels, a.epochs).graph
        rows.append(
            [f"fine-tuned for {a.epochs} epochs, without labels", *sqnr_and_agreement(graph, model, evaluation)]
        )
        print(*rows[-1], f"{time.perf_counter() - started:.0f} s", sep=" | ", flush=True)
    head = ["", *(f"{name}, {what}" for name in SETS for what in ("SQNR", "agreement"))]
    counts = " and ".join(f"{len(one.log_mels)} ({name})" for name, one in evaluation.items())
    a.out.write_text(
        PAGE.format(
            calibration=len(log_mels),
            evaluated=counts,
            methods="\n".join(table(head, rows, numbers=4)),
            grn_clips=GRN_CLIPS,
            grns="\n".join(table(["GRN", "channels", "int8", "one rounding"], grns, numbers=3)),
        )
    )


if __name__ == "__main__":
    main()
