"""Measure the cost and the accuracy of a model as figures, each with a name and a subject.

Size by a counting rule, arena of the integer graph, instructions on a machine, accuracy on certain clips: figures with
the same name and subject are comparable between versions of a model. Works without PyTorch, except for checkpoints.
Refuses figures that cannot be measured, with the reason; there are no default values.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from tinyscene.runtime.cost import Cost, Rule, require_rule

from ..errors import ExportError
from .count import artefact_cost

if TYPE_CHECKING:
    from tinyscene.firmware_harness.cycles.estimate import Interval
    from tinyscene.firmware_harness.run.modelled import Modelled
    from tinyscene.runtime.bundle import Bundle
    from tinyscene.runtime.graph import Graph

GRAPH = "integer graph"
FIRMWARE = ("flash", "ram", "instructions")
MODELLED = ("milliseconds", "microjoules")
QUALITIES = ("accuracy", "agreement")  # shares of clips in [0, 1], higher is better; of all others lower is better
UNITS = {
    "size": "B",
    "macs": "MAC",
    "arena": "B",
    "flash": "B",
    "ram": "B",
    "instructions": "",
    "milliseconds": "ms",
    "microjoules": "uJ",
    "accuracy": "",
    "agreement": "",
}


@dataclass(frozen=True)
class Figure:
    """One of :data:`UNITS` and its subject.

    ``of``: a counting rule for size and macs, :data:`GRAPH` for the arena that the graph needs op by op, a target of
    ``tinyscene firmware`` for flash, ram (arena, static data and stack) and instructions of one inference, a board for
    modelled milliseconds and microjoules, and a description of the clips for accuracy and for agreement with the float
    network.
    """

    name: str
    of: str

    def __str__(self) -> str:
        return f"{self.name} ({self.of})"

    @property
    def on_clips(self) -> bool:
        """Whether it is measured on clips, rather than read from a manifest."""
        return self.name in QUALITIES and not self.of.startswith("manifest: ")


class Model:
    """A model, with figures that are measured on demand, each once.

    Args:
        path: a model that :func:`tinyscene.export.check.count.artefact_cost` accepts.
        data: folder in TAU22 layout; accuracy is measured on its test part.
    """

    def __init__(self, path: Path, data: Path | None = None) -> None:
        self.path, self.data = path, data
        self._costs: dict[Rule, Cost] = {}
        self._firmware: dict[str, dict[str, int]] = {}
        self._modelled: dict[str, Modelled] = {}
        self._qualities: dict[Figure, float] | None = None

    def figures(self, rule: Rule, machines: Sequence[str], board: str | None = None) -> list[Figure]:
        """The figures of a model by one rule, on these machines and on a board; float models have no arena."""
        firmware = [Figure(name, machine) for machine in machines for name in FIRMWARE]
        modelled = [] if board is None else [Figure(name, board) for name in MODELLED]
        counted = [Figure("size", rule), Figure("macs", rule), Figure("arena", GRAPH)]
        return [*counted, *firmware, *modelled, *self.qualities()]

    def measure(self, figure: Figure) -> float:
        """The value; raises TinysceneError if it cannot be measured on this machine or for this model."""
        measurements: dict[str, Callable[[str], float]] = {
            "size": lambda rule: self.cost(require_rule(rule)).n_bytes,
            "macs": self._macs,
            "arena": self._arena,
            "flash": lambda machine: self._on(machine)["flash"],
            "ram": lambda machine: self._on(machine)["ram"],
            "instructions": lambda machine: self._on(machine)["instructions"],
            "milliseconds": lambda board: self.modelled("milliseconds", board).value,
            "microjoules": lambda board: self.modelled("microjoules", board).value,
        }
        if figure.name in measurements:
            return measurements[figure.name](figure.of)
        return self._quality(figure)

    def _macs(self, rule: str) -> float:
        cost = self.cost(require_rule(rule))
        if cost.uncounted:
            got = ", ".join(cost.uncounted)
            raise ExportError(f"{self.path}, macs", "no rule counts every operator", got=got)
        return cost.macs

    def cost(self, rule: Rule) -> Cost:
        """Cost of every layer; raises TinysceneError for a layer that cannot be counted."""
        if rule not in self._costs:
            self._costs[rule] = artefact_cost(self.path, rule)
        return self._costs[rule]

    @cached_property
    def _bundle(self) -> Bundle:
        from tinyscene.runtime.bundle import read_bundle

        return read_bundle(self.path)

    @cached_property
    def _graph(self) -> Graph:
        from ..formats.open_model import open_model

        return self._bundle.graph if self.path.is_dir() else open_model(self.path).graph

    def _arena(self, of: str) -> float:
        from tinyscene.runtime.plan import plan

        if of != GRAPH:
            raise ExportError(f"arena of '{of}'", "unknown", expected=GRAPH)
        return plan(self._graph).arena_bytes

    def _on(self, machine: str) -> dict[str, int]:
        """Figures on an emulated machine, with kernels chosen for speed, as in ``firmware export``."""
        from tinyscene.firmware_harness.build.targets import TARGETS, target_named
        from tinyscene.firmware_harness.run.engine import FirmwareEngine
        from tinyscene.runtime.terminal import bar

        if machine not in self._firmware:
            if target_named(machine).emulator is None:
                counted = " | ".join(target.name for target in TARGETS.values() if target.emulator)
                raise ExportError(f"target '{machine}'", "has no emulator that counts instructions", expected=counted)
            (f,) = (
                FirmwareEngine(self._graph, target, optimise="speed").figures
                for target in bar([target_named(machine)], f"emulating {machine}")
            )
            if f.flash_bytes is None or f.static_ram_bytes is None or f.stack_bytes is None or f.instructions is None:
                raise ExportError(f"target '{machine}'", "did not report all figures of the image", got=f)
            ram = f.arena_bytes + f.static_ram_bytes + f.stack_bytes
            self._firmware[machine] = {"flash": f.flash_bytes, "ram": ram, "instructions": f.instructions}
        return self._firmware[machine]

    def modelled(self, name: str, board_name: str) -> Interval:
        """Modelled milliseconds or microjoules of one inference on a board, with kernels chosen for speed.

        Raises:
            TinysceneError: the board's figure is unknown, or a tool is missing.
        """
        from tinyscene.firmware_harness.build.targets import target_named
        from tinyscene.firmware_harness.cycles.boards import board_named
        from tinyscene.firmware_harness.run.engine import FirmwareEngine
        from tinyscene.firmware_harness.run.modelled import Modelling, machine_for, modelled
        from tinyscene.runtime.terminal import waiting

        board = board_named(board_name)
        if board.name not in self._modelled:
            target = target_named(board.target)
            modelling = Modelling(machine_for(target, board))
            with waiting(f"counting on {target.name}"):
                engine = FirmwareEngine(self._graph, target, optimise="speed")
                self._modelled[board.name] = modelled(engine, modelling, engine.zeros)
        cost = self._modelled[board.name].inference
        interval: Interval | None = getattr(cost, name)
        if interval is None:
            raise ExportError(f"{name} on {board.name}", "unknown", got=board.picojoules_per_cycle.source)
        return interval

    def qualities(self) -> dict[Figure, float]:
        """Accuracy and agreement of a bundle: those in its manifest, and those measured on the labelled clips.

        Raises TinysceneError for data that cannot be read or do not fit the model.
        """
        if self.data is not None and (not self.path.is_dir() or self._bundle.frontend is None):
            what = "only a bundle with a front end defines how audio becomes its input"
            raise ExportError(str(self.data), what, got=str(self.path))
        if self._qualities is None:
            self._qualities = {**self._from_manifest(), **self._from_clips()} if self.path.is_dir() else {}
        return self._qualities

    def _quality(self, figure: Figure) -> float:
        if figure not in self.qualities():
            subjects = ", ".join(known.of for known in self.qualities() if known.name == figure.name)
            step = "give --data FOLDER" if figure.on_clips else "give a bundle with this figure in its manifest"
            got = subjects or "none for this model"
            raise ExportError(figure.name, "unknown", expected=figure.of, got=got, next_step=step)
        return self.qualities()[figure]

    def _from_manifest(self) -> dict[Figure, float]:
        """The manifest's metrics that ``demo`` and ``export`` write."""
        manifest = self._bundle.manifest
        accuracy, agreement = manifest.metric("int8", "accuracy"), manifest.metric("top1_agreement_with_float")
        figures: dict[Figure, float] = {}
        if accuracy is not None:
            clips = manifest.metric("int8", "clips")
            figures[Figure("accuracy", f"manifest: {clips} clips, {manifest.data}")] = accuracy
        if agreement is not None:
            figures[Figure("agreement", f"manifest: {manifest.data}")] = float(agreement)
        return figures

    def _from_clips(self) -> dict[Figure, float]:
        """Share of the test clips that ``tinyscene run`` classifies correctly."""
        if self.data is None:
            return {}
        from tinyscene.runtime.classify import SceneClassifier
        from tinyscene.runtime.terminal import bar

        from ..labelled.clips import labelled_clips, labelled_records

        classifier = SceneClassifier.open(self._bundle)
        rate_hz = classifier.frontend.sample_rate_hz
        records = labelled_records(self.data, classifier.labels)
        clips = labelled_clips(self.data, records, classifier.labels, rate_hz)
        correct = 0
        for i in bar(range(len(clips)), "classifying"):
            (waveform,) = clips.waveforms[i : i + 1]
            correct += classifier.classify(waveform, rate_hz).label == records[i].scene
        names = hashlib.sha256("\n".join(sorted(record.filename for record in records)).encode()).hexdigest()
        return {Figure("accuracy", f"{len(records)} test clips, list {names[:12]}"): correct / len(records)}


def value_text(name: str, value: float) -> str:
    """A value with its unit."""
    if name in MODELLED:
        return f"{value:,.4g} {UNITS[name]}"
    return f"{value:.2%}" if name in QUALITIES else f"{value:,.0f} {UNITS[name]}".rstrip()
