"""What each way to int8 is worth on the published CP-Mobile: SQNR and agreement with float, and GRN's share of it.

Calibrates on every other recording of `taipei` and of `esc10`, without labels, and asks about all others. Every figure
is that of the exported integer graph under the `double` rule, not of fake-quantisation.

    python benchmarks/int8.py --shared DIR [--epochs N] [--out docs/results-int8.md]

DIR is as for benchmarks/verify.py. With --epochs 0 the row of training is left out.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from verify import segments

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tinyscene.export.quantise.calibration import batches
from tinyscene.export.quantise.export import float_logits, int8_logits, network_input
from tinyscene.export.quantise.fake_quant import QuantGRN, QuantNet
from tinyscene.export.quantise.fold import GrnStep, fold
from tinyscene.export.quantise.lower import lower
from tinyscene.export.quantise.ptq import FOR_EXPORT, Ways, calibrate
from tinyscene.export.quantise.qat import quantise_aware
from tinyscene.runtime.arith import dequantise
from tinyscene.runtime.arrays import INT16_FULL_SCALE
from tinyscene.runtime.audio import read_audio
from tinyscene.runtime.graph import Graph
from tinyscene.runtime.interpreter import run
from tinyscene.runtime.log_mel import LogMel
from tinyscene.runtime.markdown import table
from tinyscene.training.data.split_files import Record
from tinyscene.training.data.tau22 import Clips, Dataset
from tinyscene.training.distillation.soft_targets import SoftTargets
from tinyscene.training.models.checkpoint import LoadedModel, load_any
from tinyscene.training.recipe import QAT
from tinyscene.training.statistics import wilson_interval

RESULTS = Path(__file__).resolve().parent.parent / "docs" / "results-int8.md"
SETS = ("taipei", "esc10")
CALIBRATION_SECONDS = 150  # of each set
SILENT_DB = -60.0  # ESC-10 pads its clips with digital silence, to which scores are a tie
GRN_CLIPS = 64
WAYS = {
    "nearest weights, ranges from extremes": Ways(False, "extremes", "nearest", corrected_bias=False),
    "nearest weights, ranges from percentiles": Ways(False, "percentile", "nearest", corrected_bias=False),
    "nearest weights, ranges of least error": Ways(False, "least error", "nearest", corrected_bias=False),
    "+ corrected biases": Ways(False, "least error", "nearest"),
    "+ equalised channels": Ways(True, "least error", "nearest"),
    "+ compensated weights: what `export --ptq` does": FOR_EXPORT,
}
PAGE = """# The published CP-Mobile in int8, way by way

Written by `python benchmarks/int8.py --shared DIR`; do not edit. The network is the checkpoint of the 2023 winner
(32 channels, 2.3, 3.0, with GRN). Calibrated on {calibration} seconds of every other recording of `taipei` (scenes of
one city) and `esc10` (environmental sounds), without labels; asked about {asked} seconds of the others, digital silence
left out. SQNR is that of the scores; agreement is the share of clips with the float network's answer, with its 95 %
interval.

{ways}

## GRN

Each GRN alone, as `export --ptq` makes it: its float function of the int8 input it gets, against its int8 output on
{grn_clips} unheard seconds; and what one rounding of that output would leave.

{grns}
"""


@dataclass(frozen=True)
class Audio:
    """Seconds of one set: int16 waveforms (n, samples) at the network's rate, and their log-mels (n, mel, time)."""

    waveforms: np.ndarray
    log_mels: np.ndarray


def audio(folder: Path, model: LoadedModel, remainder: int) -> Audio:
    """All audible seconds of every other recording, from the first (``remainder`` 0) or the second (1) on."""
    rate_hz, log_mel = model.frontend.sample_rate_hz, LogMel(model.frontend)
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


def calibrated(model: LoadedModel, log_mels: np.ndarray, ways: Ways) -> QuantNet:
    net = QuantNet(fold(model.model, log_mels.shape[1:]))
    calibrate(net, batches(log_mels), floor=model.frontend.floor, ways=ways)
    return net


