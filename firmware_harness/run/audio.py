"""Run audio through compiled C: through the log-mel front end alone, or through the whole application.

Both run on this machine with sanitizers or under an emulator, on int16 samples at the front end's rate. Refuses audio
shorter than the front end's minimum (``FrontendSpec.min_samples``) or, for the application, than one clip.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinyscene.runtime.arith import Rounding
from tinyscene.runtime.arrays import F32, I8, I16
from tinyscene.runtime.graph import Quant
from tinyscene.runtime.smoothing import SMOOTHED_HOPS
from tinyscene.runtime.spec import FrontendSpec

from ..build.image import Image, build, build_frontend
from ..build.targets import Target
from ..emit.log_mel import EmittedFrontend, emit_frontend
from ..emit.model import Emitted
from ..errors import FirmwareError
from .emulate import Finished, run_image

END_OF_CLIP, COLUMN, TOO_SHORT = 0, 1, 2  # marks in codes.bin, see ports/logmel.c


class LogMelFirmware:
    """A front end as compiled C on one target.

    Raises:
        FirmwareError: the C front end does not support ``spec``, or a tool is missing.
    """

    def __init__(self, spec: FrontendSpec, quant: Quant, target: Target, *, folder: Path | None = None) -> None:
        self.spec, self.target = spec, target
        self.emitted = emit_frontend(spec, quant)
        self.image = build_frontend(self.emitted, target, folder=folder)
        self.instructions: int | None = None  # of the last clip, on emulated targets

    @staticmethod
    def input_bytes(clips: Sequence[Sequence[I16]]) -> bytes:
        """Input of program ``logmel``: each clip as its number of pieces, and each piece with its number of samples."""
        return b"".join(map(_clip_bytes, clips))

    def codes(self, clips: Sequence[Sequence[I16]], timeout_seconds: float = 300.0) -> list[I8]:
        """Columns of each clip as int8 (n_mels, n); a clip is a list of pieces of at most ``clip_samples``.

        Raises:
            FirmwareError: a clip is too short, or the run failed.
        """
        finished = run_image(self.image, self.input_bytes(clips), timeout_seconds)
        self.instructions = _instructions(self.target, finished)
        images, at = [], 0
        for index in range(len(clips)):
            columns = []
            while finished.result[at] == COLUMN:
                columns.append(np.frombuffer(finished.result, np.int8, self.spec.n_mels, at + 1))
                at += 1 + self.spec.n_mels
            if finished.result[at] == TOO_SHORT:
                got = sum(map(len, clips[index]))
                expected = f"at least {self.spec.min_samples} samples"
                raise FirmwareError(f"clip {index}", "audio too short for one window", expected=expected, got=got)
            at += 1
            images.append(np.stack(columns, axis=1))
        return images


@dataclass(frozen=True, eq=False)
class HopResult:
    """The application's result for one hop: label indices, the network's int8 output, and float32 scores (labels,)."""

    label: int
    smoothed_label: int
    codes: I8
    scores: F32
    smoothed: F32


class SceneFirmware:
    """The application as compiled C on one target: samples in, labels out.

    Args:
        emitted: the network.
        spec: its front end.
        target: machine to build for.
        rounding: rounding rule to compile in.
        hop_samples, smoothed_hops: see :func:`tinyscene.firmware_harness.emit.log_mel.emit_frontend`.
        folder: build folder, see :func:`tinyscene.firmware_harness.build.image.build`.

    Raises:
        FirmwareError: the network's input is not this front end's log-mel, the C front end does not support ``spec``,
            or a tool is missing.
    """

    def __init__(
        self,
        emitted: Emitted,
        spec: FrontendSpec,
        target: Target,
        rounding: Rounding = "double",
        *,
        hop_samples: int | None = None,
        smoothed_hops: int = SMOOTHED_HOPS,
        folder: Path | None = None,
    ) -> None:
        source = emitted.graph.tensors[emitted.graph.input]
        if not spec.makes(source.shape):
            where = f"graph '{emitted.graph.name}', input"
            expected = f"({spec.n_mels}, {spec.n_frames}), the log-mel of front end '{spec.name}'"
            raise FirmwareError(where, "not a log-mel", expected=expected, got=source.shape)
        self.emitted, self.spec, self.target = emitted, spec, target
        self.frontend: EmittedFrontend = emit_frontend(
            spec, source.quant, hop_samples=hop_samples, smoothed_hops=smoothed_hops
        )
        self.image: Image = build(emitted, target, rounding, program="scenes", frontend=self.frontend, folder=folder)
        self.instructions: int | None = None  # of the last recording, file access included, on emulated targets
        self.stack_bytes: int | None = None

    def classify(self, samples: I16, timeout_seconds: float = 600.0) -> list[HopResult]:
        """Results for one recording (n,), hop by hop; samples after the last whole hop are ignored.

        Raises:
            FirmwareError: the recording is shorter than one clip, or the run failed.
        """
        finished = run_image(self.image, audio_bytes(samples), timeout_seconds)
        self.instructions = _instructions(self.target, finished)
        self.stack_bytes = int(finished.printed["stack_bytes"]) if "stack_bytes" in finished.printed else None
        n = self.emitted.graph.tensors[self.emitted.graph.output].n_bytes
        record = np.dtype(
            [
                ("label", "<i4"),
                ("smoothed_label", "<i4"),
                ("codes", "i1", n),
                ("scores", "<f4", n),
                ("smoothed", "<f4", n),
            ]
        )
        hops = np.frombuffer(finished.result, record)
        return [HopResult(int(h[0]), int(h[1]), h[2].copy(), h[3].copy(), h[4].copy()) for h in hops]


def audio_bytes(samples: I16) -> bytes:
    """Input of program ``scenes``: the number of samples as uint32, and the samples as int16."""

    return np.uint32(len(samples)).tobytes() + samples.astype("<i2").tobytes()


def _clip_bytes(pieces: Sequence[I16]) -> bytes:
    parts = [np.int32(len(pieces)).tobytes()]
    for piece in pieces:
        parts += [np.int32(len(piece)).tobytes(), piece.astype("<i2").tobytes()]
    return b"".join(parts)


def _instructions(target: Target, finished: Finished) -> int | None:
    return None if target.emulator is None else target.emulator.instructions(int(finished.printed["clocks"]))
