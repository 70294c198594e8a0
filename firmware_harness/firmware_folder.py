"""A folder with the C sources of a graph and a built image, and the comparison over the golden vectors.

An interrupted call leaves no partial folder. Refuses to replace a folder that contains other files than firmware of an
earlier call.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from tinyscene.runtime.arith import Rounding
from tinyscene.runtime.arrays import I8
from tinyscene.runtime.files import replaced_folder, require_own_files
from tinyscene.runtime.graph import Graph
from tinyscene.runtime.temporaries import temporary_folder
from tinyscene.runtime.terminal import bar, waiting

from .build.targets import Target
from .cpu.kernel_sets import KERNEL_SETS
from .emit.log_mel import TABLE_NAMES, frontend_sources, scene_sources
from .emit.schedule import SHIPPED, Mode
from .run.differences import Difference, differences
from .run.engine import Figures, FirmwareEngine
from .run.modelled import Modelled, Modelling, modelled
from .run.tune import Tuned, chosen_calls

IMAGE_NAME = "firmware.elf"
MODEL_SUFFIXES = (".tflite", ".onnx")
CONVERTED_NAMES = ("firmware.bin", "firmware.hex")  # the image in other formats, see ship/images.py


def folder_beside(model: Path, ending: str) -> Path:
    """MODEL-ENDING beside the model, without the suffix of a model file."""
    path = model.resolve()
    return path.with_name(f"{path.stem if path.suffix in MODEL_SUFFIXES else path.name}-{ending}")


class Vectors(Protocol):
    """Inputs and expected activations, such as :class:`tinyscene.runtime.bundle.Golden`."""

    @property
    def inputs(self) -> I8:
        """Vectors int8 (n, ...), see :mod:`tinyscene.runtime.vectors`."""

    @property
    def activations(self) -> Mapping[str, Mapping[str, I8]]:
        """By rounding rule and tensor name, int8 (n, ...)."""


@dataclass(frozen=True, eq=False)
class Delivery:
    """What was written, and the results of the run.

    ``vectors``: for each golden vector that was run, the layers that differ. ``profile``: instructions of each call,
    empty where nothing was run or counted. ``tuned``: the counts that `balanced` chose by, None in other modes.
    ``modelled``: cycles, time and energy, None where they were not asked for.
    """

    engine: FirmwareEngine
    folder: Path
    figures: Figures
    vectors: tuple[tuple[Difference, ...], ...]
    profile: tuple[int, ...] = ()
    tuned: Tuned | None = None
    modelled: Modelled | None = None

    @property
    def matches(self) -> bool:
        """Whether no vector that was run differs."""
        return not any(self.vectors)


def deliver(
    graph: Graph,
    golden: Vectors | None,
    target: Target,
    rounding: Rounding,
    folder: Path,
    optimise: Mode = SHIPPED,
    modelling: Modelling | None = None,
) -> Delivery:
    """Emit, build and write the folder; with golden vectors also run, compare and count.

    Args:
        graph: the model.
        golden: vectors to run; None to run nothing.
        target: machine to build for.
        rounding: rounding rule to compile in.
        folder: folder to write, or to replace if it contains firmware only.
        optimise: how calls are chosen; ``balanced`` counts in the emulator, see
            :mod:`tinyscene.firmware_harness.run.tune`.
        modelling: what cycles are modelled for; on the first golden vector, or on zeros.

    Raises:
        RuntimeFailure: ``folder`` contains other files.
        FirmwareError: the model does not fit, a tool is missing, the compiler or a run fails.
    """
    require_firmware_only(folder)
    with temporary_folder("firmware") as build_folder:
        with waiting(f"building for {target.name}"):
            machine = None if modelling is None else modelling.machine
            calls, tuned = chosen_calls(graph, target, rounding, optimise, machine)
            engine = FirmwareEngine(graph, target, rounding, calls=calls, folder=build_folder)
            with replaced_folder(folder) as unfinished:
                _write(engine, unfinished)
            cost = (
                None
                if modelling is None
                else modelled(engine, modelling, engine.zeros if golden is None else golden.inputs)
            )
            if golden is None:
                return Delivery(engine, folder, engine.static_figures(), (), tuned=tuned, modelled=cost)
        differing = _compare(engine, golden)
        with waiting(f"counting on {target.name}"):
            profile = engine.profile(golden.inputs) if target.emulator else ()
            return Delivery(engine, folder, engine.measure(golden.inputs), differing, profile, tuned, cost)


def _compare(engine: FirmwareEngine, golden: Vectors) -> tuple[tuple[Difference, ...], ...]:
    """Differing layers of each vector; one vector per run, so that progress is visible."""
    expected = golden.activations[engine.rounding]
    differing = []
    for i in bar(range(len(golden.inputs)), f"running on {engine.target.name}"):
        got = engine.outputs(golden.inputs[i : i + 1])
        differing.append(differences(engine.graph, _vector(expected, i), _vector(got, 0)))
    return tuple(differing)


def _write(engine: FirmwareEngine, folder: Path) -> None:
    """Write the sources and the product image."""
    engine.emitted.write(folder)
    image = engine.product_image()
    if image is not None:
        shutil.copyfile(image.path, folder / IMAGE_NAME)


def _vector(arrays: Mapping[str, I8], index: int) -> dict[str, I8]:
    """One vector of each array."""
    return {name: np.asarray(array[index]) for name, array in arrays.items()}


def require_firmware_only(folder: Path) -> None:
    """Refuse a folder with other files than firmware of an earlier call.

    Raises:
        RuntimeFailure: ``folder`` contains other files, or its parent folder is missing.
    """
    own = {"model.c", "model.h", IMAGE_NAME, *CONVERTED_NAMES, *TABLE_NAMES}
    own |= {source.name for kernels in KERNEL_SETS.values() for source in kernels.sources()}
    front_ends = [*frontend_sources("float"), *frontend_sources("integer")]
    own |= {source.name for source in (*front_ends, *scene_sources())}
    require_own_files(folder, own, "a new folder, or one with nothing but firmware")