def trained(model: LoadedModel, heard: list[Audio], log_mels: np.ndarray, epochs: int) -> QuantNet:
    """Quantisation-aware training on the calibration recordings; the float network's answers are the labels."""
    waveforms = np.concatenate([a.waveforms for a in heard])
    logits = float_logits(model.model, np.concatenate([a.log_mels for a in heard]))
    names = tuple(f"{i}.wav" for i in range(len(waveforms)))
    records = tuple(Record(name, "", "here", name, "0", "0", "a") for name in names)
    clips = Clips(records, waveforms, logits.argmax(axis=1))
    last = clips.take(np.arange(len(clips))[-64:])
    with tempfile.TemporaryDirectory(prefix="tinyscene-") as scratch:
        return quantise_aware(
            model.model,
            frontend=model.frontend,
            settings=QAT.model_copy(update={"epochs": epochs, "validate_every": epochs, "learning_rate": 1e-5}),
            dataset=Dataset(model.labels, model.frontend.sample_rate_hz, clips, last, last),
            soft_targets=SoftTargets(names, logits),
            run_dir=Path(scratch),
            seed=0,
            calibration=batches(log_mels),
        )


def decibels(wanted: np.ndarray, got: np.ndarray) -> float:
    return float(10 * np.log10(np.square(wanted).sum() / max(np.square(wanted - got).sum(), 1e-30)))


def judged(graph: Graph, model: LoadedModel, asked: dict[str, Audio]) -> list[str]:
    """SQNR and agreement on each set, as cells."""
    cells = []
    for heard in asked.values():
        wanted, got = float_logits(model.model, heard.log_mels), int8_logits(graph, heard.log_mels)
        same = int(np.sum(wanted.argmax(axis=1) == got.argmax(axis=1)))
        low, high = wilson_interval(same, len(wanted))
        cells += [f"{decibels(wanted, got):.1f} dB", f"{same / len(wanted):.1%} ({low:.1%} to {high:.1%})"]
    return cells


@torch.no_grad()
def grn_rows(net: QuantNet, graph: Graph, log_mels: np.ndarray) -> list[list[str]]:
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
            x, wanted = real(step.inputs[0]), layer(real(step.inputs[0]))
            output = net.range_of(step.name)
            output.rounding = True
            figures = (
                decibels(wanted.numpy(), real(step.name).numpy()),
                decibels(wanted.numpy(), output(wanted).numpy()),
            )
            rows.append([step.name, str(x.shape[1]), *(f"{figure:.1f} dB" for figure in figures)])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True, metavar="DIR")
    parser.add_argument("--epochs", type=int, default=4, metavar="N", help="of quantisation-aware training")
    parser.add_argument("--out", type=Path, default=RESULTS)
    a = parser.parse_args()
    model = load_any(a.shared / "cpm23" / "cpm23.ckpt")
    heard = [audio(a.shared / name, model, 0) for name in SETS]
    asked = {name: audio(a.shared / name, model, 1) for name in SETS}
    rows, started = [], time.perf_counter()
    spread = [np.linspace(0, len(h.log_mels) - 1, CALIBRATION_SECONDS).astype(int) for h in heard]
    log_mels = np.concatenate([h.log_mels[chosen] for h, chosen in zip(heard, spread, strict=True)])
    for name, ways in WAYS.items():
        net = calibrated(model, log_mels, ways)
        graph = lower(net, name="cpm23", labels=model.labels)
        rows.append([name, *judged(graph, model, asked)])
        print(*rows[-1], f"{time.perf_counter() - started:.0f} s", sep=" | ", flush=True)
    unheard = np.concatenate([one.log_mels for one in asked.values()])
    grns = grn_rows(net, graph, unheard[np.linspace(0, len(unheard) - 1, GRN_CLIPS).astype(int)])
    if a.epochs:
        graph = lower(trained(model, heard, log_mels, a.epochs), name="cpm23", labels=model.labels)
        rows.append([f"trained on for {a.epochs} epochs, without labels", *judged(graph, model, asked)])
        print(*rows[-1], f"{time.perf_counter() - started:.0f} s", sep=" | ", flush=True)
    head = ["", *(f"{name}, {what}" for name in SETS for what in ("SQNR", "agreement"))]
    counts = " and ".join(f"{len(one.log_mels)} ({name})" for name, one in asked.items())
    a.out.write_text(
        PAGE.format(
            calibration=len(log_mels),
            asked=counts,
            ways="\n".join(table(head, rows, numbers=4)),
            grn_clips=GRN_CLIPS,
            grns="\n".join(table(["GRN", "channels", "int8", "one rounding"], grns, numbers=3)),
        )
    )


if __name__ == "__main__":
    main()
