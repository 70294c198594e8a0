"""The whole application of a model, samples in and labels out, built for a target and compared with `tinyscene run`.

A recording is resampled to the front end's rate and rounded to 16 bits, as a microphone delivers it. Refuses recordings
that :mod:`tinyscene.runtime.audio` refuses and those shorter than one clip.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinyscene.runtime.arith import Rounding
from tinyscene.runtime.arrays import F32
from tinyscene.runtime.audio import fit_to_clip, read_audio, to_int16
from tinyscene.runtime.classify import SceneClassifier
from tinyscene.runtime.files import replaced_folder
from tinyscene.runtime.limits import is_one_clip
from tinyscene.runtime.model import AudioModel

from .build.image import ImageSizes, sizes
from .build.targets import Target
from .cpu.kernel_sets import kernel_set_named
from .emit.log_mel import samples_of_hop, scene_arena_bytes
from .emit.model import emit
from .emit.schedule import SHIPPED, Mode
from .firmware_folder import IMAGE_NAME, require_firmware_only
from .run.audio import HopResult, SceneFirmware
from .run.tune import chosen_calls


@dataclass(frozen=True, eq=False)
class RecordingResult:
    """One recording: the firmware's result for each hop, and the interpreter's scores (labels,) for the same hops.

    Labels can differ at near-ties, where one input code that differs by one LSB changes the order of two scores.
    """

    path: Path
    hops: tuple[HopResult, ...]
    expected: tuple[F32, ...]
    instructions_per_hop: int | None
    stack_bytes: int | None

    @property
    def matches(self) -> bool:
        """Whether every label is the expected one."""
        return self.equal_labels == len(self.hops)

    @property
    def equal_labels(self) -> int:
        """Number of hops whose label is the expected one."""
        return sum(hop.label == label for hop, label in zip(self.hops, self.expected_labels, strict=True))

    @property
    def expected_labels(self) -> list[int]:
        """Index of the largest expected score of each hop."""
        return [int(np.argmax(scores)) for scores in self.expected]


class Application:
    """A model as an application on one target.

    Args:
        model: network, front end and labels.
        target: machine to build for.
        rounding: rounding rule to compile in.
        hop_s: seconds between results; a whole clip by default.
        optimise: how the network's calls are chosen.
        folder: build folder, see :func:`tinyscene.firmware_harness.build.image.build`.

    Raises:
        FirmwareError: see :class:`tinyscene.firmware_harness.run.audio.SceneFirmware` and
        :func:`tinyscene.firmware_harness.run.tune.tune`. RuntimeFailure: ``hop_s`` is no duration.
    """

    def __init__(
        self,
        model: AudioModel,
        target: Target,
        rounding: Rounding = "double",
        *,
        hop_s: float | None = None,
        optimise: Mode = SHIPPED,
        folder: Path | None = None,
    ) -> None:
        self.model, self.target = model, target
        spec = model.frontend
        self.hop_samples = samples_of_hop(spec, hop_s)
        graph = model.graph
        self.rounding: Rounding = rounding
        calls, self.tuned = chosen_calls(graph, target, rounding, optimise)
        emitted = emit(graph, kernel_set_named(target.cpu), calls=calls)
        self.firmware = SceneFirmware(emitted, spec, target, rounding, hop_samples=self.hop_samples, folder=folder)
        self._classifier = SceneClassifier.open(model, f"numpy-{rounding}")

    def write(self, folder: Path) -> None:
        """Write the C sources and, for an emulated target, the image; an interrupted call leaves no partial folder.

        Raises:
            RuntimeFailure: ``folder`` contains other files.
        """
        require_firmware_only(folder)
        with replaced_folder(folder) as unfinished:
            self._write(unfinished)

    @property
    def arena_bytes(self) -> int:
        """Bytes of working memory, shared by the network and, between its runs, the front end."""
        return scene_arena_bytes(self.firmware.emitted, self.model.frontend, self.hop_samples)

    def sizes(self) -> ImageSizes:
        """Section sizes of the linked image."""
        return sizes(self.firmware.image)

    def classify(self, recording: Path) -> RecordingResult:
        """Run a recording through the firmware and through the Python runtime.

        Raises:
            RuntimeFailure: the file is not usable audio.
            FirmwareError: it is shorter than one clip, or the run failed.
        """
        samples = read_audio(recording, self.model.frontend.sample_rate_hz)
        if is_one_clip(len(samples), self.model.frontend.clip_samples):
            samples = fit_to_clip(samples, self.model.frontend.clip_samples)
        hops = self.firmware.classify(to_int16(samples))
        instructions = self.firmware.instructions
        return RecordingResult(
            recording,
            tuple(hops),
            tuple(self._expected(samples, len(hops))),
            None if instructions is None else instructions // len(hops),
            self.firmware.stack_bytes,
        )

    def _expected(self, samples: F32, n_hops: int) -> Iterator[F32]:
        """Scores of the Python runtime for each hop: of separate clips, or with overlap of windows of one log-mel."""
        spec, log_mel = self.model.frontend, self._classifier.log_mel
        if self.hop_samples == spec.clip_samples:
            clips = (samples[i * spec.clip_samples : (i + 1) * spec.clip_samples] for i in range(n_hops))
            log_mels = (log_mel(clip) for clip in clips)
        else:
            columns, step = log_mel.stream().push(samples), self.hop_samples // spec.hop_length
            log_mels = (columns[:, i * step : i * step + spec.n_frames] for i in range(n_hops))
        for each in log_mels:
            yield self._classifier.scores(each)

    def _write(self, folder: Path) -> None:
        self.firmware.emitted.write(folder)
        self.firmware.frontend.write(folder)
        if self.target.emulator is not None:
            shutil.copyfile(self.firmware.image.path, folder / IMAGE_NAME)
