"""The whole application for a bundle: samples in, labels out, built for a target and heard beside `tinyscene run`.

A recording is brought to the front end's rate and to 16 bits, as a microphone would give it. Refuses recordings that
:mod:`tinyscene.runtime.audio` refuses and those shorter than one clip.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from tinyscene.runtime.arith import Rounding
from tinyscene.runtime.arrays import F32
from tinyscene.runtime.audio import read_audio, to_int16
from tinyscene.runtime.bundle import Bundle
from tinyscene.runtime.classify import SceneClassifier
from tinyscene.runtime.files import replaced_folder
from tinyscene.runtime.log_mel import LogMel

from .build.image import ImageSizes, sizes
from .build.targets import Target
from .commands.output import removed_lines, tuning_record
from .cpu import kernel_set
from .emit.log_mel import scene_arena_bytes
from .emit.model import emit
from .emit.schedule import Mode
from .firmware_folder import IMAGE_NAME, refuse_foreign
from .run.audio import HeardHop, SceneFirmware
from .run.tune import chosen_calls


@dataclass(frozen=True, eq=False)
class Heard:
    """One recording: what the firmware said of each hop, and the scores (labels,) that Python gives the same hops.

    Where two scores come close, a code of the input that differs by one can exchange them.
    """

    path: Path
    hops: tuple[HeardHop, ...]
    expected: tuple[F32, ...]
    instructions_per_hop: int | None
    stack_bytes: int | None

    @property
    def equal(self) -> int:
        return sum(hop.label == label for hop, label in zip(self.hops, self.expected_labels, strict=True))

    @property
    def expected_labels(self) -> list[int]:
        return [int(np.argmax(scores)) for scores in self.expected]


class Application:
    """A bundle as an application on one target.

    Args:
        bundle: network, front end and labels.
        target: where it runs.
        rounding: the rule compiled in.
        hop_s: seconds from answer to answer; a whole clip by default.
        optimise: how the network's calls are chosen.
        folder: build folder, see :func:`tinyscene.firmware_harness.build.image.build`.

    Raises:
        FirmwareError: see :class:`tinyscene.firmware_harness.run.audio.SceneFirmware` and
        :func:`tinyscene.firmware_harness.run.tune.tune`.
    """

    def __init__(
        self,
        bundle: Bundle,
        target: Target,
        rounding: Rounding = "double",
        *,
        hop_s: float | None = None,
        optimise: Mode = "layers",
        folder: Path | None = None,
    ) -> None:
        self.bundle, self.target = bundle, target
        spec = bundle.frontend
        self.hop_samples = spec.clip_samples if hop_s is None else round(hop_s * spec.sample_rate_hz)
        graph = bundle.graph
        calls, self.tuned = chosen_calls(graph, target, rounding, optimise)
        emitted = emit(graph, kernel_set(target.cpu), calls=calls)
        self.firmware = SceneFirmware(emitted, spec, target, rounding, hop_samples=self.hop_samples, folder=folder)
        self._classifier = SceneClassifier.open(bundle, f"numpy-{rounding}")

    def write(self, folder: Path) -> None:
        """Write the C sources and, for an emulated target, the image; the folder appears whole or not at all.

        Raises:
            RuntimeFailure: ``folder`` holds something else.
        """
        refuse_foreign(folder)
        with replaced_folder(folder) as unfinished:
            self._write(unfinished)

    @property
    def arena_bytes(self) -> int:
        """For the network, and between its runs the front end."""
        return scene_arena_bytes(self.firmware.emitted, self.bundle.frontend, self.hop_samples)

    def sizes(self) -> ImageSizes:
        return sizes(self.firmware.image)

    def hear(self, recording: Path) -> Heard:
        """Run a recording through the firmware and through Python.

        Raises:
            RuntimeFailure: the file is not usable audio.
            FirmwareError: it is shorter than one clip, or the run failed.
        """
        samples = read_audio(recording, self.bundle.frontend.sample_rate_hz)
        hops = self.firmware.hear(to_int16(samples))
        instructions = self.firmware.instructions
        return Heard(
            recording,
            tuple(hops),
            tuple(self._expected(samples, len(hops))),
            None if instructions is None else instructions // len(hops),
            self.firmware.stack_bytes,
        )

    def _expected(self, samples: F32, n_hops: int) -> Iterator[F32]:
        """What Python says of each hop: of a clip for itself, or of a stretch of one long log-mel."""
        spec, log_mel = self.bundle.frontend, LogMel(self.bundle.frontend)
        if self.hop_samples == spec.clip_samples:
            clips = (samples[i * spec.clip_samples : (i + 1) * spec.clip_samples] for i in range(n_hops))
            images = (log_mel(clip) for clip in clips)
        else:
            columns, step = log_mel.stream().push(samples), self.hop_samples // spec.hop_length
            images = (columns[:, i * step : i * step + spec.n_frames] for i in range(n_hops))
        for image in images:
            yield self._classifier.scores(image)

    def _write(self, folder: Path) -> None:
        self.firmware.emitted.write(folder)
        self.firmware.frontend.write(folder)
        if self.target.emulator is not None:
            shutil.copyfile(self.firmware.image.path, folder / IMAGE_NAME)


def as_json(application: Application, folder: Path, heard: Sequence[Heard]) -> str:
    """One object: model, target, sizes and every hop of every recording."""
    labels = application.bundle.labels
    recordings = [
        {
            "path": str(one.path),
            "hops": [
                {
                    "label": labels[hop.label],
                    "expected_label": labels[expected],
                    "smoothed_label": labels[hop.smoothed_label],
                    "scores": dict(zip(labels, hop.scores.tolist(), strict=True)),
                    "smoothed_scores": dict(zip(labels, hop.smoothed.tolist(), strict=True)),
                }
                for hop, expected in zip(one.hops, one.expected_labels, strict=True)
            ],
            "instructions_per_hop": one.instructions_per_hop,
            "stack_bytes": one.stack_bytes,
        }
        for one in heard
    ]
    record = {
        "model": application.bundle.graph.name,
        "digest": application.firmware.emitted.digest,
        "frontend": application.bundle.frontend.name,
        "target": application.target.name,
        "hop_samples": application.hop_samples,
        "constant_channels_removed": application.bundle.constant_channels_removed,
        "tuning": tuning_record(application.firmware.emitted.graph, application.tuned),
        "folder": str(folder),
        "arena_bytes": application.arena_bytes,
        "sizes": asdict(application.sizes()),
        "recordings": recordings,
        "match": all(one.equal == len(one.hops) for one in heard) if heard else None,
    }
    return json.dumps(record, indent=2)


def _score(labels: Sequence[str], scores: F32, label: int) -> str:
    return f"{labels[label]} {scores[label]:.3f}"


def report(application: Application, folder: Path, heard: Sequence[Heard]) -> Iterator[str]:
    """Lines for people."""
    labels, hop_s = application.bundle.labels, application.hop_samples / application.bundle.frontend.sample_rate_hz
    for one in heard:
        yield str(one.path)
        for index, (hop, scores) in enumerate(zip(one.hops, one.expected, strict=True)):
            said = (
                f"{_score(labels, hop.scores, hop.label)}, smoothed {_score(labels, hop.smoothed, hop.smoothed_label)}"
            )
            best = int(np.argmax(scores))
            other = f"{_score(labels, scores, best)}, {_score(labels, scores, hop.label)}"
            yield f"{index * hop_s:9.2f} s  {said}" + ("" if hop.label == best else f"; MISMATCH, Python says {other}")
        if one.instructions_per_hop is not None:
            yield f"instructions  {one.instructions_per_hop:>13,} for one hop; stack {one.stack_bytes:,} B"
    size = application.sizes()
    if application.target.emulator is not None:
        yield f"flash         {size.flash_bytes:>13,} B, of it code {size.code_bytes:,} B"
    yield f"RAM arena     {application.arena_bytes:>13,} B"
    if application.target.emulator is not None:
        yield f"RAM static    {size.static_ram_bytes:>13,} B"
    yield from removed_lines(application.bundle.constant_channels_removed)
    yield f"C sources in {folder}"
    n_hops = sum(len(one.hops) for one in heard)
    if heard:
        equal = sum(one.equal for one in heard)
        yield f"{equal} of {n_hops} labels are those of tinyscene run: {application.target.title}"
