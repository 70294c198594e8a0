"""From a graph to a folder of C sources with a built image, and to a verdict over the golden vectors.

The folder appears whole or not at all. Refuses to replace a folder that is not firmware of an earlier call.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from tinyscene.runtime.arith import Rounding
from tinyscene.runtime.arrays import I8
from tinyscene.runtime.files import replaced_folder, require_own_files
from tinyscene.runtime.graph import Graph
from tinyscene.runtime.terminal import bar, waiting

from .build.targets import Target
from .cpu import KERNEL_SETS
from .emit.log_mel import TABLE_NAMES, frontend_sources, scene_sources
from .emit.schedule import Mode
from .run.differences import Difference, differences
from .run.engine import Figures, FirmwareEngine
from .run.tune import Tuned, chosen_calls

IMAGE_NAME = "firmware.elf"
CONVERTED_NAMES = ("firmware.bin", "firmware.hex")  # the same image in other formats, see ship/images.py


class Vectors(Protocol):
    """Inputs and what must come out: :class:`tinyscene.runtime.bundle.Golden`."""

    @property
    def inputs(self) -> I8:
        """int8 (n, H, W, C)."""

    @property
    def activations(self) -> Mapping[str, Mapping[str, I8]]:
        """By rounding rule and tensor name, int8 (n, ...)."""


@dataclass(frozen=True, eq=False)
class Delivery:
    """What was written and what was found. ``vectors`` has one entry per golden vector run, its differing layers;
    ``profile`` the instructions of each call, empty where nothing was run or counted; ``tuned`` what `balanced` chose
    from, None in other modes."""

    engine: FirmwareEngine
    folder: Path
    figures: Figures
    vectors: tuple[tuple[Difference, ...], ...]
    profile: tuple[int, ...] = ()
    tuned: Tuned | None = None

    @property
    def matches(self) -> bool:
        return not any(self.vectors)


def deliver(
    graph: Graph,
    golden: Vectors | None,
    target: Target,
    rounding: Rounding,
    folder: Path,
    optimise: Mode = "layers",
) -> Delivery:
    """Emit, build, write the folder, and with golden vectors run, compare and count.

    ``balanced`` is chosen by counting in the emulator (:mod:`tinyscene.firmware_harness.run.tune`).

    Raises:
        FirmwareError: see :func:`tinyscene.firmware_harness.build.image.build` and
        :func:`tinyscene.firmware_harness.run.emulate.run_image`.
        RuntimeFailure: ``folder`` is something else already.
    """
    refuse_foreign(folder)
    with tempfile.TemporaryDirectory(prefix="tinyscene-firmware-") as build_folder:
        with waiting(f"building for {target.name}"):
            calls, tuned = chosen_calls(graph, target, rounding, optimise)
            engine = FirmwareEngine(graph, target, rounding, calls=calls, folder=Path(build_folder))
            with replaced_folder(folder) as unfinished:
                _write(engine, unfinished)
            if golden is None:
                return Delivery(engine, folder, engine.static_figures(), (), tuned=tuned)
        found = _compare(engine, golden)
        with waiting(f"counting on {target.name}"):
            profile = engine.profile(golden.inputs) if target.emulator else ()
            return Delivery(engine, folder, engine.measure(golden.inputs), found, profile, tuned)


def _compare(engine: FirmwareEngine, golden: Vectors) -> tuple[tuple[Difference, ...], ...]:
    """One vector a time, so that the bar moves."""
    expected = golden.activations[engine.rounding]
    found = []
    for i in bar(range(len(golden.inputs)), f"running on {engine.target.name}"):
        got = engine.outputs(golden.inputs[i : i + 1])
        found.append(differences(engine.graph, _nth(expected, i), _nth(got, 0)))
    return tuple(found)


def _write(engine: FirmwareEngine, folder: Path) -> None:
    """The sources and the product image."""
    engine.emitted.write(folder)
    image = engine.product_image()
    if image is not None:
        shutil.copyfile(image.path, folder / IMAGE_NAME)


def _nth(arrays: Mapping[str, I8], index: int) -> dict[str, I8]:
    return {name: np.asarray(array[index]) for name, array in arrays.items()}


def refuse_foreign(folder: Path) -> None:
    """Only a folder of which every file is ours may be replaced."""
    ours = {"model.c", "model.h", IMAGE_NAME, *CONVERTED_NAMES, *TABLE_NAMES}
    ours |= {source.name for kernels in KERNEL_SETS.values() for source in kernels.sources()}
    ours |= {source.name for source in (*frontend_sources(), *scene_sources())}
    require_own_files(folder, ours, "a new folder, or one with nothing but firmware")
