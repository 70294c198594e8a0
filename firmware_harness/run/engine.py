"""Firmware behind the engine interface: int8 codes in, every activation out.

On this machine it runs with address and undefined-behaviour sanitizers, for other targets under emulation. The
constructor compiles, so that a missing tool or a model that is too large is refused early.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from tinyscene.runtime.arith import Rounding
from tinyscene.runtime.arrays import I8
from tinyscene.runtime.graph import Graph
from tinyscene.runtime.vectors import joined, parted, quantised, require_codes, row_shape

from ..build.image import Image, build, sizes
from ..build.targets import Target
from ..cpu.kernel_sets import kernel_set_named
from ..emit.model import emit
from ..emit.schedule import Call, Optimise
from ..errors import FirmwareError
from .emulate import run_image

VECTORS_AT_ONCE = 16  # per run, to keep the file of layers small


@dataclass(frozen=True)
class Figures:
    """Cost of an image in bytes, and in instructions of one inference; None where the target cannot measure it.

    RAM in use is ``arena_bytes + static_ram_bytes + stack_bytes``. ``stack_bytes`` is measured in one run,
    ``stack_bound_bytes`` is the deepest path of the call graph; neither includes interrupts.
    """

    arena_bytes: int
    flash_bytes: int | None = None
    code_bytes: int | None = None
    static_ram_bytes: int | None = None
    stack_bytes: int | None = None
    stack_bound_bytes: int | None = None
    instructions: int | None = None


class FirmwareEngine:
    """A graph as compiled C on one target (see :class:`tinyscene.runtime.engines.Engine`).

    Args:
        graph: the model.
        target: machine to build for.
        rounding: rounding rule to compile in.
        optimise: ``layers`` gives every activation; the others may run several layers in one call.
        calls: the calls themselves, instead of ``optimise``.
        folder: build folder, see :func:`tinyscene.firmware_harness.build.image.build`.
        timeout_seconds: for one run of at most 16 vectors.

    Raises:
        FirmwareError: the graph cannot be emitted or does not fit, or a tool is missing.
    """

    def __init__(
        self,
        graph: Graph,
        target: Target,
        rounding: Rounding = "double",
        *,
        optimise: Optimise = "layers",
        calls: tuple[Call, ...] | None = None,
        folder: Path | None = None,
        timeout_seconds: float = 600.0,
    ) -> None:
        self.graph, self.target, self.rounding = graph, target, rounding
        self.name = f"c-{target.name}-{rounding}"
        self.emitted = emit(graph, kernel_set_named(target.cpu), optimise, calls)
        self.notes: tuple[str, ...] = ()
        self.folder, self._timeout_seconds = folder, timeout_seconds
        self._verify = self._build_verify()

    def _build_verify(self) -> Image:
        return build(self.emitted, self.target, self.rounding, folder=self.folder)

    def outputs(self, codes: I8) -> dict[str, I8]:
        """Every activation between calls by name, int8 (batch, ...), including the input."""
        codes = self._checked(codes)
        parts = [self._run(codes[at : at + VECTORS_AT_ONCE]) for at in range(0, len(codes), VECTORS_AT_ONCE)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def output_codes(self, codes: I8) -> I8:
        """The graph's outputs, int8 (batch, ...)."""
        return joined(self.graph, self.graph.outputs, self.outputs(codes))

    def product_image(self) -> Image | None:
        """The image without observers, as in a product; None on this machine, where nothing is measured."""
        if self.target.emulator is None:
            return None
        return build(self.emitted, self.target, self.rounding, program="measure", folder=self.folder)

    def static_figures(self) -> Figures:
        """Figures that need no run."""
        return self._static_figures(self.product_image())

    def measure(self, codes: I8) -> Figures:
        """Run the product image on the first of ``codes`` and return its cost.

        Raises:
            FirmwareError: the run failed, or its output differs from that of the image with observers.
        """
        image, emulator = self.product_image(), self.target.emulator
        if image is None or emulator is None:
            return self._static_figures(image)
        codes = self._checked(codes)[:1]
        finished = run_image(image, codes.tobytes(), self._timeout_seconds)
        if finished.result != self.output_codes(codes).tobytes():
            raise FirmwareError(
                f"engine {self.name}", "the output differs between the images with and without observers"
            )
        instructions = emulator.instructions(int(finished.printed["clocks"]))
        stack_bytes = int(finished.printed["stack_bytes"])
        return replace(self._static_figures(image), stack_bytes=stack_bytes, instructions=instructions)

    def profile(self, codes: I8) -> tuple[int, ...]:
        """Instructions of each call (:attr:`Emitted.calls`) in one inference on the first of ``codes``.

        Raises:
            FirmwareError: the target is this machine, which has no instruction counter, or the run failed.
        """
        emulator = self.target.emulator
        if emulator is None:
            raise FirmwareError(
                f"profile on {self.target.name}", "no instruction counter", next_step="choose an emulated --target"
            )
        image = build(self.emitted, self.target, self.rounding, program="profile", folder=self.folder)
        finished = run_image(image, self._checked(codes)[:1].tobytes(), self._timeout_seconds)
        return tuple(map(emulator.instructions, np.frombuffer(finished.result, "<u4").tolist()))

    @cached_property
    def figures(self) -> Figures:
        """Measured on an input of zeros; the number of instructions hardly depends on the data."""
        return self.measure(self.zeros)

    @property
    def zeros(self) -> I8:
        """The codes of an input of zeros, int8 (1, ...)."""
        names = self.graph.inputs
        return quantised(self.graph, names, np.zeros((1, *row_shape(self.graph, names)), np.float32))

    def _static_figures(self, image: Image | None) -> Figures:
        if image is None:
            return Figures(self.emitted.plan.arena_bytes)
        size = sizes(image)
        try:
            bound = image.stack_bound("ts_model_invoke")
        except FirmwareError:  # of a C library whose stack cannot be read; the image is as good without the figure
            bound = None
        return Figures(
            self.emitted.plan.arena_bytes,
            size.flash_bytes,
            size.code_bytes,
            size.static_ram_bytes,
            stack_bound_bytes=None if bound is None else bound.bytes,
        )

    def _checked(self, codes: I8) -> I8:
        require_codes(self.graph, codes, f"engine {self.name}")
        return codes

    def _run(self, codes: I8) -> dict[str, I8]:
        """One run of the verify image; its file contains, for each vector, every layer, then the returned outputs."""
        finished = run_image(self._verify, codes.tobytes(), self._timeout_seconds)
        tensors = [self.graph.tensors[call.output] for call in self.emitted.calls]
        names = self.graph.outputs
        n_bytes = [tensor.n_bytes for tensor in tensors] + [sum(self.graph.tensors[name].n_bytes for name in names)]
        dump = np.frombuffer(finished.result, np.int8)
        if dump.size != len(codes) * sum(n_bytes):
            expected = len(codes) * sum(n_bytes)
            raise FirmwareError(f"engine {self.name}", "size of the layers' file", expected=expected, got=dump.size)
        *pieces, returned = np.split(dump.reshape(len(codes), -1), np.cumsum(n_bytes)[:-1], axis=1)
        activations = parted(self.graph, self.graph.inputs, codes)
        for tensor, piece in zip(tensors, pieces, strict=True):
            activations[tensor.name] = piece.reshape(len(codes), *tensor.shape[1:])
        if not np.array_equal(returned, joined(self.graph, names, activations).reshape(len(codes), -1)):
            raise FirmwareError(f"engine {self.name}", "a returned output differs from its layer's")
        return activations
